// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_BENCH_OVERLOAD_SIM_CODEL_HPP
#define HEADGATE_BENCH_OVERLOAD_SIM_CODEL_HPP

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include <headgate/time.hpp>

namespace headgate::detail {

/// Controlled delay for a queue of callers, without I/O, clock or lock. Nichols, Jacobson, "Controlling Queue Delay",
/// ACM Queue 2012, as Facebook changed it for servers: Maurer, "Fail at Scale", ACM Queue 2015, and folly's `Codel`.
///
/// A queue is overloaded when the oldest waited for more than the target through a whole interval. While it is: who has
/// waited for more than twice the target is shed, and the newest is served first. The oldest have the least time left,
/// and to serve them is to serve those who give up.
///
/// What it needs of its queue, which holds a lock:
/// ```
/// // a place is free
/// while (somebody waits && queue.sheds(now, wait of the oldest)) {
///     shed the oldest;
/// }
/// serve (queue.newest_first() ? the newest : the oldest);
/// // a caller was served without a queue, or nobody is left in it
/// queue.empty(now);
/// ```
class codel {
public:
    static constexpr duration target = std::chrono::milliseconds{5};
    static constexpr duration interval = std::chrono::milliseconds{100};

    /// Whether the oldest, who has `waited`, is to be shed.
    [[nodiscard]] bool sheds(time_point now, duration waited) noexcept {
        look(now, waited);
        return overloaded_ && waited > 2 * target;
    }
    void empty(time_point now) noexcept { look(now, duration::zero()); }

    [[nodiscard]] bool newest_first() const noexcept { return overloaded_; }

private:
    void look(time_point now, duration waited) noexcept {
        const duration left = saturating_sub(interval_end_, now);
        if (left <= duration::zero() || left > interval) [[unlikely]] {
            // Nothing is known of an interval that nobody looked at.
            overloaded_ = seen_ && least_ > target && left > -interval && left <= duration::zero();
            interval_end_ = saturating_add(now, interval);
            seen_ = false;
        }
        least_ = seen_ ? std::min(least_, waited) : waited;
        seen_ = true;
    }

    time_point interval_end_ = time_point::min();
    duration least_{};         // wait in this interval,
    bool seen_ = false;        // if anybody looked
    bool overloaded_ = false;  // in the last one
};

/// Which class of waiters is served next: the highest, but the lowest one time in sixteen, so that nobody starves.
class class_choice {
public:
    static constexpr std::size_t classes = 4;
    static constexpr std::uint32_t lowest_share = 16;

    /// Of those with `waiting[c] != 0`, 3 is the highest. Precondition: there is one.
    [[nodiscard]] std::size_t next(const std::array<std::uint32_t, classes>& waiting) noexcept {
        const bool lowest = ++turn_ % lowest_share == 0;
        std::size_t found = lowest ? 0 : classes - 1;
        while (waiting[found] == 0) {
            found = lowest ? found + 1 : found - 1;
        }
        return found;
    }

private:
    std::uint32_t turn_ = 0;
};

}  // namespace headgate::detail

#endif
