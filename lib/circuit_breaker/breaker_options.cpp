// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/breaker_options.hpp>

#include <cstddef>
#include <iterator>
#include <string>

#include "options/members.hpp"
#include "options/problems.hpp"
#include "options/rules.hpp"

namespace headgate {

namespace detail {

std::vector<option_problem> problems_of(const breaker_options& o) {
    option_problems p;
    p.members(breaker_members, o);
    if (o.slow_ratio && !o.slow_after) {
        p.add("slow_after", "slow_ratio", "empty", "set, because slow_ratio is");
    }
    if (o.max_reset_timeout < o.reset_timeout && p.right({"reset_timeout", "max_reset_timeout"})) {
        p.add("max_reset_timeout", "reset_timeout", text_of(o.max_reset_timeout),
              "at least reset_timeout, which is " + text_of(o.reset_timeout));
    }
    if (!o.consecutive_failures && !o.failure_ratio && !o.slow_ratio) {
        p.add({"consecutive_failures", "failure_ratio", "slow_ratio"},
              "each of consecutive_failures, failure_ratio and slow_ratio is empty",
              "set for one of them at least, else nothing opens the breaker");
    }
    return p.take();
}

}  // namespace detail

std::vector<config_problem> check(const breaker_options& options) {
    return detail::plain(detail::problems_of(options));
}

std::string_view to_string(breaker_state s) noexcept {
    switch (s) {
        case breaker_state::closed: return "closed";
        case breaker_state::open: return "open";
        case breaker_state::half_open: return "half_open";
    }
    return "unknown";
}

std::string_view to_string(breaker_mode m) noexcept {
    const auto place = static_cast<std::size_t>(m);
    return place < std::size(detail::mode_words) ? detail::mode_words[place] : "unknown";
}

std::string_view to_string(breaker_reason r) noexcept {
    switch (r) {
        case breaker_reason::consecutive_failures: return "consecutive_failures";
        case breaker_reason::failure_ratio: return "failure_ratio";
        case breaker_reason::slow_ratio: return "slow_ratio";
        case breaker_reason::failed_for: return "failed_for";
        case breaker_reason::tripped: return "tripped";
        case breaker_reason::reset_timeout: return "reset_timeout";
        case breaker_reason::probe_failed: return "probe_failed";
        case breaker_reason::probe_expired: return "probe_expired";
        case breaker_reason::probes_succeeded: return "probes_succeeded";
        case breaker_reason::reset: return "reset";
        case breaker_reason::mode: return "mode";
    }
    return "unknown";
}

}  // namespace headgate
