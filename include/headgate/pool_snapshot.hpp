// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_POOL_SNAPSHOT_HPP
#define HEADGATE_POOL_SNAPSHOT_HPP

#include <cstdint>

namespace headgate {

/// What a pool does with its callers.
enum class pool_state : std::uint8_t {
    active,    ///< Lends.
    paused,    ///< Lends nothing; callers wait.
    draining,  ///< Refuses new callers, serves those in the queue, closes returned resources.
    closed,    ///< Refuses all; a late return closes its resource.
};

/// What a pool is doing and has done since it was made. `idle + leased` resources live.
struct pool_snapshot {
    pool_state state = pool_state::active;  ///< What it does with its callers.
    std::uint32_t size = 0;                 ///< Resources to be kept open.
    std::uint32_t idle = 0;                 ///< Open and not lent, those being pinged included.
    std::uint32_t overflow = 0;             ///< Open beyond `size`.
    std::uint32_t leased = 0;               ///< Lent, or being reset after it.
    std::uint32_t waiting = 0;              ///< Callers in the queue.
    std::uint32_t connecting = 0;           ///< Connects in flight.

    std::uint64_t granted = 0;           ///< Checkouts that got a resource.
    std::uint64_t queued = 0;            ///< Checkouts that waited.
    std::uint64_t wait_timed_out = 0;    ///< Waits whose time was up.
    std::uint64_t canceled = 0;          ///< Waits that were cancelled.
    std::uint64_t exhausted = 0;         ///< Checkouts that would not wait and found nothing.
    std::uint64_t queue_full = 0;        ///< Checkouts that found too many in the queue.
    std::uint64_t connect_failed = 0;    ///< Checkouts that were refused because the backend refuses connects.
    std::uint64_t connects = 0;          ///< Connects that succeeded.
    std::uint64_t connect_failures = 0;  ///< Connects that failed.
    std::uint64_t closed = 0;            ///< Resources that were closed.
    std::uint64_t leaks = 0;             ///< Leases held past `leak_threshold`.
};

}  // namespace headgate

#endif
