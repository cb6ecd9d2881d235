// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "demo.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/system/system_error.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <random>
#include <utility>

namespace config_service {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using namespace std::chrono_literals;

using request = http::request<http::string_body>;

struct client {
    std::string user;
    std::chrono::milliseconds pause;
    std::function<request(std::uint64_t random)> next;
};

request make(http::verb verb, const std::string& target, std::string body = {}) {
    request out(verb, target, 11);
    out.body() = std::move(body);
    return out;
}

asio::awaitable<void> talk(client c, asio::ip::tcp::endpoint where) {
    std::mt19937_64 random(std::hash<std::string>{}(c.user));
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (;;) {
        try {
            beast::tcp_stream stream(co_await asio::this_coro::executor);
            co_await stream.async_connect(where, asio::use_awaitable);
            beast::flat_buffer buffer;
            for (;;) {
                request r = c.next(random());
                r.set(http::field::host, "localhost");
                r.set("X-User", c.user);
                r.prepare_payload();
                co_await http::async_write(stream, r, asio::use_awaitable);
                http::response<http::string_body> answer;
                co_await http::async_read(stream, buffer, answer, asio::use_awaitable);
                timer.expires_after(c.pause / 2 +
                                    std::chrono::milliseconds(random() % static_cast<std::uint64_t>(c.pause.count())));
                co_await timer.async_wait(asio::use_awaitable);
            }
        } catch (const boost::system::system_error&) {  // NOLINT(bugprone-empty-catch): hung up; it calls again
        }
        timer.expires_after(1s);
        co_await timer.async_wait(asio::use_awaitable);
    }
}

const std::string& source_text() {
    static const std::string text =
        "def area(r):\n    return 3.14159 * r ** 2\n\nprint([area(r) for r in range(10)])\n";
    return text;
}

}  // namespace

void start_demo(asio::io_context& io, const std::string& url) {
    const auto colon = url.rfind(':');
    const auto port = static_cast<std::uint16_t>(std::stoi(url.substr(colon + 1)));
    const asio::ip::tcp::endpoint where(asio::ip::address_v4::loopback(), port);
    const auto known = [](std::uint64_t n) { return "/v1/config/shop/price" + std::to_string(n % 8); };
    const client clients[] = {
        {"eager-eve", 250ms,
         [known](std::uint64_t n) { return make(http::verb::put, known(n), std::to_string(n % 100)); }},
        {"calm-carl", 8'000ms,
         [known](std::uint64_t n) { return make(http::verb::put, known(n), std::to_string(n % 100)); }},
        {"reader-rita", 50ms, [known](std::uint64_t n) { return make(http::verb::get, known(n)); }},
        {"seeker-sam", 60ms,
         [](std::uint64_t n) { return make(http::verb::get, "/v1/config/lost/" + std::to_string(n % 1'000)); }},
        {"lister-lea", 400ms, [](std::uint64_t) { return make(http::verb::get, "/v1/config?prefix=shop/"); }},
        {"parser-pat", 700ms, [](std::uint64_t) { return make(http::verb::post, "/v1/parse", source_text()); }},
    };
    for (const client& c : clients) {
        asio::co_spawn(io, talk(c, where), asio::detached);
    }
}

}  // namespace config_service
