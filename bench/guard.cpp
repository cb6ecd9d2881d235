// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <benchmark/benchmark.h>

#include <headgate/guard.hpp>
#include <headgate/latency.hpp>
#include <headgate/with_timeout.hpp>
#include <headgate/zone_set.hpp>
#if defined(HEADGATE_BENCH_STATUS)
#include <headgate/status.hpp>
#endif

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "harness.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;
using headgate::guard;
using headgate::quota;

struct backend {
    asio::awaitable<int> connect() { co_return 1; }
};

asio::awaitable<int> with_context(headgate::call_context context, int& resource) {
    benchmark::DoNotOptimize(context);
    co_return resource;
}
asio::awaitable<int> plain(int& resource) {
    co_return resource;
}
asio::awaitable<int> at_once() {
    co_return 1;
}
asio::awaitable<int> at_once_with_context(headgate::call_context context) {
    benchmark::DoNotOptimize(context);
    co_return 1;
}

/// The primitives of all guards here, on an io_context of their own.
struct guarded {
    asio::io_context io{1};
    headgate::zone zone{io, "bench"};
    headgate::rate_limiter limiter =
        headgate::rate_limiter::create(zone, "l", quota::per(4'000'000'000, 1s).value()).value();
    headgate::rate_limiter shut = headgate::rate_limiter::create(zone, "shut", quota::per(1, 24h).value()).value();
    headgate::circuit_breaker breaker = headgate::circuit_breaker::create(zone, "b").value();
    headgate::circuit_breaker open = headgate::circuit_breaker::create(zone, "open").value();
    headgate::resource_pool<int> pool =
        headgate::resource_pool<int>::create(zone, "p", {.size = 10}, backend{}).value();
    headgate::resource_pool<int> empty =
        headgate::resource_pool<int>::create(zone, "empty", {.size = 1, .max_waiters = 0}, backend{}).value();
    headgate::lease<int> held;

    guarded() {
        while (!pool.try_checkout() || !held) {
            io.restart();
            io.poll();
            if (auto lease = empty.try_checkout()) {
                held = std::move(lease).value();
            }
        }
        open.trip(24h);
        (void)shut.try_acquire("user-0000000001");
    }
};

template <class Guard, class Op>
asio::awaitable<void> run_many(Guard g, const char* key, Op op, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        benchmark::DoNotOptimize(co_await g.run(key, op));
    }
}

template <class Guard, class Op>
body runs(std::shared_ptr<guarded> f, Guard g, Op op, const char* key = "user-0000000001") {
    return [f, g, op, key](std::size_t n) {
        asio::io_context io(1);
        drive(io, run_many(g, key, op, n));
    };
}

template <class Op>
body timeouts(std::shared_ptr<guarded> f, Op op) {
    return [f, op](std::size_t n) {
        asio::io_context io(1);
        drive(io, [](headgate::zone& zone, Op o, std::size_t count) -> asio::awaitable<void> {
            for (std::size_t i = 0; i < count; ++i) {
                benchmark::DoNotOptimize(co_await headgate::with_timeout(zone, 10s, o));
            }
        }(f->zone, op, n));
    };
}

std::vector<value_row> measure_recording() {
    constexpr std::size_t n = 1'000'000;
    headgate::latency_histogram histogram;
    std::vector<double> above;
    const auto time_of = [](auto work) {
        const auto start = std::chrono::steady_clock::now();
        for (std::size_t i = 0; i < n; ++i) {
            work();
        }
        return static_cast<double>((std::chrono::steady_clock::now() - start).count()) / static_cast<double>(n);
    };
    auto before = std::chrono::steady_clock::now();
    for (int i = 0; i < 15; ++i) {
        const double bare = time_of([] { benchmark::DoNotOptimize(std::chrono::steady_clock::now()); });
        above.push_back(time_of([&] {
                            const auto now = std::chrono::steady_clock::now();
                            histogram.record(now - before);
                            before = now;
                        }) -
                        bare);
    }
    benchmark::DoNotOptimize(histogram.count());
    std::sort(above.begin(), above.end());
    return {{"latency/record_above_clock", above[above.size() / 2], 5, "ns"}};
}

headgate::config many(int zones, int of_each, std::uint64_t permits) {
    headgate::config c;
    for (int z = 0; z < zones; ++z) {
        auto& zone = c.zones[std::to_string(z)];
        for (int i = 0; i < of_each; ++i) {
            zone.rate_limiters[std::to_string(i)].tiers = {{"default", {quota::per(permits, 1s).value()}}};
            zone.circuit_breakers[std::to_string(i)].consecutive_failures =
                static_cast<std::uint32_t>(permits % 97 + 3);
        }
    }
    return c;
}

std::vector<value_row> measure_reload() {
    asio::io_context io(1);
    const auto a = many(10, 50, 1'000'000'000), b = many(10, 50, 2'000'000'001);
    const auto set = headgate::zone_set::create(io, a).value();
    auto limiter = headgate::rate_limiter::find(*set->find("3").value(), "7").value();
    const auto admit = [&] { benchmark::DoNotOptimize(limiter.try_acquire("user-0000000001")); };
    const double quiet = longest(admit, only_busy);
    const double loaded = longest(admit, [&](std::atomic<bool>& done) {
        for (bool which = false; !done; which = !which) {
            (void)set->reload(which ? a : b);
        }
    });
    return {{"delay/reload_of_1000/max", loaded, 0, "ns"},
            {"delay/reload_of_1000/max_above_quiet", loaded - quiet, 1e6, "ns"}};
}

#if defined(HEADGATE_BENCH_STATUS)
std::vector<value_row> measure_metrics() {
    asio::io_context io(1);
    const auto set = headgate::zone_set::create(io, many(100, 5, 1'000'000'000)).value();
    auto limiter = headgate::rate_limiter::find(*set->find("3").value(), "3").value();
    std::vector<double> took;
    for (int i = 0; i < 15; ++i) {
        const auto start = std::chrono::steady_clock::now();
        benchmark::DoNotOptimize(headgate::to_prometheus(set->snapshot()).size());
        took.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    }
    std::sort(took.begin(), took.end());
    const auto admit = [&] { benchmark::DoNotOptimize(limiter.try_acquire("user-0000000001")); };
    const double quiet = longest(admit, only_busy);
    const double scraped = longest(admit, [&](std::atomic<bool>& done) {
        while (!done) {
            benchmark::DoNotOptimize(headgate::to_prometheus(set->snapshot()).size());
        }
    });
    return {{"metrics/100_zones_of_10", took[took.size() / 2], 10, "ms"},
            {"delay/metrics/max", scraped, 0, "ns"},
            {"delay/metrics/max_above_quiet", scraped - quiet, 50'000, "ns"}};
}
#endif

}  // namespace

void add_guard() {
    auto f = std::make_shared<guarded>();
    auto other = std::make_shared<guarded>();
    const headgate::guard_options limit{.timeout = 10s};
    const guard all(f->limiter, f->breaker, f->pool, limit);
    const body whole = runs(f, all, with_context);
    const auto against_awaitable = [&](const char* name, const body& run, double target, std::size_t n = 200'000) {
        add(row{.name = name,
                .run = run,
                .baseline_name = "asio/co_await_awaitable",
                .baseline = co_await_awaitable(),
                .target = target,
                .n = n});
    };
    against_awaitable("guard/run", whole, 7);
    against_awaitable("guard/run/enforced", runs(f, all, plain), 20);
    against_awaitable("with_timeout/call_context", timeouts(f, at_once_with_context), 3);
    against_awaitable("with_timeout/enforced", timeouts(f, at_once), 20);
    const auto refused = [&](const char* name, const char* by, const char* metric, auto g) {
        add(row{.name = name,
                .run = runs(f, g, plain),
                .baseline_name = "clock/now",
                .baseline = clock_now(),
                .target = 2.5,
                .count = [f, by, metric] { return counter(f->zone, by, metric); }});
    };
    refused("guard/refused/breaker", "open", "refused", guard(f->limiter, f->open, f->pool, limit));
    refused("guard/refused/pool", "empty", "queue_full", guard(f->limiter, f->breaker, f->empty, limit));
    refused("guard/refused/limiter", "shut", "refused", guard(f->shut, f->breaker, f->pool, limit));
    const guard theirs(f->limiter, other->breaker, other->pool, limit);
    add(row{.name = "guard/two_threads/own_breaker_and_pool",
            .run = on_two_threads(whole, runs(f, theirs, with_context, "user-0000000002")),
            .baseline_name = "guard/run (throughput)",
            .baseline = whole,
            .target = -1.6,
            .n = 1'000'000});
    add(row{.name = "guard/two_threads/shared",
            .run = on_two_threads(whole, runs(f, all, with_context, "user-0000000002")),
            .baseline_name = "guard/run (throughput)",
            .baseline = whole,
            .target = -0.6,
            .n = 1'000'000});
    add(study{"latency/record", measure_recording});
    add(study{"delay/reload_of_1000", measure_reload});
#if defined(HEADGATE_BENCH_STATUS)
    add(study{"metrics/100_zones_of_10", measure_metrics});
#endif
}

}  // namespace bench
