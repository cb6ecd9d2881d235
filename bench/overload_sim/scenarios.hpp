// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_BENCH_OVERLOAD_SIM_SCENARIOS_HPP
#define HEADGATE_BENCH_OVERLOAD_SIM_SCENARIOS_HPP

#include <cstdint>
#include <string>
#include <vector>

#include "simulation.hpp"

namespace overload_sim {

[[nodiscard]] std::vector<scenario> scenarios();

/// How one limiter did.
struct score {
    std::string name;
    double goodput = 0;  ///< Calls that succeeded, over those of the optimum.
    double p99 = 0;      ///< Of those let in, over that of one call at a time; of the worst phase.
    double settle = 0;   ///< Seconds until the first second with 0.8 of the optimum; of the worst phase.
    double jain = 1;     ///< Jain's index of the clients' goodput in the last phase: 1 when all get the same.
};

struct comparison {
    std::string scenario;
    std::string what;
    std::uint32_t clients = 1;
    std::uint32_t best_fixed = 0;
    std::vector<score> scores;
};

/// Runs all limiters through `what`.
///
/// The optimum is that of an oracle that knows for each phase the best fixed limit: the one with most goodput among
/// those whose p99 is at most three times that of one call at a time, found by a sweep.
[[nodiscard]] comparison compare(const scenario& what, std::uint64_t seed);

}  // namespace overload_sim

#endif
