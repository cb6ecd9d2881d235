// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/adaptive_limit.hpp>

#include <doctest/doctest.h>

#include <array>
#include <numeric>
#include <random>

#include "../../bench/overload_sim/simulation.hpp"

using namespace headgate;
using namespace headgate::detail;
using namespace std::chrono_literals;

namespace {

constexpr time_point start{1'000'000s};  // a full eight seconds

/// A limit that is told of calls in windows of 100 ms, in which all calls are alike.
struct told {
    explicit told(const adaptive& bounds = {}) : limit(bounds) {}

    void call(duration took, adaptive_outcome how = adaptive_outcome::success) {
        limit.began(now, limit.limit());
        limit.ended(now + took, took, how);
    }
    /// 64 calls, the last of which ends 100 ms after the end of the window before.
    void window(duration took, bool refused = true, double dropped = 0) {
        const time_point end = std::max(now, last_end) + 101ms;
        if (refused) {
            limit.refused();
        }
        for (int i = 0; i < 64; ++i) {
            now = end - took;
            call(took, i < 64 * dropped ? adaptive_outcome::dropped : adaptive_outcome::success);
        }
        now = last_end = end;
    }
    void windows(int count, duration took, bool refused = true) {
        for (int i = 0; i < count; ++i) {
            window(took, refused);
        }
    }

    adaptive_limit limit;
    time_point now = start + 1ms;
    time_point last_end = start + 1ms;
};

}  // namespace

TEST_CASE("adaptive limit: begins with what is configured, and other bounds hold at once") {
    adaptive_limit limit({.min = 2, .max = 100, .initial = 30});
    CHECK(limit.limit() == 30);
    limit.change({.min = 2, .max = 10, .initial = 5});
    CHECK(limit.limit() == 10);
    limit.change({.min = 40, .max = 50, .initial = 45});
    CHECK(limit.limit() == 40);
}

TEST_CASE("adaptive limit: grows while callers find no place, and not while they do") {
    told t;
    t.windows(30, 10ms, false);
    CHECK(t.limit.limit() == 20);
    std::uint32_t last = 20;
    for (int i = 0; i < 10; ++i) {
        t.window(10ms);
        CHECK(t.limit.limit() > last);
        last = t.limit.limit();
    }
    CHECK(last > 100);
}

TEST_CASE("adaptive limit: up to 2.3 times the unhindered latency it grows, above it falls") {
    struct row {
        double factor;
        int direction;
    };
    for (const row& r : {row{1, 1}, {1.5, 1}, {2.2, 1}, {2.4, -1}, {5, -1}, {1000, -1}}) {
        CAPTURE(r.factor);
        told t({.initial = 100});
        t.windows(3, 10ms, false);
        t.window(std::chrono::duration_cast<duration>(r.factor * 10ms));
        CHECK((t.limit.limit() > 100) == (r.direction > 0));
        CHECK((t.limit.limit() < 100) == (r.direction < 0));
    }
}

TEST_CASE("adaptive limit: the slower calls are, the lower it is, but one cut is at most to the half") {
    std::uint32_t last = 1000;
    for (int ms = 10; ms < 200; ++ms) {
        told t({.initial = 100});
        t.windows(3, 10ms, false);
        t.window(ms * 1ms);
        CHECK(t.limit.limit() <= last);
        CHECK(t.limit.limit() >= 50);
        last = t.limit.limit();
    }
    CHECK(last == 50);
}

TEST_CASE("adaptive limit: cuts until the queue is gone") {
    told t({.initial = 400});  // of a backend that works on 40 calls at once, 10 ms each
    t.windows(3, 10ms, false);
    for (int i = 0; i < 10; ++i) {
        t.window(t.limit.limit() * 10ms / 40);
    }
    CHECK(t.limit.limit() >= 50);
    CHECK(t.limit.limit() <= 100);
}

TEST_CASE("adaptive limit: a cut that does not help is taken back, and measured at the next full eight seconds") {
    told t({.initial = 100});
    t.windows(3, 10ms, false);
    t.window(50ms);
    CHECK(t.limit.limit() == 50);
    t.window(50ms);
    CHECK(t.limit.limit() == 100);
    t.windows(20, 50ms);
    CHECK(t.limit.limit() == 100);

    t.now = t.last_end = start + 8s;
    t.call(50ms);
    CHECK(t.limit.limit() == 33);
    t.now += 110ms;  // what was in the queue has left it
    const time_point began = t.now;
    for (int i = 0; i < 64; ++i) {
        t.limit.began(began, 33);
    }
    for (int i = 0; i < 56; ++i) {
        CHECK(t.limit.limit() == 33);
        t.limit.ended(began + 50ms, 50ms, adaptive_outcome::success);
    }
    CHECK(t.limit.limit() == 100);
    t.now = t.last_end = began + 50ms;
    t.windows(3, 60ms);  // which is not slow any more
    CHECK(t.limit.limit() > 100);
}

