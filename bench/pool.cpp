// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <benchmark/benchmark.h>

#include <headgate/resource_pool.hpp>

#include <boost/asio/deferred.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <memory>

#include "harness.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;

struct backend {
    asio::awaitable<int> connect() { co_return 1; }
};

void connect(asio::io_context& io, headgate::resource_pool<int>& pool) {
    while (!pool.try_checkout()) {
        io.restart();
        io.poll();
    }
}

struct fixture {
    explicit fixture(headgate::pool_options options)
        : pool(headgate::resource_pool<int>::create(zone, "pool", options, backend{}).value()) {
        connect(io, pool);
    }

    asio::io_context io{1};
    headgate::zone zone{io, "bench"};
    headgate::resource_pool<int> pool;
};

body checkout_and_return(const std::shared_ptr<fixture>& f) {
    return [f](std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) {
            auto lease = f->pool.try_checkout();
            benchmark::DoNotOptimize(lease);
        }
    };
}

/// Holds the resource for one turn of the event loop, so that the others are in the queue when it returns the resource.
asio::awaitable<void> take_turns(asio::io_context& io, headgate::resource_pool<int> pool, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
        auto lease = co_await pool.checkout({.max_wait = 1h});
        benchmark::DoNotOptimize(lease);
        co_await asio::post(io, asio::deferred);
    }
}

asio::awaitable<void> contend(headgate::resource_pool<int> pool, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
        auto lease = co_await pool.checkout({.max_wait = 1h});
        benchmark::DoNotOptimize(lease);
    }
}

asio::awaitable<void> wait_for(asio::steady_timer& timer) {
    co_await timer.async_wait(asio::use_awaitable);
}

// The memory of ten thousand waiters. `co_spawn` itself takes memory for each coroutine, which is not the waiter's. A
// separate row gives it, from coroutines that wait for a bare timer.
std::vector<value_row> measure_waiters() {
    constexpr std::size_t waiters = 10'000;
    asio::io_context io(1);
    headgate::zone zone(io, "waiters");
    auto pool =
        headgate::resource_pool<int>::create(zone, "pool", {.size = 1, .max_waiters = 2 * waiters}, backend{}).value();
    connect(io, pool);
    auto held = pool.try_checkout();
    asio::steady_timer timer(io, 1h);
    const auto bytes_each = [&](auto start) {
        const std::size_t before = heap_bytes();
        for (std::size_t i = 0; i < waiters; ++i) {
            start();
        }
        io.restart();
        io.poll();
        return static_cast<double>(heap_bytes() - before) / waiters;
    };
    const double on_timer = bytes_each([&] { asio::co_spawn(io, wait_for(timer), asio::detached); });
    const double spawned = bytes_each([&] { asio::co_spawn(io, contend(pool, 1), asio::detached); });
    const double callback = bytes_each([&] { pool.checkout([](headgate::result<headgate::lease<int>>) {}); });
    return {{"memory/waiter/callback", callback, 512},
            {"memory/waiter/spawned_coroutine", spawned, 512},
            {"memory/waiter/spawned_coroutine_on_a_bare_timer", on_timer}};
}

}  // namespace

void add_pool() {
    auto plain = std::make_shared<fixture>(headgate::pool_options{.size = 10});
    auto tracked =
        std::make_shared<fixture>(headgate::pool_options{.size = 10, .idle_timeout = 1h, .leak_threshold = 1h});
    auto single = std::make_shared<fixture>(headgate::pool_options{.size = 1});
    const body direct = checkout_and_return(plain);
    add(row{.name = "pool/try_checkout_return",
            .run = direct,
            .baseline_name = "clock/now",
            .baseline = clock_now(),
            .target = 1.0});
    add(row{.name = "pool/try_checkout_return/idle_and_leak",
            .run = checkout_and_return(tracked),
            .baseline_name = "clock/now",
            .baseline = clock_now(),
            .target = 2.0});
#if defined(__clang__)
    constexpr double eager_target = 1.1;
#else
    constexpr double eager_target = 0.6;
#endif
    add(row{.name = "pool/co_await_checkout_return",
            .run =
                [plain](std::size_t n) {
                    asio::io_context io(1);
                    drive(io, [](headgate::resource_pool<int> pool, std::size_t count) -> asio::awaitable<void> {
                        for (std::size_t i = 0; i < count; ++i) {
                            auto lease = co_await pool.checkout();
                            benchmark::DoNotOptimize(lease);
                        }
                    }(plain->pool, n));
                },
            .baseline_name = "asio/co_await_awaitable",
            .baseline = co_await_awaitable(),
            .target = eager_target,
            .minus = direct});
    add(row{.name = "pool/handoff",
            .run =
                [single](std::size_t n) {
                    asio::io_context io(1);
                    for (int i = 0; i < 16; ++i) {
                        asio::co_spawn(io, take_turns(io, single->pool, n / 16), asio::detached);
                    }
                    io.run();
                },
            .baseline_name = "asio/co_await_post",
            .baseline = co_await_post(),
            .target = 1.5,
            .minus = co_await_post(),
            .count = [single] { return counter(single->zone, "pool", "queued"); }});
    add(row{.name = "pool/two_threads",
            .run = on_two_threads(direct, direct),
            .baseline_name = "pool/try_checkout_return (throughput)",
            .baseline = direct,
            .target = -0.6,
            .n = 2'000'000});
    add(study{"memory/waiter", measure_waiters});
}

}  // namespace bench
