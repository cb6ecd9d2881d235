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

namespace db_proxy {

namespace asio = boost::asio;
using asio::ip::tcp;
using headgate::errc;
using headgate::result;
using namespace std::chrono_literals;

namespace {

constexpr auto cancel_timeout = 5s;
constexpr auto clean_timeout = 5s;
constexpr auto user_timeout = 15s;  // unacknowledged bytes: as long as a lost network is waited for

void set_option(int descriptor, int level, int name, int value) {
    // What cannot be set is not there: the connection works without it.
    static_cast<void>(::setsockopt(descriptor, level, name, &value, sizeof value));
}

// Lost peers are noticed, also by a connection on which nobody waits.
void watch_peer(int descriptor) {
    set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, 30);
    set_option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set_option(descriptor, IPPROTO_TCP, TCP_KEEPCNT, 3);
    set_option(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT,
               static_cast<int>(std::chrono::milliseconds(user_timeout).count()));
}

// The server works, and refuses this user, this database, or any more: nothing that a breaker should open for. Not so
// with what tells of a lost connection (08), a server that starts or stops (57P), or one that is broken (58, XX).
bool answers(std::string_view sqlstate) {
    const std::string_view kind = sqlstate.substr(0, 2);
    return !sqlstate.empty() && kind != "08" && kind != "57" && kind != "58" && kind != "XX";
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
    std::string problem;
};

upstream::upstream(headgate::zone& zone, relay& wires, std::string name, const server_settings& s,
                   headgate::circuit_breaker breaker)
    : zone_(zone),
      relay_(wires),
      name_(std::move(name)),
      settings_(s),
      breaker_(std::move(breaker)),
      connections_(
          headgate::bulkhead::create(zone, name_, {.max_concurrent = s.max_connections, .max_wait = s.login_timeout})
              .value()) {}

void upstream::reconfigure(const server_settings& s) {
    settings_ = s;
    static_cast<void>(connections_.resize(s.max_connections));
}

asio::awaitable<result<link_ptr>> upstream::connect(const server_credentials* who, login_failure* failure) {
    auto permit = breaker_.try_begin();
    if (!permit) {
        *failure = {"57P03", "server \"" + name_ + "\" is not asked at present: its circuit breaker is open"};
        co_return permit.error();
    }
    auto place = co_await take_place();
    if (!place) {
        *failure = {"53300", "server \"" + name_ + "\" has all of its connections in use"};
        co_return place.error();
    }
    last_asked_ = *who;
    attempt a(zone_.get_executor(), *who);
    attempt* const arg = &a;
    upstream* const self = this;
    const auto log_in_now = [self](headgate::call_context context, attempt* one) { return self->log_in(context, one); };
    auto done = co_await headgate::with_timeout(zone_, settings_.login_timeout, log_in_now, arg);
    if (!done) {
        const std::string& code = a.login.code();
        if (!answers(code)) {
            permit.value().failure();
        } else if (breaker_.state() == headgate::breaker_state::closed) {
            permit.value().release();
        } else {
            permit.value().success();  // a probe of whomever: the server is there
        }
        const std::string why = !a.login.problem().empty()        ? a.login.problem()
                                : done.error() == errc::timed_out ? "it did not answer within its login timeout"
                                                                  : a.problem;
        *failure = {code.empty() ? "08001" : code, "server \"" + name_ + "\": " + why};
        co_return done.error();
    }
    permit.value().success();
    auto link = std::make_unique<server_link>(a.login.key(), a.login.reported(), std::move(place).value(),
                                              [self](std::string_view sqlstate) { self->suspect(sqlstate); });
    link->adopt(relay_, a.socket.release(), a.input);
    co_return link;
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

asio::awaitable<result<void>> upstream::open_socket(headgate::call_context context, tcp::socket* socket) {
    boost::system::error_code is_a_name;
    const asio::ip::address address = asio::ip::make_address(settings_.host, is_a_name);
    if (!is_a_name) {  // Asio's resolver asks a thread of its own
        const tcp::endpoint peer(address, static_cast<std::uint16_t>(settings_.port));
        co_await socket->async_connect(peer, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
    } else {
        tcp::resolver resolver(zone_.get_executor());
        const std::string port = std::to_string(settings_.port);
        const auto found = co_await resolver.async_resolve(
            settings_.host, port, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
        co_await asio::async_connect(*socket, found, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
    }
    watch_peer(socket->native_handle());
    socket->native_non_blocking(true);
    co_return headgate::success();
}

asio::awaitable<result<void>> upstream::log_in(headgate::call_context context, attempt* a) {
    try {
        auto opened = co_await open_socket(context, &a->socket);
        std::array<char, 4096> chunk{};
        server_login::state state = server_login::state::running;
        while (state == server_login::state::running) {
            const std::string output = std::exchange(a->login.output, {});
            if (!output.empty()) {
                co_await asio::async_write(a->socket, asio::buffer(output),
                                           asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
            }
            const std::size_t n = co_await a->socket.async_read_some(
                asio::buffer(chunk), asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
            a->input.append(chunk.data(), n);
            std::string_view input = a->input;
            state = a->login.feed(input);
            a->input.erase(0, a->input.size() - input.size());
        }
        if (state == server_login::state::failed) {
            co_return headgate::error(errc::operation_failed, a->login.problem());
        }
        co_return opened;
    } catch (const boost::system::system_error& e) {
        a->problem = e.code() == asio::error::eof ? "it closed the connection during the login" : e.code().message();
        throw;
    }
}

asio::awaitable<bool> upstream::cancel(cancel_key key) {
    upstream* const self = this;
    bool on_its_way = false;
    bool* const sent = &on_its_way;
    const auto send = [self, sent](headgate::call_context context, cancel_key which) {
        return self->send_cancel(context, which, sent);
    };
    auto arrived = co_await headgate::with_timeout(zone_, cancel_timeout, send, key);
    co_return arrived.has_value() || !on_its_way;
}

asio::awaitable<result<void>> upstream::send_cancel(headgate::call_context context, cancel_key key, bool* sent) {
    tcp::socket socket(zone_.get_executor());
    auto opened = co_await open_socket(context, &socket);
    const std::string packet = cancel_request(key);
    *sent = true;
    co_await asio::async_write(socket, asio::buffer(packet),
                               asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
    // The server hangs up once it has signalled the other connection's process.
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
    if (open && !probing_) {
        probing_ = true;
        asio::co_spawn(zone_.get_executor(), probe_until_closed(), asio::detached);
    }
}

void upstream::suspect(std::string_view sqlstate) {
    if (sqlstate.empty()) {
        if (auto permit = breaker_.try_begin()) {
            permit.value().failure();
        }
    } else if (!probing_ && last_asked_) {
        probing_ = true;
        asio::co_spawn(zone_.get_executor(), probe_until_closed(), asio::detached);
    }
}

asio::awaitable<void> upstream::probe_until_closed() {
    do {
        if (const auto wait = breaker_.snapshot().next_probe; wait > headgate::duration::zero()) {
            // Forced open is for ever, until somebody says otherwise: an event tells.
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
    const server_credentials* const asked = &who;
    login_failure failure;
    login_failure* const told = &failure;
    auto link = co_await connect(asked, told);
    if (link) {
        link.value()->end();
        relay_.retire(std::move(link).value());
    } else {
        // Where the breaker did not count it, or is not asked yet.
        auto slept = co_await zone_.sleep_for(100ms, asio::use_awaitable);
        static_cast<void>(slept);
    }
}

struct server_pool::backend {
    server_pool* pool;

    [[nodiscard]] asio::awaitable<result<link_ptr>> connect() const { return pool->connect(); }
    static asio::awaitable<bool> ping(link_ptr& link) { co_return link->is_alive(); }
    void close(link_ptr link) const {
        link->end();
        pool->relay_.retire(std::move(link));
    }
};

server_pool::server_pool(headgate::zone& zone, relay& wires, upstream& from, std::string name,
                         const database_settings& database, const headgate::pool_options& options,
                         server_credentials who)
    : zone_(zone),
      relay_(wires),
      upstream_(from),
      database_(database),
      credentials_(std::move(who)),
      pool_(headgate::resource_pool<link_ptr>::create(zone, std::move(name), options, backend{this}).value()) {
    upstream_.add(*this);
}

void server_pool::reconfigure(const database_settings& database, const headgate::pool_options& options,
                              const server_credentials& who) {
    database_ = database;
    if (who.password != credentials_.password) {
        credentials_ = who;
        while (give_up_idle()) {
        }
    }
    static_cast<void>(pool_.reconfigure(options));
}

asio::awaitable<result<link_ptr>> server_pool::connect() {
    const server_credentials* const who = &credentials_;
    login_failure* const failure = &failure_;
    auto link = co_await upstream_.connect(who, failure);
    if (link) {
        failure_ = {};
        welcome_ = link.value()->reported();
        usual_ = link.value()->tracked();
    }
    co_return link;
}

void server_pool::take_back(lent_link link) {
    server_link& server = **link;
    server.lend(nullptr);
    const bool clean_already = !server.is_canceling() && server.rules.status() == 'I' && !server.is_dirty &&
                               database_.mode == pool_mode::transaction && database_.reset == reset_when::dirty;
    const bool doubtful = server.rules.doubtful() || server.cancels()->doubtful;
    if (clean_already && !doubtful && server.is_alive()) [[likely]] {
        if (upstream_.is_crowded() && pool_.status().waiting == 0) {
            link.discard();
        }
        return;  // the lease ends here
    }
    if (!server.is_alive() || doubtful) {
        return link.discard();
    }
    auto one = std::make_shared<returning>(std::move(link), zone_.now() + clean_timeout);
    returns_.push_back(one);
    if (server.is_canceling()) {
        server.cancels()->when_done = [this, one] { clean(one); };
    } else {
        clean(one);
    }
}

void server_pool::clean(const std::shared_ptr<returning>& one) {
    if (!one->link) {
        return;  // given up meanwhile
    }
    server_link& server = **one->link;
    if (server.cancels()->doubtful) {
        return end_return(one, false);
    }
    const bool in_transaction = server.rules.status() != 'I';
    server.ask(in_transaction ? "ROLLBACK" : "DISCARD ALL", [this, one, in_transaction](const server_error* failed) {
        if (!one->link) {
            return;
        }
        const bool succeeded = failed == nullptr;
        server_link& asked = **one->link;
        const bool more = in_transaction && (asked.is_dirty || database_.mode == pool_mode::session ||
                                             database_.reset == reset_when::always);
        if (succeeded && more && asked.rules.idle()) {
            return clean(one);
        }
        asked.is_dirty = false;
        end_return(one, succeeded && asked.rules.idle());
    });
}

void server_pool::end_return(const std::shared_ptr<returning>& one, bool usable) {
    std::erase(returns_, one);
    lent_link link = std::move(one->link);
    if (!usable || (upstream_.is_crowded() && pool_.status().waiting == 0)) {
        link.discard();
    }
}

void server_pool::check_returns(headgate::time_point now) {
    const auto late = [now](const std::shared_ptr<returning>& one) { return one->until <= now; };
    while (true) {
        const auto found = std::find_if(returns_.begin(), returns_.end(), late);
        if (found == returns_.end()) {
            return;
        }
        end_return(std::shared_ptr(*found), false);
    }
}

bool server_pool::give_up_idle() {
    auto idle = pool_.try_checkout();
    if (!idle) {
        return false;
    }
    idle.value().discard();
    return true;
}

}  // namespace db_proxy
