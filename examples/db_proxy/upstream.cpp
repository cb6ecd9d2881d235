// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "upstream.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "server_pool.hpp"

namespace db_proxy {

namespace asio = boost::asio;
using asio::ip::tcp;
using headgate::errc;
using headgate::result;
using namespace std::chrono_literals;

namespace {

constexpr auto cancel_timeout = 5s;
constexpr auto user_timeout = 15s;  // how long bytes may stay unacknowledged before the connection counts as lost

void set_option(int descriptor, int level, int name, int value) {
    // A kernel without the option refuses it. The connection works without it.
    static_cast<void>(::setsockopt(descriptor, level, name, &value, sizeof value));
}

// Makes the kernel notice a lost peer, also on an idle connection.
void watch_peer(int descriptor) {
    set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, 30);
    set_option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set_option(descriptor, IPPROTO_TCP, TCP_KEEPCNT, 3);
    set_option(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT,
               static_cast<int>(std::chrono::milliseconds(user_timeout).count()));
}

// Whether the server works and only refuses this user, this database or one more connection. The breaker does not open
// for this. It opens for a lost connection (08), a server that starts or stops (57P), and a broken server (58, XX).
bool server_works(std::string_view sqlstate) {
    const std::string_view kind = sqlstate.substr(0, 2);
    return !sqlstate.empty() && kind != "08" && kind != "57" && kind != "58" && kind != "XX";
}

// A caller may wait for a place as long as a login may take.
headgate::bulkhead_options places_of(const server_settings& s) {
    return {.max_concurrent = s.max_connections, .max_wait = s.login_timeout};
}

headgate::duration jittered(headgate::duration span) {
    static std::minstd_rand random{std::random_device{}()};
    return span + span * static_cast<int>(random() % 21) / 100;
}

}  // namespace

struct upstream::attempt {
    attempt(asio::io_context::executor_type executor, const server_credentials& who)
        : socket(executor), login(who, {}) {}

    tcp::socket socket;
    server_login login;
    std::string input;
    std::string problem;  // the text of a network error
};

upstream::upstream(headgate::zone& zone, relay& wires, std::string name, const server_settings& s,
                   headgate::circuit_breaker breaker)
    : zone_(zone),
      relay_(wires),
      name_(std::move(name)),
      settings_(s),
      breaker_(std::move(breaker)),
      connections_(headgate::bulkhead::create(zone, name_, places_of(s)).value()) {}

void upstream::reconfigure(const server_settings& s) {
    settings_ = s;
    static_cast<void>(connections_.reconfigure(places_of(s)));
}

asio::awaitable<result<link_ptr>> upstream::connect(const server_credentials& who, server_error& failure) {
    auto permit = breaker_.try_begin();
    if (!permit) {
        failure = {"57P03", "server \"" + name_ + "\" is not asked at present: its circuit breaker is open"};
        co_return permit.error();
    }
    auto place = co_await take_place();
    if (!place) {
        failure = {"53300", "server \"" + name_ + "\" has all of its connections in use"};
        co_return place.error();
    }
    last_asked_ = who;
    attempt one(zone_.get_executor(), who);
    const auto log_in_now = [this, &one](headgate::call_context context) { return log_in(context, one); };
    auto done = co_await headgate::with_timeout(zone_, settings_.login_timeout, log_in_now);
    if (!done) {
        count_failure(permit.value(), one);
        failure = describe(one, done.error());
        co_return done.error();
    }
    permit.value().success();
    auto link = std::make_unique<server_link>(one.login.key(), one.login.reported(), std::move(place).value(),
                                              [this](std::string_view sqlstate) { suspect(sqlstate); });
    link->adopt(relay_, one.socket.release(), one.input);
    co_return link;
}

void upstream::count_failure(headgate::call_permit& permit, const attempt& failed) {
    if (!server_works(failed.login.code())) {
        permit.failure();
    } else if (breaker_.state() == headgate::breaker_state::closed) {
        permit.release();
    } else {
        permit.success();  // the probe has found the server, although the server refuses this user
    }
}

server_error upstream::describe(const attempt& failed, const headgate::error& e) const {
    const server_login& login = failed.login;
    const std::string why = !login.problem().empty() ? login.problem()
                            : e == errc::timed_out   ? "it did not answer within its login timeout"
                                                     : failed.problem;
    return {login.code().empty() ? "08001" : login.code(), "server \"" + name_ + "\": " + why};
}

asio::awaitable<result<headgate::bulkhead_permit>> upstream::take_place() {
    auto place = connections_.try_enter();
    if (place) {
        co_return place;
    }
    for (server_pool* pool : pools_) {
        if (pool->give_up_idle()) {
            break;
        }
    }
    ++waiting_for_place_;
    place = co_await connections_.enter();
    --waiting_for_place_;
    co_return place;
}

