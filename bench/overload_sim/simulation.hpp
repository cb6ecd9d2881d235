// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_BENCH_OVERLOAD_SIM_SIMULATION_HPP
#define HEADGATE_BENCH_OVERLOAD_SIM_SIMULATION_HPP

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <headgate/latency.hpp>

#include "limiter.hpp"

namespace overload_sim {

/// What holds for a time.
struct phase {
    duration length{};
    double offered = 0;         ///< Calls a second that arrive, of all clients together, as a Poisson process.
    std::uint32_t servers = 0;  ///< Calls that the backend works on at once; the others wait in its queue.
    double slowdown = 1;        ///< Factor on the time of service.
    double failing = 0;         ///< The share of calls that fail, after a millisecond of a server.
};

/// How long the backend works on a call: log-normal.
struct service {
    duration mean = std::chrono::milliseconds{25};
    double sigma = 0.5;
    double slow_share = 0;  ///< The share of calls whose mean is `slow_factor` times as long.
    double slow_factor = 1;
    double crowding = 0;  ///< With n calls in the backend, service is 1 + (n / crowding)^2 times as long; 0: never.
};

struct scenario {
    std::string name;
    std::string what;
    std::vector<phase> phases;
    service work{};
    std::uint32_t clients = 1;
    duration stagger{};                          ///< Each client begins this much after the one before.
    duration clock_skew{};                       ///< By how much the clocks of the clients differ at most.
    duration give_up = std::chrono::seconds{1};  ///< How long a caller waits; the backend does not notice.
};

/// What happened in a phase.
struct phase_result {
    std::uint64_t good = 0;             ///< Calls that succeeded before their caller gave up.
    headgate::latency_histogram taken;  ///< Of all calls that were let in and ended, at the latest when given up.
    std::vector<std::uint32_t> slots;   ///< Calls that succeeded, for each `slot`.
    std::vector<std::uint64_t> good_of_client;
};

using limiter_source = std::function<std::unique_ptr<limiter>(std::uint64_t seed)>;

constexpr duration slot = std::chrono::milliseconds{100};

/// Runs `what` with a limiter for each client, one result a phase; everything repeats from `seed`.
[[nodiscard]] std::vector<phase_result> simulate(const scenario& what, std::uint64_t seed, const limiter_source& make);

/// How long the backend works on one call, without slowdown.
[[nodiscard]] duration draw_service(const service& work, std::uint64_t& random);

/// The 99th percentile of the time of service, of one call at a time, without slowdown.
[[nodiscard]] duration unloaded_p99(const service& work, std::uint64_t seed);

}  // namespace overload_sim

#endif
