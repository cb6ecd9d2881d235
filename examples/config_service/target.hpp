// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_TARGET_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_TARGET_HPP

#include <optional>
#include <string>
#include <string_view>

namespace config_service {

/// Percent-decoding (RFC 3986). Nothing if an escape is broken or stands for a zero byte.
[[nodiscard]] std::optional<std::string> percent_decoded(std::string_view text);

/// The value of a parameter in the query of a target. Nothing if the parameter is missing or an escape is broken.
[[nodiscard]] std::optional<std::string> query_value(std::string_view target, std::string_view name);

/// The mistake in a configuration path; empty if it has none. A path is 1 to 16 segments with slashes between them. A
/// segment is 1 to 64 letters, digits, and "._~@:+=,-". No segment is "." or "..", and the last one is not "history".
[[nodiscard]] std::string_view path_mistake(std::string_view path);

/// The two parts of a target that is a whole URL (RFC 9112, 3.2.2).
struct whole_url {
    std::string authority;  ///< Host and port.
    std::string target;     ///< Path and query.
};
/// Nothing unless the target is a URL with the scheme http or https.
[[nodiscard]] std::optional<whole_url> split_url(std::string_view target);

/// The port of "host", "host:port" or "[address]:port"; `otherwise` if there is no port.
[[nodiscard]] std::string_view port_of(std::string_view authority, std::string_view otherwise);

/// Whether the tags of an If-Match or If-None-Match include this tag. "*" matches if `exists` is true.
[[nodiscard]] bool matches(std::string_view tags, std::string_view tag, bool exists);

}  // namespace config_service

#endif
