// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "attempt.hpp"

#include <boost/asio/execution/context.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/this_coro.hpp>

#include <unistd.h>

#include <array>
#include <new>
#include <utility>

#include "helper_threads.hpp"
#include "lookup.hpp"

namespace headgate::detail {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using wait_type = asio::posix::stream_descriptor::wait_type;

namespace {

// How long a host is waited for before the next one is tried beside it. RFC 8305 has a quarter of a second for a
// connection to be accepted; a login takes longer, with its round trips and its work for the server.
constexpr auto patience_with_silence = 250ms;
constexpr auto patience_with_login = 1s;

void ignore_notice(void* /*unused*/, const PGresult* /*unused*/) {}

pq_conn start_connecting(const conninfo& options) {
    std::vector<const char*> keys;
    std::vector<const char*> values;
    for (const auto& [key, value] : options) {
        keys.push_back(key.c_str());
        values.push_back(value.c_str());
    }
    keys.push_back(nullptr);
    values.push_back(nullptr);
    pq_conn conn(PQconnectStartParams(keys.data(), values.data(), 0));
    if (!conn) {
        throw std::bad_alloc();
    }
    PQsetNoticeReceiver(conn.get(), ignore_notice, nullptr);  // else they go to the standard error output
    PQsetErrorVerbosity(conn.get(), PQERRORS_VERBOSE);        // for `connect_error`
    return conn;
}

bool is_under_way(const PGconn* conn, PostgresPollingStatusType next) noexcept {
    return PQstatus(conn) != CONNECTION_BAD && next != PGRES_POLLING_FAILED && next != PGRES_POLLING_OK;
}

}  // namespace

asio::awaitable<void> connect_attempt::run(std::shared_ptr<connect_attempt> self,
                                           std::shared_ptr<helper_threads> lookups) {
    if (self->given_up_) {
        co_return;
    }
    if (self->host_.is_name()) {
        co_await self->find(lookups);
    } else {
        co_await self->log_in();
    }
}

asio::awaitable<void> connect_attempt::find(std::shared_ptr<helper_threads> lookups) {
    auto ends = pipe_ends::make();
    if (!ends) {
        co_return ended(sqlstate_error("08001", "no file descriptor is left"));
    }
    const auto looked = std::make_shared<lookup>();
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    const watched_fd done = watch_duplicate(executor, ends->read.get());
    waiting_on_ = done;
    lookups->submit([looked, name = host_.name] { looked->resolve(name); }, std::move(ends->write),
                    clock_hold(asio::query(executor, asio::execution::context)));
    std::array<char, 1> nothing{};
    while (!given_up_ && ::read(done->native_handle(), nothing.data(), nothing.size()) != 0) {
        co_await wait_on(done, wait_type::wait_read);
    }
    if (given_up_) {
        co_return;
    }
    for (const std::string& address : looked->addresses()) {
        found_.push_back({host_.name, address, host_.port});
    }
    ended(found_.empty() ? std::optional(sqlstate_error("08001", "the host name \"" + host_.name + "\" is not known"))
                         : std::nullopt);
}

asio::awaitable<void> connect_attempt::log_in() {
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    conn_ = start_connecting(options_);
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (is_under_way(conn_.get(), next)) {
        // Another one each time: libpq goes from socket to socket, which may have the same number.
        waiting_on_ = watch_duplicate(executor, PQsocket(conn_.get()));
        co_await wait_on(waiting_on_, next == PGRES_POLLING_READING ? wait_type::wait_read : wait_type::wait_write);
        if (given_up_) {
            co_return;
        }
        next = PQconnectPoll(conn_.get());
        reached_ = PQstatus(conn_.get()) != CONNECTION_STARTED;
    }
    waiting_on_.reset();
    if (next != PGRES_POLLING_OK || PQsetnonblocking(conn_.get(), 1) != 0) {
        co_return ended(connect_error(PQerrorMessage(conn_.get())));
    }
    PQsetErrorVerbosity(conn_.get(), PQERRORS_DEFAULT);
    ended(std::nullopt);
}

void connect_attempt::ended(std::optional<error> why) {
    why_ = std::move(why);
    if (why_) {
        conn_.reset();
    }
    ended_ = true;
}

void connect_attempt::give_up() noexcept {
    given_up_ = true;
    conn_.reset();
    if (waiting_on_) {
        boost::system::error_code ec;
        waiting_on_->close(ec);  // NOLINT(bugprone-unused-return-value): it is the same as ec
    }
}

steady_time connect_attempt::patience_ends() const noexcept {
    return begun_ + (reached_ ? steady_time::duration(patience_with_login) : patience_with_silence);
}

}  // namespace headgate::detail
