// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "rate_limiter/judge.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <deque>
#include <initializer_list>
#include <random>
#include <vector>

using namespace headgate;
using namespace headgate::detail;
using namespace std::chrono_literals;

namespace {

constexpr time_point epoch{};

quota per(std::uint64_t n, duration period, std::optional<std::uint64_t> burst = {}) {
    return quota::per(n, period, burst).value();
}

/// A key with its quotas, in virtual time.
struct bench_key {
    judge quotas;
    judge::states state{};

    bench_key(std::initializer_list<quota> q, time_point now, duration offset = {})
        : quotas(std::vector<quota>{q}, offset) {
        quotas.fresh(state.data(), now);
    }
    bool passes(std::int64_t cost, time_point now) const { return quotas.passes(state.data(), cost, now); }
    bool ask(std::int64_t cost, time_point now) {
        if (!passes(cost, now)) {
            return false;
        }
        quotas.charge(state.data(), cost, now);
        return true;
    }
    duration wait(std::int64_t cost, time_point now) const {
        return to_duration(quotas.wait_ns(state.data(), cost, now));
    }
    grant describe(time_point now) const { return quotas.describe(state.data(), now); }
    int burst(time_point now) {
        int n = 0;
        while (ask(1, now)) {
            ++n;
        }
        return n;
    }
};

std::uint64_t seed() {
    static const std::uint64_t value = [] {
        const char* given = std::getenv("HEADGATE_SEED");
        return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    }();
    return value;
}

/// A slow and simple model of a bucket, in exact fractions. Its level counts units of 1/period permits, so that a
/// nanosecond gives back exactly `sustained` units.
struct rational_model {
    int128 period;
    int128 sustained;
    int128 burst;
    int128 used = 0;
    time_point last{};

    explicit rational_model(const quota& q, time_point start)
        : period(q.period().count()),
          sustained(static_cast<int128>(q.sustained())),
          burst(static_cast<int128>(q.burst())),
          last(start) {}
    bool ask(std::int64_t cost, time_point now) {
        const int128 after = level(now) + cost * period;
        if (after > burst * period) {
            return false;
        }
        used = after;
        last = now;
        return true;
    }
    int128 level(time_point now) const {
        return std::max<int128>(used - static_cast<int128>((now - last).count()) * sustained, 0);
    }
};

}  // namespace

