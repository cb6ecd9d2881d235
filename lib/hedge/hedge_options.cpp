// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/hedge_options.hpp>

#include "options/members.hpp"
#include "options/problems.hpp"

namespace headgate {

namespace detail {

std::vector<option_problem> problems_of(const hedge_options& o) {
    option_problems p;
    p.members(hedge_members, o);
    return p.take();
}

}  // namespace detail

std::vector<config_problem> check(const hedge_options& options) {
    return detail::plain(detail::problems_of(options));
}

}  // namespace headgate
