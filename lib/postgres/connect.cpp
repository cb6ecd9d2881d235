// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "connect.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <new>
#include <string>
#include <utility>
#include <vector>

namespace headgate::detail {

namespace asio = boost::asio;
using asio::ip::tcp;
using wait_type = asio::posix::stream_descriptor::wait_type;

namespace {

// A name that is being resolved. Asio's resolver cannot be interrupted, so that a cancelled connect leaves it behind.
struct lookup {
    explicit lookup(const asio::any_io_executor& executor) : resolver(executor), ended(executor, steady_time::max()) {}

    tcp::resolver resolver;
    asio::steady_timer ended;
    tcp::resolver::results_type found;  // empty when the name is not known
};

void start(const std::shared_ptr<lookup>& l, const std::string& name) {
    l->resolver.async_resolve(name, "", [l](boost::system::error_code, tcp::resolver::results_type found) {
        l->found = std::move(found);
        l->ended.cancel();
    });
}

// The addresses of a host, each as a host of its own; none when it is not known.
asio::awaitable<std::vector<postgres_host>> resolve(postgres_host host) {
    if (!host.is_name()) {
        co_return std::vector<postgres_host>(1, host);
    }
    const auto l = std::make_shared<lookup>(co_await asio::this_coro::executor);
    start(l, host.name);
    boost::system::error_code woken;
    co_await l->ended.async_wait(asio::redirect_error(asio::use_awaitable, woken));
    std::vector<postgres_host> out;
    for (const auto& entry : l->found) {
        out.push_back({host.name, entry.endpoint().address().to_string(), host.port});
    }
    co_return out;
}

asio::awaitable<result<std::vector<postgres_host>>> resolve_all(std::vector<postgres_host> hosts) {
    std::vector<postgres_host> out;
    std::string unknown;
    for (const postgres_host& host : hosts) {
        const std::vector<postgres_host> addresses = co_await resolve(host);
        const bool cancelled = co_await was_cancelled();
        if (cancelled) {
            co_return error(errc::canceled);
        }
        if (addresses.empty()) {
            unknown = host.name;
        }
        out.insert(out.end(), addresses.begin(), addresses.end());
    }
    if (out.empty() && !hosts.empty()) {
        co_return sqlstate_error("08001", "the host name \"" + unknown + "\" is not known");
    }
    co_return out;
}

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

asio::awaitable<result<std::shared_ptr<postgres_session>>> log_in(std::shared_ptr<const postgres_target> target) {
    auto hosts = co_await resolve_all(target->hosts());
    if (!hosts) {
        co_return hosts.error();
    }
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    pq_conn conn = start_connecting(with_hosts(target->options(), hosts.value()));
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (PQstatus(conn.get()) != CONNECTION_BAD && next != PGRES_POLLING_FAILED && next != PGRES_POLLING_OK) {
        // Another one each time: libpq goes from socket to socket, which may have the same number.
        const watched_fd socket = watch_duplicate(executor, PQsocket(conn.get()));
        co_await wait_on(socket, next == PGRES_POLLING_READING ? wait_type::wait_read : wait_type::wait_write);
        const bool cancelled = co_await was_cancelled();
        if (cancelled) {
            co_return error(errc::canceled);
        }
        next = PQconnectPoll(conn.get());
    }
    if (next != PGRES_POLLING_OK) {
        co_return connect_error(PQerrorMessage(conn.get()));
    }
    PQsetErrorVerbosity(conn.get(), PQERRORS_DEFAULT);
    if (PQsetnonblocking(conn.get(), 1) != 0) {
        co_return connect_error(PQerrorMessage(conn.get()));
    }
    watched_fd socket = watch_duplicate(executor, PQsocket(conn.get()));
    co_return std::make_shared<postgres_session>(std::move(conn), std::move(socket), target->canceller());
}

}  // namespace

asio::awaitable<result<std::shared_ptr<postgres_session>>> connect(std::shared_ptr<const postgres_target> target) {
    return without_throwing(log_in(std::move(target)));
}

}  // namespace headgate::detail
