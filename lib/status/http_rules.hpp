// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_STATUS_HTTP_RULES_HPP
#define HEADGATE_LIB_STATUS_HTTP_RULES_HPP

#include <boost/asio/ip/address.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headgate::detail {

/// The target of a request, as a path or as a whole URL (RFC 9112, 3.2).
struct request_target {
    std::optional<std::string_view> authority{};  ///< Of a whole URL: host and port.
    std::string_view path;                        ///< "/" where a URL has none.
    std::string_view query;                       ///< Without its question mark.
};

[[nodiscard]] request_target parse_target(std::string_view target);

/// The value of a parameter of a query, as it stands there; nothing when it has none of that name.
[[nodiscard]] std::optional<std::string_view> query_value(std::string_view query, std::string_view name);

/// The host of "host", "host:port", "[address]" or "[address]:port", without brackets and without the dot that ends a
/// whole name; nothing when it is none of these.
struct host_name {
    std::string_view text;
    bool bracketed = false;
};
[[nodiscard]] std::optional<host_name> parse_host(std::string_view host_and_port);

/// Whether it can be a name in `host_rule`: a host alone.
[[nodiscard]] bool is_host_name(std::string_view text);

enum class host_verdict { allowed, foreign, malformed };

/// Under which hosts a server answers. A web page that has its own name point to this machine (DNS rebinding) comes
/// with that name: a browser does not let it send another one.
class host_rule {
public:
    /// `localhost`, loopback addresses and `names`; every address too when it listens on another than loopback.
    host_rule(const boost::asio::ip::address& listens_on, std::vector<std::string> names);

    [[nodiscard]] host_verdict judge(std::string_view host_and_port) const;

private:
    std::vector<std::string> names_;
    bool any_address_;
};

}  // namespace headgate::detail

#endif
