// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "sqlite/statement_text.hpp"

namespace headgate::detail {

namespace {

// What follows the first `end` in `text`; nothing when there is none, as SQLite has it for comments.
std::string_view after(std::string_view text, std::string_view end) noexcept {
    const auto at = text.find(end);
    return at == std::string_view::npos ? std::string_view{} : text.substr(at + end.size());
}

}  // namespace

bool without_statement(std::string_view sql) noexcept {
    while (true) {
        const auto begin = sql.find_first_not_of(" \t\n\f\r;");
        if (begin == std::string_view::npos) {
            return true;
        }
        sql.remove_prefix(begin);
        if (sql.starts_with("--")) {
            sql = after(sql, "\n");
        } else if (sql.starts_with("/*")) {
            sql = after(sql.substr(2), "*/");
        } else {
            return false;
        }
    }
}

}  // namespace headgate::detail
