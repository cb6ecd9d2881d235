// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_LIMITER_DECISION_HPP
#define HEADGATE_IMPL_LIMITER_DECISION_HPP

#include <cstdint>

#include <headgate/grant.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

enum class verdict : std::uint8_t {
    granted,
    rate_limited,        ///< `retry_after` says when.
    cost_exceeds_limit,  ///< It could never pass.
    queued,              ///< The key has waiters: nobody overtakes them.
    zero_cost,           ///< A cost of zero is no question.
    unknown_tier,
    shut_down,   ///< The zone takes no new work; said by the shell.
    queue_full,  ///< Too many wait for the key; said by the shell.
};

/// What a limiter decided, as plain data: the `result` is made of it where the caller is.
struct decision {
    verdict what = verdict::unknown_tier;
    /// The key is the first that shares the overflow bucket since there was room last.
    bool overflow_began = false;
    duration retry_after{};
    grant granted{};
    /// The key was not remembered before this grant.
    bool inserted = false;
};

/// The figures of a gcra quota that a grant or a refusal is made of.
struct gcra_rate {
    std::int64_t step = 1;   ///< Ticks for each permit.
    std::int64_t den = 1;    ///< Ticks for each nanosecond.
    std::int64_t burst = 0;  ///< Permits.
};

/// An answer of the straight path. Two words, so that it is returned in registers: a larger one goes through memory,
/// where it is read in other widths than it was written, which costs as much as the decision.
struct straight_answer {
    const gcra_rate* rate;  ///< Null: the general path decides.
    std::int64_t debt;      ///< In ticks, after the charge; negative: refused, by so many ticks.

    [[nodiscard]] explicit operator bool() const noexcept { return rate != nullptr; }
    [[nodiscard]] bool granted() const noexcept { return debt >= 0; }
    [[nodiscard]] grant as_grant() const noexcept {
        return {debt, rate->step, rate->den, static_cast<std::uint64_t>(rate->burst)};
    }
    [[nodiscard]] duration retry_after() const noexcept { return to_duration(ceil_div(-debt, rate->den)); }
};

}  // namespace headgate::detail

#endif
