// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_EXPLORE_EXPLORER_HPP
#define HEADGATE_TEST_EXPLORE_EXPLORER_HPP

#include <functional>
#include <initializer_list>
#include <stdexcept>
#include <string>

// Tries every interleaving of a few threads, with a bounded number of preemptions: stateless model checking, after
// Musuvathi and Qadeer, "Iterative context bounding for systematic testing of multithreaded programs" (CHESS, 2007).
//
// The library's locks and atomics (impl/sync.hpp) are scheduling points here. One thread runs at a time. At each point
// the explorer decides which thread runs next. It repeats the run until it has tried every choice at every point. Most
// faults need one or two preemptions. Atomics are sequentially consistent here: ThreadSanitizer tests weaker orders.

namespace headgate::explore {

/// A fault that a scenario found. The explorer adds the schedule.
struct failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline void require(bool holds, const char* what) {
    if (!holds) {
        throw failure(what);
    }
}

/// Runs threads under the explorer.
class together {
public:
    /// Runs each function on its own thread, with this run's schedule, until all have ended.
    void run(std::initializer_list<std::function<void()>> threads);
};

/// Calls `scenario` once for each schedule with up to `preemptions` preemptions. The scenario makes its objects, calls
/// `together::run` once, and then checks the objects. A failure fails the doctest case and reports the schedule. With
/// HEADGATE_SCHEDULE=... in the environment only that schedule runs.
void every_schedule(const char* name, const std::function<void(together&)>& scenario, int preemptions = 2);

}  // namespace headgate::explore

#endif
