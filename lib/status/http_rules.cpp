// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "status/http_rules.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <utility>

#include <headgate/status.hpp>

namespace headgate::detail {

namespace {

namespace ip = boost::asio::ip;

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same_text(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

bool is_host_character(char c) {
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || c == '-' || c == '.' || c == '_';
}

// "example.org." is the same host as "example.org".
std::string_view without_last_dot(std::string_view name) {
    return name.size() > 1 && name.ends_with('.') ? name.substr(0, name.size() - 1) : name;
}

// RFC 9110 lets a port be empty.
bool is_port(std::string_view text) {
    std::uint16_t port = 0;
    const auto [stop, failed] = std::from_chars(text.data(), text.data() + text.size(), port);
    return text.empty() || (stop == text.data() + text.size() && failed == std::errc{});
}

// An IPv4 address that stands in an IPv6 one counts as itself.
std::optional<ip::address> address_of(const host_name& host) {
    boost::system::error_code ec;
    const std::string text(host.text);
    if (!host.bracketed) {
        const auto four = ip::make_address_v4(text, ec);
        return ec ? std::nullopt : std::optional<ip::address>(four);
    }
    const auto six = ip::make_address_v6(text, ec);
    if (ec || host.text.find('%') != std::string_view::npos) {  // a zone index means something on this machine only
        return {};
    }
    return six.is_v4_mapped() ? ip::address(ip::make_address_v4(ip::v4_mapped, six)) : ip::address(six);
}

bool is_this_machine(const host_name& host) {
    const auto address = address_of(host);
    return address ? address->is_loopback() : !host.bracketed && same_text(host.text, "localhost");
}

}  // namespace

request_target parse_target(std::string_view target) {
    request_target out;
    for (const std::string_view scheme : {"http://", "https://"}) {
        if (same_text(target.substr(0, scheme.size()), scheme)) {
            target.remove_prefix(scheme.size());
            const std::size_t end = std::min(target.find_first_of("/?"), target.size());
            out.authority = target.substr(0, end);
            target.remove_prefix(end);
            break;
        }
    }
    const std::size_t question = std::min(target.find('?'), target.size());
    out.path = target.substr(0, question);
    out.query = target.substr(std::min(question + 1, target.size()));
    if (out.authority && out.path.empty()) {
        out.path = "/";
    }
    return out;
}

std::optional<std::string_view> query_value(std::string_view query, std::string_view name) {
    while (!query.empty()) {
        const std::string_view pair = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(pair.size() + 1, query.size()));
        const std::size_t equals = std::min(pair.find('='), pair.size());
        if (pair.substr(0, equals) == name) {
            return pair.substr(std::min(equals + 1, pair.size()));
        }
    }
    return {};
}

std::optional<host_name> parse_host(std::string_view text) {
    host_name out;
    if (text.starts_with('[')) {
        const std::size_t end = text.find(']');
        if (end == std::string_view::npos) {
            return {};
        }
        out = {text.substr(1, end - 1), true};
        text.remove_prefix(end + 1);
        if (!address_of(out)) {
            return {};
        }
    } else {
        const std::size_t end = std::min(text.find(':'), text.size());
        out.text = text.substr(0, end);
        text.remove_prefix(end);
        if (out.text.empty() || !std::all_of(out.text.begin(), out.text.end(), is_host_character)) {
            return {};
        }
        out.text = without_last_dot(out.text);
    }
    if (!text.empty() && (text.front() != ':' || !is_port(text.substr(1)))) {
        return {};
    }
    return out;
}

bool is_host_name(std::string_view text) {
    return !text.empty() && text.size() <= 255 && std::all_of(text.begin(), text.end(), is_host_character);
}

host_rule::host_rule(const ip::address& listens_on, std::vector<std::string> names)
    : names_(std::move(names)), any_address_(!listens_on.is_loopback()) {}

host_verdict host_rule::judge(std::string_view host_and_port) const {
    const auto host = parse_host(host_and_port);
    if (!host) {
        return host_verdict::malformed;
    }
    const auto is_it = [&](const std::string& name) {
        return !host->bracketed && same_text(host->text, without_last_dot(name));
    };
    if (is_this_machine(*host) || std::any_of(names_.begin(), names_.end(), is_it)) {
        return host_verdict::allowed;
    }
    const auto address = any_address_ ? address_of(*host) : std::nullopt;
    return address && !address->is_unspecified() ? host_verdict::allowed : host_verdict::foreign;
}

}  // namespace headgate::detail

namespace headgate {

bool names_this_machine(std::string_view host) {
    const auto parsed = detail::parse_host(host);
    return parsed && detail::is_this_machine(*parsed);
}

std::string_view token_of(std::string_view authorization) {
    constexpr std::string_view scheme = "bearer";
    if (!detail::same_text(authorization.substr(0, scheme.size()), scheme)) {
        return {};
    }
    authorization.remove_prefix(scheme.size());
    const auto begin = std::find_if_not(authorization.begin(), authorization.end(), detail::is_blank);
    if (begin == authorization.begin()) {
        return {};  // another scheme, which only begins with the same letters
    }
    authorization.remove_prefix(static_cast<std::size_t>(begin - authorization.begin()));
    while (!authorization.empty() && detail::is_blank(authorization.back())) {
        authorization.remove_suffix(1);
    }
    return authorization;
}

}  // namespace headgate
