// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <benchmark/benchmark.h>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <headgate/coalescer.hpp>

#include <memory>
#include <string_view>

#include "harness.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;

constexpr std::string_view fifteen_bytes = "user:0123456789";
static_assert(fifteen_bytes.size() == 15);

struct fixture {
    explicit fixture(const headgate::coalescer_options& options = {})
        : reads(headgate::coalescer<int>::create(zone, "reads", options).value()) {}

    asio::io_context io{1};
    headgate::zone zone{io, "bench"};
    headgate::coalescer<int> reads;
};

asio::awaitable<headgate::result<int>> after_a_turn(asio::io_context* io) {
    co_await asio::post(*io, asio::use_awaitable);
    co_return 1;
}

body each_alone(const std::shared_ptr<fixture>& f) {
    return [f](std::size_t n) {
        asio::io_context io(1);
        drive(io, [](headgate::coalescer<int> reads, std::size_t count) -> asio::awaitable<void> {
            for (std::size_t i = 0; i < count; ++i) {
                benchmark::DoNotOptimize(co_await reads.run(fifteen_bytes, result_at_once));
            }
        }(f->reads, n));
    };
}

// One of 256 leads in each round, and the others join.
body most_joined(const std::shared_ptr<fixture>& f) {
    return [f](std::size_t n) {
        constexpr std::size_t callers = 256;
        asio::io_context io(1);
        const auto call = [](asio::io_context* on, headgate::coalescer<int> reads,
                             std::size_t count) -> asio::awaitable<void> {
            for (std::size_t i = 0; i < count; ++i) {
                benchmark::DoNotOptimize(co_await reads.run(fifteen_bytes, after_a_turn, on));
            }
        };
        for (std::size_t i = 0; i < callers; ++i) {
            asio::co_spawn(io, call(&io, f->reads, n / callers), asio::detached);
        }
        io.run();
    };
}

}  // namespace

void add_coalescer() {
    auto alone = std::make_shared<fixture>();
    auto kept = std::make_shared<fixture>(headgate::coalescer_options{.keep_for = 1h});
    auto joined = std::make_shared<fixture>();
    add(row{.name = "coalescer/alone",
            .run = each_alone(alone),
            .baseline_name = "clock/now",
            .baseline = clock_now(),
            .target = 6.0,
            .minus = co_await_result(),
            .count = [alone] { return counter(alone->zone, "reads", "led"); }});
    add(row{.name = "coalescer/kept",
            .run = each_alone(kept),
            .baseline_name = "clock/now",
            .baseline = clock_now(),
            .count = [kept] { return counter(kept->zone, "reads", "kept_hits"); }});
    add(row{.name = "coalescer/joined",
            .run = most_joined(joined),
            .baseline_name = "clock/now",
            .baseline = clock_now(),
            .target = 4.0,
            .count = [joined] { return counter(joined->zone, "reads", "joined"); }});
}

}  // namespace bench
