// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "arrival.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <string_view>
#include <utility>

namespace db_proxy {

namespace asio = boost::asio;
using headgate::errc;

namespace {

/// The parameter values that the client expects: the values that it sent, otherwise the server's.
std::shared_ptr<const tracked_values> believed(const server_pool& pool, const tracked_values& sent) {
    tracked_values values = *pool.usual();
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (!sent[i].empty()) {
            values[i] = sent[i];
        }
    }
    // Equal values share the pool's own object, so that a later loan need not compare the values.
    return values == *pool.usual() ? pool.usual() : std::make_shared<const tracked_values>(std::move(values));
}

}  // namespace

bool failed_logins::shut_out(const std::string& address) const {
    const headgate::key_info info = limiter_.inspect(address);
    return info.known && info.tightest.remaining == 0;
}

arrival::arrival(const lobby& at, asio::ip::tcp::socket socket, std::string address, bool on_loopback)
    : at_(at),
      socket_(std::move(socket)),
      address_(std::move(address)),
      login_([&users = at.users, on_loopback](std::string_view name) { return users.check(name, on_loopback); }) {}

asio::awaitable<void> arrival::run() {
    const auto log_in_now = [this](headgate::call_context context) { return log_in(context); };
    auto end = co_await headgate::with_timeout(*at_.host.zone, current().client_login_timeout, log_in_now);
    if (!end) {
        if (end.error() == errc::timed_out && login_.started()) {
            const refusal late{"08P01", "the login took too long", {}};
            co_await refuse(late);
        }
        co_return;
    }
    switch (end.value()) {
        case client_login::state::cancel: cancel_query(); break;
        case client_login::state::authenticated: co_await enter(); break;
        case client_login::state::refused:
        case client_login::state::running: break;
    }
}

asio::awaitable<arrival::login_result> arrival::log_in(headgate::call_context context) {
    const auto token = [&] { return asio::bind_cancellation_slot(context.slot(), asio::use_awaitable); };
    std::array<char, 4096> chunk{};
    for (;;) {
        const std::size_t n = co_await socket_.async_read_some(asio::buffer(chunk), token());
        input_.append(chunk.data(), n);
        const client_login::state state = judge_input();
        if (state == client_login::state::authenticated || state == client_login::state::cancel) {
            co_return state;  // the output leaves with the greeting
        }
        const std::string output = std::exchange(login_.output, {});
        if (!output.empty()) {
            co_await asio::async_write(socket_, asio::buffer(output), token());
        }
        if (state == client_login::state::refused) {
            co_return state;
        }
    }
}

/// Asks the limiter before it judges each proof, and counts a wrong proof at once. An address therefore gets no more
/// guesses when it sends all of them at the same time than when it sends them in a row.
client_login::state arrival::judge_input() {
    bool shut_out = login_.started() && at_.failures.shut_out(address_);
    client_login::state state = client_login::state::refused;
    if (!shut_out) {
        std::string_view input = input_;
        state = login_.feed(input);
        input_.erase(0, input_.size() - input.size());
        if (state == client_login::state::authenticated || state == client_login::state::cancel) {
            return state;
        }
        if (login_.bad_credentials()) {
            at_.failures.note(address_);
        } else {
            shut_out = login_.started() && at_.failures.shut_out(address_);
        }
    }
    if (shut_out) {
        state = client_login::state::refused;
        login_.output.clear();
        append_error(login_.output, {"FATAL", "28000", "too many failed logins from this address"});
    }
    return state;
}

void arrival::cancel_query() {
    if (at_.failures.shut_out(address_)) {
        return;
    }
    if (session* const found = at_.sessions.find(login_.cancels())) {
        found->cancel_query();
    } else {
        at_.failures.note(address_);
    }
}

asio::awaitable<void> arrival::enter() {
    const user_ptr who = at_.users.find(login_.request().user);
    if (const auto why = refusal_of_user(who)) {
        co_return co_await refuse(*why);
    }
    if (login_.request().database == current().admin_database) {
        co_return co_await run_console(who->console);
    }
    co_await open_session(who);
}

std::optional<refusal> arrival::refusal_of_user(const user_ptr& who) const {
    const start_request& request = login_.request();
    if (at_.host.stage != service::open) {
        return refusal{"57P01", "the proxy is shutting down", {}};
    }
    if (!who) {  // a reload has removed the user after the password was checked
        return refusal{"28000", "user \"" + request.user + "\" was removed", {}};
    }
    if (request.database == current().admin_database && who->console == console_right::none) {
        return refusal{"42501", "user \"" + who->name + "\" may not use the console", {}};
    }
    return std::nullopt;
}

