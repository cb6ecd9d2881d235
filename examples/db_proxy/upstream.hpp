// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_UPSTREAM_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_UPSTREAM_HPP

#include <headgate/headgate.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

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

class server_pool;

/// A PostgreSQL server. Knows whether the proxy may connect to it, and how many connections the proxy has to it.
class upstream {
public:
    upstream(headgate::zone& zone, relay& wires, std::string name, const server_settings& s,
             headgate::circuit_breaker breaker);
    upstream(const upstream&) = delete;
    upstream& operator=(const upstream&) = delete;

    /// Connects and logs in, unless the breaker is open. Waits for a place among `max_server_connections`, and closes
    /// an idle connection of another user for it. On an error, `failure` tells the waiting client why. Both arguments
    /// must live until the call ends.
    boost::asio::awaitable<headgate::result<link_ptr>> connect(const server_credentials& who, server_error& failure);

    /// Sends a CancelRequest. False when the outcome is unknown: the server may still get it at any time.
    boost::asio::awaitable<bool> cancel(cancel_key key);

    /// Whether the circuit breaker keeps all sessions away from the server. Follows the breaker's events.
    [[nodiscard]] bool is_open() const noexcept { return open_; }
    /// Handles an event of the breaker. Begins to probe when the breaker has opened.
    void breaker_changed(bool open);
    /// A connection got this SQLSTATE, which says that the server is going away: a probe checks the server. An empty
    /// code means that the connection was lost without an error. The breaker counts this as a failure.
    void suspect(std::string_view sqlstate);

    /// Whether a user waits for a connection. Then no connection of another user should stay idle.
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
                                                               boost::asio::ip::tcp::socket& socket);
    boost::asio::awaitable<headgate::result<void>> log_in(headgate::call_context context, attempt& one);
    void count_failure(headgate::call_permit& permit, const attempt& failed);
    [[nodiscard]] server_error describe(const attempt& failed, const headgate::error& e) const;
    boost::asio::awaitable<headgate::result<void>> send_cancel(headgate::call_context context, cancel_key key,
                                                               bool& sent);
    void begin_to_probe();
    boost::asio::awaitable<void> probe_until_closed();
    boost::asio::awaitable<void> probe();

    headgate::zone& zone_;
    relay& relay_;
    std::string name_;
    server_settings settings_;
    headgate::circuit_breaker breaker_;
    headgate::bulkhead connections_;
    std::vector<server_pool*> pools_;
    std::optional<server_credentials> last_asked_;  // a probe logs in with these
    int waiting_for_place_ = 0;
    bool open_ = false;
    bool probing_ = false;
};

}  // namespace db_proxy

#endif
