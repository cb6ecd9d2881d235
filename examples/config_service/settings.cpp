// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "settings.hpp"

#include <chrono>
#include <string>
#include <utility>

namespace config_service {

namespace {

using headgate::config_problem;
using headgate::make_member;
using headgate::accepts::flag;
using headgate::accepts::text;
using headgate::accepts::text_list;
using headgate::accepts::time_span;
using headgate::accepts::whole_number;

constexpr time_span up_to_a_day{.least = std::chrono::milliseconds{1}, .most = std::chrono::hours{24}};
constexpr whole_number at_least_one{.least = 1};
constexpr whole_number up_to_a_gibibyte{.least = 1'024, .most = 1u << 30, .of = "bytes"};

bool is_network(std::string_view text) {
    return network::parse(text).has_value();
}

constexpr headgate::member_table members{
    make_member<&settings::listen>("listen", text{"an address and a port, such as \"127.0.0.1:8080\""},
                                   "Where it listens."),
    make_member<&settings::database>(
        "database", text{"\"postgresql://…\", or the name of a file in the data directory"}, "Where values are kept."),
    make_member<&settings::max_database_pages>("max_database_pages", whole_number{.of = "pages"},
                                               "The size of SQLite's file; zero: no bound."),
    make_member<&settings::users>("users", text{"the name of a file of bearer tokens; empty is none"}, "Who may ask."),
    make_member<&settings::trusted_proxies>(
        "trusted_proxies",
        text_list{R"(an array of addresses and networks, such as ["10.0.0.0/8", "::1"], no bits behind the prefix)",
                  is_network},
        "Proxies whose word on the address of a client is taken."),
    make_member<&settings::max_body>("max_body", up_to_a_gibibyte, "The largest request."),
    make_member<&settings::max_connections>("max_connections", at_least_one, "Clients at once."),
    make_member<&settings::max_entries>("max_entries", at_least_one, "Paths kept in memory."),
    make_member<&settings::max_unsaved>("max_unsaved", at_least_one, "Writes that may wait for the database."),
    make_member<&settings::log_requests>("log_requests", flag{}, "A line for each request."),
    make_member<&settings::idle_timeout>("idle_timeout", up_to_a_day, "How long a client may ask nothing."),
    make_member<&settings::header_timeout>("header_timeout", up_to_a_day, "For a whole header."),
    make_member<&settings::body_timeout>("body_timeout", up_to_a_day, "For a whole body, and for an answer."),
    make_member<&settings::busy_retry>("busy_retry", up_to_a_day, "Retry-After where nothing better is known."),
    make_member<&settings::look_up_timeout>("look_up_timeout", up_to_a_day, "For one question to the database."),
    make_member<&settings::sync_timeout>("sync_timeout", up_to_a_day, "For one transaction."),
    make_member<&settings::sync_interval>("sync_interval", up_to_a_day, "Between two syncs that nobody asked for."),
    make_member<&settings::save_interval>("save_interval", up_to_a_day, "Between two savings of the limiters."),
    make_member<&settings::drain_timeout>("drain_timeout", up_to_a_day, "From SIGTERM to the end."),
    make_member<&settings::parser_command>(
        "parser_command", text_list{.valid = "an array of texts: a program and its arguments", .least = 1},
        "The worker process."),
    make_member<&settings::parser_memory>("parser_memory", whole_number{.least = 16u << 20, .of = "bytes"},
                                          "Address space for each worker."),
    make_member<&settings::parser_output>("parser_output", up_to_a_gibibyte, "The largest answer of a worker."),
    make_member<&settings::parser_timeout>("parser_timeout", up_to_a_day,
                                           "For one source text, with the wait for a worker."),
};

// Requires the parts that the service looks up by name.
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
        require(config->retries, "/zones/config/retries", "look_up");
        require(config->hedges, "/zones/config/hedges", "look_up");
        require(config->coalescers, "/zones/config/coalescers", "reads");
    }
    if (const auto* parser = zone_of("parser")) {
        require(parser->rate_limiters, "/zones/parser/rate_limiters", "ast_parse");
        require(parser->resource_pools, "/zones/parser/resource_pools", "ast_parser");
    }
}

}  // namespace

headgate::result<settings> parse_settings(std::string_view text, std::vector<config_problem>& problems) {
    settings out;
    const headgate::config_section ours[] = {
        {"service", [&](const headgate::config_object& from, const headgate::config& zones) {
             from.read(members, out);
             require_parts(zones, problems);
         }}};
    auto zones = headgate::config::parse(text, problems, ours);
    if (!zones) {
        return zones.error();
    }
    out.zones = std::move(zones).value();
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
