// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_BENCH_OVERLOAD_SIM_LIMITER_HPP
#define HEADGATE_BENCH_OVERLOAD_SIM_LIMITER_HPP

#include <headgate/time.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace overload_sim {

using headgate::duration;
using headgate::time_point;

/// How a call ended, as its caller sees it. `timed_out`: the caller gave up.
enum class outcome : std::uint8_t { success, failure, timed_out };

/// What a bulkhead on the side of the caller knows about a call that has ended.
struct ended_call {
    time_point now;
    duration took;
    std::uint32_t running;  ///< Calls that ran when it began, itself included.
    outcome how;
};

/// A limit of concurrency under test.
class limiter {
public:
    limiter() = default;
    limiter(const limiter&) = delete;
    limiter& operator=(const limiter&) = delete;
    virtual ~limiter() = default;

    [[nodiscard]] virtual std::uint32_t limit() const = 0;
    /// A call begins; `running` counts it too. False: its end is not to be told.
    virtual bool began(time_point /*now*/, std::uint32_t /*running*/) { return true; }
    /// A call found no place.
    virtual void refused(time_point /*now*/) {}
    virtual void ended(const ended_call& call) = 0;
};

/// The bounds that all of them have.
struct bounds {
    std::uint32_t min = 1;
    std::uint32_t max = 1000;
    std::uint32_t initial = 20;
};

/// Makes a limiter for each client of a run.
struct contender {
    std::string name;
    std::unique_ptr<limiter> (*make)(const bounds& b, std::uint64_t seed);
};

[[nodiscard]] std::unique_ptr<limiter> make_fixed(std::uint32_t limit);
/// All that adapt.
[[nodiscard]] std::vector<contender> contenders();

}  // namespace overload_sim

#endif
