// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_CONFIG_PROBLEM_HPP
#define HEADGATE_CONFIG_PROBLEM_HPP

#include <string>
#include <string_view>
#include <vector>

#include <headgate/export.hpp>
#include <headgate/result.hpp>

namespace headgate {

/// One mistake in options, or in a configuration.
struct config_problem {
    /// Where: a JSON pointer (RFC 6901), as "/max_wait" in options and "/zones/shop/…" in a configuration. Empty for
    /// the whole: several members together are wrong then.
    std::string pointer;
    std::string found;  ///< What stands there.
    std::string valid;  ///< What would be right.

    friend bool operator==(const config_problem&, const config_problem&) = default;
};

/// One problem on a line: `/zones/shop/…: found X; valid is Y`.
[[nodiscard]] HEADGATE_DECL std::string to_string(const std::vector<config_problem>& problems);

/// A step of a JSON pointer: the name with a slash before it, escaped. A name that is far too long for one is cut.
[[nodiscard]] HEADGATE_DECL std::string pointer_step(std::string_view name);

namespace detail {

/// What a function that takes options returns when `check` has found these problems: `invalid_argument`, whose detail
/// has a sentence for each of them, as "size is 0; it must be at least 1"; success when there are none.
[[nodiscard]] HEADGATE_DECL result<void> accept(const std::vector<config_problem>& problems);

}  // namespace detail

}  // namespace headgate

#endif
