// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <benchmark/benchmark.h>

#include <headgate/rate_limiter.hpp>

#include <boost/unordered/unordered_flat_map.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "harness.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;
using headgate::quota;
using headgate::rate_limiter;

constexpr std::size_t million = 1'000'000;

/// Texts of 15 bytes, side by side, and a random order in which to ask for them.
struct keys {
    keys() : texts(million * 15, ' '), order(million) {
        std::mt19937_64 random(1);
        for (std::size_t i = 0; i < million; ++i) {
            char text[24];
            std::snprintf(text, sizeof text, "key-%011zu", i);
            texts.replace(i * 15, 15, text, 15);
            order[i] = static_cast<std::uint32_t>(i);
        }
        std::shuffle(order.begin(), order.end(), random);
    }
    [[nodiscard]] std::string_view at(std::size_t i) const { return std::string_view(texts).substr(i * 15, 15); }
    [[nodiscard]] std::string_view random(std::size_t i) const { return at(order[i % million]); }

    std::string texts;
    std::vector<std::uint32_t> order;
};

struct text_hash : boost::hash<std::string_view> {
    using is_transparent = void;
};
using text_map = boost::unordered_flat_map<std::string, int, text_hash, std::equal_to<>>;

struct fixture {
    asio::io_context io{1};
    headgate::zone zone{io, "bench"};
    rate_limiter open = rate_limiter::create(zone, "open", quota::per(4'000'000'000, 1s).value()).value();
    rate_limiter shut = rate_limiter::create(zone, "shut", quota::per(1, 24h).value()).value();
};

std::vector<value_row> measure_memory(const keys& k) {
    asio::io_context io(1);
    headgate::zone zone(io, "memory");
    auto limiter =
        rate_limiter::create(zone, "m",
                             headgate::rate_limiter_options{.tiers = {{"default", {quota::per(1, 24h).value()}}},
                                                            .max_keys = 2 * million})
            .value();
    const auto in_use = [] { return static_cast<double>(heap_bytes()); };
    const double before = in_use();
    double worst = 0;
    for (std::size_t i = 0; i < million; ++i) {
        (void)limiter.try_acquire(k.at(i));
        if (i >= 100'000 && i % 1000 == 0) {
            worst = std::max(worst, (in_use() - before) / static_cast<double>(i + 1));
        }
    }
    return {{"memory/key_at_1M", (in_use() - before) / million, 48},
            {"memory/key_at_the_worst_moment_of_growth", worst, 72}};
}

struct delays {
    double p50, p999, max;
};

// A million calls on random keys, while the keys expire or stay. Meanwhile the sweep makes one round on the same
// thread, as in a service with one thread: a call waits for the step of the sweep before it.
delays measure_delays(const keys& k, bool expiring) {
    headgate::virtual_clock clock;
    asio::io_context io(1);
    headgate::zone zone(io, "expiry", {.clock = &clock});
    const auto period = expiring ? duration_cast<headgate::duration>(10s) : duration_cast<headgate::duration>(24h);
    auto limiter =
        rate_limiter::create(zone, "m",
                             headgate::rate_limiter_options{.tiers = {{"default", {quota::per(1, period).value()}}},
                                                            .max_keys = 2 * million})
            .value();
    for (std::size_t i = 0; i < million; ++i) {
        (void)limiter.try_acquire(k.at(i));
    }
    clock.set(clock.now() + 20s);
    std::vector<double> all;
    all.reserve(million);
    for (std::size_t i = 0; i < million; ++i) {
        const auto start = std::chrono::steady_clock::now();
        if (i % 100 == 0) {
            clock.run_for(io, 6ms);
        }
        (void)limiter.try_acquire(k.random(i));
        all.push_back(static_cast<double>((std::chrono::steady_clock::now() - start).count()));
    }
    std::sort(all.begin(), all.end());
    return {all[all.size() / 2], all[all.size() * 999 / 1000], all.back()};
}

// Each figure is the smallest of several runs: delays by the sweep are in all runs, delays by the machine are not.
std::vector<value_row> measure_expiry(const keys& k) {
    constexpr int runs = 7;
    std::vector<value_row> out;
    delays quietest[2];
    for (const bool expiring : {false, true}) {
        delays& best = quietest[expiring ? 1 : 0] = {1e18, 1e18, 1e18};
        for (int run = 0; run < runs; ++run) {
            const delays d = measure_delays(k, expiring);
            best = {std::min(best.p50, d.p50), std::min(best.p999, d.p999), std::min(best.max, d.max)};
        }
        const std::string name = expiring ? "delay/1M_keys_expiring/" : "delay/1M_keys_staying/";
        out.push_back({name + "p50", best.p50, 0, "ns"});
        out.push_back({name + "p99.9", best.p999, 0, "ns"});
        out.push_back({name + "max", best.max, 0, "ns"});
    }
    out.push_back({"delay/1M_keys_expiring/max_above_staying", quietest[1].max - quietest[0].max, 50'000, "ns"});
    return out;
}

/// The state that all rows share: a limiter and a hash table, both with a million keys.
struct limiter_rows {
    limiter_rows() {
        for (std::size_t i = 0; i < million; ++i) {
            map->emplace(k->at(i), 1);
            (void)f->open.try_acquire(k->at(i));
        }
    }

    void add_one_key() const;
    void add_many_keys() const;
    void add_refused() const;
    void add_awaited() const;
    void add_two_threads() const;

    std::shared_ptr<keys> k = std::make_shared<keys>();
    std::shared_ptr<fixture> f = std::make_shared<fixture>();
    std::shared_ptr<text_map> map = std::make_shared<text_map>();
    std::function<std::uint64_t()> granted = [f = f] { return counter(f->zone, "open", "granted"); };
    body one_key = [f = f](std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) {
            benchmark::DoNotOptimize(f->open.try_acquire("user-0000000001"));
        }
    };
};

void limiter_rows::add_one_key() const {
    add(row{.name = "limiter/try_acquire/1key",
            .run = one_key,
            .baseline_name = "clock/now",
            .baseline = clock_now(),
            .target = 1.4,
            .count = granted});
    add(row{.name = "limiter/try_acquire/1key_time_passed",
            .run =
                [f = f](std::size_t n) {
                    const auto now = f->zone.now();
                    for (std::size_t i = 0; i < n; ++i) {
                        benchmark::DoNotOptimize(f->open.try_acquire("user-0000000001", {.now = now}));
                    }
                },
            .baseline_name = "clock/now",
            .baseline = clock_now(),
            .target = 0.5,
            .count = granted});
}

void limiter_rows::add_many_keys() const {
    const body now_and_find = [map = map, k = k](std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) {
            benchmark::DoNotOptimize(std::chrono::steady_clock::now());
            benchmark::DoNotOptimize(map->find(k->random(i)));
        }
    };
    add(row{.name = "baseline/now_and_flat_map_find_1M",
            .run = now_and_find,
            .baseline_name = "clock/now",
            .baseline = clock_now()});
    add(row{.name = "limiter/try_acquire/1M_keys",
            .run =
                [f = f, k = k](std::size_t n) {
                    for (std::size_t i = 0; i < n; ++i) {
                        benchmark::DoNotOptimize(f->open.try_acquire(k->random(i)));
                    }
                },
            .baseline_name = "baseline/now_and_flat_map_find_1M",
            .baseline = now_and_find,
            .target = 0.8,
            .n = million,
            .count = granted});
}

void limiter_rows::add_refused() const {
    (void)f->shut.try_acquire("user-0000000001");
    add(row{.name = "limiter/refused",
            .run =
                [f = f](std::size_t n) {
                    for (std::size_t i = 0; i < n; ++i) {
                        benchmark::DoNotOptimize(f->shut.try_acquire("user-0000000001"));
                    }
                },
            .baseline_name = "limiter/try_acquire/1key",
            .baseline = one_key,
            .target = 1.0,
            .count = [f = f] { return counter(f->zone, "shut", "refused"); }});
}

void limiter_rows::add_awaited() const {
#if defined(__clang__)
    constexpr double eager_target = 1.1;
#else
    constexpr double eager_target = 0.6;
#endif
    add(row{.name = "limiter/co_await_acquire",
            .run =
                [f = f](std::size_t n) {
                    drive(f->io, [](rate_limiter l, std::size_t count) -> asio::awaitable<void> {
                        for (std::size_t i = 0; i < count; ++i) {
                            benchmark::DoNotOptimize(co_await l.acquire("user-0000000001"));
                        }
                    }(f->open, n));
                },
            .baseline_name = "asio/co_await_awaitable",
            .baseline = co_await_awaitable(),
            .target = eager_target,
            .minus = one_key,
            .count = granted});
}

void limiter_rows::add_two_threads() const {
    const auto with_key = [f = f](const char* key) -> body {
        return [f, key](std::size_t n) {
            for (std::size_t i = 0; i < n; ++i) {
                benchmark::DoNotOptimize(f->open.try_acquire(key));
            }
        };
    };
    const body first = with_key("user-0000000001"), second = with_key("user-0000000002");
    const auto against_one = [&](const char* name, const body& run, double target) {
        add(row{.name = name,
                .run = run,
                .baseline_name = "limiter/try_acquire/1key (throughput)",
                .baseline = one_key,
                .target = target,
                .n = 2'000'000,
                .count = granted});
    };
    against_one("limiter/two_threads/distinct_keys", on_two_threads(first, second), -1.6);
    against_one("limiter/two_threads/one_key", on_two_threads(first, first), -0.6);
}

}  // namespace

void add_limiter() {
    const limiter_rows rows;
    rows.add_one_key();
    rows.add_many_keys();
    rows.add_refused();
    rows.add_awaited();
    rows.add_two_threads();
    add(study{"memory/key", [k = rows.k] { return measure_memory(*k); }});
    add(study{"delay/1M_keys", [k = rows.k] { return measure_expiry(*k); }});
}

}  // namespace bench