asio::awaitable<void> arrival::run_console(console_right right) {
    const std::shared_ptr<void> counted = at_.consoles.mark();
    console one(at_.tables, right);
    std::string out = std::exchange(login_.output, {});
    append_parameter_status(out, "server_version", "15.0");
    append_parameter_status(out, "client_encoding", "UTF8");
    append_ready(out, 'I');
    std::array<char, 4096> chunk{};
    for (;;) {
        std::string_view input = input_;
        const bool more = one.feed(input, out);
        input_.erase(0, input_.size() - input.size());
        const bool written = co_await write(out);
        if (!written || !more) {
            co_return;
        }
        out.clear();
        boost::system::error_code gone;
        const std::size_t n =
            co_await socket_.async_read_some(asio::buffer(chunk), asio::redirect_error(asio::use_awaitable, gone));
        if (gone) {
            co_return;
        }
        input_.append(chunk.data(), n);
    }
}

/// Checks again after the greeting, because a drain may have begun and other clients may have come meanwhile.
asio::awaitable<void> arrival::open_session(const user_ptr& who) {
    start_parameters wanted;
    if (const auto why = refusal_of_request(wanted)) {
        co_return co_await refuse(*why);
    }
    server_pool& pool = at_.servers.pool_of(login_.request().database, *who);
    if (const auto why = co_await get_to_know(pool)) {
        co_return co_await refuse(*why);
    }
    const auto values = believed(pool, wanted.tracked);
    client_identity identity{.is = who, .address = address_, .key = at_.sessions.make_key()};
    const std::string hello = greeting(pool, *values, identity.key);
    const bool written = co_await write(hello);
    if (!written || at_.host.stage == service::stopped) {
        co_return;
    }
    if (const auto why = refusal_of_another_client()) {
        co_return co_await refuse(*why);
    }
    const auto made = std::make_shared<session>(at_.host, pool, std::move(identity), values);
    at_.sessions.add(made);
    boost::system::error_code ignored;
    socket_.native_non_blocking(true, ignored);  // NOLINT(bugprone-unused-return-value): it is, since the first read
    made->start(at_.wires, socket_.release(), input_);
}

/// Returns a refusal when the database, the parameters or the number of clients require it. Otherwise fills `wanted`.
std::optional<refusal> arrival::refusal_of_request(start_parameters& wanted) const {
    const start_request& request = login_.request();
    const auto database = current().databases.find(request.database);
    if (database == current().databases.end()) {
        return refusal{"3D000", "database \"" + request.database + "\" does not exist", {}};
    }
    wanted = read_parameters(request.values, database->second.parameters);
    if (!wanted.problem.empty()) {
        return refusal{std::string(wanted.code), wanted.problem, {}};
    }
    return refusal_of_another_client();
}

std::optional<refusal> arrival::refusal_of_another_client() const {
    if (at_.host.stage != service::open) {
        return refusal{"57P01", "the proxy is shutting down", {}};
    }
    if (at_.sessions.size() >= current().max_client_connections) {
        return refusal{"53300", "sorry, too many clients already", {}};
    }
    return std::nullopt;
}

/// The proxy learns a server's parameters from the first connection. It must report them to the client at the login.
asio::awaitable<std::optional<refusal>> arrival::get_to_know(server_pool& pool) {
    if (pool.server().is_open()) {
        co_return start_up_refusal(errc::circuit_open, current(), pool);
    }
    if (pool.welcome().empty()) {
        auto first = co_await pool.pool().checkout();
        if (!first) {
            co_return start_up_refusal(first.error(), current(), pool);
        }
    }
    co_return std::nullopt;
}

std::string arrival::greeting(const server_pool& pool, const tracked_values& values, const cancel_key& key) {
    std::string out = std::exchange(login_.output, {});
    for (const auto& [name, value] : pool.welcome()) {
        const std::size_t i = tracked_index(name);
        append_parameter_status(out, name, i < values.size() ? values[i] : value);
    }
    std::string key_data;
    append_uint32(key_data, key.process);
    append_uint32(key_data, key.secret);
    append_message(out, 'K', {key_data});
    append_ready(out, 'I');
    return out;
}

asio::awaitable<void> arrival::refuse(const refusal& why) {
    std::string out = std::exchange(login_.output, {});
    append_error(out, {"FATAL", why.code, why.text});
    co_await write(out);
}

/// False when the client has gone.
asio::awaitable<bool> arrival::write(const std::string& bytes) {
    boost::system::error_code gone;
    co_await asio::async_write(socket_, asio::buffer(bytes), asio::redirect_error(asio::use_awaitable, gone));
    co_return !gone;
}

}  // namespace db_proxy
