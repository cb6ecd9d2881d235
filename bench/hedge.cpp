// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <benchmark/benchmark.h>

#include <boost/asio/use_awaitable.hpp>

#include <headgate/hedge.hpp>
#include <headgate/retry.hpp>

#include <memory>

#include "harness.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;

struct fixture {
    asio::io_context io{1};
    headgate::zone zone{io, "bench"};
    headgate::retry budget = headgate::retry::create(zone, "budget").value();
    headgate::hedge twice = headgate::hedge::create(zone, "twice", {.retry = "budget"}).value();
};

// Asio spawns no `result`, which has no default.
asio::awaitable<int> one() {
    co_return 1;
}

body in_its_own_coroutine() {
    return [](std::size_t n) {
        asio::io_context io(1);
        drive(io, [](asio::io_context* on, std::size_t count) -> asio::awaitable<void> {
            for (std::size_t i = 0; i < count; ++i) {
                benchmark::DoNotOptimize(co_await asio::co_spawn(*on, one(), asio::use_awaitable));
            }
        }(&io, n));
    };
}

body hedged(const std::shared_ptr<fixture>& f) {
    return [f](std::size_t n) {
        asio::io_context io(1);
        drive(io, [](headgate::hedge twice, std::size_t count) -> asio::awaitable<void> {
            for (std::size_t i = 0; i < count; ++i) {
                benchmark::DoNotOptimize(co_await twice.run({.idempotent = true}, result_at_once));
            }
        }(f->twice, n));
    };
}

}  // namespace

void add_hedge() {
    auto f = std::make_shared<fixture>();
    add(row{.name = "hedge/run",
            .run = hedged(f),
            .baseline_name = "asio/co_await_co_spawn",
            .baseline = in_its_own_coroutine(),
            .target = 1.2,
            .count = [f] { return counter(f->zone, "twice", "calls"); }});
}

}  // namespace bench
