// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_SETTINGS_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_SETTINGS_HPP

#include <headgate/config.hpp>
#include <headgate/result.hpp>
#include <headgate/time.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "startup.hpp"

namespace db_proxy {

/// A PostgreSQL server. Its circuit breaker has the same name.
struct server_settings {
    std::string host = "127.0.0.1";
    std::uint32_t port = 5432;
    std::uint32_t max_connections = 100;                         ///< For all users together.
    headgate::duration login_timeout = std::chrono::seconds{5};  ///< From the connect to the end of the login.

    friend bool operator==(const server_settings&, const server_settings&) = default;
};

/// How long a client keeps the server that is lent to it.
enum class pool_mode : std::uint8_t { session, transaction };
/// When the proxy resets a returned connection with DISCARD ALL.
enum class reset_when : std::uint8_t {
    dirty,   ///< After a loan with a command whose effect is known to outlive its transaction.
    always,  ///< After every loan.
};

/// A database as clients name it. Its pools take their options from the resource pool with the same name.
struct database_settings {
    std::string server;  ///< The name of a server.
    std::string dbname;  ///< The name of the database on the server; empty: the same name.
    pool_mode mode = pool_mode::transaction;
    reset_when reset = reset_when::dirty;
    parameter_policies parameters{};

    friend bool operator==(const database_settings&, const database_settings&) = default;
};

/// The document that configures the proxy. The proxy reads its member "proxy", headgate its member "zones".
struct settings {
    std::string listen = "127.0.0.1:6432";         ///< An address and a port.
    std::string status = "127.0.0.1:6480";         ///< The same for the status page; empty: there is no page.
    std::vector<std::string> status_host_names{};  ///< The page's host names for clients, besides its address.
    std::string users = "users.json";              ///< The file of users.
    std::string admin_database = "headgate";
    std::uint32_t max_client_connections = 2'000;
    headgate::duration client_login_timeout = std::chrono::seconds{15};
    headgate::duration drain_timeout = std::chrono::seconds{30};
    headgate::duration permit_wait{};           ///< How long a transaction waits for its permit; zero: refused at once.
    std::string circuit_open_code = "53000";    ///< SQLSTATE for a session while its server's breaker is open.
    std::string rate_limited_code = "53400";    ///< SQLSTATE of a transaction without a permit.
    std::string pool_exhausted_code = "53300";  ///< SQLSTATE when no server became free in time.
    std::map<std::string, server_settings> servers{};
    std::map<std::string, database_settings> databases{};

    headgate::config zones{};  ///< For headgate: one zone, "proxy".
};

/// The proxy's zone, and the limiters that must be in it.
inline constexpr const char* zone_name = "proxy";
inline constexpr const char* transactions_limiter = "transactions";    ///< Keys are users.
inline constexpr const char* failed_logins_limiter = "failed_logins";  ///< Keys are addresses.

/// Reads a document. Reports all mistakes at once, each with its place.
headgate::result<settings> parse_settings(std::string_view text, std::vector<headgate::config_problem>& problems);

/// The changes between `from` and `to` that need a restart.
std::vector<headgate::config_problem> fixed_while_running(const settings& from, const settings& to);

}  // namespace db_proxy

#endif
