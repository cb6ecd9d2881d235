// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_ZONE_EVENT_STREAM_HPP
#define HEADGATE_LIB_ZONE_EVENT_STREAM_HPP

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <headgate/event.hpp>
#include <headgate/impl/sync.hpp>
#include <headgate/impl/zone_core.hpp>

namespace headgate::detail {

/// The events of a zone and its subscriptions. All members but `deliver` may be called from any thread and under any
/// lock; `deliver` runs on the zone's strand.
class event_stream {
public:
    using handler = std::function<void(const event&)>;

    /// Events that wait for the strand, at most; further events are lost.
    static constexpr std::size_t most_pending = 10'000;

    /// `call` is called for events that are emitted from now on.
    std::uint64_t subscribe(handler call);
    void unsubscribe(std::uint64_t id) noexcept;
    void unsubscribe_all() noexcept;

    /// Numbers and stamps an event, and keeps it when there are subscriptions. True when a delivery has to be posted.
    /// An event for which there is no memory is lost: its number is missing then.
    [[nodiscard]] bool emit(event e, const std::string& name, const zone_core& zone) noexcept;

    /// Calls the subscribers for the events that are there now. When a handler throws, that is the end of this
    /// delivery; the next one goes on behind it.
    void deliver();
    /// After a delivery, however it ended: true when the next one has to be posted.
    [[nodiscard]] bool has_more() noexcept;

private:
    struct subscriber {
        std::uint64_t since;  // the last event before it came
        handler call;
    };
    struct delivery {
        std::shared_ptr<subscriber> to;
        const event* what = nullptr;

        [[nodiscard]] explicit operator bool() const noexcept { return what != nullptr; }
    };

    delivery next(std::uint64_t last);

    detail::mutex mutex_;
    std::uint64_t sequence_ = 0;
    std::uint64_t last_subscription_ = 0;
    std::uint64_t served_ = 0;  // the last subscriber that has heard of the first event
    bool posted_ = false;
    std::deque<event> pending_;
    std::map<std::uint64_t, std::shared_ptr<subscriber>> subscribers_;
};

}  // namespace headgate::detail

#endif
