// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// A TCP echo service: the smallest complete use of headgate. Copy it, and replace the echo with your protocol.
//   - A bulkhead bounds the connections. Further clients wait in the kernel's queue.
//   - A limiter bounds the bytes a second of each client address. The server waits for it, so TCP slows clients down.
//   - The server hangs up on a client that sends nothing, or does not read its answer.
//   - On SIGTERM the server still echoes the data that it has read. A status page shows all primitives.
// All coroutines run on one strand, so the program stays correct if several threads run the io_context.
//
//   echo_server [PORT [STATUS_PORT [IDLE_SECONDS]]]     default: 7007, 7008 and 30; port zero takes a free one

#include <headgate/headgate.hpp>
#include <headgate/status.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <exception>
#include <iostream>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using headgate::result;
using namespace std::chrono_literals;

constexpr std::uint32_t most_connections = 1'000;
constexpr std::uint64_t bytes_a_second = std::uint64_t{256} * 1024;
constexpr std::size_t chunk = 4'096;  // bytes of one read; no more than the limiter grants at once
constexpr auto longest_wait = 60s;    // for the limiter
constexpr auto drain_timeout = 5s;

struct service {
    headgate::zone& zone;
    headgate::duration idle_timeout;  // for a client to send data, and to accept a chunk
    headgate::bulkhead connections;
    headgate::rate_limiter bytes;
    std::set<tcp::socket*> open{};
};

service make_service(headgate::zone& zone, headgate::duration idle_timeout) {
    const headgate::quota quota = headgate::quota::per(bytes_a_second, 1s).value();
    return {zone, idle_timeout,
            headgate::bulkhead::create(zone, "connections", {.max_concurrent = most_connections}).value(),
            headgate::rate_limiter::create(zone, "bytes", {.tiers = {{"default", {quota}}}, .busiest = 5}).value()};
}

asio::awaitable<std::size_t> read_some(headgate::call_context context, tcp::socket* from, asio::mutable_buffer into) {
    co_return co_await from->async_read_some(into, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
}

asio::awaitable<std::size_t> write_all(headgate::call_context context, tcp::socket* to, asio::const_buffer from) {
    co_return co_await asio::async_write(*to, from, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
}

/// Echoes until the client ends, sends or reads nothing for too long, or is gone. The last two cases end it with an
/// exception or an error result, which nobody needs.
asio::awaitable<void> echo(tcp::socket socket, headgate::bulkhead_permit /*held*/, service& s) {
    struct listed {
        listed(std::set<tcp::socket*>& where, tcp::socket* who) : all(where), one(who) { all.insert(one); }
        listed(const listed&) = delete;
        listed& operator=(const listed&) = delete;
        ~listed() { all.erase(one); }
        std::set<tcp::socket*>& all;
        tcp::socket* one;
    } const in_list(s.open, &socket);

    const headgate::key address = headgate::address_key(socket.remote_endpoint().address());
    std::array<char, chunk> data{};
    const asio::mutable_buffer buffer = asio::buffer(data);
    tcp::socket* const client = &socket;
    for (;;) {
        const result<std::size_t> n =
            co_await headgate::with_timeout(s.zone, s.idle_timeout, read_some, client, buffer);
        if (!n) {
            co_return;
        }
        const result<headgate::grant> permit =
            co_await s.bytes.acquire(address, {.cost = n.value(), .max_wait = longest_wait});
        if (!permit) {
            co_return;
        }
        const asio::const_buffer answer = asio::buffer(data, n.value());
        if (!co_await headgate::with_timeout(s.zone, s.idle_timeout, write_all, client, answer)) {
            co_return;
        }
    }
}

asio::awaitable<void> accept(tcp::acceptor& acceptor, service& s) {
    for (;;) {
        // First take a place, then accept a client. Only this loop takes places, so it waits only while all are taken.
        result<headgate::bulkhead_permit> place = co_await s.connections.enter({.max_wait = headgate::duration::max()});
        if (!place) {
            co_return;  // the zone is closed
        }
        auto [failed, socket] = co_await acceptor.async_accept(asio::as_tuple(asio::use_awaitable));
        if (failed == asio::error::operation_aborted) {
            co_return;
        }
        if (failed) {
            // Most likely no descriptor is free: pause, so that this loop does not spin.
            (void)co_await s.zone.sleep_for(100ms);
        } else {
            asio::co_spawn(acceptor.get_executor(), echo(std::move(socket), std::move(place).value(), s),
                           asio::detached);
        }
    }
}

/// On SIGTERM or SIGINT: accepts no new client, reads no more data, and writes the data that was read.
asio::awaitable<void> drain(asio::io_context& io, tcp::acceptor& acceptor, service& s) {
    asio::signal_set signals(acceptor.get_executor(), SIGINT, SIGTERM);
    co_await signals.async_wait(asio::use_awaitable);
    acceptor.close();
    for (tcp::socket* one : s.open) {
        boost::system::error_code gone;
        one->shutdown(tcp::socket::shutdown_receive, gone);  // NOLINT(bugprone-unused-return-value)
    }
    for (auto waited = 0ms; !s.open.empty() && waited < drain_timeout; waited += 10ms) {
        (void)co_await s.zone.sleep_for(10ms);
    }
    (void)co_await s.zone.close(asio::use_awaitable);
    std::cout << "ended, " << s.open.size() << " clients cut off" << std::endl;
    io.stop();
}

bool parse(int argc, char** argv, std::array<std::uint16_t, 3>& numbers) {
    for (int i = 1; i < argc; ++i) {
        const auto at = static_cast<std::size_t>(i) - 1;
        if (at == numbers.size()) {
            return false;
        }
        const std::string_view text = argv[i];
        const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), numbers[at]);
        if (failed != std::errc{} || end != text.data() + text.size()) {
            return false;
        }
    }
    return numbers[2] > 0;
}

}  // namespace

int main(int argc, char** argv) try {
    std::array<std::uint16_t, 3> numbers{7'007, 7'008, 30};
    const auto& [port, status_port, idle_seconds] = numbers;
    if (!parse(argc, argv, numbers)) {
        std::cerr << "usage: echo_server [PORT [STATUS_PORT [IDLE_SECONDS]]]\n";
        return 2;
    }
    asio::io_context io(1);
    headgate::zone zone(io, "echo");
    service s = make_service(zone, std::chrono::seconds{idle_seconds});
    const auto status = headgate::status_server::start({.port = status_port}).value();
    status->site().add(zone);

    const auto serial = asio::make_strand(io);
    tcp::acceptor acceptor(serial, tcp::endpoint(asio::ip::address_v4::loopback(), port));
    asio::co_spawn(serial, drain(io, acceptor, s), asio::detached);
    asio::co_spawn(serial, accept(acceptor, s), asio::detached);
    std::cout << "echo on 127.0.0.1:" << acceptor.local_endpoint().port() << ", status on " << status->url()
              << std::endl;
    io.run();
} catch (const std::exception& e) {
    std::cerr << "echo_server: " << e.what() << '\n';
    return 1;
}
