// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "settings.hpp"

#include <chrono>
#include <string>
#include <utility>

namespace db_proxy {

namespace {

using headgate::config_object;
using headgate::config_problem;
using headgate::make_member;
using headgate::accepts::choice;
using headgate::accepts::text;
using headgate::accepts::text_list;
using headgate::accepts::time_span;
using headgate::accepts::whole_number;

constexpr time_span up_to_a_day{.least = std::chrono::milliseconds{1}, .most = std::chrono::hours{24}};

bool is_sqlstate(std::string_view code) {
    return code.size() == 5 && code.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == std::string_view::npos;
}

bool is_not_empty(std::string_view text) {
    return !text.empty();
}

constexpr text sqlstate{"an SQLSTATE: five digits and capital letters", is_sqlstate};

constexpr headgate::member_table server_members{
    make_member<&server_settings::host>("host", text{"a host's name or address"}, "Where the server is."),
    make_member<&server_settings::port>("port", whole_number{1, 65'535}, "Its port."),
    make_member<&server_settings::max_connections>("max_server_connections", whole_number{1, 100'000},
                                                   "For all users together."),
    make_member<&server_settings::login_timeout>("login_timeout", up_to_a_day,
                                                 "From the connect to the end of the login."),
};

constexpr std::string_view pool_modes[] = {"session", "transaction"};
constexpr std::string_view resets[] = {"dirty", "always"};
constexpr std::string_view policies[] = {"reject", "ignore"};

template <auto Policy>
constexpr auto policy(std::string_view name) {
    return make_member<&database_settings::parameters, Policy>(
        name, choice{policies}, "What becomes of the parameter when a client sends it at its start.");
}

constexpr headgate::member_table database_members{
    make_member<&database_settings::server>("server", text{"the name of a server"}, "Where the database is."),
    make_member<&database_settings::dbname>("dbname", text{"the name of the database on the server"},
                                            "Empty: the same name."),
    make_member<&database_settings::mode>("pool_mode", choice{pool_modes},
                                          "How long a client keeps the server that is lent to it."),
    make_member<&database_settings::reset>("reset", choice{resets},
                                           "When a returned connection is reset with DISCARD ALL."),
    policy<&parameter_policies::extra_float_digits>("extra_float_digits"),
    policy<&parameter_policies::options>("options"),
    policy<&parameter_policies::search_path>("search_path"),
    policy<&parameter_policies::unknown>("unknown_parameters"),
};

constexpr headgate::member_table proxy_members{
    make_member<&settings::listen>("listen", text{"an address and a port, such as \"127.0.0.1:6432\""},
                                   "Where clients connect."),
    make_member<&settings::status>("status", text{"an address and a port, such as \"127.0.0.1:6480\"; empty is none"},
                                   "Where the status page is."),
    make_member<&settings::status_host_names>(
        "status_host_names", text_list{"an array of names of hosts, such as \"status.example.com\"", is_not_empty},
        "Under which names clients come to the page, besides its address."),
    make_member<&settings::users>("users", text{"the name of the file of users"}, "Who may log in."),
    make_member<&settings::admin_database>("admin_database", text{"the name of the console's database"},
                                           "The console."),
    make_member<&settings::max_client_connections>("max_client_connections", whole_number{1, 1'000'000},
                                                   "Clients at once."),
    make_member<&settings::client_login_timeout>("client_login_timeout", up_to_a_day, "For a client's whole login."),
    make_member<&settings::drain_timeout>("drain_timeout", up_to_a_day, "From SIGTERM to the end."),
    make_member<&settings::permit_wait>("permit_wait",
                                        time_span{headgate::duration::zero(), up_to_a_day.most, "no waiting"},
                                        "How long a transaction waits for its permit."),
    make_member<&settings::circuit_open_code>("circuit_open_code", sqlstate,
                                              "For a session while its server may not be asked."),
    make_member<&settings::rate_limited_code>("rate_limited_code", sqlstate, "For a transaction without a permit."),
    make_member<&settings::pool_exhausted_code>("pool_exhausted_code", sqlstate,
                                                "For a transaction that no server was free for in time."),
};

void read_database(const std::string& name, const config_object& from, settings& to) {
    database_settings& database = to.databases[name];
    const auto wrong = from.read(database_members, database);
    if (name.find('@') != std::string::npos) {  // a pool's name is user@database, and the user's part may have an @
        from.report("", "a name with @", "a name without @");
    }
    if (name == to.admin_database) {
        from.report("", "the name of the console's database", "another name, here or as admin_database");
    }
    if (!wrong.contains("server") && !to.servers.contains(database.server)) {
        from.report("/server", '"' + database.server + '"', "the name of a server under /proxy/servers");
    }
    if (database.dbname.empty()) {
        database.dbname = name;
    }
}

void read_proxy(const config_object& from, settings& to) {
    from.each("servers", [&to](const std::string& name, const config_object& server) {
        server.read(server_members, to.servers[name]);
    });
    from.read(proxy_members, to, {"servers", "databases"});
    from.each("databases",
              [&to](const std::string& name, const config_object& database) { read_database(name, database, to); });
}

/// Reports the missing parts of the zone that the proxy needs.
void require_parts(const settings& s, const headgate::config& zones, std::vector<config_problem>& problems) {
    const auto found = zones.zones.find(zone_name);
    if (found == zones.zones.end() || zones.zones.size() > 1) {
        problems.push_back({"/zones", "no zone \"proxy\", or others beside it", "one zone, \"proxy\""});
        return;
    }
    const std::string at = std::string("/zones/") + zone_name;
    for (const char* name : {transactions_limiter, failed_logins_limiter}) {
        if (!found->second.rate_limiters.contains(name)) {
            problems.push_back({at + "/rate_limiters", std::string("no \"") + name + '"', "a limiter with this name"});
        }
    }
    for (const auto& [name, server] : s.servers) {
        if (!found->second.circuit_breakers.contains(name)) {
            problems.push_back({at + "/circuit_breakers", "no \"" + name + '"', "a breaker for each server"});
        }
    }
    for (const auto& [name, database] : s.databases) {
        if (!found->second.resource_pools.contains(name)) {
            problems.push_back({at + "/resource_pools", "no \"" + name + '"', "a pool for each database"});
        }
    }
}

}  // namespace

headgate::result<settings> parse_settings(std::string_view text, std::vector<config_problem>& problems) {
    settings out;
    const headgate::config_section ours[] = {{.name = "proxy",
                                              .read =
                                                  [&](const config_object& from, const headgate::config& zones) {
                                                      read_proxy(from, out);
                                                      require_parts(out, zones, problems);
                                                  },
                                              .required = true}};
    auto zones = headgate::config::parse(text, problems, ours);
    if (!zones) {
        return zones.error();
    }
    out.zones = std::move(zones).value();
    return out;
}

std::vector<config_problem> fixed_while_running(const settings& from, const settings& to) {
    std::vector<config_problem> problems;
    const auto check = [&](const std::string& at, bool same) {
        if (!same) {
            problems.push_back({at, "another value than the one in use", "the value in use: a change needs a restart"});
        }
    };
    check("/proxy/listen", from.listen == to.listen);
    check("/proxy/status", from.status == to.status);
    check("/proxy/status_host_names", from.status_host_names == to.status_host_names);
    check("/proxy/admin_database", from.admin_database == to.admin_database);
    for (const auto& [name, server] : from.servers) {
        check("/proxy/servers" + headgate::pointer_step(name), to.servers.contains(name));
    }
    for (const auto& [name, database] : from.databases) {
        const auto found = to.databases.find(name);
        check("/proxy/databases" + headgate::pointer_step(name),
              found != to.databases.end() && found->second.server == database.server &&
                  found->second.dbname == database.dbname && found->second.mode == database.mode);
    }
    return problems;
}

}  // namespace db_proxy
