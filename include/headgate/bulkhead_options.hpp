// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_BULKHEAD_OPTIONS_HPP
#define HEADGATE_BULKHEAD_OPTIONS_HPP

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include <headgate/adaptive.hpp>
#include <headgate/config_problem.hpp>
#include <headgate/export.hpp>
#include <headgate/time.hpp>

namespace headgate {

/// How a `bulkhead` behaves.
struct bulkhead_options {
    /// Calls that may run at once; 1 to `max_pool_resources`. Without a meaning when there is a `limit`.
    std::uint32_t max_concurrent = 10;
    /// A limit that follows what the backend can do, in place of `max_concurrent`; at most `max_pool_resources`.
    std::optional<adaptive> limit{};
    /// Callers that may wait at once; one more gets `queue_full`. Zero: nobody waits.
    std::uint32_t max_waiters = 10'000;
    /// How long a caller waits unless it says otherwise; `duration::max()` for no limit. Zero: not at all, `exhausted`
    /// at once.
    duration max_wait = std::chrono::seconds{5};

    friend bool operator==(const bulkhead_options&, const bulkhead_options&) = default;
};

/// What is wrong with `options`: each mistake by itself, none when all is right. `create` and `reconfigure` refuse what
/// has one.
[[nodiscard]] HEADGATE_DECL std::vector<config_problem> check(const bulkhead_options& options);

/// What a bulkhead is doing and has done since it was made.
struct bulkhead_snapshot {
    std::uint32_t max_concurrent = 0;  ///< Calls that may run at once now.
    std::uint32_t running = 0;         ///< Calls that run.
    std::uint32_t waiting = 0;         ///< Callers in the queue.

    std::uint64_t granted = 0;         ///< Callers that got a place.
    std::uint64_t queued = 0;          ///< Callers that waited.
    std::uint64_t wait_timed_out = 0;  ///< Waits whose time was up.
    std::uint64_t canceled = 0;        ///< Waits that were cancelled.
    std::uint64_t exhausted = 0;       ///< Callers that would not wait and found no place.
    std::uint64_t queue_full = 0;      ///< Callers that found too many in the queue.
};

}  // namespace headgate

#endif
