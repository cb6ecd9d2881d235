// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RATE_LIMITER_GCRA_HPP
#define HEADGATE_LIB_RATE_LIMITER_GCRA_HPP

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <numeric>

#include <headgate/impl/int128.hpp>
#include <headgate/impl/limiter_decision.hpp>
#include <headgate/quota.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

/// What a limiter remembers of one key for one quota. Sixteen bytes without alignment of their own, so that a slot of
/// a key with one quota has twenty-four.
struct quota_state {
    std::uint64_t low;
    std::uint64_t high;

    friend bool operator==(const quota_state&, const quota_state&) = default;
};

/// What a key has used of one quota, counted in exact fractions of a permit: `whole + part / of`.
struct permits_used {
    std::int64_t whole = 0;
    std::int64_t part = 0;
    std::int64_t of = 1;

    /// `by / of_burst` of it, rounded up by less than 2^-31 of a permit, and not at all to a whole number that it
    /// equals. Both are below 2^33.
    [[nodiscard]] permits_used scaled(std::int64_t by, std::int64_t of_burst) const noexcept {
        const int128 scaled_whole = static_cast<int128>(whole) * by;
        const int128 below = static_cast<int128>(of) * of_burst;
        const int128 above = (scaled_whole % of_burst) * of + static_cast<int128>(part) * by;
        constexpr std::int64_t fine = std::int64_t{1} << 31;
        const int128 all = scaled_whole / of_burst + above / below;
        const int128 rest = above % below * fine;
        const auto rounded = static_cast<std::int64_t>(rest / below + (rest % below != 0 ? 1 : 0));
        return {static_cast<std::int64_t>(all) + rounded / fine, rounded % fine, fine};
    }

    friend bool operator<(const permits_used& a, const permits_used& b) noexcept {
        return a.whole != b.whole ? a.whole < b.whole
                                  : static_cast<int128>(a.part) * b.of < static_cast<int128>(b.part) * a.of;
    }
};

/// The generic cell rate algorithm in exact integers. Time is counted in ticks of 1/den ns, where den is permits
/// reduced by its common divisor with the period, so that the time of one permit, `step`, is a whole number of ticks.
/// Ticks are signed 128 bit: 2^63 ns times den < 2^32, plus a burst < 2^32 of steps < 2^63, stays below 2^97.
///
/// The state is tat, the theoretical arrival time: the moment at which the bucket is full again. With
/// tau = step * (burst - 1) a cost of n passes iff now >= tat + (n - 1) * step - tau, which is
/// max(tat, now) + n * step <= now + step * burst; that form also refuses every n > burst, with no test of its own.
class gcra {
public:
    gcra() = default;
    explicit gcra(const quota& q) noexcept {
        const auto period = q.period().count();
        if (!q.is_none()) {
            const auto sustained = static_cast<std::int64_t>(q.sustained());
            const auto common = std::gcd(period, sustained);
            rate_.den = sustained / common;
            rate_.step = period / common;
        } else {
            // Nothing passes, so the step only says how fast a live change to none() forgets what was used before it.
            rate_.step = std::chrono::nanoseconds{std::chrono::hours{24}}.count();
        }
        rate_.burst = static_cast<std::int64_t>(q.burst());
        capacity_ = static_cast<int128>(rate_.step) * rate_.burst;
    }

    [[nodiscard]] static int128 tat(const quota_state& s) noexcept {
        return static_cast<int128>(static_cast<uint128>(s.high) << 64 | s.low);
    }
    static void store(quota_state& s, int128 tat) noexcept {
        s.low = static_cast<std::uint64_t>(static_cast<uint128>(tat));
        s.high = static_cast<std::uint64_t>(static_cast<uint128>(tat) >> 64);
    }

    [[nodiscard]] int128 ticks(time_point t) const noexcept {
        return static_cast<int128>(t.time_since_epoch().count()) * rate_.den;
    }

    [[nodiscard]] const gcra_rate& rate() const noexcept { return rate_; }
    [[nodiscard]] std::int64_t step() const noexcept { return rate_.step; }
    [[nodiscard]] std::int64_t den() const noexcept { return rate_.den; }
    [[nodiscard]] std::int64_t burst() const noexcept { return rate_.burst; }
    [[nodiscard]] int128 capacity() const noexcept { return capacity_; }

    [[nodiscard]] quota_state fresh(time_point now) const noexcept {
        quota_state s{};
        store(s, ticks(now));
        return s;
    }

    /// How far the cost is over what `now` allows, in ticks: it passes iff that is not positive.
    [[nodiscard]] int128 excess(const quota_state& s, std::int64_t cost, time_point now) const noexcept {
        const int128 at = ticks(now);
        return std::max(tat(s), at) + static_cast<int128>(rate_.step) * cost - at - capacity_;
    }

    [[nodiscard]] bool passes(const quota_state& s, std::int64_t cost, time_point now) const noexcept {
        return excess(s, cost, now) <= 0;
    }

    void charge(quota_state& s, std::int64_t cost, time_point now) const noexcept {
        store(s, std::max(tat(s), ticks(now)) + static_cast<int128>(rate_.step) * cost);
    }

    /// The wait after which the cost passes, given that nothing else comes; needs 1 <= cost <= burst.
    [[nodiscard]] int128 wait_ns(const quota_state& s, std::int64_t cost, time_point now) const noexcept {
        const int128 over = excess(s, cost, now);
        return over <= 0 ? 0 : ceil_div(over, rate_.den);
    }

    /// The wait after which no more than `ticks_owed` are owed.
    [[nodiscard]] int128 wait_until_owed(const quota_state& s, int128 ticks_owed, time_point now) const noexcept {
        const int128 over = debt(s, now) - ticks_owed;
        return over <= 0 ? 0 : ceil_div(over, rate_.den);
    }

    /// Whether the state equals that of a key never seen.
    [[nodiscard]] bool is_absent(const quota_state& s, time_point now) const noexcept { return tat(s) <= ticks(now); }

    /// The time that is still owed, in ticks.
    [[nodiscard]] int128 debt(const quota_state& s, time_point now) const noexcept {
        return std::max<int128>(tat(s) - ticks(now), 0);
    }

    [[nodiscard]] permits_used used(const quota_state& s, time_point now) const noexcept {
        const int128 owed = debt(s, now);
        // More than any burst only when time went backwards: hold it, so that the conversion stays in its range.
        constexpr int128 most = int128{1} << 33;
        const int128 whole = owed / rate_.step;
        if (whole >= most) {
            return {static_cast<std::int64_t>(most), 0, 1};
        }
        return {static_cast<std::int64_t>(whole), static_cast<std::int64_t>(owed % rate_.step), rate_.step};
    }

    /// The state in which `u` is used; rounded up by less than a tick, so nothing is forgiven.
    [[nodiscard]] quota_state from_used(const permits_used& u, time_point now) const noexcept {
        quota_state s{};
        const int128 part = ceil_div(static_cast<int128>(u.part) * rate_.step, u.of);
        store(s, ticks(now) + static_cast<int128>(rate_.step) * u.whole + part);
        return s;
    }

private:
    gcra_rate rate_;
    int128 capacity_ = 0;
};

}  // namespace headgate::detail

#endif
