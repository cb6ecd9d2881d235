// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_POOL_STATUS_HPP
#define HEADGATE_POOL_STATUS_HPP

#include <cstdint>

namespace headgate {

/// What a pool does with those who ask.
enum class pool_state : std::uint8_t {
    active,    ///< Lends.
    paused,    ///< Lends nothing; who asks waits.
    draining,  ///< Refuses newcomers, serves those who wait already, closes what comes back.
    closed,    ///< Refuses all; a late return closes its resource.
};

/// The counts of a pool at one moment. `idle + leased` resources live.
struct pool_status {
    pool_state state = pool_state::active;  ///< What it does with those who ask.
    std::uint32_t size = 0;                 ///< Resources to be kept open.
    std::uint32_t idle = 0;                 ///< Open and not lent, those being pinged included.
    std::uint32_t overflow = 0;             ///< Open beyond `size`.
    std::uint32_t leased = 0;               ///< Lent, or being reset after it.
    std::uint32_t waiting = 0;              ///< Callers in the queue.
    std::uint32_t connecting = 0;           ///< Connects in flight.
};

}  // namespace headgate

#endif
