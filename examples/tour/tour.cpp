// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// A line-based service on a TCP port that asks a backend, with all three primitives in between:
//   a rate limiter for each client, a pool of connections to the backend, and a circuit breaker around both.
// The backend is simulated: a TCP server in this process. The command `break` breaks it, and `heal` repairs it.
//
//   tour [--port N] [--for SECONDS] [--demo]

#include <headgate/headgate.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "backend.hpp"

using headgate::result;
using namespace std::chrono_literals;

namespace {

// ---- the service

struct service {
    headgate::rate_limiter limiter;
    headgate::resource_pool<tcp::socket> pool;
    headgate::circuit_breaker breaker;
    database& db;
};

service make_service(headgate::zone& zone, tcp::endpoint backend, database& db) {
    // 5 requests at once, then 2 a second.
    const headgate::quota quota = headgate::quota::per(2, 1s, 5).value();
    const headgate::pool_options connections{.size = 2, .max_overflow = 2};
    const headgate::breaker_options breaker{.consecutive_failures = 3, .reset_timeout = 2s};
    return {headgate::rate_limiter::create(zone, "clients", quota).value(),
            headgate::resource_pool<tcp::socket>::create(zone, "database", connections, connector{std::move(backend)})
                .value(),
            headgate::circuit_breaker::create(zone, "database", breaker).value(), db};
}

/// The operation that the breaker protects. It takes the permit last: a connection always goes back to its pool, but a
/// permit is spent.
asio::awaitable<result<std::string>> fetch(service& s, std::string client, std::string name) {
    auto connection = co_await s.pool.checkout({.max_wait = 300ms});
    if (!connection) {
        co_return connection.error();
    }
    const result<headgate::grant> grant = s.limiter.try_acquire(client);
    if (!grant) {
        co_return grant.error();  // a refusal of headgate itself says nothing about the backend: the breaker ignores it
    }
    tcp::socket& socket = *connection.value();
    std::string buffer;
    try {
        co_await write_line(socket, name);
        const std::string value = co_await read_line(socket, buffer);
        co_return value + ", " + std::to_string(grant.value().remaining()) + " left";
    } catch (const boost::system::system_error& e) {
        connection.value().discard();         // the pool closes it, and makes another
        co_return headgate::error(e.code());  // the breaker counts it
    }
}

std::string status(const service& s) {
    const auto limiter = s.limiter.snapshot();
    const auto pool = s.pool.snapshot();
    const auto breaker = s.breaker.snapshot();
    return "limiter: granted " + std::to_string(limiter.granted) + ", refused " + std::to_string(limiter.refused) +
           " | pool: idle " + std::to_string(pool.idle) + ", leased " + std::to_string(pool.leased) +
           " | breaker: " + std::string(to_string(breaker.state)) + ", failures " + std::to_string(breaker.failures) +
           ", refused " + std::to_string(breaker.refused);
}

asio::awaitable<std::string> answer(service& s, const std::string& client, const std::string& line) {
    if (line == "break" || line == "heal") {
        s.db.broken = line == "break";
        co_return s.db.broken ? "the backend hangs up from now on" : "the backend is well again";
    }
    if (line == "status") {
        co_return status(s);
    }
    if (!line.starts_with("get ")) {
        co_return "type: get NAME, break, heal, status";
    }
    const std::string name = line.substr(4);
    const headgate::call_options<> options{.timeout = 500ms};
    service* self = &s;
    auto operation = [self](std::string who, std::string what) {
        return fetch(*self, std::move(who), std::move(what));
    };
    const result<std::string> got = co_await s.breaker.run(options, operation, client, name);
    if (got) {
        co_return "ok: " + got.value();
    }
    const headgate::error& e = got.error();
    std::string text = "no: " + e.message();
    if (e.retry_after > 0ns) {
        const auto wait = std::chrono::ceil<std::chrono::milliseconds>(e.retry_after);
        text += ", retry after " + std::to_string(wait.count()) + " ms";
    }
    co_return text;
}

asio::awaitable<void> serve_client(tcp::socket socket, service& s) {
    const std::string client = socket.remote_endpoint().address().to_string();
    std::string buffer;
    for (;;) {
        const std::string line = co_await read_line(socket, buffer);
        std::string text = co_await answer(s, client, line);
        co_await write_line(socket, std::move(text));
    }
}

// ---- the client of the demonstration

asio::awaitable<void> demo(headgate::zone& zone, tcp::endpoint where) {
    tcp::socket socket(co_await asio::this_coro::executor);
    co_await socket.async_connect(where, asio::use_awaitable);
    std::string buffer;
    const auto say = [&](std::string line) -> asio::awaitable<void> {
        co_await write_line(socket, line);
        const std::string heard = co_await read_line(socket, buffer);
        std::cout << "> " << line << "\n  " << heard << std::endl;
    };
    std::istringstream script(
        "get apple/get apple/get pear/get plum/get fig/get apple/get pear/status/sleep/"
        "break/get apple/get pear/get plum/get fig/status/heal/get apple/sleep/get apple/get pear/status");
    for (std::string step; std::getline(script, step, '/');) {
        if (step == "sleep") {
            (co_await zone.sleep_for(2500ms)).value();
        } else {
            co_await say(step);
        }
    }
    std::cout << "that was the demonstration" << std::endl;
}

/// Refuses new work, lets running work end, and closes everything.
asio::awaitable<void> shut_down(headgate::zone& zone, tcp::acceptor& front, asio::io_context& io) {
    front.close();
    if (const result<void> drained = co_await zone.drain(1s); !drained) {
        std::cout << drained.error().message() << std::endl;
    }
    (co_await zone.close(asio::use_awaitable)).value();
    std::cout << "closed" << std::endl;
    io.stop();
}

/// The options of the command line.
struct arguments {
    std::uint16_t port = 7070;
    std::chrono::seconds run_for{0};  // zero: until a signal
    bool demo = false;
};

bool parse(int argc, char** argv, arguments& out) {
    for (int i = 1; i < argc; ++i) {
        const std::string_view name = argv[i];
        if (name == "--demo") {
            out.demo = true;
            continue;
        }
        unsigned value = 0;
        const std::string_view text = i + 1 < argc ? argv[++i] : "";
        const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (failed != std::errc{} || end != text.data() + text.size() || value > 65'535) {
            return false;
        }
        if (name == "--port") {
            out.port = static_cast<std::uint16_t>(value);
        } else if (name == "--for") {
            out.run_for = std::chrono::seconds(value);
        } else {
            return false;
        }
    }
    return true;
}

}  // namespace

