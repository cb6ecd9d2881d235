// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// The longest wait of a call for long work of other threads: a save, a change of the configuration, a queue of waiters,
// deadlines that pass.

#include <benchmark/benchmark.h>

#include <headgate/rate_limiter.hpp>

#include <unistd.h>

#include <deque>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "harness.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;
using headgate::quota;
using headgate::rate_limiter;

constexpr double most_above = 50'000;

/// A limiter of two tiers with a million keys, on a virtual clock. Its sweep goes on while the clock runs.
struct large {
    large() {
        for (int i = 0; i < 1'000'000; ++i) {
            (void)limiter.try_acquire(i);
        }
    }
    static headgate::rate_limiter_options options(std::uint64_t permits) {
        return {.tiers = {{"default", {quota::per(permits, 24h).value()}},
                          {"other", {quota::per(permits + 1, 12h).value()}}},
                .max_keys = 2'000'000};
    }
    /// One round of the sweep.
    void pass_a_minute() { clock.run_for(io, 1min); }

    headgate::virtual_clock clock;
    asio::io_context io{1};
    headgate::zone zone{io, "large", {.clock = &clock}};
    rate_limiter limiter = rate_limiter::create(zone, "l", options(1000)).value();
};

value_row above_quiet(std::string name, double loaded, double quiet) {
    return {std::move(name), loaded - quiet, most_above, "ns"};
}

std::vector<value_row> beside_large_tables() {
    large l;
    int i = 0;
    const auto ask = [&] {
        i = (i + 7919) % 1'000'000;
        benchmark::DoNotOptimize(l.limiter.try_acquire(i, {.tier = "other", .now = l.clock.now()}));
    };
    const double quiet = longest(ask, only_busy);
    const std::string path = std::filesystem::temp_directory_path() / ("headgate-bench-" + std::to_string(::getpid()));
    const double saved = longest(ask, [&](std::atomic<bool>& done) {
        while (!done) {
            l.limiter.save(path).value();
        }
    });
    std::filesystem::remove(path);
    const double changed = longest(ask, [&](std::atomic<bool>& done) {
        for (std::uint64_t permits = 2000; !done; ++permits) {
            l.limiter.reconfigure(large::options(permits)).value();
            l.pass_a_minute();
        }
    });
    return {above_quiet("delay/save_of_1M_keys/max_above_quiet", saved, quiet),
            above_quiet("delay/change_of_1M_keys/max_above_quiet", changed, quiet)};
}

// One key with a long queue of waiters. Calls ask behind the queue while its first waiters are served.
std::vector<value_row> behind_waiters() {
    headgate::virtual_clock clock;
    asio::io_context io(1);
    headgate::zone zone(io, "line", {.clock = &clock});
    headgate::rate_limiter_options options{.tiers = {{"default", {quota::per(1, 1s).value()}}}, .max_waiters = 200'000};
    auto limiter = rate_limiter::create(zone, "l", options).value();
    (void)limiter.try_acquire("key");
    for (int i = 0; i < 100'000; ++i) {
        limiter.acquire("key", {.max_wait = 240h}, [](headgate::result<headgate::grant>) {});
    }
    const auto ask = [&] { benchmark::DoNotOptimize(limiter.try_acquire("key")); };
    // Runs are short: if the system takes the processor from a thread that holds a lock, all others wait. Each run has
    // some ten changes.
    constexpr runs_of_calls many{.runs = 100, .calls = 10'000};
    const double quiet = longest(ask, only_busy, many);
    const auto serve = [&](std::atomic<bool>& done) {
        while (!done) {
            clock.run_for(io, 1s);
        }
    };
    const double served = longest(ask, serve, many);
    // The limiter looks at all waiters again, since their quota has changed.
    int changes = 0;
    const auto change = [&](std::atomic<bool>& done) {
        for (std::uint64_t burst = 1; !done; burst = 3 - burst, ++changes) {
            options.tiers[0].quotas = {quota::per(burst, burst * 1s).value()};
            limiter.reconfigure(options).value();
        }
    };
    const double changed = longest(ask, change, many);
    if (changes < 5 * many.runs) {
        throw std::runtime_error("delay/100k_waiters_changed: too few changes in a run");
    }
    zone.close();
    clock.run(io);
    return {above_quiet("delay/100k_waiters_served/max_above_quiet", served, quiet),
            above_quiet("delay/100k_waiters_changed/max_above_quiet", changed, quiet)};
}

class node final : public headgate::detail::deadline {
private:
    void on_deadline() noexcept override {}
};

// A hundred thousand deadlines pass at one moment, while another thread arms its own.
std::vector<value_row> beside_deadlines() {
    headgate::virtual_clock clock;
    asio::io_context io(1);
    headgate::zone zone(io, "deadlines", {.clock = &clock});
    auto& core = *zone.core();
    std::deque<node> nodes(100'000);
    node own;
    const auto arm = [&] {
        core.arm(own, core.now() + 3h);
        core.disarm(own);
    };
    const double quiet = longest(arm, only_busy);
    const double passing = longest(arm, [&](std::atomic<bool>& done) {
        while (!done) {
            for (auto& n : nodes) {
                core.arm(n, core.now() + 1s);
            }
            clock.run_for(io, 2s);
        }
    });
    return {above_quiet("delay/100k_deadlines_at_once/max_above_quiet", passing, quiet)};
}

}  // namespace

void add_holds() {
    add(study{"delay/save_of_1M_keys, delay/change_of_1M_keys", beside_large_tables});
    add(study{"delay/100k_waiters", behind_waiters});
    add(study{"delay/100k_deadlines_at_once", beside_deadlines});
}

}  // namespace bench
