// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIMITER_OPTIONS_HPP
#define HEADGATE_LIMITER_OPTIONS_HPP

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <headgate/busy_key.hpp>
#include <headgate/config_problem.hpp>
#include <headgate/export.hpp>
#include <headgate/quota.hpp>
#include <headgate/result.hpp>
#include <headgate/time.hpp>

namespace headgate {

/// Quotas under a name. A call that names no tier uses the first one of its limiter.
struct tier {
    /// The name by which a call selects it.
    std::string name;
    /// 1 to 8, judged together: all pass and all are charged, or none is.
    std::vector<quota> quotas;

    friend bool operator==(const tier&, const tier&) = default;
};

/// How a `rate_limiter` behaves. `reconfigure` changes `tiers` and `max_waiters`; the others stay as they were made.
struct rate_limiter_options {
    /// At least one. State belongs to a key within the limiter: a call that names another tier keeps what was used. A
    /// quota takes the state of the one with the same algorithm and period; where the other tier has none, that of the
    /// nearest period: of a longer one by the share that is used (if that is fewer permits), of a shorter one by the
    /// permits. What a tier does not mention is kept, and ages, for up to 8 quotas of the longest periods.
    std::vector<tier> tiers{};
    /// Keys remembered at once. Further keys share one bucket, and an event says so. Calls that wait for the shared
    /// bucket are served from it. While any call waits there, no new key gets a bucket of its own.
    std::uint64_t max_keys = std::uint64_t{1} << 20;
    /// Calls that may wait for one key at once.
    std::uint32_t max_waiters = 1024;
    /// Keeps created, last update and refusals for each key: 24 bytes more, and a slower decision.
    bool track_keys = false;
    /// How many of the busiest keys a snapshot tells, with up to 128 bytes of text; 0 to 1,000. Zero: off. Each call
    /// then searches so many words under a lock that all keys share: some 10 ns for 16 keys on one thread.
    std::uint32_t busiest = 0;

    friend bool operator==(const rate_limiter_options&, const rate_limiter_options&) = default;
};

/// What is wrong with `options`: each mistake by itself, none when all is right. `create` and `reconfigure` refuse what
/// has one.
[[nodiscard]] HEADGATE_DECL std::vector<config_problem> check(const rate_limiter_options& options);

/// What a call asks for. Trivially destructible.
struct acquire_options {
    /// Permits; at least 1.
    std::uint64_t cost = 1;
    /// How long `acquire` may wait for them. `duration::max()` is without end; zero and less is no time: it is tried
    /// once, and refused with `rate_limited`.
    duration max_wait{};
    /// Which tier of the limiter; empty is the first. Looked up by name.
    std::string_view tier{};
    /// The time now, when the caller has read the zone's clock already; it is read when this is `time_point::min()`.
    time_point now = time_point::min();
};

/// One quota as it stands for a key.
struct quota_usage {
    std::uint64_t limit = 0;      ///< The most that can pass at once.
    std::uint64_t used = 0;       ///< Permits not yet back, rounded up.
    std::uint64_t remaining = 0;  ///< Permits that could pass now.
    duration reset_after{};       ///< Until all are back, or the next window; rounded up.
};

/// What a limiter knows of a key.
struct key_info {
    bool known = false;                      ///< Whether it is remembered; an unknown key is as good as new.
    std::string tier{};                      ///< The tier that it is in.
    quota_usage tightest{};                  ///< The quota with the fewest permits left.
    std::vector<quota_usage> quotas{};       ///< All quotas, in their order.
    std::optional<time_point> created{};     ///< With `track_keys`.
    std::optional<time_point> updated{};     ///< With `track_keys`: the last grant.
    std::optional<std::uint64_t> refused{};  ///< With `track_keys`.
};

/// What a limiter is doing and has done since it was made. A call counts once, with its last word: one that waits and
/// is granted was not refused.
struct rate_limiter_snapshot {
    std::uint64_t granted = 0;        ///< Calls that were granted.
    std::uint64_t refused = 0;        ///< Calls that were refused for want of permits or room in a queue.
    std::uint64_t keys = 0;           ///< Keys that are remembered.
    std::uint64_t bytes = 0;          ///< Memory of the table of keys.
    std::uint64_t waiting = 0;        ///< Calls that wait.
    bool overflowing = false;         ///< Whether new keys share a bucket.
    std::vector<busy_key> busiest{};  ///< The busiest first; empty unless `busiest` is on.
};

}  // namespace headgate

#endif
