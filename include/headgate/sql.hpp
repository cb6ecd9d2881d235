// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_SQL_HPP
#define HEADGATE_SQL_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace headgate {

/// Bytes, where text would be converted.
using sql_blob = std::vector<std::byte>;

/// One value of a column or a parameter: null, an integer, a real number, text, or bytes.
using sql_value = std::variant<std::monostate, std::int64_t, double, std::string, sql_blob>;

/// The parameters of a statement, in their order.
using sql_params = std::vector<sql_value>;

/// What a statement gave: as many values in each row as there are columns.
struct sql_rows {
    std::vector<std::string> columns;          ///< Their names; empty for a statement without rows.
    std::vector<std::vector<sql_value>> rows;  ///< In their order.
    std::uint64_t affected = 0;                ///< Rows that were inserted, changed or deleted.

    /// The value, when it is of that type; null when it is not, or SQL's null.
    template <class T>
    [[nodiscard]] const T* get(std::size_t row, std::size_t column) const {
        return std::get_if<T>(&rows.at(row).at(column));
    }
};

namespace detail {

template <class T>
sql_value to_sql_value(T&& value) {
    using plain = std::remove_cvref_t<T>;
    if constexpr (std::same_as<plain, sql_value> || std::same_as<plain, sql_blob>) {
        return std::forward<T>(value);
    } else if constexpr (std::same_as<plain, std::nullptr_t>) {
        return {};
    } else if constexpr (std::integral<plain>) {
        static_assert(sizeof(plain) < 8 || (sizeof(plain) == 8 && std::is_signed_v<plain>),
                      "headgate: SQL has no unsigned 64-bit integers, and no larger ones; convert it to std::int64_t "
                      "or to text");
        return static_cast<std::int64_t>(value);
    } else if constexpr (std::floating_point<plain>) {
        return static_cast<double>(value);
    } else if constexpr (std::is_pointer_v<plain>) {
        return value != nullptr ? sql_value(std::string(std::string_view(value))) : sql_value();
    } else {
        return std::string(std::string_view(value));
    }
}

/// One parameter for each argument.
template <class... Args>
sql_params to_sql_params(Args&&... args) {
    sql_params out;
    out.reserve(sizeof...(args));
    (out.push_back(to_sql_value(std::forward<Args>(args))), ...);
    return out;
}

}  // namespace detail

}  // namespace headgate

#endif
