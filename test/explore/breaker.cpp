// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/circuit_breaker.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "world.hpp"

namespace headgate::explore {
namespace {

struct breaker_world : world {
    explicit breaker_world(breaker_options options = {.consecutive_failures = 2, .reset_timeout = 10s})
        : breaker(circuit_breaker::create(zone, "breaker", options).value()) {}

    /// Begins a call and ends it as a failure. False when the breaker refused it.
    bool fail() { return end(call_outcome::failure); }
    bool succeed() { return end(call_outcome::success); }
    bool end(call_outcome how) {
        auto permit = breaker.try_begin();
        if (!permit) {
            return false;
        }
        permit.value().end(call_verdict(how));
        return true;
    }
    void open() {
        require(breaker.trip(10s), "it does not trip");
        require(breaker.state() == breaker_state::open, "it is not open");
    }
    /// From every state the breaker can close again, and then it admits calls.
    void finish_breaker() {
        breaker.set_mode(breaker_mode::automatic).value();
        for (int i = 0; i < 20 && breaker.state() != breaker_state::closed; ++i) {
            clock.run_for(io, 10min);
            succeed();
        }
        require(breaker.state() == breaker_state::closed, "there is no way back to closed");
        require(succeed(), "it is closed and refuses");
        finish();
    }

    circuit_breaker breaker;
};

TEST_CASE("breaker: two failures and a success") {
    every_schedule("breaker: two failures and a success", [](together& threads) {
        breaker_world w;
        threads.run({[&] { w.fail(); }, [&] { w.fail(); }, [&] { w.succeed(); }});
        const auto s = w.breaker.state();
        require(s == breaker_state::closed || s == breaker_state::open, "it is half open and no time has passed");
        w.finish_breaker();
    });
}

TEST_CASE("breaker: three come when the reset time has passed") {
    every_schedule("breaker: three come when the reset time has passed", [](together& threads) {
        breaker_world w;
        w.open();
        w.clock.set(w.clock.now() + 10s);
        std::optional<call_permit> permits[3];
        const auto begin = [&](int i) {
            if (auto permit = w.breaker.try_begin()) {
                permits[i].emplace(std::move(permit).value());
            }
        };
        threads.run({[&] { begin(0); }, [&] { begin(1); }, [&] { begin(2); }});
        const int probes = int{permits[0].has_value()} + int{permits[1].has_value()} + int{permits[2].has_value()};
        require(probes == 1, "more or fewer than one probe");
        for (auto& permit : permits) {
            permit.reset();
        }
        w.finish_breaker();
    });
}

TEST_CASE("breaker: a probe ends beside a late result and a newcomer") {
    every_schedule("breaker: a probe ends beside a late result and a newcomer", [](together& threads) {
        breaker_world w;
        auto late = w.breaker.try_begin();
        w.open();
        w.clock.set(w.clock.now() + 10s);
        auto probe = w.breaker.try_begin();
        require(late.has_value() && probe.has_value(), "not admitted");
        call_record told{};
        threads.run({[&] { probe.value().success(); }, [&] { told = late.value().failure(); }, [&] { w.succeed(); }});
        require(told == call_record::stale, "a result of an earlier generation was counted");
        require(w.breaker.state() == breaker_state::closed, "the probe's success did not close it");
        w.finish_breaker();
    });
}

TEST_CASE("breaker: a probe at its deadline, polled by two threads") {
    every_schedule(
        "breaker: a probe at its deadline, polled by two threads",
        [](together& threads) {
            breaker_world w({.consecutive_failures = 2, .reset_timeout = 10s, .probe_deadline = 1s});
            w.open();
            w.clock.set(w.clock.now() + 10s);
            auto probe = w.breaker.try_begin();
            require(probe.has_value(), "the probe is not admitted");
            w.pass(1s);
            threads.run({[&] { w.poll(); }, [&] { probe.value().success(); }, [&] { w.poll(); }});
            w.settle();
            const auto s = w.breaker.state();
            require(s == breaker_state::closed || s == breaker_state::open, "the probe decided nothing");
            w.finish_breaker();
        },
        3);
}

TEST_CASE("breaker: trip, reset and a failure") {
    every_schedule("breaker: trip, reset and a failure", [](together& threads) {
        breaker_world w;
        std::vector<std::string> changes;
        const auto listening = w.zone.on_event([&](const event& e) {
            if (e.kind == event_kind::breaker_state) {
                changes.emplace_back(e.detail);
            }
        });
        threads.run({[&] { w.breaker.trip(10s); }, [&] { w.breaker.reset(); }, [&] { w.fail(); }});
        w.settle();
        const bool is_open = w.breaker.state() == breaker_state::open;
        require(changes.size() == (is_open ? 1U : changes.size() & 2U), "changes are not told once each");
        w.finish_breaker();
    });
}

TEST_CASE("breaker: modes change beside a call and a reconfiguration") {
    every_schedule("breaker: modes change beside a call and a reconfiguration", [](together& threads) {
        breaker_world w;
        threads.run({[&] { w.breaker.set_mode(breaker_mode::forced_open).value(); }, [&] { w.fail(); },
                     [&] { w.breaker.reconfigure({.consecutive_failures = 1, .reset_timeout = 1s}).value(); }});
        w.finish_breaker();
    });
}

}  // namespace
}  // namespace headgate::explore