asio::awaitable<result<void>> upstream::open_socket(headgate::call_context context, tcp::socket& socket) {
    boost::system::error_code is_a_name;
    const asio::ip::address address = asio::ip::make_address(settings_.host, is_a_name);
    if (!is_a_name) {  // an address needs no resolver, which Asio runs in a thread of its own
        const tcp::endpoint peer(address, static_cast<std::uint16_t>(settings_.port));
        co_await socket.async_connect(peer, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
    } else {
        tcp::resolver resolver(zone_.get_executor());
        const std::string port = std::to_string(settings_.port);
        const auto found = co_await resolver.async_resolve(
            settings_.host, port, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
        co_await asio::async_connect(socket, found, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
    }
    watch_peer(socket.native_handle());
    socket.native_non_blocking(true);
    co_return headgate::success();
}

asio::awaitable<result<void>> upstream::log_in(headgate::call_context context, attempt& one) {
    try {
        auto opened = co_await open_socket(context, one.socket);
        std::array<char, 4096> chunk{};
        server_login::state state = server_login::state::running;
        while (state == server_login::state::running) {
            const std::string output = std::exchange(one.login.output, {});
            if (!output.empty()) {
                co_await asio::async_write(one.socket, asio::buffer(output),
                                           asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
            }
            const std::size_t n = co_await one.socket.async_read_some(
                asio::buffer(chunk), asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
            one.input.append(chunk.data(), n);
            std::string_view input = one.input;
            state = one.login.feed(input);
            one.input.erase(0, one.input.size() - input.size());
        }
        if (state == server_login::state::failed) {
            co_return headgate::error(errc::operation_failed, one.login.problem());
        }
        co_return opened;
    } catch (const boost::system::system_error& e) {
        one.problem = e.code() == asio::error::eof ? "it closed the connection during the login" : e.code().message();
        throw;
    }
}

asio::awaitable<bool> upstream::cancel(cancel_key key) {
    bool sent = false;
    const auto send = [this, key, &sent](headgate::call_context context) { return send_cancel(context, key, sent); };
    auto arrived = co_await headgate::with_timeout(zone_, cancel_timeout, send);
    co_return arrived.has_value() || !sent;
}

asio::awaitable<result<void>> upstream::send_cancel(headgate::call_context context, cancel_key key, bool& sent) {
    tcp::socket socket(zone_.get_executor());
    auto opened = co_await open_socket(context, socket);
    const std::string packet = cancel_request(key);
    sent = true;
    co_await asio::async_write(socket, asio::buffer(packet),
                               asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
    // The server closes this connection after it has signalled the process that runs the query.
    std::array<char, 64> nothing{};
    boost::system::error_code ended;
    co_await socket.async_read_some(
        asio::buffer(nothing),
        asio::bind_cancellation_slot(context.slot(), asio::redirect_error(asio::use_awaitable, ended)));
    if (ended == asio::error::operation_aborted) {
        co_return headgate::error(errc::timed_out);
    }
    co_return opened;
}

void upstream::breaker_changed(bool open) {
    open_ = open;
    if (open) {
        begin_to_probe();
    }
}

void upstream::suspect(std::string_view sqlstate) {
    if (!sqlstate.empty()) {
        if (last_asked_) {
            begin_to_probe();
        }
    } else if (auto permit = breaker_.try_begin()) {
        permit.value().failure();
    }
}

void upstream::begin_to_probe() {
    if (!std::exchange(probing_, true)) {
        asio::co_spawn(zone_.get_executor(), probe_until_closed(), asio::detached);
    }
}

asio::awaitable<void> upstream::probe_until_closed() {
    do {
        if (const auto wait = breaker_.snapshot().next_probe; wait > headgate::duration::zero()) {
            // An administrator has forced the breaker open. An event tells when this state ends.
            if (wait == headgate::duration::max()) {
                break;
            }
            auto slept = co_await zone_.sleep_for(jittered(wait), asio::use_awaitable);
            if (!slept) {
                break;
            }
        }
        co_await probe();
    } while (breaker_.state() != headgate::breaker_state::closed);
    probing_ = false;
}

asio::awaitable<void> upstream::probe() {
    if (!last_asked_) {
        co_return;
    }
    const server_credentials who = *last_asked_;
    server_error failure;
    auto link = co_await connect(who, failure);
    if (link) {
        link.value()->end();
        relay_.retire(std::move(link).value());
    } else {
        // If the breaker has not counted this failure, it sets no waiting time. Then only this sleep slows the loop.
        auto slept = co_await zone_.sleep_for(100ms, asio::use_awaitable);
        static_cast<void>(slept);
    }
}

}  // namespace db_proxy
