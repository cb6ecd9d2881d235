// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/rate_limiter.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>

#include "world.hpp"

namespace headgate::explore {
namespace {

using granted = ending<grant>;

quota rate(std::uint64_t permits, duration period) {
    return quota::per(permits, period).value();
}

struct limiter_world : world {
    explicit limiter_world(rate_limiter_options made = {.tiers = {{"default", {rate(1, 1s)}}}})
        : options(small(std::move(made))), limiter(rate_limiter::create(zone, "limiter", options).value()) {}

    /// To make a table for a million keys would take most of a schedule's time.
    static rate_limiter_options small(rate_limiter_options made) {
        made.max_keys = std::min<std::uint64_t>(made.max_keys, 1000);
        return made;
    }
    [[nodiscard]] bool change(std::vector<tier> tiers) {
        rate_limiter_options changed = options;
        changed.tiers = std::move(tiers);
        return limiter.reconfigure(changed).has_value();
    }

    [[nodiscard]] bool take(std::string_view key) { return limiter.try_acquire(key).has_value(); }
    void acquire(granted& e, std::string_view key, duration wait = 1h) {
        limiter.acquire(key, {.max_wait = wait}, into(e));
    }
    [[nodiscard]] double metric(std::string_view name) {
        for (const auto& m : limiter.core()->snapshot().metrics) {
            if (m.name == name) {
                return m.value;
            }
        }
        throw failure("there is no such metric");
    }
    /// The metrics counted each answer once.
    void require_counted(int grants, int refusals) {
        require(metric("granted") == grants, "grants are not counted once");
        require(metric("refused") == refusals, "refusals are not counted once");
    }
    void finish_limiter() {
        clock.run_for(io, 1h);
        require(metric("waiting") == 0, "a waiter is left");
        finish();
    }

