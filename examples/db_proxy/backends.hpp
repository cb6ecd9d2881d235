// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_BACKENDS_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_BACKENDS_HPP

#include <headgate/zone.hpp>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "relay.hpp"
#include "server_pool.hpp"
#include "settings.hpp"
#include "upstream.hpp"
#include "users.hpp"

namespace db_proxy {

/// The servers, and the pools that lend their connections: one pool for each database and user. While the proxy runs,
/// it removes no server and no pool.
class backends {
public:
    using server_map = std::map<std::string, std::unique_ptr<upstream>>;
    using pool_map = std::map<std::pair<std::string, std::string>, std::unique_ptr<server_pool>>;  // (database, user)

    /// Reads `current` whenever it makes a pool, so `current` must outlive this object.
    backends(headgate::zone& zone, relay& wires, const settings& current);

    /// Adds the servers that are new in the settings, and reconfigures everything else.
    void reconfigure(const user_list& users);
    /// Makes the pool for a configured database when the user asks for the first time.
    server_pool& pool_of(const std::string& database, const user& who);
    /// Handles an event of the circuit breaker of `server`.
    void breaker_changed(const std::string& server, bool open);
    /// Closes each returned connection whose clean-up takes too long.
    void check_returns(headgate::time_point now);

    [[nodiscard]] const server_map& servers() const noexcept { return servers_; }
    [[nodiscard]] const pool_map& pools() const noexcept { return pools_; }

private:
    void add_server(const std::string& name, const server_settings& s);

    headgate::zone& zone_;
    relay& relay_;
    const settings& current_;
    server_map servers_;
    pool_map pools_;
};

}  // namespace db_proxy

#endif
