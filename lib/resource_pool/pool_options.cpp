// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/pool_options.hpp>

#include <string>

#include "options/problems.hpp"

namespace headgate {

namespace detail {

std::vector<option_problem> problems_of(const pool_options& o) {
    constexpr duration positive{1};
    option_problems p;
    const std::uint64_t total = std::uint64_t{o.size} + o.max_overflow;
    if (total == 0 || total > max_pool_resources) {
        p.add({"size", "max_overflow"}, "size + max_overflow is " + std::to_string(total),
              "1 to " + std::to_string(max_pool_resources));
    }
    p.time_span_or_off("overflow_ttl", o.overflow_ttl);
    if (o.strategy != pool_strategy::lifo && o.strategy != pool_strategy::fifo) {
        p.add("strategy", std::to_string(static_cast<int>(o.strategy)), "lifo or fifo");
    }
    p.time_span("max_wait", o.max_wait, positive);
    p.time_span("connect_timeout", o.connect_timeout, positive);
    p.number("max_connecting", o.max_connecting, 1, UINT32_MAX);
    p.time_span("backoff_min", o.backoff_min, positive);
    p.time_span("backoff_max", o.backoff_max, positive);
    if (o.backoff_max < o.backoff_min && p.right({"backoff_min", "backoff_max"})) {
        p.add("backoff_max", "backoff_min", text_of(o.backoff_max),
              "at least backoff_min, which is " + text_of(o.backoff_min));
    }
    p.share("backoff_jitter", o.backoff_jitter, true);
    p.time_span_or_off("max_lifetime", o.max_lifetime);
    p.share("lifetime_jitter", o.lifetime_jitter, true);
    p.time_span_or_off("idle_timeout", o.idle_timeout);
    p.time_span_or_off("ping_interval", o.ping_interval);
    p.time_span("ping_timeout", o.ping_timeout, positive);
    p.time_span_or_off("leak_threshold", o.leak_threshold);
    return p.take();
}

}  // namespace detail

std::vector<config_problem> check(const pool_options& options) {
    return detail::plain(detail::problems_of(options));
}

}  // namespace headgate
