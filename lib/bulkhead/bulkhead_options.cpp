// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/bulkhead_options.hpp>

#include <string>

#include <headgate/pool_options.hpp>

#include "options/members.hpp"
#include "options/problems.hpp"

namespace headgate {

namespace detail {

namespace {

void add_problems(option_problems& p, const adaptive& limit) {
    const auto within = [&p](const char* name, std::uint32_t value, std::uint32_t least, std::uint32_t most,
                             const char* text) {
        if (value < least || value > most) {
            p.add_inside("limit", std::string("/") + name, std::to_string(value), text);
        }
        return value >= least && value <= most;
    };
    const std::string any = "1 to " + std::to_string(max_pool_resources);
    const bool min = within("min", limit.min, 1, max_pool_resources, any.c_str());
    const bool max = within("max", limit.max, 1, max_pool_resources, any.c_str());
    if (min && max && limit.max < limit.min) {
        p.add_inside("limit", "/max", std::to_string(limit.max), "at least min, " + std::to_string(limit.min));
    } else if (min && max) {
        const std::string between = std::to_string(limit.min) + " to " + std::to_string(limit.max) + ", min to max";
        within("initial", limit.initial, limit.min, limit.max, between.c_str());
    }
}

}  // namespace

std::vector<option_problem> problems_of(const bulkhead_options& o) {
    option_problems p;
    p.members(bulkhead_members, o);
    if (o.limit) {
        add_problems(p, *o.limit);
    }
    return p.take();
}

}  // namespace detail

std::vector<config_problem> check(const bulkhead_options& options) {
    return detail::plain(detail::problems_of(options));
}

}  // namespace headgate
