// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_CLIENT_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_CLIENT_HPP

#include <boost/asio/ip/address.hpp>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace config_service {

namespace ip = boost::asio::ip;

/// Addresses that begin with the same bits.
class network {
public:
    /// "10.0.0.0/8", "2001:db8::/32", or an address alone; nothing for other texts, and where there are bits behind the
    /// prefix, which most often is a mistake.
    [[nodiscard]] static std::optional<network> parse(std::string_view text);

    [[nodiscard]] bool contains(const ip::address& address) const;

    friend bool operator==(const network&, const network&) = default;

private:
    network() = default;

    std::array<unsigned char, 16> first_{};
    unsigned bits_ = 0;
    bool is_v4_ = false;
};

/// Of texts that all are networks.
[[nodiscard]] std::vector<network> networks_of(const std::vector<std::string>& texts);

/// The address itself, where it is an IPv4 one in the clothes of an IPv6 one.
[[nodiscard]] ip::address plain(const ip::address& address);

/// Who sent a request that came from `peer`. What the fields X-Forwarded-For and Forwarded (RFC 7239) say is believed
/// only from trusted proxies: each of them is asked whom it got the request from, until somebody is none of them, or it
/// does not say. Where both fields are there and disagree, a client may have made one of them up: neither is believed.
[[nodiscard]] ip::address client_address(const ip::address& peer, std::string_view x_forwarded_for,
                                         std::string_view forwarded, const std::vector<network>& trusted_proxies);

/// What is counted as one client: an IPv4 address, or the /64 that an IPv6 client has all addresses of.
[[nodiscard]] std::string client_key(const ip::address& client);

}  // namespace config_service

#endif
