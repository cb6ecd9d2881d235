// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>

#include <atomic>
#include <iostream>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include <headgate/coalescer.hpp>
#include <headgate/guard.hpp>
#include <headgate/hedge.hpp>
#include <headgate/status.hpp>

// A service under load, for the tests of the status server: load [TOKEN [twin|many]]. Prints its port. Takes the
// commands break, heal and quit from its standard input. Ends by itself after two minutes. With "twin" it shows a
// second zone of the same name, in which names have unusual bytes. With "many" it shows a hundred more zones of ten
// breakers.
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using headgate::result;

std::atomic<bool> broken{false};

struct connection {};
struct database {
    asio::awaitable<connection> connect() {
        if (broken) {
            throw std::runtime_error("connection refused");
        }
        co_return connection{};
    }
};

asio::awaitable<result<void>> query(headgate::call_context, connection&, headgate::zone* where) {
    (void)co_await where->sleep_for(broken ? 1ms : 20ms);
    if (broken) {
        co_return headgate::error(boost::system::errc::make_error_code(boost::system::errc::io_error));
    }
    co_return headgate::success();
}

asio::awaitable<void> client(headgate::guard<connection> guard, headgate::zone* where, int id) {
    std::mt19937 random(static_cast<unsigned>(id));
    for (;;) {
        (void)co_await guard.run(headgate::key("client", id), {.idempotent = true}, query, where);
        (void)co_await where->sleep_for(1ms * (5 + random() % 30));
    }
}

// A few look-ups take much longer than the others.
asio::awaitable<int> look_up(headgate::zone* where, int id) {
    static std::mt19937 random(1);
    (void)co_await where->sleep_for(random() % 20 == 0 ? 300ms : 10ms);
    co_return id;
}

asio::awaitable<void> reader(headgate::hedge twice, headgate::coalescer<int> prices, headgate::zone* where) {
    for (int id = 0;; ++id) {
        (void)co_await twice.run({.idempotent = true}, look_up, where, id);
        (void)co_await prices.run(id / 10, look_up, where, id);
    }
}

constexpr const char* configuration = R"({"zones": {"shop": {
    "rate_limiters": {"calls": {"quota": "20/1s", "busiest": 8}},
    "circuit_breakers": {"database": {"consecutive_failures": 3, "reset_timeout": "1s", "max_reset_timeout": "2s"}},
    "resource_pools": {"database": {"size": 3, "max_overflow": 1, "max_wait": "100ms"}},
    "bulkheads": {"reports": {"max_concurrent": 2}},
    "retries": {"again": {"backoff_min": "20ms", "backoff_max": "100ms", "budget_ratio": 0.01, "budget_floor": 0},
                "look_up": {}},
    "hedges": {"look_up": {"retry": "look_up"}},
    "coalescers": {"prices": {"keep_for": "100ms"}}
}}})";

headgate::config many_zones() {
    headgate::config out;
    for (int z = 100; z < 200; ++z) {
        for (int b = 0; b < 10; ++b) {
            out.zones["zone" + std::to_string(z)].circuit_breakers["breaker" + std::to_string(b)] = {};
        }
    }
    return out;
}

}  // namespace

int main(int argc, char** argv) {
    asio::io_context io(1);
    const auto set = headgate::zone_set::create(io, headgate::config::parse(configuration).value()).value();
    headgate::zone* shop = set->find("shop").value();
    const auto pool = set->make_pool<connection>("shop", "database", database{}).value();
    const headgate::guard guard(
        headgate::retry::find(*shop, "again").value(), headgate::rate_limiter::find(*shop, "calls").value(),
        headgate::circuit_breaker::find(*shop, "database").value(), pool, headgate::guard_options{.timeout = 500ms});
    const auto held = headgate::bulkhead::find(*shop, "reports").value().try_enter();
    for (int id = 0; id < 6; ++id) {
        asio::co_spawn(io, client(guard, shop, id), asio::detached);
    }
    for (int i = 0; i < 3; ++i) {
        asio::co_spawn(io,
                       reader(headgate::hedge::find(*shop, "look_up").value(),
                              headgate::coalescer<int>::find(*shop, "prices").value(), shop),
                       asio::detached);
    }
    headgate::zone twin(io, "shop");
    for (const char* name :
         {"database", "a\xff", "a\xfe", "quote\" back\\slash\nline\rtab\tbell\a", "\xC3\xA9", "<b>&amp;"}) {
        (void)headgate::circuit_breaker::create(twin, name).value();
    }
    const std::string_view more = argc > 2 ? argv[2] : "";
    const auto many = headgate::zone_set::create(io, more == "many" ? many_zones() : headgate::config{}).value();
    {
        const auto status = headgate::status_server::start(
                                {.admin_token = argc > 1 ? argv[1] : "", .host_names = {"status.example.com"}})
                                .value();
        status->site().add(*set);
        status->site().add_action("Explode", [] { throw std::runtime_error("a spark"); });
        status->site().add(*many);
        if (more == "twin") {
            status->site().add(twin);
        }
        std::cout << status->port() << std::endl;
        std::thread commands([&] {
            for (std::string line; std::getline(std::cin, line) && line != "quit";) {
                broken = line == "break" || (broken && line != "heal");
                if (line == "unready") {
                    status->site().set_ready(false);
                }
            }
            io.stop();
        });
        io.run_for(2min);
        commands.detach();
        if (!io.stopped()) {
            std::_Exit(2);
        }
    }
}
