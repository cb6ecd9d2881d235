// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_TARGET_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_TARGET_HPP

#include <optional>
#include <string>
#include <string_view>

namespace config_service {

/// Percent-decoding (RFC 3986); nothing where an escape is broken or stands for a zero byte.
[[nodiscard]] std::optional<std::string> percent_decoded(std::string_view text);

/// The value of a parameter in the query of a target; nothing when it is not there or is broken.
[[nodiscard]] std::optional<std::string> query_value(std::string_view target, std::string_view name);

/// What is wrong with a configuration path; empty when nothing is. A path is 1 to 16 segments with slashes between
/// them, each of 1 to 64 letters, digits, and "._~@:+=,-", and none of them "." or "..".
[[nodiscard]] std::string_view path_mistake(std::string_view path);

/// Whether an If-Match or If-None-Match names this version; `exists` is what "*" asks for.
[[nodiscard]] bool matches(std::string_view tags, std::string_view tag, bool exists);

}  // namespace config_service

#endif
