// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "client.hpp"

#include <boost/beast/core/string.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <utility>

namespace config_service {

namespace {

std::optional<ip::address> address_of(std::string_view text) {
    boost::system::error_code ec;
    const auto address = ip::make_address(std::string(text), ec);
    if (ec || text.find('%') != std::string_view::npos) {  // an interface name means nothing on another machine
        return {};
    }
    return plain(address);
}

template <class Bytes>
void copy_front(const Bytes& from, std::array<unsigned char, 16>& to) {
    std::copy(from.begin(), from.end(), to.begin());
}

std::array<unsigned char, 16> bytes_of(const ip::address& address) {
    std::array<unsigned char, 16> out{};
    address.is_v4() ? copy_front(address.to_v4().to_bytes(), out) : copy_front(address.to_v6().to_bytes(), out);
    return out;
}

// Clears all but the first `bits`.
void cut(std::array<unsigned char, 16>& bytes, unsigned bits) {
    for (unsigned i = 0; i < bytes.size(); ++i) {
        const unsigned kept = bits >= 8 * (i + 1) ? 8 : bits > 8 * i ? bits - 8 * i : 0;
        bytes[i] = static_cast<unsigned char>(bytes[i] & (0xff00u >> kept));
    }
}

bool is_number(std::string_view text, unsigned most) {
    unsigned n = 0;
    const auto [stop, failed] = std::from_chars(text.data(), text.data() + text.size(), n);
    return stop == text.data() + text.size() && failed == std::errc{} && n <= most;
}

std::string_view trimmed(std::string_view text) {
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && blank(text.front())) {
        text.remove_prefix(1);
    }
    while (!text.empty() && blank(text.back())) {
        text.remove_suffix(1);
    }
    return text;
}

// An address with or without brackets and a port: "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]:80".
std::optional<ip::address> node_of(std::string_view text) {
    std::string_view host = text, port = "0";
    if (text.starts_with('[')) {
        const auto end = std::min(text.find(']'), text.size());
        host = text.substr(1, end - 1);
        const std::string_view rest = text.substr(std::min(end + 1, text.size()));
        if (end == text.size() || host.find(':') == std::string_view::npos || (!rest.empty() && rest[0] != ':')) {
            return {};
        }
        port = rest.empty() ? port : rest.substr(1);
    } else if (const auto colon = text.find(':'); colon != std::string_view::npos && colon == text.rfind(':')) {
        host = text.substr(0, colon);
        port = text.substr(colon + 1);
    }
    return is_number(port, 65'535) ? address_of(host) : std::nullopt;
}

// The hops that a field names, in its order. A hop without a readable address is std::nullopt.
using steps = std::vector<std::optional<ip::address>>;

// The parts of a text between separators. A separator in quotes does not split. Nothing if a quote does not end.
std::optional<std::vector<std::string_view>> split(std::string_view text, char separator) {
    std::vector<std::string_view> out;
    bool quoted = false;
    std::size_t begin = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (quoted && text[i] == '\\') {
            ++i;
        } else if (text[i] == '"') {
            quoted = !quoted;
        } else if (!quoted && text[i] == separator) {
            out.push_back(trimmed(text.substr(begin, i - begin)));
            begin = i + 1;
        }
    }
    out.push_back(trimmed(text.substr(std::min(begin, text.size()))));
    return quoted ? std::nullopt : std::optional(std::move(out));
}

std::string unquoted(std::string_view text) {
    if (text.size() < 2 || !text.starts_with('"') || !text.ends_with('"')) {
        return std::string(text);
    }
    std::string out;
    for (std::size_t i = 1; i + 1 < text.size(); ++i) {
        i += text[i] == '\\' && i + 2 < text.size() ? 1 : 0;
        out += text[i];
    }
    return out;
}

// "for=192.0.2.60;proto=http;by=203.0.113.43"
std::optional<ip::address> forwarded_for(std::string_view element) {
    std::optional<ip::address> out;
    bool seen = false;
    for (const std::string_view pair : split(element, ';').value_or(std::vector<std::string_view>{})) {
        const auto equals = std::min(pair.find('='), pair.size());
        if (boost::beast::iequals(pair.substr(0, equals), "for")) {
            if (std::exchange(seen, true)) {
                return {};
            }
            out = node_of(unquoted(pair.substr(std::min(equals + 1, pair.size()))));
        }
    }
    return out;
}

template <class Read>
steps steps_of(std::string_view field, const Read& read) {
    steps out;
    for (const std::string_view one : split(field, ',').value_or(std::vector<std::string_view>{{}})) {
        out.push_back(read(one));
    }
    return out;
}

bool is_one_of(const ip::address& address, const std::vector<network>& networks) {
    return std::any_of(networks.begin(), networks.end(), [&](const network& n) { return n.contains(address); });
}

// The first address on the way back from `from` that is not trusted. If the hops end before that, the last one reached.
ip::address walk(ip::address from, const steps& back, const std::vector<network>& trusted) {
    for (auto step = back.rbegin(); step != back.rend() && *step && is_one_of(from, trusted); ++step) {
        from = **step;
    }
    return from;
}

}  // namespace

std::vector<network> networks_of(const std::vector<std::string>& texts) {
    std::vector<network> all;
    all.reserve(texts.size());
    for (const std::string& text : texts) {
        all.push_back(network::parse(text).value());
    }
    return all;
}

std::optional<network> network::parse(std::string_view text) {
    const auto slash = std::min(text.find('/'), text.size());
    const auto address = address_of(text.substr(0, slash));
    if (!address) {
        return {};
    }
    const unsigned most = address->is_v4() ? 32 : 128;
    network out;
    out.first_ = bytes_of(*address);
    out.bits_ = most;
    out.is_v4_ = address->is_v4();
    if (slash < text.size()) {
        const std::string_view bits = text.substr(slash + 1);
        if (!is_number(bits, most)) {
            return {};
        }
        std::from_chars(bits.data(), bits.data() + bits.size(), out.bits_);
    }
    auto prefix = out.first_;
    cut(prefix, out.bits_);
    return prefix == out.first_ ? std::optional(out) : std::nullopt;
}

bool network::contains(const ip::address& address) const {
    auto prefix = bytes_of(address);
    cut(prefix, bits_);
    return address.is_v4() == is_v4_ && prefix == first_;
}

ip::address plain(const ip::address& address) {
    if (address.is_v6() && address.to_v6().is_v4_mapped()) {
        return ip::make_address_v4(ip::v4_mapped, address.to_v6());
    }
    return address;
}

ip::address client_address(const ip::address& peer, std::string_view x_forwarded_for, std::string_view forwarded,
                           const std::vector<network>& trusted_proxies) {
    ip::address near = plain(peer);
    if (!is_one_of(near, trusted_proxies) || (x_forwarded_for.empty() && forwarded.empty())) {
        return near;
    }
    const ip::address by_one = walk(near, steps_of(x_forwarded_for, node_of), trusted_proxies);
    const ip::address by_other = walk(near, steps_of(forwarded, forwarded_for), trusted_proxies);
    if (x_forwarded_for.empty() || forwarded.empty()) {
        return forwarded.empty() ? by_one : by_other;
    }
    return by_one == by_other ? by_one : near;
}

}  // namespace config_service
