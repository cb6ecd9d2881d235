// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_HEDGE_OPTIONS_HPP
#define HEADGATE_HEDGE_OPTIONS_HPP

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <headgate/config_problem.hpp>
#include <headgate/export.hpp>
#include <headgate/time.hpp>

namespace headgate {

/// When a `hedge` begins another attempt beside one that is slow, and who pays for it.
struct hedge_options {
    /// The name of the `retry` in the same zone whose budget pays for further attempts.
    std::string retry{};
    /// Attempts of a call beside the first one; 1 to 10.
    std::uint32_t max_hedges = 1;
    /// How long after the last attempt the next one begins, above 0. Empty: the time within which 95 % of the last 512
    /// first attempts succeeded (Dean and Barroso, "The Tail at Scale", 2013).
    std::optional<duration> delay{};
    /// Without a `delay`, there is no further attempt before so many have succeeded; 1 to 512.
    std::uint32_t min_samples = 50;
    /// Whether its calls deposit into the budget. They do not where a retry with the same budget is around the hedge or
    /// inside of its operation, and deposits for the same calls.
    bool deposits = true;

    friend bool operator==(const hedge_options&, const hedge_options&) = default;
};

/// What is wrong with `options`: each mistake by itself, none when all is right. `create` and `reconfigure` refuse what
/// has one. Whether the retry is there, they say.
[[nodiscard]] HEADGATE_DECL std::vector<config_problem> check(const hedge_options& options);

/// How one call of a `hedge` differs from the others.
struct hedge_call_options {
    /// The time for all attempts together, `duration::max()` for no limit. Zero and less is no time left: the operation
    /// does not run, and the call is `wait_timed_out`.
    duration timeout = duration::max();
    /// Says that the operation may run twice, at the same time too. Without it there is one attempt.
    bool idempotent = false;
};

/// What a `hedge` is doing and has done since it was made.
struct hedge_snapshot {
    std::uint64_t calls = 0;          ///< Calls that have begun.
    std::uint64_t hedges = 0;         ///< Attempts beside the first one.
    std::uint64_t won = 0;            ///< Calls whose result is that of such an attempt.
    std::uint64_t out_of_budget = 0;  ///< Attempts that the budget did not pay.

    std::uint64_t waiting = 0;        ///< Calls that would begin another attempt when their time comes.
    std::optional<duration> delay{};  ///< How long after the last attempt the next one begins; empty: too few samples.
};

}  // namespace headgate

#endif
