// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_PROXY_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_PROXY_HPP

#include <headgate/headgate.hpp>
#include <headgate/status.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "arrival.hpp"
#include "backends.hpp"
#include "console.hpp"
#include "relay.hpp"
#include "session.hpp"
#include "session_registry.hpp"
#include "settings.hpp"
#include "users.hpp"

namespace db_proxy {

/// The proxy: it listens, owns the other parts, and reloads and drains them. It runs on the thread of its io_context.
class proxy final : public session_host, public console_host {
public:
    /// Reads the configuration and listens. Throws `std::runtime_error`, whose text is for the administrator.
    proxy(boost::asio::io_context& io, std::string config_file);
    ~proxy() override;

    /// Begins to serve.
    void start();
    /// Reads the configuration and the users again, and applies either all of it or nothing. Returns the mistakes,
    /// empty when there are none.
    std::string reload() override;
    /// Takes no new clients and lets the transactions end. Returns whether all of them ended in time.
    boost::asio::awaitable<bool> drain();

    [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
    [[nodiscard]] std::string status_url() const { return status_ ? status_->url() : std::string(); }

private:
    void ended(session& s) override;
    void cancel(server_pool& pool, server_link& link) override;
    [[nodiscard]] std::vector<console_table> tables() const override;

    void listen();
    void serve_status_page();
    void load_users(const settings& s, user_list& out) const;
    boost::asio::awaitable<void> accept();
    boost::asio::awaitable<void> serve(boost::asio::ip::tcp::socket socket);
    boost::asio::awaitable<void> watch_deadlines();
    boost::asio::awaitable<void> send_cancel(upstream& server, cancel_key key,
                                             std::shared_ptr<server_link::canceling> cancels);
    /// How many clients are logging in, not counting the clients on the console.
    [[nodiscard]] std::size_t logging_in() const noexcept { return arrivals_.size() - consoles_.size(); }

    boost::asio::io_context& io_;
    std::string config_file_;
    settings settings_;
    user_list users_;
    std::unique_ptr<headgate::zone_set> zones_;
    headgate::zone& zone_;
    headgate::rate_limiter transactions_limiter_;
    failed_logins failed_logins_;
    relay relay_;
    backends backends_;
    session_registry sessions_;
    head_count arrivals_;  // the clients that are logging in, and the clients on the console
    head_count consoles_;
    lobby lobby_;
    headgate::subscription events_;
    boost::asio::ip::tcp::acceptor acceptor_;
    bool listens_on_loopback_ = false;
    std::unique_ptr<headgate::status_server> status_;
};

}  // namespace db_proxy

#endif
