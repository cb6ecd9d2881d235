// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/zone.hpp>

#include <doctest/doctest.h>

#include <vector>

#include <headgate/bulkhead.hpp>
#include <headgate/circuit_breaker.hpp>
#include <headgate/guard.hpp>
#include <headgate/with_timeout.hpp>
#include <headgate/zone_set.hpp>

#include "world.hpp"

namespace headgate::explore {
namespace {

TEST_CASE("zone: a close beside one that sleeps and one that wakes") {
    every_schedule(
        "zone: a close beside one that sleeps and one that wakes",
        [](together& threads) {
            world w;
            ending<void> wakes, sleeps;
            w.zone.sleep_for(1s, w.into(wakes));
            w.pass(1s);
            threads.run({[&] { w.poll(); }, [&] { w.zone.close(); }, [&] { w.zone.sleep_for(1s, w.into(sleeps)); }});
            w.clock.run_for(w.io, 10s);
            require(wakes.times == 1 && sleeps.times == 1, "a sleep does not end once");
            require(wakes.well() || wakes.with(errc::shut_down), "the first ends in another way");
            require(sleeps.well() || sleeps.with(errc::shut_down), "the second ends in another way");
            w.finish();
        },
        3);
}

TEST_CASE("zone: two that close, and what runs ends") {
    every_schedule("zone: two that close, and what runs ends", [](together& threads) {
        world w;
        ending<void> sleeps, first, second;
        w.zone.sleep_for(1h, w.cancellable_into(sleeps));
        w.post_cancel();
        threads.run({[&] { w.zone.close(w.into(first)); }, [&] { w.zone.close(w.into(second)); }, [&] { w.poll(); }});
        w.settle();
        require(sleeps.times == 1 && first.times == 1 && second.times == 1, "something does not end once");
        require(first.well() && second.well(), "a close does not end well");
        w.finish();
    });
}

TEST_CASE("zone: a drain, a place that is left, and one that enters") {
    every_schedule("zone: a drain, a place that is left, and one that enters", [](together& threads) {
        world w;
        auto places = bulkhead::create(w.zone, "places", {.max_concurrent = 2}).value();
        w.settle();
        auto held = places.try_enter();
        std::optional<bulkhead_permit> entered;
        ending<void> drained;
        threads.run({[&] { w.zone.drain(1h, w.into(drained)); }, [&] { held.value().give_back(); },
                     [&] {
                         if (auto permit = places.try_enter()) {
                             entered = std::move(permit).value();
                         }
                     }});
        w.settle();
        require(drained.times == (entered ? 0 : 1), "the drain does not wait for what is out, or waits for nothing");
        entered.reset();
        w.settle();
        require(drained.times == 1 && drained.well(), "the drain does not end when all is back");
        w.finish();
    });
}

TEST_CASE("bulkhead: one leaves, one enters, one waits until its deadline") {
    every_schedule("bulkhead: one leaves, one enters, one waits until its deadline", [](together& threads) {
        world w;
        auto places = bulkhead::create(w.zone, "places", {.max_concurrent = 1}).value();
        w.settle();
        auto held = places.try_enter();
        ending<bulkhead_permit> waits;
        places.enter({.max_wait = 1s}, w.into(waits));
        w.pass(1s);
        bool entered = false;
        threads.run(
            {[&] { held.value().give_back(); }, [&] { w.poll(); }, [&] { entered = places.try_enter().has_value(); }});
        w.settle();
        require(waits.times == 1, "the waiter does not end once");
        waits.forget();
        w.settle();
        require(places.try_enter().has_value(), "a place is lost");
        w.finish();
    });
}

TEST_CASE("zone: something is made while it closes") {
    every_schedule("zone: something is made while it closes", [](together& threads) {
        world w;
        std::optional<result<bulkhead>> made;
        ending<void> closed;
        threads.run({[&] { made.emplace(bulkhead::create(w.zone, "places")); }, [&] { w.zone.close(w.into(closed)); },
                     [&] { w.poll(); }});
        w.settle();
        require(closed.times == 1, "the close does not end");
        require(!made->has_value() || made->value().try_enter().has_error(), "a closed zone lets in");
        w.finish();
    });
}

TEST_CASE("zone: a subscription begins and ends beside an event") {
    every_schedule("zone: a subscription begins and ends beside an event", [](together& threads) {
        world w;
        auto breaker = circuit_breaker::create(w.zone, "breaker").value();
        std::vector<std::uint64_t> heard;
        subscription listening;
        threads.run({[&] {
                         listening = w.zone.on_event([&](const event& e) { heard.push_back(e.sequence); });
                         w.poll();
                     },
                     [&] {
                         breaker.trip(1s);
                         breaker.reset();
                     },
                     [&] { w.poll(); }});
        w.settle();
        for (std::size_t i = 1; i < heard.size(); ++i) {
            require(heard[i - 1] < heard[i], "events come out of order, or twice");
        }
        const auto before = heard.size();
        listening.reset();
        breaker.trip(1s);
        w.settle();
        require(heard.size() == before, "a subscription that has ended is called");
        w.finish();
    });
}

constexpr const char* with_both =
    R"({"zones": {"z": {"rate_limiters": {"l": {"quota": "1/1s"}}, "bulkheads": {"b": {"max_concurrent": 1}}}}})";
constexpr const char* with_one = R"({"zones": {"z": {"bulkheads": {"b": {"max_concurrent": 2}}}}})";

TEST_CASE("zone set: a reload beside a call by name and one that is inside") {
    every_schedule("zone set: a reload beside a call by name and one that is inside", [](together& threads) {
        asio::io_context io{2};
        virtual_clock clock;
        auto zones = zone_set::create(io, config::parse(with_both).value(), &clock).value();
        zone& z = *zones->find("z").value();
        clock.run_for(io, 0s);
        auto inside = bulkhead::find(z, "b").value().try_enter();
        require(inside.has_value(), "the place is taken");
        const config next = config::parse(with_one).value();
        threads.run({[&] { require(zones->reload(next).has_value(), "the reload is refused"); },
                     [&] {
                         if (auto limiter = rate_limiter::find(z, "l")) {
                             (void)limiter.value().try_acquire("k");
                         }
                     },
                     [&] { inside.value().give_back(); }});
        clock.run_for(io, 1s);
        require(rate_limiter::find(z, "l").has_error(), "what was removed is found");
        require(bulkhead::find(z, "b").value().try_enter().has_value(), "a place is lost");
        zones.reset();
        clock.run_for(io, 1s);
    });
}

asio::awaitable<result<int>> wait_in(headgate::zone& z, call_context context, duration span) {
    const auto slept = co_await z.sleep_for(span, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
    if (!slept) {
        co_return slept.error();
    }
    co_return 1;
}

TEST_CASE("with_timeout: the operation ends, its deadline passes, and its caller cancels") {
    every_schedule(
        "with_timeout: the operation ends, its deadline passes, and its caller cancels",
        [](together& threads) {
            world w;
            ending<int> e;
            const auto op = [&z = w.zone](call_context context) { return wait_in(z, context, 1s); };
            spawn(w.strand, with_timeout(w.zone, 1s, op), w.cancellable_into(e));
            w.settle();
            w.pass(1s);
            w.post_cancel();
            threads.run({[&] { w.poll(); }, [&] { w.poll(); }});
            w.clock.run_for(w.io, 10s);
            require(e.times == 1, "the call does not end once");
            require(e.well() || e.with(errc::timed_out) || e.with(errc::canceled), "the call ends in another way");
            w.finish();
        },
        4);
}

TEST_CASE("guard: a place comes free, its deadline passes, and two threads poll") {
    every_schedule("guard: a place comes free, its deadline passes, and two threads poll", [](together& threads) {
        world w;
        auto places = bulkhead::create(w.zone, "places", {.max_concurrent = 1, .max_wait = 1h}).value();
        auto breaker = circuit_breaker::create(w.zone, "breaker", {.consecutive_failures = 1}).value();
        auto limiter = rate_limiter::create(w.zone, "limiter", quota::per(1, 1h).value()).value();
        w.settle();
        const guard protection(places, breaker, limiter);
        auto held = places.try_enter();
        ending<int> e;
        const auto op = []() -> asio::awaitable<result<int>> { co_return 1; };
        spawn(w.strand, protection.run("k", {.timeout = 1s}, op), w.into(e));
        w.settle();
        w.pass(1s);
        threads.run({[&] { w.poll(); }, [&] { held.value().give_back(); }, [&] { w.poll(); }});
        w.clock.run_for(w.io, 10s);
        require(e.times == 1, "the call does not end once");
        require(e.well() || e.with(errc::wait_timed_out), "the call ends in another way");
        require(limiter.try_acquire("k").has_value() == !e.well(), "a call that did not run has spent a permit");
        require(places.try_enter().has_value(), "a place is lost");
        require(breaker.state() == breaker_state::closed, "a wait that timed out counts as a failure");
        w.finish();
    });
}

}  // namespace
}  // namespace headgate::explore
