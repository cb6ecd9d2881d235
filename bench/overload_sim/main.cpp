// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// How limits of concurrency behave under overload: a simulation on virtual time.
//
//     overload-sim [--scenario NAME] [--seed N] [--markdown] [--svg FILE]
//
// The backend has servers, a queue without bound and a log-normal time of service. Clients call it as a Poisson process
// and give up after a second; the backend does not notice, and works for nobody. A call beyond the limit is refused at
// once. The limiter sees what a bulkhead sees: start, end and outcome of the calls that it let in.

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

#include "report.hpp"

namespace {

using namespace overload_sim;

struct arguments {
    std::string scenario;
    std::string chart;
    std::uint64_t seed = 1;
    format how = format::text;
};

std::optional<arguments> parse(int argc, char** argv) {
    arguments out;
    for (int i = 1; i < argc; ++i) {
        const std::string_view name = argv[i];
        if (name == "--markdown") {
            out.how = format::markdown;
            continue;
        }
        if (++i == argc) {
            return std::nullopt;
        }
        const std::string_view value = argv[i];
        if (name == "--scenario") {
            out.scenario = value;
        } else if (name == "--svg") {
            out.chart = value;
        } else if (name != "--seed" ||
                   std::from_chars(value.data(), value.data() + value.size(), out.seed).ec != std::errc{}) {
            return std::nullopt;
        }
    }
    return out;
}

int run(const arguments& with) {
    std::vector<comparison> all;
    for (const scenario& s : scenarios()) {
        if (with.scenario.empty() || s.name == with.scenario) {
            all.push_back(compare(s, with.seed));
        }
    }
    const bool queues = with.scenario.empty() || with.scenario == "queues";
    if (all.empty() && !queues) {
        std::cerr << "no scenario has the name " << with.scenario << "; there are:";
        for (const scenario& s : scenarios()) {
            std::cerr << ' ' << s.name;
        }
        std::cerr << " queues\n";
        return 2;
    }
    std::cout << "seed " << with.seed << "\n\n";
    if (!all.empty()) {
        write_tables(std::cout, all, with.how);
    }
    if (queues) {
        write_queues(std::cout,
                     {simulate_queue(discipline::fifo, with.seed), simulate_queue(discipline::codel, with.seed),
                      simulate_queue(discipline::codel_classes, with.seed)},
                     with.how);
    }
    if (!with.chart.empty() && !all.empty()) {
        std::ofstream file(with.chart);
        write_chart(file, all);
        if (!file.flush()) {
            std::cerr << "cannot write " << with.chart << '\n';
            return 1;
        }
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::optional<arguments> with = parse(argc, argv);
    if (!with) {
        std::cerr << "usage: overload-sim [--scenario NAME] [--seed N] [--markdown] [--svg FILE]\n";
        return 2;
    }
    return run(*with);
}
