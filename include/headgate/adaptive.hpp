// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_ADAPTIVE_HPP
#define HEADGATE_ADAPTIVE_HPP

#include <cstdint>

namespace headgate {

/// A limit of calls at once that follows what the backend can do.
///
/// - It grows while callers find no place and a typical call takes less than 2.3 times as long as unhindered.
/// - When calls take longer, it falls to what makes it 1.7 times as long: latency is proportional to the calls at once
///   while there is a queue (Little's law).
/// - When that does not help, the calls are slow for another reason. The cut is taken back, and the limit holds.
/// - At every full eight seconds of the system clock, if callers find no place, it is a third for as long as 64 calls
/// take.
///   There the queue is empty, and it is measured how long a call takes unhindered. All clients of a backend do so at
///   once if their clocks agree: one alone would measure the queue of the others.
/// - A call that was given up, or refused by the backend for load, weighs as a very slow one: one in eight makes the
///   limit fall. Other failures tell nothing.
/// - While callers find places nothing is tried, so that nobody is refused for a measurement, and nothing grows.
struct adaptive {
    /// It never falls below this; at least 1.
    std::uint32_t min = 1;
    /// It never grows above this; at least `min`.
    std::uint32_t max = 1000;
    /// What it begins with; from `min` to `max`.
    std::uint32_t initial = 20;

    friend bool operator==(const adaptive&, const adaptive&) = default;
};

}  // namespace headgate

#endif
