// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_GUARD_OPTIONS_HPP
#define HEADGATE_GUARD_OPTIONS_HPP

#include <cstdint>
#include <optional>
#include <string_view>

#include <headgate/call_outcome.hpp>
#include <headgate/retry_options.hpp>
#include <headgate/time.hpp>

namespace headgate {

/// How a `guard` behaves besides its parts.
struct guard_options {
    /// What waiting, connecting and running may take together, `duration::max()` for no limit. What is left when the
    /// operation begins is handed to it.
    duration timeout = duration::max();
    /// What `overrun` events of its operations are told under.
    std::string_view name{};
};

/// How one call of a guard differs from the others.
template <class Judge = default_judge, class RetryJudge = default_retry_judge>
struct guard_call_options {
    /// Permits of the limiter; at least 1.
    std::uint64_t cost = 1;
    /// Which tier of the limiter; empty is the first.
    std::string_view tier{};
    /// As `guard_options::timeout`; empty is the guard's.
    std::optional<duration> timeout{};
    /// What counts as a failure for the breaker; as `call_options::judge`.
    Judge judge{};
    /// As `retry_call_options::idempotent`.
    bool idempotent = false;
    /// What is tried again; as `retry_call_options::judge`.
    RetryJudge retry_judge{};
};

/// Names of parts in a zone, for `zone::protect` and `make_guard`. Empty: without that part.
struct part_names {
    std::string_view limiter{};          ///< Of a rate limiter.
    std::string_view breaker{};          ///< Of a circuit breaker.
    std::string_view pool{};             ///< Of a resource pool, whose resource type is the template argument.
    std::string_view bulkhead{};         ///< Of a bulkhead; not together with a pool.
    std::string_view retry{};            ///< Of a retry.
    duration timeout = duration::max();  ///< As `guard_options::timeout`.
};

}  // namespace headgate

#endif