TEST_CASE("gcra: against an exact rational model, never more than burst + floor(W/T) in any window W") {
    const auto run_seed = seed();
    INFO("HEADGATE_SEED=" << run_seed);
    MESSAGE("HEADGATE_SEED=" << run_seed);
    std::mt19937_64 random{run_seed};
    const auto pick = [&](std::uint64_t low, std::uint64_t high) {
        return std::uniform_int_distribution<std::uint64_t>{low, high}(random);
    };
    int events = 0;
    while (events < 400'000) {
        const auto permits = pick(0, 3) == 0 ? pick(1, 10'000'000) : pick(2, 50);
        const duration period{static_cast<std::int64_t>(pick(0, 1) == 0 ? pick(1, 1000) : pick(1, 100'000'000'000))};
        const bool strict = pick(0, 2) == 0;
        const quota q = strict && permits > 1
                            ? quota::at_most(permits, period, pick(1, std::min<std::uint64_t>(permits - 1, 20))).value()
                            : per(permits, period, pick(1, 20));
        time_point now = epoch + duration{static_cast<std::int64_t>(pick(0, 1'000'000))};
        bench_key ours{{q}, now};
        rational_model model{q, now};
        std::deque<std::pair<time_point, std::int64_t>> granted;
        std::int64_t in_window = 0;
        const auto mean = std::max<std::int64_t>(period.count() / static_cast<std::int64_t>(q.sustained()), 1);
        for (int i = 0; i < 1000; ++i, ++events) {
            if (pick(0, 2) != 0) {
                now += duration{static_cast<std::int64_t>(pick(0, static_cast<std::uint64_t>(mean) * 2))};
            }
            const auto cost = static_cast<std::int64_t>(pick(0, 4) == 0 ? pick(1, q.burst() + 1) : 1);
            const bool expected = model.ask(cost, now);
            if (!expected && cost <= static_cast<std::int64_t>(q.burst())) {
                const duration wait = ours.wait(cost, now);
                REQUIRE(wait > 0ns);
                REQUIRE(ours.passes(cost, now + wait));
                REQUIRE_FALSE(ours.passes(cost, now + wait - 1ns));
            }
            REQUIRE(ours.ask(cost, now) == expected);
            const auto used = (model.level(now) + model.period - 1) / model.period;
            REQUIRE(ours.describe(now).remaining() == static_cast<std::uint64_t>(model.burst - used));
            if (expected) {
                granted.emplace_back(now, cost);
                in_window += cost;
            }
            // The window [now - period, now] is closed: both of its ends count.
            while (!granted.empty() && granted.front().first < now - period) {
                in_window -= granted.front().second;
                granted.pop_front();
            }
            REQUIRE(in_window <= static_cast<std::int64_t>(q.burst() + q.sustained()));
            if (q.is_at_most()) {
                REQUIRE(in_window <= static_cast<std::int64_t>(q.permits()));
            }
        }
    }
}

TEST_CASE("fixed_window: first access is count 1, limit 2 gives ok 1, ok 2, refused, refused, and turns") {
    const auto q = quota::fixed_window(2, 1s).value();
    bench_key key{{q}, epoch};
    CHECK(key.ask(1, epoch));
    CHECK(key.describe(epoch).remaining() == 1);
    CHECK(key.ask(1, epoch + 10ms));
    CHECK_FALSE(key.ask(1, epoch + 20ms));
    CHECK_FALSE(key.ask(1, epoch + 999999999ns));
    CHECK(key.wait(1, epoch + 20ms) == 980ms);
    CHECK(key.ask(1, epoch + 1s));
    CHECK(key.describe(epoch + 1s).reset_after() == 1s);
}

TEST_CASE("fixed_window: windows align to multiples of the period since the UNIX epoch") {
    const auto q = quota::fixed_window(1, 1min).value();
    bench_key key{{q}, epoch, 59s};
    CHECK(key.ask(1, epoch));
    CHECK(key.wait(1, epoch) == 1s);
    CHECK_FALSE(key.ask(1, epoch + 999ms));
    CHECK(key.ask(1, epoch + 1s));
    CHECK(key.wait(1, epoch + 1s) == 1min);

    bench_key early{{q}, epoch - 90s};
    CHECK(early.ask(1, epoch - 90s));
    CHECK(early.wait(1, epoch - 90s) == 30s);
}

TEST_CASE("limiter: 15 updates of one user at 10 a minute give 10 grants and 5 refusals with retry_after > 0") {
    bench_key key{{per(10, 1min)}, epoch};
    int granted = 0;
    int refused = 0;
    for (int i = 0; i < 15; ++i) {
        if (key.ask(1, epoch)) {
            ++granted;
        } else {
            ++refused;
            CHECK(key.wait(1, epoch) == 6s);
        }
    }
    CHECK(granted == 10);
    CHECK(refused == 5);
}

TEST_CASE("limiter: retry_after is computed from the time that is left") {
    bench_key key{{per(10, 1min)}, epoch};
    key.burst(epoch);
    CHECK(key.wait(1, epoch + 5s) == 1s);
    CHECK(key.wait(10, epoch + 5s) == 55s);
    CHECK(key.wait(1, epoch + 6s) == 0s);
}

TEST_CASE("gcra: a permit whose time is no whole number of nanoseconds is not truncated") {
    bench_key key{{per(3, 10ns, 1)}, epoch};
    int granted = 0;
    for (std::int64_t t = 0; t < 10'000; ++t) {
        granted += key.ask(1, epoch + duration{t}) ? 1 : 0;
    }
    // One grant each 4 ns, because time counts in whole nanoseconds. With a burst of two no permit is lost.
    CHECK(granted == 2500);
    bench_key loose{{per(3, 10ns, 2)}, epoch};
    granted = 0;
    for (std::int64_t t = 0; t < 10'000; ++t) {
        granted += loose.ask(1, epoch + duration{t}) ? 1 : 0;
    }
    CHECK(granted == 3001);
}

TEST_CASE("limiter: a cost of n takes n permits, above the burst it can never pass") {
    bench_key key{{per(10, 10s)}, epoch};
    CHECK(key.quotas.largest_cost() == 10);
    CHECK(key.ask(7, epoch));
    CHECK_FALSE(key.ask(4, epoch));
    CHECK(key.wait(4, epoch) == 1s);
    CHECK(key.ask(3, epoch));
    CHECK_FALSE(key.ask(11, epoch + std::chrono::hours{1000}));
    CHECK(key.ask(10, epoch + std::chrono::hours{1000}));
}

TEST_CASE("limiter: several quotas pass together and are charged all or none") {
    bench_key key{{per(2, 1s), per(3, 1h), quota::fixed_window(100, 1min).value()}, epoch};
    CHECK(key.quotas.largest_cost() == 2);
    CHECK(key.ask(2, epoch));
    const auto before = key.state;
    CHECK_FALSE(key.ask(2, epoch));
    CHECK(key.state == before);
    CHECK(key.wait(1, epoch) == 500ms);
    CHECK(key.wait(2, epoch) == 20min);
    CHECK(key.ask(1, epoch + 500ms));
    // The quota of the hour refuses now. The quotas of the second and the minute are not charged.
    const auto later = key.state;
    for (int i = 0; i < 10; ++i) {
        CHECK_FALSE(key.ask(1, epoch + 10s));
    }
    CHECK(key.state == later);
    CHECK(key.wait(1, epoch + 10s) == 20min - 10s);
    CHECK(key.describe(epoch + 10s).limit() == 3);
    CHECK(key.describe(epoch + 10s).remaining() == 0);
}

TEST_CASE("limiter: time going backwards by any amount gives no extra grant and no permanent refusal") {
    for (const duration back : {1ns, duration{1s}, duration{std::chrono::hours{24 * 365}}}) {
        for (const auto& q : {per(5, 1s), quota::fixed_window(5, 1s).value()}) {
            const time_point now = epoch + std::chrono::hours{24 * 1000};
            bench_key key{{q}, now};
            CHECK(key.burst(now) == 5);
            CHECK(key.burst(now - back) == 0);
            CHECK(key.wait(1, now - back) >= 1ns);
            CHECK(key.burst(now + 1s) == 5);
            CHECK(key.burst(now) == 0);
            CHECK(key.burst(now + 2s) == 5);
        }
    }
}

TEST_CASE("limiter: the clock standing still, jumping far ahead, and near its end") {
    for (const auto& q :
         {per(5, 1s), quota::fixed_window(5, 1s).value(), per(quota::max_permits, duration::max(), 5),
          quota::fixed_window(5, 1ns).value(), per(5, 1ns), quota::fixed_window(5, duration::max()).value()}) {
        for (const duration offset : {duration::min(), duration::zero(), duration::max()}) {
            bench_key key{{q}, time_point::min(), offset};
            CHECK(key.burst(time_point::min()) == 5);
            CHECK(key.wait(1, time_point::min()) > 0ns);
            bench_key end{{q}, time_point::max(), offset};
            CHECK(end.burst(time_point::max()) == 5);
            CHECK(end.wait(1, time_point::max()) > 0ns);
            CHECK(end.describe(time_point::max()).remaining() == 0);
        }
        bench_key key{{q}, time_point::min()};
        key.burst(time_point::min());
        CHECK(key.burst(time_point::max()) == 5);
        CHECK(key.wait(1, time_point::min()) == duration::max());
    }
}

TEST_CASE("limiter: rates of 1 per day and 10 million per second") {
    bench_key slow{{per(1, 24h)}, epoch};
    CHECK(slow.ask(1, epoch));
    CHECK(slow.wait(1, epoch) == 24h);
    CHECK_FALSE(slow.ask(1, epoch + 24h - 1ns));
    CHECK(slow.ask(1, epoch + 24h));

    bench_key fast{{per(10'000'000, 1s, 1)}, epoch};
    int granted = 0;
    for (std::int64_t t = 0; t < 100'000; ++t) {
        granted += fast.ask(1, epoch + duration{t}) ? 1 : 0;
    }
    CHECK(granted == 1000);
}

TEST_CASE("limiter: a live change of a quota keeps what was used") {
    const judge ten{std::vector{per(10, 1min)}, {}};
    const judge twenty{std::vector{per(20, 1min)}, {}};
    const judge four{std::vector{per(4, 1min)}, {}};
    const judge window{std::vector{quota::fixed_window(10, 1min).value()}, {}};
    judge::states s{};
    judge::states out{};
    const time_point now = epoch + 1h;
    ten.fresh(s.data(), now);
    ten.charge(s.data(), 7, now);

    ten.convert(s.data(), twenty, out.data(), now);
    CHECK(twenty.describe(out.data(), now).remaining() == 13);
    ten.convert(s.data(), four, out.data(), now);
    CHECK(four.describe(out.data(), now).remaining() == 0);
    CHECK(to_duration(four.wait_ns(out.data(), 1, now)) == 60s);
    ten.convert(s.data(), window, out.data(), now);
    CHECK(window.describe(out.data(), now).remaining() == 3);
    judge::states back{};
    window.convert(out.data(), ten, back.data(), now);
    CHECK(back == s);
}

TEST_CASE(
    "limiter: a shrinking quota does not forgive, a growing one does not double-spend, however often it changes") {
    std::mt19937_64 random{seed()};
    INFO("HEADGATE_SEED=" << seed());
    for (int round = 0; round < 2000; ++round) {
        const auto any = [&] {
            return rule{per(1 + random() % 1000, duration{static_cast<std::int64_t>(1 + random() % 1'000'000'007)},
                            1 + random() % 1000),
                        {}};
        };
        const rule a = any();
        const rule b = any();
        const time_point now{duration{static_cast<std::int64_t>(random() % 1'000'000'000'000)}};
        quota_state s = a.fresh(now);
        a.charge(s, static_cast<std::int64_t>(1 + random() % static_cast<std::uint64_t>(a.burst())), now);
        const time_point later = now + duration{static_cast<std::int64_t>(random() % 1000)};
        const auto used = a.used(s, later);
        const quota_state there = a.convert(s, b, later);
        const auto kept = b.used(there, later);
        // kept >= used, and by less than one tick of b.
        const int128 left = (static_cast<int128>(kept.whole) * kept.of + kept.part) * used.of;
        const int128 right = (static_cast<int128>(used.whole) * used.of + used.part) * kept.of;
        CHECK(left >= right);
        CHECK(left - right < used.of);
    }
}

TEST_CASE("limiter: quota::none() refuses always") {
    bench_key key{{quota::none()}, epoch};
    CHECK_FALSE(key.ask(1, epoch));
    CHECK_FALSE(key.ask(1, time_point::max()));
    CHECK(key.quotas.largest_cost() == 0);
    CHECK(key.describe(epoch).limit() == 0);
    CHECK(key.describe(epoch).remaining() == 0);
}

TEST_CASE("limiter: a bucket is absent exactly when it equals one never used") {
    for (const auto& q : {per(3, 10ns), quota::fixed_window(3, 10ns).value()}) {
        bench_key key{{q}, epoch};
        CHECK(key.quotas.is_absent(key.state.data(), epoch));
        key.burst(epoch);
        CHECK_FALSE(key.quotas.is_absent(key.state.data(), epoch + 9ns));
        CHECK(key.quotas.is_absent(key.state.data(), epoch + 10ns));
    }
}

TEST_CASE("limiter: a hit over the limit is not counted, so a later larger limit is right") {
    bench_key key{{quota::fixed_window(2, 1min).value()}, epoch};
    for (int i = 0; i < 10; ++i) {
        (void)key.ask(1, epoch);
    }
    const judge larger{std::vector{quota::fixed_window(3, 1min).value()}, {}};
    judge::states out{};
    key.quotas.convert(key.state.data(), larger, out.data(), epoch);
    CHECK(larger.describe(out.data(), epoch).remaining() == 1);
}

TEST_CASE("gcra: a window edge never lets twice the limit through") {
    bench_key key{{quota::at_most(10, 1s, 5).value()}, epoch};
    int granted = 0;
    for (duration t = 990ms; t <= 1010ms; t += 1ms) {
        granted += key.burst(epoch + t);
    }
    CHECK(granted == 5);
}
