// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_ARRIVAL_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_ARRIVAL_HPP

#include <headgate/headgate.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "backends.hpp"
#include "client_login.hpp"
#include "console.hpp"
#include "refusal.hpp"
#include "relay.hpp"
#include "session.hpp"
#include "session_registry.hpp"
#include "users.hpp"

namespace db_proxy {

/// Counts coroutines. Each coroutine holds a mark. A mark may outlive the counter.
class head_count {
public:
    [[nodiscard]] std::shared_ptr<void> mark() const { return origin_; }
    [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(origin_.use_count()) - 1; }

private:
    std::shared_ptr<void> origin_ = std::make_shared<int>();
};

/// The addresses that have sent too many wrong passwords or cancel keys.
class failed_logins {
public:
    explicit failed_logins(headgate::rate_limiter limiter) : limiter_(std::move(limiter)) {}

    [[nodiscard]] bool shut_out(const std::string& address) const;
    void note(const std::string& address) { static_cast<void>(limiter_.try_acquire(address)); }

private:
    headgate::rate_limiter limiter_;
};

/// The parts of the proxy that each new client uses. The proxy owns all of them.
struct lobby {
    session_host& host;
    console_host& tables;
    const user_list& users;
    session_registry& sessions;
    backends& servers;
    relay& wires;
    failed_logins& failures;
    const head_count& consoles;
};

/// A newly accepted client, until it gets a session, uses the console, or is refused.
class arrival {
public:
    /// `on_loopback`: both ends of the connection are on the loopback, so a trusted user needs no password.
    arrival(const lobby& at, boost::asio::ip::tcp::socket socket, std::string address, bool on_loopback);

    /// Serves the client until it gets a session, leaves, or is refused. The session does not need this object.
    boost::asio::awaitable<void> run();

private:
    using login_result = headgate::result<client_login::state>;

    // The login.
    boost::asio::awaitable<login_result> log_in(headgate::call_context context);
    client_login::state judge_input();
    void cancel_query();

    // After the login.
    boost::asio::awaitable<void> enter();
    boost::asio::awaitable<void> run_console(console_right right);
    boost::asio::awaitable<void> open_session(const user_ptr& who);
    boost::asio::awaitable<std::optional<refusal>> get_to_know(server_pool& pool);
    [[nodiscard]] std::optional<refusal> refusal_of_user(const user_ptr& who) const;
    [[nodiscard]] std::optional<refusal> refusal_of_request(start_parameters& wanted) const;
    [[nodiscard]] std::optional<refusal> refusal_of_another_client() const;
    [[nodiscard]] std::string greeting(const server_pool& pool, const tracked_values& values, const cancel_key& key);
    boost::asio::awaitable<void> refuse(const refusal& why);
    boost::asio::awaitable<bool> write(const std::string& bytes);

    [[nodiscard]] const settings& current() const noexcept { return *at_.host.current; }

    const lobby& at_;
    boost::asio::ip::tcp::socket socket_;
    std::string address_;
    client_login login_;
    std::string input_;
};

}  // namespace db_proxy

#endif
