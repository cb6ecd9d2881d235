// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/retry_options.hpp>

#include <headgate/call_outcome.hpp>

#include "options/members.hpp"
#include "options/problems.hpp"
#include "options/rules.hpp"

namespace headgate {

namespace detail {

std::vector<option_problem> problems_of(const retry_options& o) {
    option_problems p;
    p.members(retry_members, o);
    if (p.right({"backoff_min", "backoff_max"}) && o.backoff_max < o.backoff_min) {
        p.add("backoff_max", "backoff_min", text_of(o.backoff_max), "at least backoff_min, " + text_of(o.backoff_min));
    }
    return p.take();
}

}  // namespace detail

std::vector<config_problem> check(const retry_options& options) {
    return detail::plain(detail::problems_of(options));
}

namespace {

// What says so by itself, and what is marked by the time of the next attempt.
bool did_not_run(const error& e) noexcept {
    const bool may_be_marked =
        e == errc::circuit_open || e == errc::operation_failed || e.code.category() != error_category();
    return e == errc::connect_failed || (may_be_marked && e.retry_after > duration::zero());
}

}  // namespace

retry_verdict verdict_of(const error& e, bool idempotent) noexcept {
    if (e.retry_after < duration::zero() || is_canceled(e)) {
        return false;
    }
    const bool harmless = idempotent && outcome_of(e) == call_outcome::failure;
    return did_not_run(e) || harmless ? retry_verdict(e.retry_after) : retry_verdict(false);
}

}  // namespace headgate
