// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_BENCH_OVERLOAD_SIM_REPORT_HPP
#define HEADGATE_BENCH_OVERLOAD_SIM_REPORT_HPP

#include <iosfwd>
#include <vector>

#include "queues.hpp"
#include "scenarios.hpp"

namespace overload_sim {

enum class format : std::uint8_t { text, markdown };

void write_tables(std::ostream& out, const std::vector<comparison>& all, format how);
void write_queues(std::ostream& out, const std::vector<queue_result>& all, format how);
/// Goodput of each limiter in each scenario, as points on a line.
void write_chart(std::ostream& out, const std::vector<comparison>& all);

}  // namespace overload_sim

#endif
