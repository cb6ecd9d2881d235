// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "settings.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

namespace db_proxy {

namespace {

using headgate::config_problem;
using headgate::duration;
using nlohmann::json;

/// A key of an object, the values that are valid for it, and a function that reads one; it returns false for any other
/// value.
template <class Object>
struct member {
    std::string_view name;
    std::string_view valid;
    std::function<bool(const json&, Object&)> read;
};

template <class Object>
member<Object> text(std::string_view name, std::string Object::* to, std::string_view valid) {
    return {name, valid, [to](const json& from, Object& o) {
                if (from.is_string()) {
                    o.*to = from.get<std::string>();
                }
                return from.is_string();
            }};
}

template <class Object>
member<Object> texts(std::string_view name, std::vector<std::string> Object::* to, std::string_view valid) {
    return {name, valid, [to](const json& from, Object& o) {
                const auto is_text = [](const json& one) {
                    return one.is_string() && !one.get_ref<const std::string&>().empty();
                };
                const bool right = from.is_array() && std::all_of(from.begin(), from.end(), is_text);
                if (right) {
                    o.*to = from.get<std::vector<std::string>>();
                }
                return right;
            }};
}

template <class Object>
member<Object> sqlstate(std::string_view name, std::string Object::* to) {
    return {name, "an SQLSTATE: five digits and capital letters", [to](const json& from, Object& o) {
                if (!from.is_string()) {
                    return false;
                }
                o.*to = from.get<std::string>();
                return (o.*to).size() == 5 &&
                       (o.*to).find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == std::string::npos;
            }};
}

template <class Object>
member<Object> count(std::string_view name, std::uint32_t Object::* to, std::string_view valid, std::uint32_t most) {
    return {name, valid, [to, most](const json& from, Object& o) {
                const bool right =
                    from.is_number_unsigned() && from.get<std::uint64_t>() >= 1 && from.get<std::uint64_t>() <= most;
                if (right) {
                    o.*to = from.get<std::uint32_t>();
                }
                return right;
            }};
}

template <class Object>
member<Object> time(std::string_view name, duration Object::* to, duration least = std::chrono::milliseconds{1}) {
    return {name, "a duration such as \"5s\", at most 1d", [to, least](const json& from, Object& o) {
                const auto span =
                    from.is_string() ? headgate::parse_duration(from.get<std::string>()) : std::optional<duration>{};
                const bool right = span && *span >= least && *span <= std::chrono::hours{24};
                if (right) {
                    o.*to = *span;
                }
                return right;
            }};
}

template <class Object, class Value>
member<Object> choice(std::string_view name, Value Object::* to, std::string_view valid,
                      std::vector<std::pair<std::string_view, Value>> values) {
    return {name, valid, [to, values = std::move(values)](const json& from, Object& o) {
                for (const auto& [word, value] : values) {
                    if (from.is_string() && from.get<std::string>() == word) {
                        o.*to = value;
                        return true;
                    }
                }
                return false;
            }};
}

template <class Object>
void read_object(const json& from, const std::string& at, const std::vector<member<Object>>& members, Object& to,
                 std::vector<config_problem>& problems) {
    if (!from.is_object()) {
        problems.push_back({at, from.dump(), "an object"});
        return;
    }
    for (const auto& [key, value] : from.items()) {
        const auto found =
            std::find_if(members.begin(), members.end(), [&name = key](const auto& m) { return m.name == name; });
        std::string place = at;
        place.append("/").append(key);
        if (found == members.end()) {
            std::string valid = "one of";
            for (const auto& m : members) {
                valid.append(valid == "one of" ? " " : ", ").append(m.name);
            }
            problems.push_back({std::move(place), "an unknown key", valid});
        } else if (!found->read(value, to)) {
            problems.push_back({std::move(place), value.dump(), std::string(found->valid)});
        }
    }
}

/// An object whose keys are names.
template <class Object>
void read_named(const json& from, const std::string& at, const std::vector<member<Object>>& members,
                std::map<std::string, Object>& to, std::vector<config_problem>& problems) {
    if (!from.is_object() || from.empty()) {
        problems.push_back({at, from.dump(), "an object with at least one name"});
        return;
    }
    for (const auto& [name, value] : from.items()) {
        std::string place = at;
        place.append("/").append(name);
        read_object(value, place, members, to[name], problems);
    }
}

const auto& server_members() {
    static const std::vector<member<server_settings>> all{
        text("host", &server_settings::host, "a host's name or address"),
        count("port", &server_settings::port, "a port, 1 to 65535", 65'535),
        count("max_server_connections", &server_settings::max_connections, "a whole number, 1 to 100000", 100'000),
        time("login_timeout", &server_settings::login_timeout),
    };
    return all;
}

member<database_settings> policy(std::string_view name, parameter_policy parameter_policies::* to) {
    return {name, "\"ignore\" or \"reject\"", [to](const json& from, database_settings& d) {
                const std::string word = from.is_string() ? from.get<std::string>() : "";
                d.parameters.*to = word == "ignore" ? parameter_policy::ignore : parameter_policy::reject;
                return word == "ignore" || word == "reject";
            }};
}

const auto& database_members() {
    static const std::vector<member<database_settings>> all{
        text("server", &database_settings::server, "the name of a server"),
        text("dbname", &database_settings::dbname, "the name of the database on the server"),
        choice<database_settings, pool_mode>(
            "pool_mode", &database_settings::mode, "\"transaction\" or \"session\"",
            {{"transaction", pool_mode::transaction}, {"session", pool_mode::session}}),
        choice<database_settings, reset_when>("reset", &database_settings::reset, "\"dirty\" or \"always\"",
                                              {{"dirty", reset_when::dirty}, {"always", reset_when::always}}),
        policy("extra_float_digits", &parameter_policies::extra_float_digits),
        policy("options", &parameter_policies::options),
        policy("search_path", &parameter_policies::search_path),
        policy("unknown_parameters", &parameter_policies::unknown),
    };
    return all;
}

const auto& proxy_members() {
    static const std::vector<member<settings>> all{
        text("listen", &settings::listen, "an address and a port, such as \"127.0.0.1:6432\""),
        text("status", &settings::status, "an address and a port, such as \"127.0.0.1:6480\"; empty is none"),
        texts("status_host_names", &settings::status_host_names,
              "an array of names of hosts, such as \"status.example.com\""),
        text("users", &settings::users, "the name of the file of users"),
        text("admin_database", &settings::admin_database, "the name of the console's database"),
        count("max_client_connections", &settings::max_client_connections, "a whole number, 1 to 1000000", 1'000'000),
        time("client_login_timeout", &settings::client_login_timeout),
        time("drain_timeout", &settings::drain_timeout),
        time("permit_wait", &settings::permit_wait, duration::zero()),
        sqlstate("circuit_open_code", &settings::circuit_open_code),
        sqlstate("rate_limited_code", &settings::rate_limited_code),
        sqlstate("pool_exhausted_code", &settings::pool_exhausted_code),
    };
    return all;
}

void read_proxy(const json& from, settings& to, std::vector<config_problem>& problems) {
    if (!from.is_object()) {
        problems.push_back({"/proxy", from.dump(), "an object"});
        return;
    }
    json own = from;
    const json nothing;
    const auto take = [&](const char* name) {
        json part = from.contains(name) ? from[name] : nothing;
        own.erase(name);
        return part;
    };
    read_named(take("servers"), "/proxy/servers", server_members(), to.servers, problems);
    read_named(take("databases"), "/proxy/databases", database_members(), to.databases, problems);
    read_object(own, "/proxy", proxy_members(), to, problems);
    for (auto& [name, database] : to.databases) {
        if (name.find('@') != std::string::npos) {  // a pool's name is user@database, and the user's part may have an @
            problems.push_back({"/proxy/databases/" + name, "a name with @", "a name without @"});
        }
        if (!to.servers.contains(database.server)) {
            problems.push_back({"/proxy/databases/" + name + "/server", '"' + database.server + '"',
                                "the name of a server under /proxy/servers"});
        }
        if (database.dbname.empty()) {
            database.dbname = name;
        }
    }
    if (to.databases.contains(to.admin_database)) {
        problems.push_back({"/proxy/databases/" + to.admin_database, "the name of the console's database",
                            "another name, here or as admin_database"});
    }
}

/// Reports the parts that the proxy needs in the zone and that are missing.
void require_parts(settings& s, std::vector<config_problem>& problems) {
    const auto found = s.zones.zones.find(zone_name);
    if (found == s.zones.zones.end() || s.zones.zones.size() > 1) {
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
    constexpr std::string_view ours[] = {"proxy"};
    settings out;
    auto zones = headgate::config::parse(text, problems, ours);
    const json document = json::parse(text.begin(), text.end(), nullptr, false, true);
    if (document.is_object()) {
        read_proxy(document.contains("proxy") ? document["proxy"] : json::object(), out, problems);
    }
    if (zones) {
        out.zones = std::move(zones).value();
        require_parts(out, problems);
    }
    if (!problems.empty()) {
        return headgate::error(headgate::errc::invalid_config, headgate::to_string(problems));
    }
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
        check("/proxy/servers/" + name, to.servers.contains(name));
    }
    for (const auto& [name, database] : from.databases) {
        const auto found = to.databases.find(name);
        check("/proxy/databases/" + name, found != to.databases.end() && found->second.server == database.server &&
                                              found->second.dbname == database.dbname &&
                                              found->second.mode == database.mode);
    }
    return problems;
}

}  // namespace db_proxy
