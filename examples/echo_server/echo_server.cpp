// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// A TCP echo service, and the smallest whole use of headgate: copy it, and put your protocol where it echoes.
//   - a bulkhead bounds the connections: who comes too many waits in the kernel's queue;
//   - a limiter bounds the bytes a second of each client address: it waits, so that TCP slows the client down;
//   - an idle client is let go, SIGTERM lets everybody finish what was read, and a page shows all of it.
//
//   echo_server [PORT [STATUS_PORT]]     default: 7007 and 7008; zero takes a free one

#include <headgate/headgate.hpp>
#include <headgate/status.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
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
constexpr std::size_t chunk = 4'096;  // read at once; no more than the limiter grants at once
constexpr auto idle_timeout = 30s;
constexpr auto longest_wait = 60s;  // for the limiter
constexpr auto drain_timeout = 5s;

struct service {
    headgate::zone& zone;
    headgate::bulkhead connections;
    headgate::rate_limiter bytes;
    std::set<tcp::socket*> open{};
};

service make_service(headgate::zone& zone) {
    const headgate::quota quota = headgate::quota::per(bytes_a_second, 1s).value();
    return {zone, headgate::bulkhead::create(zone, "connections", {.max_concurrent = most_connections}).value(),
            headgate::rate_limiter::create(zone, "bytes", {.tiers = {{"default", {quota}}}, .busiest = 5}).value()};
}

asio::awaitable<std::size_t> read_some(headgate::call_context context, tcp::socket* from, asio::mutable_buffer into) {
    co_return co_await from->async_read_some(into, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
}

/// Until the client ends, is silent for too long, or is gone; the last two by an exception or a result that nobody
/// needs.
asio::awaitable<void> echo(tcp::socket socket, headgate::bulkhead_permit /*held*/, service& s) {
    struct listed {
        listed(std::set<tcp::socket*>& where, tcp::socket* who) : all(where), one(who) { all.insert(one); }
        listed(const listed&) = delete;
        listed& operator=(const listed&) = delete;
        ~listed() { all.erase(one); }
        std::set<tcp::socket*>& all;
        tcp::socket* one;
    } const in_list(s.open, &socket);

    const std::string address = socket.remote_endpoint().address().to_string();
    std::array<char, chunk> data{};
    const asio::mutable_buffer buffer = asio::buffer(data);
    tcp::socket* const client = &socket;
    for (;;) {
        const result<std::size_t> n = co_await headgate::with_timeout(s.zone, idle_timeout, read_some, client, buffer);
        if (!n) {
            co_return;
        }
        const result<headgate::grant> permit =
            co_await s.bytes.acquire(address, {.cost = n.value(), .max_wait = longest_wait});
        if (!permit) {
            co_return;
        }
        co_await asio::async_write(socket, asio::buffer(data, n.value()), asio::use_awaitable);
    }
}

asio::awaitable<void> accept(tcp::acceptor& acceptor, service& s) {
    for (;;) {
        // First a place, then a client. Nobody else asks for places, so that this waits only while all are taken.
        result<headgate::bulkhead_permit> place = co_await s.connections.enter({.timeout = 1h});
        auto [failed, socket] = co_await acceptor.async_accept(asio::as_tuple(asio::use_awaitable));
        if (failed == asio::error::operation_aborted) {
            co_return;
        }
        if (failed || !place) {
            // Out of descriptors, most likely: come back instead of spinning.
            (void)co_await s.zone.sleep_for(100ms);
        } else {
            asio::co_spawn(acceptor.get_executor(), echo(std::move(socket), std::move(place).value(), s),
                           asio::detached);
        }
    }
}

/// On SIGTERM or SIGINT: takes nobody new, reads nothing more, writes what was read.
asio::awaitable<void> drain(asio::io_context& io, tcp::acceptor& acceptor, service& s) {
    asio::signal_set signals(io, SIGINT, SIGTERM);
    co_await signals.async_wait(asio::use_awaitable);
    acceptor.close();
    for (tcp::socket* one : s.open) {
        one->shutdown(tcp::socket::shutdown_receive);
    }
    for (auto waited = 0ms; !s.open.empty() && waited < drain_timeout; waited += 10ms) {
        (void)co_await s.zone.sleep_for(10ms);
    }
    (void)co_await s.zone.close(asio::use_awaitable);
    std::cout << "ended, " << s.open.size() << " clients cut off" << std::endl;
    io.stop();
}

bool parse(int argc, char** argv, std::array<std::uint16_t, 2>& ports) {
    for (int i = 1; i < argc; ++i) {
        const std::string_view text = argv[i];
        std::uint16_t* const to = i <= 2 ? &ports[static_cast<std::size_t>(i) - 1] : nullptr;
        if (to == nullptr ||
            std::from_chars(text.data(), text.data() + text.size(), *to).ptr != text.data() + text.size()) {
            return false;
        }
    }
    return true;
}

}  // namespace

int main(int argc, char** argv) try {
    std::array<std::uint16_t, 2> ports{7'007, 7'008};
    if (!parse(argc, argv, ports)) {
        std::cerr << "usage: echo_server [PORT [STATUS_PORT]]\n";
        return 2;
    }
    asio::io_context io(1);
    headgate::zone zone(io, "echo");
    service s = make_service(zone);
    const auto status = headgate::status_server::start({.port = ports[1]}).value();
    status->site().add(zone);

    tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), ports[0]));
    asio::co_spawn(io, drain(io, acceptor, s), asio::detached);
    asio::co_spawn(io, accept(acceptor, s), asio::detached);
    std::cout << "echo on 127.0.0.1:" << acceptor.local_endpoint().port() << ", status on " << status->url()
              << std::endl;
    io.run();
} catch (const std::exception& e) {
    std::cerr << "echo_server: " << e.what() << '\n';
    return 1;
}
