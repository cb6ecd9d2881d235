// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "tables.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace db_proxy {

namespace {

using std::to_string;

console_table pools_table(const backends& servers) {
    console_table out{
        "POOLS", {"database", "user", "server", "pool_mode", "leased", "idle", "waiting", "connecting"}, {}};
    for (const auto& [key, pool] : servers.pools()) {
        const headgate::pool_snapshot s = pool->pool().snapshot();
        out.rows.push_back({key.first, key.second, pool->server().name(),
                            pool->database().mode == pool_mode::session ? "session" : "transaction",
                            to_string(s.leased), to_string(s.idle), to_string(s.waiting), to_string(s.connecting)});
    }
    return out;
}

console_table clients_table(const backends& servers, const session_registry& sessions) {
    console_table out{"CLIENTS", {"user", "database", "address", "state", "transactions"}, {}};
    std::map<const server_pool*, std::string> databases;
    for (const auto& [key, pool] : servers.pools()) {
        databases.emplace(pool.get(), key.first);
    }
    for (const auto& one : sessions.all()) {
        out.rows.push_back({one->who().is->name, databases.at(&one->pool()), one->who().address,
                            std::string(one->state()), to_string(one->transactions())});
    }
    return out;
}

console_table servers_table(const backends& servers) {
    console_table out{"SERVERS", {"server", "host", "port", "connections", "max", "waiting", "breaker"}, {}};
    for (const auto& [name, server] : servers.servers()) {
        const headgate::bulkhead_snapshot s = server->connections().snapshot();
        out.rows.push_back({name, server->settings().host, to_string(server->settings().port), to_string(s.running),
                            to_string(server->settings().max_connections), to_string(s.waiting),
                            std::string(to_string(server->breaker().snapshot().state))});
    }
    return out;
}

console_table breakers_table(const backends& servers) {
    console_table out{"BREAKERS", {"server", "state", "mode", "failures", "refused", "opened"}, {}};
    for (const auto& [name, server] : servers.servers()) {
        const headgate::breaker_snapshot b = server->breaker().snapshot();
        out.rows.push_back({name, std::string(to_string(b.state)), std::string(to_string(b.mode)),
                            to_string(b.failures), to_string(b.refused), to_string(b.opened)});
    }
    return out;
}

console_table limits_table(const backends& servers, const headgate::rate_limiter& transactions) {
    console_table out{"LIMITS", {"user", "tier", "limit", "used", "remaining", "reset_ms"}, {}};
    for (const auto& [key, pool] : servers.pools()) {
        const headgate::key_info info = transactions.inspect(key.second);
        if (info.known) {
            const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(info.tightest.reset_after);
            out.rows.push_back({key.second, info.tier, to_string(info.tightest.limit), to_string(info.tightest.used),
                                to_string(info.tightest.remaining), to_string(ms.count())});
        }
    }
    return out;
}

console_table stats_table(const session_registry& sessions, const headgate::rate_limiter& transactions,
                          std::size_t logins) {
    console_table out{"STATS", {"name", "value"}, {}};
    const headgate::rate_limiter_snapshot s = transactions.snapshot();
    out.rows = {{"transactions_granted", to_string(s.granted)}, {"transactions_refused", to_string(s.refused)},
                {"transactions_keys", to_string(s.keys)},       {"transactions_bytes", to_string(s.bytes)},
                {"transactions_waiting", to_string(s.waiting)}, {"transactions_overflowing", s.overflowing ? "1" : "0"},
                {"clients", to_string(sessions.size())},        {"logins", to_string(logins)}};
    return out;
}

}  // namespace

std::vector<console_table> make_tables(const backends& servers, const session_registry& sessions,
                                       const headgate::rate_limiter& transactions, std::size_t logins) {
    return {pools_table(servers),
            clients_table(servers, sessions),
            servers_table(servers),
            stats_table(sessions, transactions, logins),
            limits_table(servers, transactions),
            breakers_table(servers)};
}

}  // namespace db_proxy
