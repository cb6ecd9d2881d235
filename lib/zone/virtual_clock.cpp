// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/virtual_clock.hpp>

#include <algorithm>
#include <mutex>
#include <vector>

#include <headgate/impl/zone_core.hpp>

#include "zone/context_state.hpp"

namespace headgate {

namespace {

using system_time = std::chrono::system_clock::time_point;

// The offset of a clock that shows `epoch` at `start`, held at the ends of the range.
duration offset_between(time_point start, system_time epoch) noexcept {
    const auto since_1970 = std::chrono::duration_cast<duration>(epoch.time_since_epoch());
    return saturating_sub(time_point(since_1970), start);
}

/// While it lives, deadlines that come due are noted. Handlers may throw meanwhile.
class trace {
public:
    explicit trace(detail::clock_state& clock) noexcept : clock_(clock) { clock_.tracing = true; }
    trace(const trace&) = delete;
    trace& operator=(const trace&) = delete;
    ~trace() { (void)take(); }

    /// What has come due. Ends it.
    std::vector<std::string> take() noexcept {
        clock_.tracing = false;
        std::vector<std::string> due;
        const std::lock_guard guard(clock_.mutex);
        due.swap(clock_.due);
        return due;
    }

private:
    detail::clock_state& clock_;
};

bool poll(boost::asio::io_context& io) {
    io.restart();
    bool any = false;
    while (io.poll() > 0) {
        any = true;
    }
    return any;
}

}  // namespace

virtual_clock::virtual_clock(time_point start, system_time epoch)
    : state_(std::make_shared<detail::clock_state>(start, offset_between(start, epoch))) {}

system_time virtual_clock::system_now() const noexcept {
    const auto since_1970 = saturating_add(now(), duration{state_->offset_ns.load(std::memory_order_relaxed)});
    return system_time(std::chrono::duration_cast<system_time::duration>(since_1970.time_since_epoch()));
}

void virtual_clock::step_system(duration by) noexcept {
    const auto stepped = saturating_add(time_point(duration{state_->offset_ns.load()}), by);
    state_->offset_ns.store(stepped.time_since_epoch().count());
}

// Wakes the zones whose deadlines are due. Returns the earliest deadline that is not.
time_point virtual_clock::wake_due() {
    std::vector<std::shared_ptr<detail::zone_core>> zones;  // let go after the unlock: one may be the last reference
    {
        const std::lock_guard guard(state_->mutex);
        for (detail::zone_core* const zone : state_->zones) {
            zones.push_back(zone->weak_from_this().lock());
        }
    }
    time_point earliest = time_point::max();
    for (const auto& zone : zones) {
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

// False when there is more to do after so many jumps.
bool virtual_clock::run_until(boost::asio::io_context& io, time_point end, std::uint64_t jumps) {
    const auto context = detail::context_state::of(io);
    for (;;) {
        poll(io);
        const time_point next = wake_due();
        if (poll(io)) {
            continue;
        }
        if (context->held()) {
            context->wait(std::chrono::milliseconds(1));
            continue;
        }
        if (poll(io)) {
            continue;  // posted before the last hold ended
        }
        if (next == time_point::max() || next > end) {
            return true;
        }
        if (jumps-- == 0) {
            return false;
        }
        set(std::max(next, now()));
    }
}

void virtual_clock::run(boost::asio::io_context& io, std::uint64_t jumps) {
    const time_point start = now();
    if (run_until(io, time_point::max(), jumps)) {
        return;
    }
    const auto hours = std::chrono::duration_cast<std::chrono::hours>(saturating_sub(now(), start)).count();
    throw system_error(error(errc::wait_timed_out, "virtual_clock::run has jumped " + std::to_string(jumps) +
                                                       " times, by " + std::to_string(hours) +
                                                       " h, and does not end; what keeps it running is " +
                                                       find_culprits(io) + "; use run_for, or close the zone first"));
}

// The deadlines that come due in some more jumps.
std::string virtual_clock::find_culprits(boost::asio::io_context& io) {
    trace traced(*state_);
    run_until(io, time_point::max(), 100);
    std::string out;
    for (const std::string& one : traced.take()) {
        out += (out.empty() ? "" : ", ") + one;
    }
    return out;
}

void virtual_clock::run_for(boost::asio::io_context& io, duration span) {
    const time_point end = saturating_add(now(), std::max(span, duration::zero()));
    run_until(io, end, ~std::uint64_t{0});
    set(std::max(end, now()));
}

clock_hold::clock_hold(boost::asio::execution_context& context) : context_(detail::context_state::of(context)) {
    context_->hold();
}

void clock_hold::reset() noexcept {
    if (const auto context = std::move(context_)) {
        context->release();
    }
}

}  // namespace headgate
