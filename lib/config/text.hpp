// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_CONFIG_TEXT_HPP
#define HEADGATE_LIB_CONFIG_TEXT_HPP

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <headgate/quota.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

/// In the largest unit in which it is whole; not negative.
[[nodiscard]] std::string format_duration(duration d);

/// "10/1m", "none". Nothing for anything else, and for what is no quota.
[[nodiscard]] std::optional<quota> parse_quota(std::string_view text);

/// A step of a JSON pointer (RFC 6901): the name with a slash before it, escaped.
[[nodiscard]] std::string pointer_step(std::string_view name);

/// The candidate that differs least from `name`, in at most a third of its letters; empty when none does (Levenshtein).
[[nodiscard]] std::string_view nearest(std::string_view name, std::span<const std::string_view> candidates);

}  // namespace headgate::detail

#endif
