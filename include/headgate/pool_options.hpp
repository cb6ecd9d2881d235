// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_POOL_OPTIONS_HPP
#define HEADGATE_POOL_OPTIONS_HPP

#include <chrono>
#include <cstdint>
#include <vector>

#include <headgate/config_problem.hpp>
#include <headgate/export.hpp>
#include <headgate/time.hpp>

namespace headgate {

/// Which idle resource the next checkout gets.
enum class pool_strategy : std::uint8_t {
    lifo,  ///< The one returned last: few resources are hot, the others age and may be retired.
    fifo,  ///< The one returned first: all take turns.
};

/// How a `resource_pool` behaves. Durations that say "zero: off" switch their feature off when they are zero.
struct pool_options {
    /// Resources that the pool keeps open. Zero: all are made on demand, within `max_overflow`.
    std::uint32_t size = 10;
    /// More resources made while callers wait, and dismissed afterwards.
    std::uint32_t max_overflow = 0;
    /// How long a resource above `size` stays idle before it is dismissed. Zero: dismissed on return.
    duration overflow_ttl{};
    /// Which idle resource goes first.
    pool_strategy strategy = pool_strategy::lifo;
    /// Callers that may wait at once; one more gets `queue_full`. Zero: nobody waits.
    std::uint32_t max_waiters = 10'000;
    /// How long a checkout waits unless it says otherwise; `duration::max()` for no limit.
    duration max_wait = std::chrono::seconds{5};

    /// How long one connect may take, and one close that is a coroutine; that no longer than `max_pool_close`.
    duration connect_timeout = std::chrono::seconds{5};
    /// Connects in flight at once, at most. While the backend is down there is only one.
    std::uint32_t max_connecting = 4;
    /// Pause after the first failed connect; it doubles with each further failure, up to `backoff_max`.
    duration backoff_min = std::chrono::milliseconds{100};
    /// Where doubling stops.
    duration backoff_max = std::chrono::seconds{5};
    /// The part of each pause that is random, 0 to 1: a pause is drawn from [(1 - jitter) * pause, pause].
    double backoff_jitter = 0.2;

    /// A resource older than this is replaced: another is made, and it is closed when that is there and it is not lent.
    /// Zero: off.
    duration max_lifetime{};
    /// The part of each lifetime that is random, 0 to 1, so that resources made together do not end together.
    double lifetime_jitter = 0.1;
    /// A resource idle for this long is closed; one within `size` is replaced by a fresh one, which is made first.
    /// Zero: off.
    duration idle_timeout{};
    /// A resource idle for this long is pinged, and again each time as long passes. Zero: off.
    duration ping_interval{};
    /// How long a ping may take before the resource counts as dead, and a reset that is a coroutine.
    duration ping_timeout = std::chrono::seconds{1};
    /// A lease held for longer raises one event that names where it was checked out. Zero: off.
    duration leak_threshold{};

    friend bool operator==(const pool_options&, const pool_options&) = default;
};

/// The largest `size + max_overflow`.
inline constexpr std::uint32_t max_pool_resources = 1'000'000;

/// How long a close that is a coroutine may take at most, whatever `connect_timeout` says: the close of a zone waits
/// for it.
inline constexpr duration max_pool_close = std::chrono::seconds{30};

/// What is wrong with `options`: each mistake by itself, none when all is right. `create` and `reconfigure` refuse what
/// has one.
[[nodiscard]] HEADGATE_DECL std::vector<config_problem> check(const pool_options& options);

}  // namespace headgate

#endif
