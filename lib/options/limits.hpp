// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_OPTIONS_LIMITS_HPP
#define HEADGATE_LIB_OPTIONS_LIMITS_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>

#include <headgate/time.hpp>

// The limits of options, for code and for documents alike. The schema in docs/ is tested against them.
namespace headgate::detail {

/// Of any duration.
inline constexpr duration longest_duration = std::chrono::hours{24} * 36'500;
/// Of the window of a breaker.
inline constexpr duration shortest_window = std::chrono::milliseconds{1};
/// Calls that a breaker lets in as probes.
inline constexpr std::uint32_t most_probes = 1'000;
/// Keys of a limiter, and keys that it names as its busiest.
inline constexpr std::uint64_t most_keys = std::uint64_t{1} << 32;
inline constexpr std::uint32_t most_busiest = 1'000;
/// Tiers of a limiter, and quotas that are judged together; these bound copies on the stack.
inline constexpr std::size_t most_tiers = 64;
inline constexpr std::size_t most_quotas = 8;
/// Attempts of a retried call, and further attempts a second without deposits.
inline constexpr std::uint32_t most_attempts = 1'000;
inline constexpr std::uint32_t most_retries_a_second = 1'000'000;
/// Attempts of a hedged call beside the first one, and the durations that its delay is taken from.
inline constexpr std::uint32_t most_hedges = 10;
inline constexpr std::uint32_t most_samples = 512;
/// Results that a coalescer keeps.
inline constexpr std::uint32_t most_kept = 1'000'000;
/// Characters of a name.
inline constexpr std::size_t longest_name = 128;
/// How deeply objects and arrays may be nested. A valid document needs nine levels.
inline constexpr std::size_t deepest = 64;

}  // namespace headgate::detail

#endif
