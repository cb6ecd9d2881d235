// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_SQLITE_STATEMENT_TEXT_HPP
#define HEADGATE_SQLITE_STATEMENT_TEXT_HPP

#include <string_view>

namespace headgate::detail {

/// Whether `sql` holds no statement: nothing but white space, semicolons and comments.
[[nodiscard]] bool without_statement(std::string_view sql) noexcept;

}  // namespace headgate::detail

#endif
