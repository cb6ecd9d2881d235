// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "zone/event_stream.hpp"

#include <mutex>
#include <new>
#include <utility>

namespace headgate::detail {

std::uint64_t event_stream::subscribe(handler call) {
    auto made = std::make_shared<subscriber>();
    made->call = std::move(call);
    const std::lock_guard guard(mutex_);
    made->since = sequence_;
    subscribers_.emplace(last_subscription_ + 1, std::move(made));
    return ++last_subscription_;
}

void event_stream::unsubscribe(std::uint64_t id) noexcept {
    std::shared_ptr<subscriber> gone;  // the handler is destroyed after the unlock
    const std::lock_guard guard(mutex_);
    if (const auto found = subscribers_.find(id); found != subscribers_.end()) {
        gone = std::move(found->second);
        subscribers_.erase(found);
    }
}

void event_stream::unsubscribe_all() noexcept {
    decltype(subscribers_) gone;
    const std::lock_guard guard(mutex_);
    gone.swap(subscribers_);
}

bool event_stream::emit(event e, const std::string& name, const zone_core& zone) noexcept {
    const std::lock_guard guard(mutex_);
    e.sequence = ++sequence_;
    if (subscribers_.empty() || pending_.size() >= most_pending) {
        return false;
    }
    e.time = zone.now();
    e.system_time =
        std::chrono::system_clock::time_point(std::chrono::duration_cast<std::chrono::system_clock::duration>(
            saturating_add(e.time, zone.system_offset()).time_since_epoch()));
    try {
        e.name = name;
        pending_.push_back(std::move(e));
    } catch (const std::bad_alloc&) {
        return false;
    }
    return !std::exchange(posted_, true);
}

// The next call to make, for an event up to `last`. A subscription that has ended, or began after the event, is
// skipped.
event_stream::delivery event_stream::next(std::uint64_t last) {
    const std::lock_guard guard(mutex_);
    while (!pending_.empty() && pending_.front().sequence <= last) {
        const event& first = pending_.front();
        auto to = subscribers_.upper_bound(served_);
        while (to != subscribers_.end() && to->second->since >= first.sequence) {
            ++to;
        }
        if (to != subscribers_.end()) {
            served_ = to->first;
            return {to->second, &first};
        }
        pending_.pop_front();
        served_ = 0;
    }
    return {};
}

void event_stream::deliver() {
    std::uint64_t last = 0;
    {
        const std::lock_guard guard(mutex_);
        last = sequence_;
    }
    // The event stays where it is until all have heard of it: others only add behind it.
    while (const delivery one = next(last)) {
        one.to->call(*one.what);
    }
}

bool event_stream::has_more() noexcept {
    const std::lock_guard guard(mutex_);
    posted_ = !pending_.empty();
    return posted_;
}

}  // namespace headgate::detail
