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

}  // namespace headgate::detail

#endif
