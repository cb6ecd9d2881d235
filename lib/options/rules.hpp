// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_OPTIONS_RULES_HPP
#define HEADGATE_LIB_OPTIONS_RULES_HPP

#include <cstdint>
#include <string>

#include <headgate/member_table.hpp>

namespace headgate::detail {

/// Where somebody wrote a value. The rules are the same, but a document has no duration above `longest_duration`, and
/// words of its own for what is valid.
enum class written_in : std::uint8_t { code, document };

[[nodiscard]] bool is_valid(const member& m, const member_value& value, written_in where);

/// Says which values are valid, as in "a whole number from 1 to 1000" for a document and "1 to 1000" for code.
[[nodiscard]] std::string valid_values(const member& m, written_in where);

/// A value as code has it, for people: "1500 ms", "forced_open", "empty".
[[nodiscard]] std::string shown(const member& m, const member_value& value);

/// The value in the largest unit that shows it exactly: "1500 ms".
[[nodiscard]] std::string text_of(duration d);

}  // namespace headgate::detail

#endif
