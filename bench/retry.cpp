// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <benchmark/benchmark.h>

#include <headgate/guard.hpp>
#include <headgate/retry.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <queue>
#include <random>
#include <string>
#include <vector>

#include "harness.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;

// The cost of a call
// ---------------------------------------------------------------------------------------------------

struct fixture {
    asio::io_context io{1};
    headgate::zone zone{io, "bench"};
    headgate::retry again = headgate::retry::create(zone, "again").value();
};

body retried(const std::shared_ptr<fixture>& f) {
    return [f](std::size_t n) {
        asio::io_context io(1);
        drive(io, [](headgate::retry again, std::size_t count) -> asio::awaitable<void> {
            for (std::size_t i = 0; i < count; ++i) {
                benchmark::DoNotOptimize(co_await again.run(result_at_once));
            }
        }(f->again, n));
    };
}

// The formulas of pauses
// -----------------------------------------------------------------------------------------------

constexpr double shortest_pause = 0.1, longest_pause = 5, outage = 30;  // seconds
constexpr int clients = 10'000;

/// What a client remembers between its attempts.
struct pauses {
    int attempt = 0;
    double last = 0;
};

using random_source = std::mt19937_64;

double share(random_source& random) {
    return std::uniform_real_distribution<double>(0, 1)(random);
}

// Brooker, "Exponential Backoff And Jitter", AWS 2015.
double full(pauses& p, random_source& random) {
    return share(random) * std::min(longest_pause, shortest_pause * std::pow(2, p.attempt));
}
double decorrelated(pauses& p, random_source& random) {
    const double last = p.attempt == 0 ? shortest_pause : p.last;
    p.last = std::min(longest_pause, shortest_pause + share(random) * (3 * last - shortest_pause));
    return p.last;
}
// Polly 8, Polly.Contrib.WaitAndRetry: DecorrelatedJitterBackoffV2.
double smooth(pauses& p, random_source& random) {
    const double t = p.attempt + share(random);
    const double here = std::pow(2, t) * std::tanh(std::sqrt(4 * t));
    const double pause = std::max(0.0, here - std::exchange(p.last, here)) / 1.4 * shortest_pause;
    return std::min(longest_pause, pause);
}
double without(pauses& p, random_source& /*random*/) {
    return std::min(longest_pause, shortest_pause * std::pow(2, p.attempt));
}

struct scenario {
    double between_calls;  ///< Seconds between two calls of a client, on average.
    bool together;         ///< All clients fail at one moment; else each at its own next call.
};

/// The largest number of attempts in a tenth of a second, from the first further attempts on, over that of a steady
/// service.
double peak(double (*pause)(pauses&, random_source&), const scenario& s) {
    struct attempt {
        double at;
        std::size_t client;
        bool operator<(const attempt& other) const { return at > other.at; }
    };
    random_source random(7);
    std::vector<pauses> state(clients);
    std::priority_queue<attempt> queue;
    for (std::size_t i = 0; i < clients; ++i) {
        queue.push({share(random) * (s.together ? 0.001 : s.between_calls), i});
    }
    constexpr double slot = 0.1, end = outage + 20;
    std::vector<double> attempts(static_cast<std::size_t>(end / slot) + 1);
    while (!queue.empty()) {
        const attempt a = queue.top();
        queue.pop();
        if (a.at >= end) {
            continue;
        }
        attempts[static_cast<std::size_t>(a.at / slot)] += 1;
        pauses& p = state[a.client];
        if (a.at < outage) {
            const double wait = pause(p, random);
            ++p.attempt;
            queue.push({a.at + wait, a.client});
        } else {
            p = {};
            queue.push({a.at + s.between_calls * (0.5 + share(random)), a.client});
        }
    }
    const auto first = attempts.begin() + (s.together ? 1 : 0);
    return *std::max_element(first, attempts.end()) / (clients / s.between_calls * slot);
}

std::vector<value_row> compare_pauses() {
    struct formula {
        const char* name;
        double (*pause)(pauses&, random_source&);
    };
    std::vector<value_row> out;
    for (const formula& f :
         {formula{"full", full}, {"decorrelated", decorrelated}, {"smooth", smooth}, {"none", without}}) {
        for (const scenario& s : {scenario{1, false}, {10, false}, {1, true}, {10, true}}) {
            out.push_back({"retry/jitter/" + std::string(f.name) + (s.together ? "/together_" : "/steady_") +
                               std::to_string(static_cast<int>(s.between_calls)) + "s/peak",
                           peak(f.pause, s), 0, "x"});
        }
    }
    return out;
}

}  // namespace

void add_retry() {
    auto f = std::make_shared<fixture>();
    add(row{.name = "retry/run",
            .run = retried(f),
            .baseline_name = "clock/now",
            .baseline = clock_now(),
            .target = 0.6,
            .minus = co_await_result(),
            .count = [f] { return counter(f->zone, "again", "calls"); }});
    add(study{"retry/jitter", compare_pauses});
}

}  // namespace bench
