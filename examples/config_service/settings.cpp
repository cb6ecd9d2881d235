// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "settings.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>

namespace config_service {

namespace {

using headgate::config_problem;
using headgate::duration;
using nlohmann::json;

struct member {
    std::string_view name;
    std::string_view valid;
    std::function<bool(const json&, settings&)> read;
};

template <class T>
member text(std::string_view name, T settings::* to, std::string_view valid) {
    return {name, valid, [to](const json& from, settings& s) {
                if (from.is_string()) {
                    s.*to = from.get<std::string>();
                }
                return from.is_string();
            }};
}

template <class T>
member number(std::string_view name, T settings::* to, std::string_view valid, std::uint64_t least,
              std::uint64_t most = std::numeric_limits<std::int64_t>::max()) {
    return {name, valid, [to, least, most](const json& from, settings& s) {
                const bool right =
                    from.is_number_unsigned() && from.get<std::uint64_t>() >= least &&
                    from.get<std::uint64_t>() <= std::min<std::uint64_t>(most, std::numeric_limits<T>::max());
                if (right) {
                    s.*to = from.get<T>();
                }
                return right;
            }};
}

member time(std::string_view name, duration settings::* to) {
    return {name, "a duration such as \"30s\", or a whole number of milliseconds; at least 1 ms, at most 1d",
            [to](const json& from, settings& s) {
                std::optional<duration> d;
                if (from.is_string()) {
                    d = headgate::parse_duration(from.get<std::string>());
                } else if (from.is_number_unsigned() && from.get<std::uint64_t>() <= 86'400'000) {
                    d = std::chrono::milliseconds{from.get<std::int64_t>()};
                }
                const bool right = d && *d >= std::chrono::milliseconds{1} && *d <= std::chrono::hours{24};
                if (right) {
                    s.*to = *d;
                }
                return right;
            }};
}

member flag(std::string_view name, bool settings::* to) {
    return {name, "true or false", [to](const json& from, settings& s) {
                if (from.is_boolean()) {
                    s.*to = from.get<bool>();
                }
                return from.is_boolean();
            }};
}

member words(std::string_view name, std::vector<std::string> settings::* to) {
    return {name, "an array of texts: a program and its arguments", [to](const json& from, settings& s) {
                const bool right = from.is_array() && !from.empty() &&
                                   std::all_of(from.begin(), from.end(), [](const json& w) { return w.is_string(); });
                if (right) {
                    s.*to = from.get<std::vector<std::string>>();
                }
                return right;
            }};
}

member networks(std::string_view name, std::vector<network> settings::* to) {
    return {name, R"(an array of addresses and networks, such as ["10.0.0.0/8", "::1"], no bits behind the prefix)",
            [to](const json& from, settings& s) {
                std::vector<network> read;
                for (const json& one : from.is_array() ? from : json::array({nullptr})) {
                    const auto parsed = one.is_string() ? network::parse(one.get<std::string>()) : std::nullopt;
                    if (!parsed) {
                        return false;
                    }
                    read.push_back(*parsed);
                }
                s.*to = std::move(read);
                return true;
            }};
}

const auto& members() {
    static const std::array all{
        text("listen", &settings::listen, "an address and a port, such as \"127.0.0.1:8080\""),
        text("database", &settings::database, "\"postgresql://…\", or the name of a file in the data directory"),
        number("max_database_pages", &settings::max_database_pages, "a whole number of pages; zero is off", 0),
        text("users", &settings::users, "the name of a file of bearer tokens; empty is none"),
        networks("trusted_proxies", &settings::trusted_proxies),
        number("max_body", &settings::max_body, "a whole number of bytes, 1024 to 1073741824", 1'024, 1u << 30),
        number("max_connections", &settings::max_connections, "a whole number of at least 1", 1),
        number("max_entries", &settings::max_entries, "a whole number of at least 1", 1),
        number("max_unsaved", &settings::max_unsaved, "a whole number of at least 1", 1),
        flag("log_requests", &settings::log_requests),
        time("idle_timeout", &settings::idle_timeout),
        time("header_timeout", &settings::header_timeout),
        time("body_timeout", &settings::body_timeout),
        time("busy_retry", &settings::busy_retry),
        time("look_up_timeout", &settings::look_up_timeout),
        time("sync_timeout", &settings::sync_timeout),
        time("sync_interval", &settings::sync_interval),
        time("save_interval", &settings::save_interval),
        time("drain_timeout", &settings::drain_timeout),
        words("parser_command", &settings::parser_command),
        number("parser_memory", &settings::parser_memory, "a whole number of bytes, at least 16777216", 16u << 20),
        number("parser_output", &settings::parser_output, "a whole number of bytes, 1024 to 1073741824", 1'024,
               1u << 30),
        time("parser_timeout", &settings::parser_timeout),
    };
    return all;
}

void read_service(const json& from, settings& to, std::vector<config_problem>& problems) {
    if (!from.is_object()) {
        problems.push_back({"/service", from.dump(), "an object"});
        return;
    }
    for (const auto& [key, value] : from.items()) {
        const auto found =
            std::find_if(members().begin(), members().end(), [&name = key](const member& m) { return m.name == name; });
        if (found == members().end()) {
            std::string valid = "one of";
            for (const member& m : members()) {
                valid.append(valid == "one of" ? " " : ", ").append(m.name);
            }
            problems.push_back({"/service/" + key, "an unknown key", valid});
        } else if (!found->read(value, to)) {
            problems.push_back({"/service/" + key, value.dump(), std::string(found->valid)});
        }
    }
}

// The parts that the code of the service asks for by name.
void require_parts(const headgate::config& c, std::vector<config_problem>& problems) {
    const auto zone_of = [&](const char* name) -> const headgate::zone_config* {
        const auto found = c.zones.find(name);
        if (found == c.zones.end()) {
            problems.push_back(
                {"/zones", std::string("no \"") + name + '"', "a zone of that name: the service uses it"});
            return nullptr;
        }
        return &found->second;
    };
    const auto require = [&](const auto& group, const std::string& at, const char* name) {
        if (!group.contains(name)) {
            problems.push_back({at, std::string("no \"") + name + '"', "a part of that name: the service uses it"});
        }
    };
    if (const auto* config = zone_of("config")) {
        require(config->rate_limiters, "/zones/config/rate_limiters", "config_update");
        require(config->rate_limiters, "/zones/config/rate_limiters", "failed_login");
        require(config->circuit_breakers, "/zones/config/circuit_breakers", "config_server");
        require(config->circuit_breakers, "/zones/config/circuit_breakers", "database");
        require(config->resource_pools, "/zones/config/resource_pools", "database");
        require(config->bulkheads, "/zones/config/bulkheads", "sync");
    }
    if (const auto* parser = zone_of("parser")) {
        require(parser->rate_limiters, "/zones/parser/rate_limiters", "ast_parse");
        require(parser->resource_pools, "/zones/parser/resource_pools", "ast_parser");
    }
}

}  // namespace

headgate::result<settings> parse_settings(std::string_view text, std::vector<config_problem>& problems) {
    constexpr std::string_view ours[] = {"service"};
    settings out;
    auto zones = headgate::config::parse(text, problems, ours);
    const json document = json::parse(text.begin(), text.end(), nullptr, false, true);
    if (document.is_object() && document.contains("service")) {
        read_service(document["service"], out, problems);
    }
    if (zones) {
        out.zones = std::move(zones).value();
        require_parts(out.zones, problems);
    }
    if (!problems.empty()) {
        return headgate::error(headgate::errc::invalid_config, headgate::to_string(problems));
    }
    return out;
}

std::vector<config_problem> fixed_while_running(const settings& from, const settings& to) {
    std::vector<config_problem> problems;
    const auto check = [&](const char* name, const auto& a, const auto& b) {
        if (a != b) {
            problems.push_back({std::string("/service/") + name, "another value than the one in use",
                                "the one in use: this takes a restart"});
        }
    };
    check("listen", from.listen, to.listen);
    check("database", from.database, to.database);
    check("max_database_pages", from.max_database_pages, to.max_database_pages);
    check("max_entries", from.max_entries, to.max_entries);
    check("parser_command", from.parser_command, to.parser_command);
    check("parser_memory", from.parser_memory, to.parser_memory);
    check("parser_output", from.parser_output, to.parser_output);
    return problems;
}

}  // namespace config_service