TEST_CASE("adaptive limit: nothing is measured while callers find places") {
    told t;
    for (int i = 0; i < 400; ++i) {
        t.window(10ms, false);
        CHECK(t.limit.limit() == 20);
    }
}

TEST_CASE("adaptive limit: a measurement without answers ends") {
    told t;
    t.windows(3, 10ms);
    const std::uint32_t before = t.limit.limit();
    t.now = start + 8s;
    t.limit.refused();
    t.call(10ms);
    CHECK(t.limit.limit() == before / 3);
    for (int i = 0; i < 100; ++i) {  // which hang
        t.limit.began(t.now + 500ms, 1);
    }
    t.limit.ended(t.now + 900ms, 1ms, adaptive_outcome::success);
    CHECK(t.limit.limit() == before / 3);  // not of those that it waits for
    t.limit.ended(t.now + 2s, 1ms, adaptive_outcome::success);
    CHECK(t.limit.limit() == before);
}

TEST_CASE("adaptive limit: a measurement of few calls at once does not take those that have just begun for fast ones") {
    told t({.initial = 30});
    t.windows(3, 10ms, false);
    t.now = start + 8s;
    t.limit.refused();
    t.call(10ms);
    CHECK(t.limit.limit() == 10);
    t.now += 30ms;
    std::array<time_point, 10> running{};
    running.fill(t.now);
    for (int i = 0; i < 10; ++i) {
        t.limit.began(t.now, 10);
    }
    for (int i = 0; t.limit.limit() == 10 && i < 1000; ++i) {
        t.now += 1ms;  // one ends, and another begins
        time_point& began = running[static_cast<std::size_t>(i) % running.size()];
        t.limit.ended(t.now, t.now - began, adaptive_outcome::success);
        began = t.now;
        t.limit.began(t.now, 10);
    }
    CHECK(t.limit.limit() == 30);
    t.last_end = t.now;
    t.window(18ms);  // not yet too slow
    CHECK(t.limit.limit() > 30);
}

TEST_CASE("adaptive limit: a service that has become slower without a cut is measured, and the limit stays") {
    told t({.initial = 30});
    t.windows(3, 10ms, false);
    t.now = start + 8s;
    t.limit.refused();
    t.call(20ms);
    t.now += 100ms;
    for (int i = 0; i < 64; ++i) {
        t.limit.began(t.now, 10);
    }
    for (int i = 0; i < 56; ++i) {
        t.limit.ended(t.now + 20ms, 20ms, adaptive_outcome::success);
    }
    CHECK(t.limit.limit() == 30);
    t.last_end = t.now + 20ms;
    t.window(40ms);
    CHECK(t.limit.limit() > 30);
}

TEST_CASE("adaptive limit: one dropped call in eight is too many, one in sixteen is not") {
    for (const double share : {0.0, 1.0 / 16, 1.0 / 8, 0.25, 1.0}) {
        CAPTURE(share);
        told t({.initial = 100});
        t.windows(3, 10ms, false);
        t.window(10ms, true, share);
        CHECK((t.limit.limit() < 100) == (share > 0.15));
        CHECK((t.limit.limit() > 100) == (share < 0.15));
    }
}

TEST_CASE("adaptive limit: when all calls are dropped it falls to its least, whatever it was") {
    told t({.min = 3, .initial = 1000});
    t.windows(3, 10ms, false);
    for (int i = 0; i < 12; ++i) {
        t.window(1ms, true, 1);
    }
    CHECK(t.limit.limit() == 3);
    t.windows(40, 10ms);
    CHECK(t.limit.limit() > 300);
}

TEST_CASE("adaptive limit: failures and cancelled calls teach nothing, however fast") {
    told t({.initial = 100});
    t.windows(3, 10ms, false);
    for (int i = 0; i < 10'000; ++i) {
        t.now += 1ms;
        t.limit.refused();
        t.call(10us, i % 2 == 0 ? adaptive_outcome::failure : adaptive_outcome::neutral);
    }
    t.last_end = t.now;
    CHECK(t.limit.limit() == 100);
    t.window(15ms);
    CHECK(t.limit.limit() > 100);
}

TEST_CASE("adaptive limit: calls that were slow while few places were used do not let more in") {
    told t({.initial = 100});
    t.windows(3, 10ms, false);
    for (int i = 0; i < 64; ++i) {
        t.limit.began(t.now, 7);
        t.limit.ended(t.now + 101ms, 101ms, adaptive_outcome::success);
    }
    CHECK(t.limit.limit() == 7);
}

