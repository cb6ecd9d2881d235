// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RATE_LIMITER_FIXED_MEMBERS_HPP
#define HEADGATE_LIB_RATE_LIMITER_FIXED_MEMBERS_HPP

#include <string>
#include <string_view>
#include <vector>

#include <headgate/export.hpp>
#include <headgate/limiter_options.hpp>

namespace headgate::detail {

/// A member of `rate_limiter_options` that cannot change while the limiter is in use, with two values.
struct fixed_member {
    std::string_view name;
    std::string was;
    std::string is;
};

/// Those that differ between the options that a limiter was made with and other ones.
[[nodiscard]] HEADGATE_DECL std::vector<fixed_member> changed_fixed_members(const rate_limiter_options& made,
                                                                            const rate_limiter_options& wanted);

}  // namespace headgate::detail

#endif