    rate_limiter_options options;
    rate_limiter limiter;
};

TEST_CASE("limiter: three want the one permit") {
    every_schedule("limiter: three want the one permit", [](together& threads) {
        limiter_world w;
        bool a = false, b = false;
        granted c;
        threads.run({[&] { a = w.take("k"); }, [&] { b = w.take("k"); }, [&] { w.acquire(c, "k"); }});
        w.settle();
        const int now = int{a} + int{b} + (c.well() ? 1 : 0);
        require(now == 1, "the one permit was given to none or to two");
        w.clock.run_for(w.io, 1s);
        require(c.times == 1 && c.well(), "the waiter is not served when its time has come");
        w.require_counted(c.well() && !a && !b ? 1 : 2, int{!a} + int{!b});
        w.finish_limiter();
    });
}

TEST_CASE("limiter: a permit, a deadline and a cancellation at one moment") {
    every_schedule("limiter: a permit, a deadline and a cancellation at one moment", [](together& threads) {
        limiter_world w;
        require(w.take("k"), "the first is refused");
        granted first, second, third;
        w.limiter.acquire("k", {.max_wait = 1s}, w.cancellable_into(first));
        w.acquire(second, "k", 2s);
        w.pass(1s);
        w.post_cancel();
        threads.run({[&] { w.poll(); }, [&] { w.poll(); }, [&] { w.acquire(third, "k"); }});
        w.clock.run_for(w.io, 10s);
        require(first.times == 1 && second.times == 1 && third.times == 1, "a waiter does not end once");
        require(first.well() || first.with(errc::canceled) || first.with(errc::wait_timed_out),
                "the first ends in another way");
        require(second.well() && third.well(), "those behind are not served in time");
        w.finish_limiter();
    });
}

TEST_CASE("limiter: a reset beside one that waits and one that comes") {
    every_schedule("limiter: a reset beside one that waits and one that comes", [](together& threads) {
        limiter_world w;
        require(w.take("k"), "the first is refused");
        granted waits, comes;
        w.acquire(waits, "k");
        threads.run({[&] { w.limiter.forget("k"); }, [&] { w.acquire(comes, "k"); }, [&] { w.poll(); }});
        w.settle();
        require(waits.times == 1 && waits.well(), "the reset did not serve the waiter");
        w.clock.run_for(w.io, 1s);
        require(comes.times == 1 && comes.well(), "the second is not served in its turn");
        w.finish_limiter();
    });
}

TEST_CASE("limiter: three keys and room for one") {
    every_schedule("limiter: three keys and room for one", [](together& threads) {
        limiter_world w({.tiers = {{"default", {rate(1, 1s)}}}, .max_keys = 1});
        bool a = false, b = false, c = false;
        threads.run({[&] { a = w.take("a"); }, [&] { b = w.take("b"); }, [&] { c = w.take("c"); }});
        // One key has its own bucket, and the other two share one. Each bucket grants once.
        require(int{a} + int{b} + int{c} == 2, "the shared bucket granted too often, or too seldom");
        w.require_counted(2, 1);
        w.finish_limiter();
    });
}

TEST_CASE("limiter: one waits in the shared bucket while room comes free") {
    every_schedule("limiter: one waits in the shared bucket while room comes free", [](together& threads) {
        limiter_world w({.tiers = {{"default", {rate(1, 1s)}}}, .max_keys = 1});
        require(w.take("a") && w.take("b"), "the first two are refused");
        granted waits, comes;
        w.acquire(waits, "b");
        threads.run({[&] { w.limiter.forget("a"); }, [&] { w.acquire(comes, "c"); }, [&] { w.acquire(waits, "b"); }});
        w.clock.run_for(w.io, 10s);
        require(waits.times == 2 && comes.times == 1, "a waiter does not end once");
        w.finish_limiter();
    });
}

TEST_CASE("limiter: three come while one waits in the shared bucket and there is room") {
    every_schedule("limiter: three come while one waits in the shared bucket and there is room", [](together& threads) {
        limiter_world w({.tiers = {{"default", {rate(1, 1s)}}}, .max_keys = 1});
        require(w.take("a") && w.take("b"), "the first two are refused");
        granted waits, d, e;
        w.acquire(waits, "b");
        require(w.limiter.forget("a"), "the first is not known");
        // A caller waits in the shared bucket, and the table has room for one key.
        bool c = true;
        threads.run({[&] { w.acquire(d, "d"); }, [&] { c = w.take("c"); }, [&] { w.acquire(e, "e"); }});
        w.settle();
        require(!c && d.times == 0 && e.times == 0, "one that came later passed the one that waits");
        w.clock.run_for(w.io, 1s);
        require(waits.times == 1 && waits.well(), "the first that waits in the shared bucket is not served first");
        w.clock.run_for(w.io, 10s);
        require(d.times == 1 && e.times == 1 && d.well() && e.well(), "a waiter was forgotten");
        w.finish_limiter();
    });
}

TEST_CASE("limiter: a reconfiguration beside two calls") {
    every_schedule("limiter: a reconfiguration beside two calls", [](together& threads) {
        limiter_world w;
        bool a = false;
        granted b;
        threads.run({[&] { require(w.change({{"default", {rate(2, 1s)}}}), "refused"); }, [&] { a = w.take("k"); },
                     [&] { w.acquire(b, "k"); }});
        w.settle();
        require(a || b.well(), "nobody was granted");
        w.clock.run_for(w.io, 1s);
        require(b.times == 1 && b.well(), "the waiter is not served");
        w.finish_limiter();
    });
}

TEST_CASE("limiter: a close beside one that comes and one whose time has come") {
    every_schedule("limiter: a close beside one that comes and one whose time has come", [](together& threads) {
        limiter_world w;
        require(w.take("k"), "the first is refused");
        granted waits, comes;
        w.acquire(waits, "k");
        w.pass(1s);
        threads.run({[&] { w.zone.close(); }, [&] { w.acquire(comes, "k"); }, [&] { w.poll(); }});
        w.settle();
        require(waits.times == 1 && comes.times == 1, "a waiter does not end once");
        require(waits.well() || waits.with(errc::shut_down), "the waiter ends in another way");
        require(comes.well() || comes.with(errc::shut_down), "the newcomer ends in another way");
        w.finish_limiter();
    });
}

TEST_CASE("limiter: the sweep beside a charge and a new key") {
    every_schedule("limiter: the sweep beside a charge and a new key", [](together& threads) {
        limiter_world w;
        require(w.take("old") && w.take("k"), "the first are refused");
        w.pass(1h);
        bool a = false, b = false;
        threads.run({[&] { w.poll(); }, [&] { a = w.take("k"); }, [&] { b = w.take("new"); }});
        require(a && b, "a key with nothing used was refused");
        require(!w.take("k") && !w.take("new"), "what was charged was forgotten");
        w.finish_limiter();
    });
}

TEST_CASE("limiter: a snapshot beside two that are refused") {
    every_schedule("limiter: a snapshot beside two that are refused", [](together& threads) {
        limiter_world w;
        require(w.take("k"), "the first is refused");
        granted waits;
        double seen = 0;
        threads.run({[&] { seen = w.metric("refused"); }, [&] { require(!w.take("k"), "two have one permit"); },
                     [&] { w.acquire(waits, "k"); }});
        require(seen == 0 || seen == 1, "a count that nobody made");
        w.clock.run_for(w.io, 1s);
        w.require_counted(2, 1);
        w.finish_limiter();
    });
}

TEST_CASE("limiter: two tiers of one key, and a change of both") {
    every_schedule("limiter: two tiers of one key, and a change of both", [](together& threads) {
        limiter_world w({.tiers = {{"slow", {rate(1, 1s)}}, {"fast", {rate(2, 1s)}}}});
        bool a = false, b = false;
        threads.run(
            {[&] { a = w.limiter.try_acquire("k", {.tier = "slow"}).has_value(); },
             [&] { b = w.limiter.try_acquire("k", {.tier = "fast"}).has_value(); },
             [&] { require(w.change({{"slow", {rate(1, 2s)}}, {"fast", {rate(2, 2s)}}}), "the change is refused"); }});
        require(a || b, "nobody was granted");
        w.clock.run_for(w.io, 2s);
        require(w.take("k"), "all that was used is back, and the key is refused");
        w.finish_limiter();
    });
}

// The bucket has half of the permits that the waiter needs. A newcomer is refused while the waiter waits, and granted
// when the waiter has gone. No other result is allowed.
TEST_CASE("limiter: the only one that waits is canceled beside a call that would pass and a change") {
    every_schedule("limiter: the only one that waits is canceled beside a call that would pass and a change",
                   [](together& threads) {
                       limiter_world w({.tiers = {{"default", {rate(2, 1s)}}, {"other", {rate(1, 1s)}}}});
                       require(w.limiter.try_acquire("k", {.cost = 2}).has_value(), "the first is refused");
                       granted waits;
                       w.limiter.acquire("k", {.cost = 2, .max_wait = 1h}, w.cancellable_into(waits));
                       w.pass(500ms);
                       w.post_cancel();
                       std::optional<result<grant>> comes;
                       threads.run({[&] { w.poll(); }, [&] { comes = w.limiter.try_acquire("k"); },
                                    [&] {
                                        require(w.change({{"default", {rate(2, 1s)}}, {"other", {rate(2, 1s)}}}),
                                                "the change is refused");
                                    }});
                       require(comes->has_value() || comes->error().retry_after == 1s, "it is refused behind nobody");
                       w.settle();
                       require(waits.times == 1 && waits.with(errc::canceled), "the canceled one ends in another way");
                       w.finish_limiter();
                   });
}

TEST_CASE("limiter: the only one that waits runs out of time beside a call that would pass and a change") {
    every_schedule("limiter: the only one that waits runs out of time beside a call that would pass and a change",
                   [](together& threads) {
                       limiter_world w({.tiers = {{"default", {rate(2, 1s)}}, {"other", {rate(1, 1s)}}}});
                       require(w.limiter.try_acquire("k", {.cost = 2}).has_value(), "the first is refused");
                       granted waits;
                       w.limiter.acquire("k", {.cost = 2, .max_wait = 1h}, w.into(waits));
                       require(w.change({{"default", {rate(2, 2h)}}, {"other", {rate(1, 1s)}}}), "refused");
                       w.pass(1h);
                       std::optional<result<grant>> comes;
                       threads.run({[&] { w.poll(); }, [&] { comes = w.limiter.try_acquire("k"); },
                                    [&] {
                                        require(w.change({{"default", {rate(2, 2h)}}, {"other", {rate(2, 1s)}}}),
                                                "the change is refused");
                                    }});
                       require(comes->has_value() || comes->error().retry_after == 2h, "it is refused behind nobody");
                       w.settle();
                       require(waits.times == 1 && waits.with(errc::wait_timed_out), "it does not end by its deadline");
                       w.finish_limiter();
                   });
}

TEST_CASE("limiter: two changes at once; what holds then is one of them whole") {
    every_schedule("limiter: two changes at once; what holds then is one of them whole", [](together& threads) {
        limiter_world w;
        const auto change = [&](std::uint32_t n) {
            rate_limiter_options o = w.options;
            o.tiers[0].quotas = {rate(n, 1h)};
            o.max_waiters = n;
            require(w.limiter.reconfigure(o).has_value(), "the change is refused");
        };
        threads.run({[&] { change(1); }, [&] { change(2); }});
        const auto limit = w.limiter.inspect("k").tightest.limit;
        require(w.limiter.try_acquire("k", {.cost = limit}).has_value(), "a fresh key is refused");
        granted waits[3];
        for (granted& one : waits) {
            w.acquire(one, "k", 100h);
        }
        w.settle();
        std::uint64_t refused = 0;
        for (const granted& one : waits) {
            refused += one.with(errc::queue_full) ? 1 : 0;
        }
        require(refused == 3 - limit, "the quota is of one change, and the bound of the queue of the other");
        w.clock.run_for(w.io, 10h);
        w.finish_limiter();
    });
}

}  // namespace
}  // namespace headgate::explore
