// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_CONFIG_MEMBER_JSON_HPP
#define HEADGATE_LIB_CONFIG_MEMBER_JSON_HPP

#include <optional>

#include <headgate/member_table.hpp>

#include "config/json_text.hpp"

namespace headgate::detail {

/// The value that stands for `from` in a member of this kind, whether or not the member's rule lets it pass; nothing
/// when `from` is of another kind.
[[nodiscard]] std::optional<member_value> read_value(const member& m, const json_node& from);

/// How a document writes a value.
[[nodiscard]] json to_json(const member& m, const member_value& value);

}  // namespace headgate::detail

#endif
