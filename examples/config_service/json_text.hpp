// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_JSON_TEXT_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_JSON_TEXT_HPP

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace config_service {

/// The first mistake in a text that should be JSON.
struct json_mistake {
    std::size_t position = 0;  ///< The byte that is wrong, counted from 1.
    std::string what;
};

/// How deep arrays and objects may be nested.
inline constexpr int max_json_depth = 100;

/// Returns nothing if the text is one JSON value (RFC 8259) in UTF-8 without a byte order mark. The service stores the
/// text itself, so it rounds no number, and no number is too large. An escape of half a character (a lone surrogate) is
/// a mistake, because programs do not agree on its meaning.
[[nodiscard]] std::optional<json_mistake> check_json(std::string_view text);

}  // namespace config_service

#endif
