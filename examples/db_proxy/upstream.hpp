// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_UPSTREAM_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_UPSTREAM_HPP

#include <headgate/headgate.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "relay.hpp"
#include "server_link.hpp"
#include "server_login.hpp"
#include "settings.hpp"

namespace db_proxy {

using link_ptr = std::unique_ptr<server_link>;
using lent_link = headgate::lease<link_ptr>;

/// Why a server could not be logged in to, for the client that it was wanted for.
struct login_failure {
    std::string code;  ///< SQLSTATE
    std::string text;
};

class server_pool;

/// A PostgreSQL server: whether it is asked at all, and how many connections it has from us.
class upstream {
public:
    upstream(headgate::zone& zone, relay& wires, std::string name, const server_settings& s,
             headgate::circuit_breaker breaker);
    upstream(const upstream&) = delete;
    upstream& operator=(const upstream&) = delete;

    /// Connects and logs in, unless the breaker is open. Waits for a place among `max_server_connections`, for which
    /// an idle connection of another user is given up. `failure` tells why it could not.
    boost::asio::awaitable<headgate::result<link_ptr>> connect(const server_credentials* who, login_failure* failure);

    /// Sends a CancelRequest. False when it was given up on its way, so that the server may take it at any time.
    boost::asio::awaitable<bool> cancel(cancel_key key);

    /// Whether nobody is to ask it now. Follows the breaker's events.
    [[nodiscard]] bool is_open() const noexcept { return open_; }
    /// An event of the breaker: begins to probe when it has opened.
    void breaker_changed(bool open);
    /// A connection says, with this SQLSTATE, that the server goes away: finds out now. Empty: it was lost without a
    /// word, which is a failure.
    void suspect(std::string_view sqlstate);

    /// Somebody waits for one of its connections, so that none is to stay idle.
    [[nodiscard]] bool is_crowded() const noexcept { return waiting_for_place_ > 0; }
    void add(server_pool& pool) { pools_.push_back(&pool); }

    [[nodiscard]] headgate::circuit_breaker& breaker() noexcept { return breaker_; }
    [[nodiscard]] const headgate::bulkhead& connections() const noexcept { return connections_; }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const server_settings& settings() const noexcept { return settings_; }
    void reconfigure(const server_settings& s);

private:
    struct attempt;

    boost::asio::awaitable<headgate::result<headgate::bulkhead_permit>> take_place();
    boost::asio::awaitable<headgate::result<void>> open_socket(headgate::call_context context,
                                                               boost::asio::ip::tcp::socket* socket);
    boost::asio::awaitable<headgate::result<void>> log_in(headgate::call_context context, attempt* a);
    boost::asio::awaitable<headgate::result<void>> send_cancel(headgate::call_context context, cancel_key key,
                                                               bool* sent);
    boost::asio::awaitable<void> probe();
    boost::asio::awaitable<void> probe_until_closed();

    headgate::zone& zone_;
    relay& relay_;
    std::string name_;
    server_settings settings_;
    headgate::circuit_breaker breaker_;
    headgate::bulkhead connections_;
    std::vector<server_pool*> pools_;
    std::optional<server_credentials> last_asked_;  // what a probe logs in with
    int waiting_for_place_ = 0;
    bool open_ = false;
    bool probing_ = false;
};

/// The connections of one user to one database.
class server_pool {
public:
    /// `name` is that of its resource pool.
    server_pool(headgate::zone& zone, relay& wires, upstream& from, std::string name, const database_settings& database,
                const headgate::pool_options& options, server_credentials who);
    server_pool(const server_pool&) = delete;
    server_pool& operator=(const server_pool&) = delete;

    /// What lends connections; one that has ended while it was idle is lent too, and to be discarded.
    [[nodiscard]] headgate::resource_pool<link_ptr>& pool() noexcept { return pool_; }

    /// Takes a connection back, and makes it fit for the next: cancels that are on their way arrive first, what is open
    /// is rolled back, what would be seen by the next borrower is discarded. The link owes nothing.
    void take_back(lent_link link);
    /// What takes too long to become fit is thrown away; called now and then.
    void check_returns(headgate::time_point now);
    /// Closes one idle connection, for whom else the server has no place; false when none is idle.
    bool give_up_idle();

    /// What the server reported to the first connection: what a client is told at its login.
    [[nodiscard]] const parameters& welcome() const noexcept { return welcome_; }
    /// Those of them that follow their client; null before the first connection.
    [[nodiscard]] const std::shared_ptr<const tracked_values>& usual() const noexcept { return usual_; }
    [[nodiscard]] const login_failure& failure() const noexcept { return failure_; }
    [[nodiscard]] upstream& server() noexcept { return upstream_; }
    [[nodiscard]] const database_settings& database() const noexcept { return database_; }
    [[nodiscard]] const server_credentials& credentials() const noexcept { return credentials_; }
    void reconfigure(const database_settings& database, const headgate::pool_options& options,
                     const server_credentials& who);

private:
    struct backend;
    struct returning {
        lent_link link;
        headgate::time_point until;
    };

    boost::asio::awaitable<headgate::result<link_ptr>> connect();
    void clean(const std::shared_ptr<returning>& one);
    void end_return(const std::shared_ptr<returning>& one, bool usable);

    headgate::zone& zone_;
    relay& relay_;
    upstream& upstream_;
    database_settings database_;
    server_credentials credentials_;
    parameters welcome_;
    std::shared_ptr<const tracked_values> usual_;
    login_failure failure_;
    std::vector<std::shared_ptr<returning>> returns_;
    headgate::resource_pool<link_ptr> pool_;
};

}  // namespace db_proxy

#endif
