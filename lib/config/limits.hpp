// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_CONFIG_LIMITS_HPP
#define HEADGATE_LIB_CONFIG_LIMITS_HPP

#include <chrono>
#include <cstddef>

#include <headgate/time.hpp>

// What a document may hold, beside the limits of single members, which stand in the table of members. The schema in
// docs/ is tested against both.
namespace headgate::detail {

/// Of any duration.
inline constexpr duration longest_duration = std::chrono::hours{24} * 36'500;
/// Tiers of a limiter, and quotas that are judged together.
inline constexpr std::size_t most_tiers = 64;
inline constexpr std::size_t most_quotas = 8;
/// Characters of a name.
inline constexpr std::size_t longest_name = 128;
/// How deeply objects and arrays may be nested. A valid document needs nine levels.
inline constexpr std::size_t deepest = 64;

}  // namespace headgate::detail

#endif
