// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_SETTINGS_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_SETTINGS_HPP

#include <headgate/config.hpp>
#include <headgate/result.hpp>
#include <headgate/time.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "client.hpp"

namespace config_service {

/// The document that configures the service. `parse_settings` reads "service", headgate reads "zones".
struct settings {
    std::string listen = "127.0.0.1:8080";     ///< Address and port.
    std::string database = "config.db";        ///< postgresql://…, or a file in the data directory.
    std::uint32_t max_database_pages = 0;      ///< For SQLite only; zero: no bound.
    std::string users;                         ///< The file of bearer tokens; empty: no users, and loopback only.
    std::vector<std::string> trusted_proxies;  ///< Networks of proxies that may name a client's address.
    std::uint64_t max_body = 1 << 20;          ///< Bytes of a request.
    std::uint64_t max_connections = 20'000;    ///< Clients at once.
    std::uint64_t max_entries = 100'000;       ///< Paths kept in memory.
    std::uint64_t max_unsaved = 10'000;        ///< Writes that may wait for the database.
    bool log_requests = true;                  ///< A line for each request.

    headgate::duration idle_timeout = std::chrono::seconds{60};    ///< For a client that sends no request.
    headgate::duration header_timeout = std::chrono::seconds{10};  ///< For a whole header.
    headgate::duration body_timeout = std::chrono::seconds{30};    ///< For a whole body, and for an answer.
    headgate::duration busy_retry = std::chrono::seconds{1};       ///< Retry-After if headgate gives no time.
    headgate::duration look_up_timeout = std::chrono::seconds{2};  ///< For one question to the database.
    headgate::duration sync_timeout = std::chrono::seconds{10};    ///< For one transaction.
    headgate::duration sync_interval = std::chrono::seconds{1};    ///< Between two automatic syncs.
    headgate::duration save_interval = std::chrono::seconds{5};    ///< Between two saves of the limiters.
    headgate::duration drain_timeout = std::chrono::seconds{10};   ///< From SIGTERM to the end.

    std::vector<std::string> parser_command;                      ///< The worker process and its arguments.
    std::uint64_t parser_memory = 256u << 20;                     ///< Bytes of address space for each worker.
    std::uint64_t parser_output = 8u << 20;                       ///< Bytes of one answer.
    headgate::duration parser_timeout = std::chrono::seconds{5};  ///< For one source text, with the wait for a worker.

    headgate::config zones;  ///< The configuration of headgate.
};

/// Reads a document. Reports all mistakes at once, each with its place.
headgate::result<settings> parse_settings(std::string_view text, std::vector<headgate::config_problem>& problems);

/// The differences between `from` and `to` that a running service cannot apply.
std::vector<headgate::config_problem> fixed_while_running(const settings& from, const settings& to);

}  // namespace config_service

#endif
