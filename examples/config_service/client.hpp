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

/// An IP network: the addresses that begin with the same bits.
class network {
public:
    /// Parses "10.0.0.0/8", "2001:db8::/32", or a single address. Returns nothing for any other text, and nothing when
    /// a bit behind the prefix is set, which is most often a mistake.
    [[nodiscard]] static std::optional<network> parse(std::string_view text);

    [[nodiscard]] bool contains(const ip::address& address) const;

    friend bool operator==(const network&, const network&) = default;

private:
    network() = default;

    std::array<unsigned char, 16> first_{};
    unsigned bits_ = 0;
    bool is_v4_ = false;
};

/// Precondition: every text is a valid network.
[[nodiscard]] std::vector<network> networks_of(const std::vector<std::string>& texts);

/// Turns an IPv4-mapped IPv6 address into its IPv4 address. Other addresses stay the same.
[[nodiscard]] ip::address plain(const ip::address& address);

/// The address of the client that sent a request over a connection from `peer`. The fields X-Forwarded-For and
/// Forwarded (RFC 7239) count only when a trusted proxy sends them. The search goes back from proxy to proxy until an
/// address is no trusted proxy, or the field names no earlier one. If the two fields disagree, a client may have forged
/// one of them, so neither counts.
[[nodiscard]] ip::address client_address(const ip::address& peer, std::string_view x_forwarded_for,
                                         std::string_view forwarded, const std::vector<network>& trusted_proxies);

}  // namespace config_service

#endif
