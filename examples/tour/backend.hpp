// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_TOUR_BACKEND_HPP
#define HEADGATE_EXAMPLES_TOUR_BACKEND_HPP

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <string>
#include <utility>

namespace asio = boost::asio;
using asio::ip::tcp;

// ---- lines over TCP

/// The next line without its line end. Throws at the end of the connection.
inline asio::awaitable<std::string> read_line(tcp::socket& socket, std::string& buffer) {
    const std::size_t n =
        co_await asio::async_read_until(socket, asio::dynamic_buffer(buffer, 1024), '\n', asio::use_awaitable);
    std::string line = buffer.substr(0, n - 1);
    buffer.erase(0, n);
    if (!line.empty() && line.back() == '\r') {
        line.pop_back();
    }
    co_return line;
}

inline asio::awaitable<void> write_line(tcp::socket& socket, std::string line) {
    line += '\n';
    co_await asio::async_write(socket, asio::buffer(line), asio::use_awaitable);
}

/// Accepts until the acceptor is closed, and runs a session for each connection.
template <class Context>
asio::awaitable<void> accept_all(tcp::acceptor& acceptor, Context& context,
                                 asio::awaitable<void> (*serve)(tcp::socket, Context&)) {
    for (;;) {
        auto [failed, socket] = co_await acceptor.async_accept(asio::as_tuple(asio::use_awaitable));
        if (failed) {
            co_return;
        }
        // A broken connection ends its session with an exception, which nobody needs.
        asio::co_spawn(acceptor.get_executor(), serve(std::move(socket), context), asio::detached);
    }
}

// ---- the backend: answers each line with a value, or hangs up while it is broken

struct database {
    bool broken = false;
};

inline asio::awaitable<void> serve_database(tcp::socket socket, database& db) {
    std::string buffer;
    for (;;) {
        const std::string name = co_await read_line(socket, buffer);
        if (db.broken) {
            co_return;
        }
        co_await write_line(socket, "the value of " + name);
    }
}

/// Makes connections for the pool. The pool closes a connection by destroying it.
struct connector {
    tcp::endpoint where;

    asio::awaitable<tcp::socket> connect() {
        tcp::socket socket(co_await asio::this_coro::executor);
        co_await socket.async_connect(where, asio::use_awaitable);
        co_return socket;
    }
};

#endif
