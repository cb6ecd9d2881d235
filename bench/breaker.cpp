// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <benchmark/benchmark.h>

#include <headgate/circuit_breaker.hpp>

#include <memory>

#include "harness.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;

struct fixture {
    asio::io_context io{1};
    headgate::zone zone{io, "bench"};
    headgate::circuit_breaker closed = make("closed", {.failure_ratio = 0.5});
    headgate::circuit_breaker slow = make("slow", {.failure_ratio = 0.5, .slow_ratio = 0.5, .slow_after = 1s});
    headgate::circuit_breaker open = make("open", {});

    headgate::circuit_breaker make(const char* name, const headgate::breaker_options& options) {
        return headgate::circuit_breaker::create(zone, name, options).value();
    }
};

body begin_success(const std::shared_ptr<fixture>& f, headgate::circuit_breaker fixture::* which) {
    return [f, which](std::size_t n) {
        auto& breaker = (*f).*which;
        for (std::size_t i = 0; i < n; ++i) {
            auto permit = breaker.try_begin();
            benchmark::DoNotOptimize(permit.value().success());
        }
    };
}

asio::awaitable<int> at_once() {
    co_return 1;
}

}  // namespace

void add_breaker() {
    auto f = std::make_shared<fixture>();
    f->open.trip(24h);
    const body plain = begin_success(f, &fixture::closed);
    add(row{.name = "breaker/begin_success",
            .run = plain,
            .baseline_name = "clock/now",
            .baseline = clock_now(),
            .target = 1.4});
    add(row{.name = "breaker/begin_success/slow_calls",
            .run = begin_success(f, &fixture::slow),
            .baseline_name = "clock/now",
            .baseline = clock_now(),
            .target = 2.4});
    add(row{.name = "breaker/open_refusal",
            .run =
                [f](std::size_t n) {
                    for (std::size_t i = 0; i < n; ++i) {
                        benchmark::DoNotOptimize(f->open.try_begin());
                    }
                },
            .baseline_name = "clock/now",
            .baseline = clock_now(),
            .target = 1.3,
            .count = [f] { return counter(f->zone, "open", "refused"); }});
    add(row{.name = "breaker/run",
            .run =
                [f](std::size_t n) {
                    asio::io_context io(1);
                    drive(io, [](headgate::circuit_breaker breaker, std::size_t count) -> asio::awaitable<void> {
                        for (std::size_t i = 0; i < count; ++i) {
                            benchmark::DoNotOptimize(co_await breaker.run(at_once));
                        }
                    }(f->closed, n));
                },
            .baseline_name = "asio/co_await_awaitable",
            .baseline = co_await_awaitable(),
            .target = 2.5,
            .minus = plain,
            .count = [f] { return counter(f->zone, "closed", "successes"); }});
    add(row{.name = "breaker/two_threads",
            .run = on_two_threads(plain, plain),
            .baseline_name = "breaker/begin_success (throughput)",
            .baseline = plain,
            .target = -0.6,
            .n = 2'000'000});
}

}  // namespace bench
