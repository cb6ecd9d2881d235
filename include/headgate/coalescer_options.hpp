// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_COALESCER_OPTIONS_HPP
#define HEADGATE_COALESCER_OPTIONS_HPP

#include <cstdint>
#include <vector>

#include <headgate/config_problem.hpp>
#include <headgate/export.hpp>
#include <headgate/time.hpp>

namespace headgate {

/// What a `coalescer` does with a result when the callers who waited for it have it.
struct coalescer_options {
    /// For how long a value is kept and given to later callers, zero for not at all.
    duration keep_for{};
    /// The same for an error that `outcome_of` calls a failure. Other errors are never kept.
    duration keep_errors_for{};
    /// Results that are kept at once; 1 to 1,000,000. One more displaces the one that would go first.
    std::uint32_t max_kept = 1'000;

    friend bool operator==(const coalescer_options&, const coalescer_options&) = default;
};

/// What is wrong with `options`: each mistake by itself, none when all is right. `create` and `reconfigure` refuse what
/// has one.
[[nodiscard]] HEADGATE_DECL std::vector<config_problem> check(const coalescer_options& options);

/// How one call of a `coalescer` differs from the others.
struct coalescer_call_options {
    /// How long the caller waits, `duration::max()` for no limit. Afterwards it is `timed_out`, while the call that it
    /// has joined goes on for the others. Zero and less is no time left: only a kept result is given, else the caller
    /// is `wait_timed_out`.
    duration timeout = duration::max();
};

/// What a `coalescer` is doing and has done since it was made.
struct coalescer_snapshot {
    std::uint64_t running = 0;  ///< Operations that run.
    std::uint64_t waiting = 0;  ///< Callers that wait for one of them.
    std::uint64_t kept = 0;     ///< Results that are kept.

    std::uint64_t led = 0;        ///< Callers whose operation was run.
    std::uint64_t joined = 0;     ///< Callers that joined an operation that ran already.
    std::uint64_t kept_hits = 0;  ///< Callers that got a kept result.
    std::uint64_t left = 0;       ///< Callers that went without a result: cancelled, out of time or memory, shut down.
    std::uint64_t given_up = 0;   ///< Operations that were cancelled because all of their callers had left.
};

}  // namespace headgate

#endif
