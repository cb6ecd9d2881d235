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
/// them, each of 1 to 64 letters, digits, and "._~@:+=,-", none of them "." or "..", and the last one not "history".
[[nodiscard]] std::string_view path_mistake(std::string_view path);

/// A target that is a whole URL (RFC 9112, 3.2.2), in two.
struct whole_url {
    std::string authority;  ///< Host and port.
    std::string target;     ///< Path and query.
};
/// Nothing when the target is none with the scheme http or https.
[[nodiscard]] std::optional<whole_url> split_url(std::string_view target);

/// The port of "host", "host:port" or "[address]:port"; `otherwise` where it names none.
[[nodiscard]] std::string_view port_of(std::string_view authority, std::string_view otherwise);

/// Whether an If-Match or If-None-Match names this version; `exists` is what "*" asks for.
[[nodiscard]] bool matches(std::string_view tags, std::string_view tag, bool exists);

}  // namespace config_service

#endif
