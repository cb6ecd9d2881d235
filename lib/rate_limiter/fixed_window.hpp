// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RATE_LIMITER_FIXED_WINDOW_HPP
#define HEADGATE_LIB_RATE_LIMITER_FIXED_WINDOW_HPP

#include <algorithm>
#include <cstdint>
#include <limits>

#include "rate_limiter/gcra.hpp"

namespace headgate::detail {

/// A count for each window; windows start at multiples of the period since the UNIX epoch. The state is the start of
/// the window last charged, in Unix nanoseconds, and its count. Time before that window counts as its start: time that
/// goes backwards finds the count that is there.
class fixed_window {
public:
    fixed_window() = default;
    /// `unix_offset` is what makes Unix time of steady time: system - steady.
    fixed_window(const quota& q, duration unix_offset) noexcept
        : period_(q.period().count()), limit_(static_cast<std::int64_t>(q.burst())), offset_(unix_offset) {}

    [[nodiscard]] std::int64_t limit() const noexcept { return limit_; }
    [[nodiscard]] std::int64_t period() const noexcept { return period_; }

    [[nodiscard]] quota_state fresh(time_point now) const noexcept { return make(start_of(unix(now)), 0); }

    [[nodiscard]] bool passes(const quota_state& s, std::int64_t cost, time_point now) const noexcept {
        return count(s, now) + cost <= limit_;
    }

    void charge(quota_state& s, std::int64_t cost, time_point now) const noexcept {
        const std::int64_t before = count(s, now);
        s = make(window(s, now), before + cost);
    }

    /// The wait after which the cost passes, given that nothing else comes; needs 1 <= cost <= limit.
    [[nodiscard]] int128 wait_ns(const quota_state& s, std::int64_t cost, time_point now) const noexcept {
        return passes(s, cost, now) ? 0 : to_next_window(s, now);
    }

    [[nodiscard]] int128 to_next_window(const quota_state& s, time_point now) const noexcept {
        return static_cast<int128>(window(s, now)) + period_ - unix(now);
    }

    [[nodiscard]] bool is_absent(const quota_state& s, time_point now) const noexcept { return count(s, now) == 0; }

    [[nodiscard]] std::int64_t count(const quota_state& s, time_point now) const noexcept {
        return is_current(s, unix(now)) ? static_cast<std::int64_t>(s.high) : 0;
    }

    [[nodiscard]] permits_used used(const quota_state& s, time_point now) const noexcept {
        return {count(s, now), 0, 1};
    }

    [[nodiscard]] quota_state from_used(const permits_used& u, time_point now) const noexcept {
        return make(start_of(unix(now)), u.whole + (u.part != 0 ? 1 : 0));
    }

private:
    static quota_state make(std::int64_t start, std::int64_t count) noexcept {
        return {static_cast<std::uint64_t>(start), static_cast<std::uint64_t>(count)};
    }
    static std::int64_t start(const quota_state& s) noexcept { return static_cast<std::int64_t>(s.low); }

    [[nodiscard]] std::int64_t unix(time_point now) const noexcept {
        return saturating_add(now, offset_).time_since_epoch().count();
    }

    /// In the window of the state, or before it.
    [[nodiscard]] bool is_current(const quota_state& s, std::int64_t unix) const noexcept {
        return unix < static_cast<int128>(start(s)) + period_;
    }

    [[nodiscard]] std::int64_t window(const quota_state& s, time_point now) const noexcept {
        const std::int64_t u = unix(now);
        return is_current(s, u) ? start(s) : start_of(u);
    }

    [[nodiscard]] std::int64_t start_of(std::int64_t unix) const noexcept {
        const std::int64_t into = unix % period_;
        const int128 start = static_cast<int128>(unix) - (into < 0 ? into + period_ : into);
        return static_cast<std::int64_t>(std::max<int128>(start, std::numeric_limits<std::int64_t>::min()));
    }

    std::int64_t period_ = 1;
    std::int64_t limit_ = 0;
    duration offset_{};
};

}  // namespace headgate::detail

#endif
