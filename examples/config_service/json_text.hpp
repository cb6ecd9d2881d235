// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_JSON_TEXT_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_JSON_TEXT_HPP

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace config_service {

/// What is wrong with a text that should be JSON.
struct json_mistake {
    std::size_t position = 0;  ///< The byte that is wrong, counted from 1.
    std::string what;
};

/// How many arrays and objects may stand within each other.
inline constexpr int max_json_depth = 100;

/// Nothing when it is one JSON value (RFC 8259) in UTF-8 without a byte order mark. The text itself is what is stored,
/// so that no number is rounded, and none is too large. An escape of half a character is refused: programs do not agree
/// on what it is.
[[nodiscard]] std::optional<json_mistake> check_json(std::string_view text);

}  // namespace config_service

#endif
