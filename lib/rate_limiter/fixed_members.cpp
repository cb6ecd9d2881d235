// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "rate_limiter/fixed_members.hpp"

namespace headgate::detail {

std::vector<fixed_member> changed_fixed_members(const rate_limiter_options& made, const rate_limiter_options& wanted) {
    std::vector<fixed_member> out;
    const auto compare = [&](std::string_view name, std::string was, std::string is) {
        if (was != is) {
            out.push_back({name, std::move(was), std::move(is)});
        }
    };
    const auto truth = [](bool b) { return std::string(b ? "true" : "false"); };
    compare("max_keys", std::to_string(made.max_keys), std::to_string(wanted.max_keys));
    compare("track_keys", truth(made.track_keys), truth(wanted.track_keys));
    compare("busiest", std::to_string(made.busiest), std::to_string(wanted.busiest));
    return out;
}

}  // namespace headgate::detail
