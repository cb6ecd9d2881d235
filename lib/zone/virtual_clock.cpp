// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/virtual_clock.hpp>

#include <algorithm>

#include <headgate/impl/zone_core.hpp>

namespace headgate {

void virtual_clock::attach(std::weak_ptr<detail::zone_core> zone) {
    const std::lock_guard guard(mutex_);
    std::erase_if(zones_, [](const auto& z) { return z.expired(); });
    zones_.push_back(std::move(zone));
}

// Wakes the zones whose deadlines are due. Returns the earliest deadline that is not.
time_point virtual_clock::wake_due() {
    const std::lock_guard guard(mutex_);
    time_point earliest = time_point::max();
    for (const auto& weak : zones_) {
        const auto zone = weak.lock();
        if (!zone) {
            continue;
        }
        const time_point next = zone->next_wake();
        if (next != time_point::max() && next <= now()) {
            zone->wake();
        } else {
            earliest = std::min(earliest, next);
        }
    }
    return earliest;
}

void virtual_clock::run_until(boost::asio::io_context& io, time_point end) {
    for (;;) {
        io.restart();
        while (io.poll() > 0) {
        }
        const time_point next = wake_due();
        io.restart();
        if (io.poll() > 0) {
            continue;
        }
        if (next == time_point::max() || next > end) {
            return;
        }
        set(next);
    }
}

void virtual_clock::run(boost::asio::io_context& io) {
    run_until(io, time_point::max());
}

void virtual_clock::run_for(boost::asio::io_context& io, duration span) {
    const time_point end = saturating_add(now(), span);
    run_until(io, end);
    set(end);
}

}  // namespace headgate
