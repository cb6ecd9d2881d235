// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_CONFIG_TEXT_HPP
#define HEADGATE_LIB_CONFIG_TEXT_HPP

#include <cstddef>
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

/// Reads "10/1m" or "none". Nothing for any other text, for numbers that no quota can have, and for a period that is
/// too long.
[[nodiscard]] std::optional<quota> parse_quota(std::string_view text);

/// Says why `name` is no valid name of a zone, a primitive or a tier; empty when it is valid.
[[nodiscard]] std::string name_fault(std::string_view name);
/// What `name_fault` lets pass.
[[nodiscard]] std::string valid_name();

/// Makes text from outside fit for a message: at most `most` bytes, cut between characters. Bytes that are no UTF-8
/// become a question mark, control characters are escaped.
[[nodiscard]] std::string for_people(std::string_view text, std::size_t most);

/// The candidate that differs least from `name`, in at most a third of its letters; empty when none does (Levenshtein).
[[nodiscard]] std::string_view nearest(std::string_view name, std::span<const std::string_view> candidates);

}  // namespace headgate::detail

#endif
