// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "scenarios.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

namespace overload_sim {

namespace {

using namespace std::chrono_literals;

constexpr double p99_bound = 3;
constexpr double near = 0.8;  // of the optimum

double seconds(duration d) {
    return std::chrono::duration<double>(d).count();
}

/// Goodput a second, and p99 over that of one call at a time, for each phase.
struct rates {
    std::vector<double> good;
    std::vector<double> p99;

    [[nodiscard]] bool quick() const { return *std::max_element(p99.begin(), p99.end()) <= p99_bound; }
};

rates rates_of(const scenario& what, const std::vector<phase_result>& results, duration unloaded) {
    rates out;
    for (std::size_t i = 0; i < results.size(); ++i) {
        out.good.push_back(static_cast<double>(results[i].good) / seconds(what.phases[i].length));
        const double alone = seconds(unloaded) * what.phases[i].slowdown;
        out.p99.push_back(seconds(results[i].taken.quantile(0.99)) / alone);
    }
    return out;
}

struct sweep_result {
    std::vector<double> best;  ///< Goodput a second, for each phase.
    std::uint32_t one = 1;     ///< The best limit for all phases.
};

/// The same, shorter: a fixed limit has no memory, and 300,000 calls are enough.
scenario shortened(scenario what) {
    for (phase& p : what.phases) {
        p.length = std::min<duration>(p.length, std::max<duration>(10s, duration{std::llround(3e14 / p.offered)}));
    }
    return what;
}

sweep_result sweep(const scenario& full, std::uint64_t seed, duration unloaded) {
    const scenario what = shortened(full);
    sweep_result out;
    out.best.resize(what.phases.size());
    double most = -1;
    for (std::uint32_t limit = 1; limit <= 400; limit += std::max(1u, limit / 8)) {
        const auto results = simulate(what, seed, [&](std::uint64_t) { return make_fixed(limit); });
        const rates r = rates_of(what, results, unloaded);
        double all = r.quick() ? 1e9 : 0;
        for (std::size_t i = 0; i < r.good.size(); ++i) {
            if (r.p99[i] <= p99_bound) {
                out.best[i] = std::max(out.best[i], r.good[i]);
            }
            all += r.good[i] * seconds(full.phases[i].length) / seconds(full.phases[0].length);
        }
        if (all > most) {
            most = all;
            out.one = limit;
        }
    }
    return out;
}

/// Seconds from the start of a phase to the first second in which `wanted` calls succeeded.
double time_to(const phase_result& result, double wanted) {
    const std::size_t wide = 1s / slot;
    for (std::size_t i = 0; i + wide <= result.slots.size(); ++i) {
        const auto from = result.slots.begin() + static_cast<std::ptrdiff_t>(i);
        if (std::accumulate(from, from + static_cast<std::ptrdiff_t>(wide), 0.0) >= wanted) {
            return static_cast<double>(i) * seconds(slot);
        }
    }
    return HUGE_VAL;
}

// Jain, Chiu, Hawe: "A quantitative measure of fairness and discrimination", 1984.
double jain(const std::vector<std::uint64_t>& shares) {
    double sum = 0, squares = 0;
    for (const std::uint64_t n : shares) {
        const auto x = static_cast<double>(n);
        sum += x;
        squares += x * x;
    }
    return squares == 0 ? 1 : sum * sum / (static_cast<double>(shares.size()) * squares);
}

score judge(const scenario& what, const std::vector<phase_result>& results, const std::vector<double>& best,
            duration unloaded) {
    score out;
    const rates r = rates_of(what, results, unloaded);
    double good = 0, optimum = 0;
    for (std::size_t i = 0; i < best.size(); ++i) {
        good += r.good[i] * seconds(what.phases[i].length);
        optimum += best[i] * seconds(what.phases[i].length);
        if (best[i] >= 100) {  // with fewer calls a second, chance decides
            out.settle = std::max(out.settle, time_to(results[i], near * best[i]));
        }
    }
    out.goodput = good / optimum;
    out.p99 = *std::max_element(r.p99.begin(), r.p99.end());
    out.jain = jain(results.back().good_of_client);
    return out;
}

// A backend of fifty servers with 25 ms a call, 2,000 calls a second, unless something else is said.
phase steady(duration length, double offered, std::uint32_t servers = 50) {
    return {.length = length, .offered = offered, .servers = servers};
}

}  // namespace

std::vector<scenario> scenarios() {
    phase slow = steady(3600s, 1200);
    slow.slowdown = 5;
    phase failing = steady(10s, 3000);
    failing.failing = 0.9;
    return {
        {"overload-1.5", "1.5 times the capacity for a minute", {steady(60s, 3000)}},
        {"overload-3", "3 times the capacity for a minute", {steady(60s, 6000)}},
        {"overload-10", "10 times the capacity for a minute", {steady(60s, 20'000)}},
        {"half-capacity",
         "1.5 times the capacity; half of the servers go for 30 s",
         {steady(30s, 3000), steady(30s, 3000, 25), steady(30s, 3000)}},
        {"bimodal",
         "a call in ten takes ten times as long; twice the capacity",
         {steady(60s, 4000)},
         {.mean = 12500us, .slow_share = 0.1, .slow_factor = 10}},
        {"idle-burst",
         "10 calls a second for an hour, then 3 times the capacity",
         {steady(3600s, 10), steady(60s, 6000)}},
        {"slow-hour",
         "0.6 of the capacity; for an hour, calls take five times as long",
         {steady(60s, 1200), slow, steady(60s, 1200)}},
        {"ten-clients",
         "ten clients that begin a second apart, clocks within 20 ms; 250 servers, 3 times the capacity",
         {steady(20s, 30'000, 250), steady(60s, 30'000, 250)},
         {},
         10,
         1s,
         20ms},
        {"ten-clocks",
         "the same with clocks that have nothing to do with each other",
         {steady(20s, 30'000, 250), steady(60s, 30'000, 250)},
         {},
         10,
         1s,
         60s},
        {"crowding",
         "service is 1 + (n / 50)^2 times as long with n calls in the backend; twice the most it can do",
         {steady(60s, 2000, 1'000'000)},
         {.crowding = 50}},
        {"fast-failures",
         "1.5 times the capacity; for 10 s, nine calls in ten fail after 1 ms",
         {steady(30s, 3000), failing, steady(30s, 3000)}},
    };
}

comparison compare(const scenario& what, std::uint64_t seed) {
    const duration unloaded = unloaded_p99(what.work, seed);
    const sweep_result found = sweep(what, seed, unloaded);
    comparison out{what.name, what.what, what.clients, found.one, {}};
    const auto run = [&](const std::string& name, const limiter_source& make) {
        out.scores.push_back(judge(what, simulate(what, seed, make), found.best, unloaded));
        out.scores.back().name = name;
    };
    run("fixed", [&](std::uint64_t) { return make_fixed(found.one); });
    run("fixed x10", [&](std::uint64_t) { return make_fixed(found.one * 10); });
    for (const contender& c : contenders()) {
        run(c.name, [&](std::uint64_t s) { return c.make({}, s); });
    }
    return out;
}

}  // namespace overload_sim
