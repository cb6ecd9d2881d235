// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_STATUS_EVENT_LOG_HPP
#define HEADGATE_LIB_STATUS_EVENT_LOG_HPP

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include <headgate/event.hpp>

#include "status/json.hpp"

namespace headgate::detail {

[[nodiscard]] std::int64_t unix_ms(std::chrono::nanoseconds since_epoch);

/// The last events of all zones, and what went wrong in the site itself. The subscriptions of the zones share it: one
/// may be delivered while the site goes. Thread-safe; the lock is held for copies of pointers only.
class event_log {
public:
    /// An event of a zone. Without memory it is lost.
    void note(const std::string& zone_name, const event& e) noexcept;
    /// A failure of what the service gave the site.
    void note_failure(std::string_view event_name, const std::string& of, std::string_view why) noexcept;

    /// Those after number `since`, and the number of the last one.
    void write(std::uint64_t since, json& out) const;

private:
    struct entry {
        std::uint64_t id;
        std::shared_ptr<json> text;
    };

    void add(std::deque<entry>& where, json made);

    mutable std::mutex mutex_;
    std::deque<entry> changes_;  // of breakers: other events, of which there may be many, do not push these out
    std::deque<entry> others_;
    std::uint64_t last_ = 0;
};

}  // namespace headgate::detail

#endif
