// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_BENCH_OVERLOAD_SIM_QUEUES_HPP
#define HEADGATE_BENCH_OVERLOAD_SIM_QUEUES_HPP

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <headgate/latency.hpp>

#include "codel.hpp"

namespace overload_sim {

enum class discipline : std::uint8_t { fifo, codel, codel_classes };

/// How a queue in front of a pool did under three times the load that it can bear, for a minute.
struct queue_result {
    std::string name;
    double goodput = 0;  ///< Answers before the caller gave up, over the calls that the pool can answer.
    std::array<double, headgate::detail::class_choice::classes> answered{};  ///< Share of the calls of each class.
    headgate::latency_histogram waited;                                      ///< Of those who got a place.
};

/// Fifty places and 25 ms a call; callers give up after a second, and who has a place by then keeps it to no avail. A
/// fifth of the calls are of class 3, a fifth of class 2, two fifths of class 1, a fifth of class 0.
[[nodiscard]] queue_result simulate_queue(discipline how, std::uint64_t seed);

}  // namespace overload_sim

#endif
