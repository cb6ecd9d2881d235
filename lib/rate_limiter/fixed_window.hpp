// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RATE_LIMITER_FIXED_WINDOW_HPP
#define HEADGATE_LIB_RATE_LIMITER_FIXED_WINDOW_HPP

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>

#include <headgate/impl/sync.hpp>

#include "rate_limiter/gcra.hpp"

namespace headgate::detail {

/// What makes Unix time of steady time: system - steady. It is fixed, or what a limiter's owner keeps up to date, since
/// the wall clock may step.
class wall_offset {
public:
    wall_offset(duration fixed = {}) noexcept : fixed_(fixed.count()) {}
    explicit wall_offset(const atomic<std::int64_t>& shared) noexcept : shared_(&shared) {}

    [[nodiscard]] std::int64_t get() const noexcept {
        return shared_ != nullptr ? shared_->load(std::memory_order_relaxed) : fixed_;
    }

private:
    const atomic<std::int64_t>* shared_ = nullptr;
    std::int64_t fixed_ = 0;
};

/// A count for each window; windows start at multiples of the period since the UNIX epoch. The state is the start of
/// the window last charged, in steady nanoseconds, and its count. Steady, so that a step of the wall clock leaves no
/// state that is valid for longer than one window. Time before that window counts as its start: time that goes
/// backwards finds the count that is there.
class fixed_window {
public:
    fixed_window() = default;
    fixed_window(const quota& q, wall_offset offset) noexcept
        : period_(q.period().count()), limit_(static_cast<std::int64_t>(q.burst())), offset_(offset) {}

    [[nodiscard]] std::int64_t limit() const noexcept { return limit_; }
    [[nodiscard]] std::int64_t period() const noexcept { return period_; }

    [[nodiscard]] quota_state fresh(time_point now) const noexcept { return make(start_of(now), 0); }

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
        return static_cast<int128>(window(s, now)) + period_ - now.time_since_epoch().count();
    }

    [[nodiscard]] bool is_absent(const quota_state& s, time_point now) const noexcept { return count(s, now) == 0; }

    [[nodiscard]] std::int64_t count(const quota_state& s, time_point now) const noexcept {
        return is_current(s, now) ? static_cast<std::int64_t>(s.high) : 0;
    }

    [[nodiscard]] permits_used used(const quota_state& s, time_point now) const noexcept {
        return {count(s, now), 0, 1};
    }

    [[nodiscard]] quota_state from_used(const permits_used& u, time_point now) const noexcept {
        return make(start_of(now), u.whole + (u.part != 0 ? 1 : 0));
    }

    /// A state as it is saved, with the start of its window in Unix time.
    [[nodiscard]] quota_state to_saved(const quota_state& s) const noexcept {
        return make(to_duration(static_cast<int128>(start(s)) + offset_.get()).count(),
                    static_cast<std::int64_t>(s.high));
    }
    /// A saved window that lies ahead of this clock counts as the current one, so that no caller waits longer than one
    /// window.
    [[nodiscard]] quota_state from_saved(const quota_state& s, time_point now) const noexcept {
        const duration steady = to_duration(static_cast<int128>(start(s)) - offset_.get());
        return make(std::min<std::int64_t>(steady.count(), start_of(now)), static_cast<std::int64_t>(s.high));
    }

private:
    static quota_state make(std::int64_t start, std::int64_t count) noexcept {
        return {static_cast<std::uint64_t>(start), static_cast<std::uint64_t>(count)};
    }
    static std::int64_t start(const quota_state& s) noexcept { return static_cast<std::int64_t>(s.low); }

    /// In the window of the state, or before it.
    [[nodiscard]] bool is_current(const quota_state& s, time_point now) const noexcept {
        return now.time_since_epoch().count() < static_cast<int128>(start(s)) + period_;
    }

    [[nodiscard]] std::int64_t window(const quota_state& s, time_point now) const noexcept {
        return is_current(s, now) ? start(s) : start_of(now);
    }

    [[nodiscard]] std::int64_t start_of(time_point now) const noexcept {
        const std::int64_t steady = now.time_since_epoch().count();
        const auto into = static_cast<std::int64_t>((static_cast<int128>(steady) + offset_.get()) % period_);
        const int128 start = static_cast<int128>(steady) - (into < 0 ? into + period_ : into);
        return static_cast<std::int64_t>(std::max<int128>(start, std::numeric_limits<std::int64_t>::min()));
    }

    std::int64_t period_ = 1;
    std::int64_t limit_ = 0;
    wall_offset offset_{};
};

}  // namespace headgate::detail

#endif
