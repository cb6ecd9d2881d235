// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_CLOCK_STATE_HPP
#define HEADGATE_IMPL_CLOCK_STATE_HPP

#include <string>
#include <vector>

#include <headgate/impl/sync.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

class zone_core;

/// What a `virtual_clock` shares with its zones, so that a handle that outlives the clock still reads a time: the last
/// one.
struct clock_state {
    clock_state(time_point start, duration system_offset) noexcept
        : now_ns(start.time_since_epoch().count()), offset_ns(system_offset.count()) {}

    [[nodiscard]] time_point now() const noexcept {
        return time_point{duration{now_ns.load(std::memory_order_relaxed)}};
    }

    atomic<duration::rep> now_ns;
    atomic<duration::rep> offset_ns;  // system time less `now`

    mutable detail::mutex mutex;
    std::vector<zone_core*> zones;  // each takes itself out in its destructor

    // While `run` wants to know what keeps it running: the deadlines that came due, by what they are of.
    atomic<bool> tracing{false};
    std::vector<std::string> due;
};

}  // namespace headgate::detail

#endif
