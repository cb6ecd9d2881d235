// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "backends.hpp"

namespace db_proxy {

backends::backends(headgate::zone& zone, relay& wires, const settings& current)
    : zone_(zone), relay_(wires), current_(current) {
    for (const auto& [name, server] : current_.servers) {
        add_server(name, server);
    }
}

void backends::add_server(const std::string& name, const server_settings& s) {
    servers_.emplace(
        name, std::make_unique<upstream>(zone_, relay_, name, s, headgate::circuit_breaker::find(zone_, name).value()));
}

void backends::reconfigure(const user_list& users) {
    for (const auto& [name, server] : current_.servers) {
        const auto found = servers_.find(name);
        if (found != servers_.end()) {
            found->second->reconfigure(server);
        } else {
            add_server(name, server);
        }
    }
    const auto& options = current_.zones.zones.at(zone_name).resource_pools;
    for (const auto& [key, pool] : pools_) {
        const auto& [database, user_name] = key;
        server_credentials as = pool->credentials();
        if (const auto who = users.find(user_name)) {
            as.password = who->server_password;
        }
        pool->reconfigure(current_.databases.at(database), options.at(database), as);
    }
}

server_pool& backends::pool_of(const std::string& database, const user& who) {
    const std::pair key{database, who.name};
    if (const auto found = pools_.find(key); found != pools_.end()) {
        return *found->second;
    }
    const database_settings& d = current_.databases.at(database);
    auto made = std::make_unique<server_pool>(zone_, relay_, *servers_.at(d.server), who.name + '@' + database, d,
                                              current_.zones.zones.at(zone_name).resource_pools.at(database),
                                              server_credentials{who.name, who.server_password, d.dbname});
    return *pools_.emplace(key, std::move(made)).first->second;
}

void backends::breaker_changed(const std::string& server, bool open) {
    if (const auto found = servers_.find(server); found != servers_.end()) {
        found->second->breaker_changed(open);
    }
}

void backends::check_returns(headgate::time_point now) {
    for (const auto& [key, pool] : pools_) {
        pool->check_returns(now);
    }
}

}  // namespace db_proxy
