// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_SERVER_POOL_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_SERVER_POOL_HPP

#include <headgate/headgate.hpp>

#include <boost/asio/awaitable.hpp>

#include <memory>
#include <string>
#include <vector>

#include "relay.hpp"
#include "server_link.hpp"
#include "server_login.hpp"
#include "settings.hpp"
#include "upstream.hpp"

namespace db_proxy {

using lent_link = headgate::lease<link_ptr>;

/// The connections of one user to one database.
class server_pool {
public:
    /// `name` is the name of its resource pool.
    server_pool(headgate::zone& zone, relay& wires, upstream& from, std::string name, const database_settings& database,
                const headgate::pool_options& options, server_credentials who);
    server_pool(const server_pool&) = delete;
    server_pool& operator=(const server_pool&) = delete;

    /// Lends the connections. A lent connection may be dead, because the server closed it while it was idle. The
    /// borrower then discards it and asks again.
    [[nodiscard]] headgate::resource_pool<link_ptr>& pool() noexcept { return pool_; }

    /// Takes a connection back and cleans it up for the next borrower: waits for the CancelRequests on their way, rolls
    /// back an open transaction, and discards the state that the next borrower would see. Precondition: the server owes
    /// no answer.
    void take_back(lent_link link);
    /// Closes each returned connection whose clean-up takes too long. The proxy calls this periodically.
    void check_returns(headgate::time_point now);
    /// Closes one idle connection, so that the server has a place for another user. False when no connection is idle.
    bool give_up_idle();

    /// The parameters that the server reported to the newest connection. A client learns them at its login.
    [[nodiscard]] const parameters& welcome() const noexcept { return welcome_; }
    /// The values of `tracked_parameters` among them; null before the first connection.
    [[nodiscard]] const std::shared_ptr<const tracked_values>& usual() const noexcept { return usual_; }
    /// Why the last connect failed.
    [[nodiscard]] const server_error& failure() const noexcept { return failure_; }
    [[nodiscard]] upstream& server() noexcept { return upstream_; }
    [[nodiscard]] const database_settings& database() const noexcept { return database_; }
    [[nodiscard]] const server_credentials& credentials() const noexcept { return credentials_; }
    void reconfigure(const database_settings& database, const headgate::pool_options& options,
                     const server_credentials& who);

private:
    struct backend;
    /// A returned connection that is not cleaned up yet.
    struct returning {
        lent_link link;
        headgate::time_point until;
    };

    boost::asio::awaitable<headgate::result<link_ptr>> connect();
    void clean(const std::shared_ptr<returning>& one);
    void cleaned(const std::shared_ptr<returning>& one, bool rolled_back, bool succeeded);
    void end_return(const std::shared_ptr<returning>& one, bool usable);
    [[nodiscard]] bool another_user_needs_the_place() const;

    headgate::zone& zone_;
    relay& relay_;
    upstream& upstream_;
    database_settings database_;
    server_credentials credentials_;
    parameters welcome_;
    std::shared_ptr<const tracked_values> usual_;
    server_error failure_;
    std::vector<std::shared_ptr<returning>> returns_;
    headgate::resource_pool<link_ptr> pool_;
};

}  // namespace db_proxy

#endif
