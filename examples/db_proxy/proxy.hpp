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
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "console.hpp"
#include "relay.hpp"
#include "session.hpp"
#include "settings.hpp"
#include "upstream.hpp"
#include "users.hpp"

namespace db_proxy {

/// The proxy: its clients, its servers, and the pools between them. One thread: that of its io_context.
class proxy final : public session_host, public console_host {
public:
    /// Reads the configuration and listens. Throws `std::runtime_error`, which says what is wrong.
    proxy(boost::asio::io_context& io, std::string config_file);
    ~proxy() override;

    /// Begins to serve.
    void start();
    /// Reads configuration and users again; all of it or nothing. Gives the mistakes, empty when there are none.
    std::string reload() override;
    /// Takes nobody new, lets transactions end, and gives whether all did in time.
    boost::asio::awaitable<bool> drain();

    [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
    [[nodiscard]] std::string status_url() const { return status_ ? status_->url() : std::string(); }

private:
    struct arrival;

    void ended(session& s) override;
    void cancel(server_pool& pool, server_link& link) override;
    [[nodiscard]] std::vector<console_table> tables() const override;

    boost::asio::awaitable<void> accept();
    boost::asio::awaitable<void> serve(boost::asio::ip::tcp::socket socket);
    boost::asio::awaitable<headgate::result<client_login::state>> log_in(headgate::call_context context, arrival* a);
    boost::asio::awaitable<void> open_session(arrival& a);
    boost::asio::awaitable<void> refuse(arrival& a, std::string_view code, std::string_view text);
    boost::asio::awaitable<void> watch_deadlines();
    boost::asio::awaitable<void> send_cancel(upstream& server, cancel_key key,
                                             std::shared_ptr<server_link::canceling> cancels);
    void cancel_for(const cancel_key& key, const std::string& address);
    [[nodiscard]] bool is_shut_out(const std::string& address) const;
    server_pool& pool_of(const std::string& database, const user& who);
    [[nodiscard]] cancel_key make_key() const;
    void load_users(const settings& s, user_list& out) const;
    void add_server(const std::string& name, const server_settings& s);

    boost::asio::io_context& io_;
    std::string config_file_;
    settings settings_;
    user_list users_;
    std::unique_ptr<headgate::zone_set> zones_;
    headgate::zone& zone_;
    headgate::rate_limiter transactions_limiter_;
    headgate::rate_limiter failed_logins_;
    relay relay_;
    std::map<std::string, std::unique_ptr<upstream>> servers_;
    std::map<std::pair<std::string, std::string>, std::unique_ptr<server_pool>> pools_;
    std::unordered_map<std::uint32_t, std::shared_ptr<session>> sessions_;  // by their keys' process
    /// Logins and consoles.
    [[nodiscard]] std::size_t arriving() const noexcept { return static_cast<std::size_t>(arrivals_.use_count()) - 1; }

    std::shared_ptr<void> arrivals_ = std::make_shared<int>();  // each holds one, some longer than the proxy lives
    std::uint32_t consoles_ = 0;
    bool listens_on_loopback_ = false;
    headgate::subscription events_;
    boost::asio::ip::tcp::acceptor acceptor_;
    std::unique_ptr<headgate::status_server> status_;
};

}  // namespace db_proxy

#endif
