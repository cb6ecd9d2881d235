// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/pool_options.hpp>

#include <string>

#include "options/members.hpp"
#include "options/problems.hpp"
#include "options/rules.hpp"

namespace headgate {

namespace detail {

std::vector<option_problem> problems_of(const pool_options& o) {
    option_problems p;
    p.members(pool_members, o);
    const std::uint64_t total = std::uint64_t{o.size} + o.max_overflow;
    if ((total == 0 || total > max_pool_resources) && p.right({"size", "max_overflow"})) {
        p.add({"size", "max_overflow"}, "size + max_overflow is " + std::to_string(total),
              "1 to " + std::to_string(max_pool_resources));
    }
    if (o.backoff_max < o.backoff_min && p.right({"backoff_min", "backoff_max"})) {
        p.add("backoff_max", "backoff_min", text_of(o.backoff_max),
              "at least backoff_min, which is " + text_of(o.backoff_min));
    }
    return p.take();
}

}  // namespace detail

std::vector<config_problem> check(const pool_options& options) {
    return detail::plain(detail::problems_of(options));
}

}  // namespace headgate