int main(int argc, char** argv) try {
    arguments asked;
    if (!parse(argc, argv, asked)) {
        std::cerr << "usage: tour [--port N] [--for SECONDS] [--demo]\n";
        return 2;
    }
    asio::io_context io(1);
    database db;
    tcp::acceptor back(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    tcp::acceptor front(io, tcp::endpoint(asio::ip::address_v4::loopback(), asked.port));
    headgate::zone zone(io, "tour");
    service s = make_service(zone, back.local_endpoint(), db);

    asio::co_spawn(io, accept_all(back, db, serve_database), asio::detached);
    asio::co_spawn(io, accept_all(front, s, serve_client), asio::detached);

    const headgate::subscription changes = zone.on_event([](const headgate::event& e) {
        if (e.kind == headgate::event_kind::breaker_state) {
            std::cout << "  [breaker " << e.name << ": " << e.from << " -> " << e.to << ']' << std::endl;
        }
    });
    const auto end = [&] { asio::co_spawn(io, shut_down(zone, front, io), asio::detached); };
    asio::signal_set signals(io, SIGINT, SIGTERM);
    signals.async_wait([&](boost::system::error_code failed, int) {
        if (!failed) {
            end();
        }
    });
    if (asked.run_for > 0s) {
        zone.sleep_for(asked.run_for, [&](const result<void>& slept) {
            if (slept) {
                end();
            }
        });
    }
    const auto port = front.local_endpoint().port();
    std::cout << "Listening. Type in another terminal: nc 127.0.0.1 " << port << "\n"
              << "  get NAME   asks the backend; 5 at once, then 2 a second\n"
              << "  break      spoils the backend: after 3 failures the breaker opens, and probes after two seconds\n"
              << "  heal       mends it\n"
              << "  status     says what limiter, pool and breaker have done\n"
              << status(s) << std::endl;
    if (asked.demo) {
        asio::co_spawn(io, demo(zone, front.local_endpoint()), asio::detached);
    }
    io.run();
} catch (const std::exception& e) {
    std::cerr << "tour: " << e.what() << '\n';
    return 1;
}
