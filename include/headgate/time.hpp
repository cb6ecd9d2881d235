// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TIME_HPP
#define HEADGATE_TIME_HPP

#include <chrono>

namespace headgate {

/// Every duration in headgate: signed whole nanoseconds.
using duration = std::chrono::nanoseconds;

/// A point of steady time, real or virtual. Policies take it as an argument; a zone reads it from its clock.
using time_point = std::chrono::time_point<std::chrono::steady_clock, duration>;

/// `t + d` without overflow: the result is held at the ends of the range of `time_point`.
constexpr time_point saturating_add(time_point t, duration d) noexcept {
    duration::rep sum{};
    if (__builtin_add_overflow(t.time_since_epoch().count(), d.count(), &sum)) {
        return d.count() < 0 ? time_point::min() : time_point::max();
    }
    return time_point{duration{sum}};
}

/// `a - b` without overflow: the result is held at the ends of the range of `duration`.
constexpr duration saturating_sub(time_point a, time_point b) noexcept {
    duration::rep difference{};
    if (__builtin_sub_overflow(a.time_since_epoch().count(), b.time_since_epoch().count(), &difference)) {
        return b.time_since_epoch().count() > 0 ? duration::min() : duration::max();
    }
    return duration{difference};
}

}  // namespace headgate

#endif