TEST_CASE("adaptive limit: time that goes back an hour is the time that it is") {
    told t({.initial = 100});
    t.windows(3, 10ms, false);
    t.now = t.last_end = start - 1h;
    t.windows(3, 10ms);
    CHECK(t.limit.limit() > 100);
    t.window(50ms);
    t.now = t.last_end = start - 24h;
    const std::uint32_t before = t.limit.limit();
    t.windows(3, 10ms);
    CHECK(t.limit.limit() > before);
}

TEST_CASE("adaptive limit: all rare calls are timed, of frequent ones one in 64") {
    adaptive_limit limit({});
    auto timed = [&, now = start](int calls, duration gap) mutable {
        int count = 0;
        for (int i = 0; i < calls; ++i) {
            now += gap;
            if (limit.wants_sample()) {
                ++count;
                limit.began(now, 1);
            }
        }
        return count;
    };
    CHECK(timed(1000, 1ms) == 1000);
    CHECK(timed(1'000'000, 50ns) < 20'000);
    CHECK(timed(64, 100ms) >= 1);
    CHECK(timed(1000, 100ms) == 1000);
}

TEST_CASE("adaptive limit: stays between its bounds in every sequence, with any time and duration") {
    constexpr std::array odd{duration::min(), duration{-1}, duration::zero(), duration{1}, duration::max()};
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random(seed);
        adaptive bounds;
        bounds.min = static_cast<std::uint32_t>(1 + random() % 50);
        bounds.max = static_cast<std::uint32_t>(bounds.min + random() % (seed % 2 == 0 ? 1000 : UINT32_MAX / 2));
        bounds.initial = static_cast<std::uint32_t>(bounds.min + random() % (bounds.max - bounds.min + 1));
        adaptive_limit limit(bounds);
        time_point now = start;
        for (int step = 0; step < 5000; ++step) {
            const auto kind = random() % 2000;
            now = kind == 0   ? time_point::max()
                  : kind == 1 ? time_point::min()
                  : kind == 2 ? start
                              : saturating_add(now, duration(random() % 5'000'000) - 100us);
            if (random() % 8 == 0) {
                limit.refused();
            }
            limit.began(now, static_cast<std::uint32_t>(random()));
            const duration took = random() % 100 == 0 ? odd[random() % odd.size()] : duration(random() % 50'000'000);
            const std::uint32_t before = limit.limit();
            const bool changed = limit.ended(now, took, static_cast<adaptive_outcome>(random() % 4));
            CHECK(changed == (limit.limit() != before));
            CHECK(limit.limit() >= bounds.min);
            CHECK(limit.limit() <= bounds.max);
        }
    }
}

// In the simulation ---------------------------------------------------------------------------------------------------

namespace {

overload_sim::limiter_source adapting() {
    for (const overload_sim::contender& c : overload_sim::contenders()) {
        if (c.name == "headgate") {
            return [make = c.make](std::uint64_t seed) { return make({}, seed); };
        }
    }
    return {};
}

overload_sim::scenario overloaded(std::uint32_t servers, double capacities) {
    const double capacity = servers / 0.025;
    return {"", "", {{.length = 20s, .offered = capacities * capacity, .servers = servers}}};
}

}  // namespace

TEST_CASE("adaptive limit: three times the capacity is answered at 0.95 of it, at most 3 times as slow as unloaded") {
    const overload_sim::scenario what = overloaded(50, 3);
    const auto results = overload_sim::simulate(what, 7, adapting());
    CHECK(results[0].good > 0.95 * 20 * 2000);
    CHECK(results[0].taken.quantile(0.99) < 3 * overload_sim::unloaded_p99(what.work, 7));
    CHECK(results[0].good == overload_sim::simulate(what, 7, adapting())[0].good);
}

TEST_CASE("adaptive limit: finds a backend of 500 and one of 2 servers") {
    CHECK(overload_sim::simulate(overloaded(500, 2), 7, adapting())[0].good > 0.85 * 20 * 20'000);
    CHECK(overload_sim::simulate(overloaded(2, 2), 7, adapting())[0].good > 0.9 * 20 * 80);
}

TEST_CASE("adaptive limit: five clients of one backend get shares of it, and leave it no queue") {
    overload_sim::scenario what = overloaded(100, 3);
    what.clients = 5;
    const auto results = overload_sim::simulate(what, 7, adapting());
    CHECK(results[0].good > 0.95 * 20 * 4000);
    CHECK(results[0].taken.quantile(0.99) < 3 * overload_sim::unloaded_p99(what.work, 7));
    for (const std::uint64_t good : results[0].good_of_client) {
        CHECK(good > 0.4 * 20 * 800);
    }
}
