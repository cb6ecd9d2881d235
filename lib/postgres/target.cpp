// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "target.hpp"

#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <new>

#include "libpq.hpp"

namespace headgate::detail {

namespace {

// A message of PQconninfoParse without what it quotes, which may be a piece of a password that was written wrongly. The
// names of options are left, and punctuation.
std::string without_secrets(std::string_view message) {
    message = trimmed(message);
    for (const std::string_view harmless : {"invalid URI query parameter: ", "invalid connection option "}) {
        if (message.substr(0, harmless.size()) == harmless) {
            return std::string(message);
        }
    }
    std::string out;
    for (bool inside = false; !message.empty(); inside = !inside) {
        const std::string_view part = message.substr(0, message.find('"'));
        const bool secret =
            inside && std::any_of(part.begin(), part.end(), [](unsigned char c) { return std::ispunct(c) == 0; });
        out += secret ? "..." : part;
        message.remove_prefix(std::min(part.size() + 1, message.size()));
        if (!message.empty() || inside) {
            out += '"';
        }
    }
    return out;
}

// Comma-separated, and as many as there are commas and one more.
std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> out;
    for (;;) {
        const std::size_t comma = text.find(',');
        out.emplace_back(text.substr(0, comma));
        if (comma == std::string_view::npos) {
            return out;
        }
        text.remove_prefix(comma + 1);
    }
}

std::string value_of(const conninfo& options, std::string_view key) {
    const auto found = options.find(key);
    return found != options.end() ? found->second : std::string{};
}

// Those of the options that have a value.
conninfo values_of(const PQconninfoOption* all) {
    conninfo out;
    for (; all->keyword != nullptr; ++all) {
        if (all->val != nullptr) {
            out.emplace(all->keyword, all->val);
        }
    }
    return out;
}

bool is_port(std::string_view text) {
    std::uint16_t number = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
    return text.empty() || (ec == std::errc{} && end == text.data() + text.size() && number != 0);
}

error wrong_count(std::size_t hosts, std::size_t others, const char* what) {
    return {errc::invalid_argument,
            "postgres url: " + std::to_string(hosts) + " hosts, but " + std::to_string(others) + ' ' + what};
}

}  // namespace

bool postgres_host::is_name() const {
    boost::system::error_code not_an_address;
    (void)boost::asio::ip::make_address(name, not_an_address);
    const bool directory = name.empty() || name.front() == '/' || name.front() == '@';
    return !directory && address.empty() && not_an_address;
}

result<conninfo> parse_conninfo(const std::string& url) {
    char* said = nullptr;
    const pq_options parsed(PQconninfoParse(url.c_str(), &said));
    const pq_memory<char> message(said);
    if (!parsed) {
        return error(errc::invalid_argument, "postgres url: " + without_secrets(said != nullptr ? said : ""));
    }
    return values_of(parsed.get());
}

result<std::vector<postgres_host>> hosts_of(const conninfo& options) {
    // What libpq would take for that which the URL leaves out: the environment.
    const pq_options from_environment(PQconndefaults());
    if (!from_environment) {
        throw std::bad_alloc();
    }
    conninfo all = options;
    all.merge(values_of(from_environment.get()));

    const std::vector<std::string> ports = split(value_of(all, "port"));
    for (const std::string& port : ports) {
        if (!is_port(port)) {
            return error(errc::invalid_argument, "postgres url: the port must be a number from 1 to 65535");
        }
    }
    const std::string name_list = value_of(all, "host");
    const std::string address_list = value_of(all, "hostaddr");
    if (name_list.empty() && address_list.empty()) {
        return std::vector<postgres_host>{};
    }
    std::vector<std::string> addresses = split(address_list);
    std::vector<std::string> names = split(name_list);
    if (address_list.empty()) {
        addresses.resize(names.size());
    } else if (name_list.empty()) {
        names.resize(addresses.size());
    }
    if (names.size() != addresses.size()) {
        return wrong_count(names.size(), addresses.size(), "addresses");
    }
    if (ports.size() != 1 && ports.size() != names.size()) {
        return wrong_count(names.size(), ports.size(), "ports");
    }
    std::vector<postgres_host> out;
    out.reserve(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
        out.push_back({names[i], addresses[i], ports.size() == 1 ? ports.front() : ports[i]});
    }
    return out;
}

conninfo with_host(conninfo options, const postgres_host& host) {
    options["host"] = host.name;
    options["hostaddr"] = host.address;
    options["port"] = host.port;
    return options;
}

}  // namespace headgate::detail
