// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// Every operation with every completion token. The token is the last argument. Where the caller's function and its
// arguments come last, the token is the first argument.

#include <doctest/doctest.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <functional>
#include <future>
#include <tuple>
#include <utility>

#include <headgate/headgate.hpp>

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct backend {
    asio::awaitable<int> connect() { co_return 1; }
};

asio::awaitable<int> nothing() {
    co_return 1;
}
asio::awaitable<result<int>> answer() {
    co_return 1;
}
asio::awaitable<int> with_resource(int& resource) {
    co_return resource;
}

struct world {
    virtual_clock clock;
    asio::io_context io{1};
    zone z{io, "zone", {.clock = &clock}};
    rate_limiter limiter = rate_limiter::create(z, "l", quota::per(1000, 1s).value()).value();
    circuit_breaker breaker = circuit_breaker::create(z, "b").value();
    bulkhead places = bulkhead::create(z, "p", {.max_concurrent = 100}).value();
    resource_pool<int> pool = resource_pool<int>::create(z, "pool", {.size = 100}, backend{}).value();
    retry again = retry::create(z, "again").value();
    hedge twice = hedge::create(z, "twice", {.retry = "again"}).value();
    coalescer<int> reads = coalescer<int>::create(z, "reads").value();
    guard<int> all{again, limiter, breaker, pool};
    int completed = 0;

    world() { clock.run_for(io, 1s); }
    void run() { clock.run_for(io, 1s); }
};

/// Starts an operation with each of the tokens. `start(token)` returns what the operation returns.
template <class Result, class Start>
void with_each_token(world& w, const Start& start) {
    const auto callback = [&w](const Result&) { ++w.completed; };
    asio::cancellation_signal signal;
    w.completed = 0;
    start(callback);
    start(asio::detached);
    start(asio::bind_executor(asio::make_strand(w.io), callback));
    start(asio::bind_cancellation_slot(signal.slot(), callback));
    start(asio::as_tuple([&w](const std::tuple<Result>&) { ++w.completed; }));
    auto later = start(asio::deferred);
    std::future<Result> future = start(asio::use_future);
    spawn(w.io, start(asio::use_awaitable), callback);
    CHECK(w.completed == 0);  // never inside the call
    std::move(later)(callback);
    w.run();
    CHECK(w.completed == 6);
    CHECK(future.wait_for(60s) == std::future_status::ready);  // on a thread of Asio's
}

TEST_CASE_FIXTURE(world, "tokens: the last argument of an operation") {
    SUBCASE("zone.sleep_for") {
        with_each_token<result<void>>(*this, [&](auto token) { return z.sleep_for(1ms, std::move(token)); });
    }
    SUBCASE("limiter.acquire") {
        with_each_token<result<grant>>(*this, [&](auto token) { return limiter.acquire("key", std::move(token)); });
        with_each_token<result<grant>>(
            *this, [&](auto token) { return limiter.acquire("key", {.cost = 2}, std::move(token)); });
    }
    SUBCASE("pool.checkout") {
        with_each_token<result<lease<int>>>(*this, [&](auto token) { return pool.checkout(std::move(token)); });
        with_each_token<result<lease<int>>>(
            *this, [&](auto token) { return pool.checkout({.max_wait = 1s}, std::move(token)); });
    }
    SUBCASE("bulkhead.enter") {
        with_each_token<result<bulkhead_permit>>(*this, [&](auto token) { return places.enter(std::move(token)); });
        with_each_token<result<bulkhead_permit>>(
            *this, [&](auto token) { return places.enter({.max_wait = 1s}, std::move(token)); });
    }
    SUBCASE("pool.drain") {
        with_each_token<result<void>>(*this, [&](auto token) { return pool.drain(1ms, std::move(token)); });
    }
    SUBCASE("zone.drain") {
        with_each_token<result<void>>(*this, [&](auto token) { return z.drain(1ms, std::move(token)); });
    }
    SUBCASE("zone.close") {
        with_each_token<result<void>>(*this, [&](auto token) { return z.close(std::move(token)); });
    }
    SUBCASE("spawn") {
        with_each_token<result<int>>(*this, [&](auto token) { return spawn(io, answer(), std::move(token)); });
    }
}

TEST_CASE_FIXTURE(world, "tokens: the first argument, where a function and its arguments stand last") {
    SUBCASE("breaker.async_run") {
        with_each_token<result<int>>(*this, [&](auto token) { return breaker.async_run(std::move(token), nothing); });
        with_each_token<result<int>>(
            *this, [&](auto token) { return breaker.async_run(std::move(token), {.timeout = 1s}, nothing); });
    }
    SUBCASE("retry.async_run") {
        with_each_token<result<int>>(*this, [&](auto token) { return again.async_run(std::move(token), nothing); });
        with_each_token<result<int>>(
            *this, [&](auto token) { return again.async_run(std::move(token), {.timeout = 1s}, nothing); });
    }
    SUBCASE("hedge.async_run") {
        with_each_token<result<int>>(*this, [&](auto token) { return twice.async_run(std::move(token), nothing); });
        with_each_token<result<int>>(
            *this, [&](auto token) { return twice.async_run(std::move(token), {.idempotent = true}, nothing); });
    }
    SUBCASE("coalescer.async_run") {
        with_each_token<result<int>>(*this,
                                     [&](auto token) { return reads.async_run(std::move(token), "k", nothing); });
        with_each_token<result<int>>(
            *this, [&](auto token) { return reads.async_run(std::move(token), "k", {.timeout = 1s}, nothing); });
    }
    SUBCASE("guard.async_run") {
        with_each_token<result<int>>(*this,
                                     [&](auto token) { return all.async_run(std::move(token), "key", with_resource); });
        with_each_token<result<int>>(
            *this, [&](auto token) { return all.async_run(std::move(token), "key", {.cost = 2}, with_resource); });
    }
    SUBCASE("pool.async_with") {
        with_each_token<result<int>>(*this,
                                     [&](auto token) { return pool.async_with(std::move(token), with_resource); });
        with_each_token<result<int>>(
            *this, [&](auto token) { return pool.async_with(std::move(token), {.max_wait = 1s}, with_resource); });
    }
    SUBCASE("bulkhead.async_with") {
        with_each_token<result<int>>(*this, [&](auto token) { return places.async_with(std::move(token), nothing); });
    }
}

}  // namespace
}  // namespace headgate
