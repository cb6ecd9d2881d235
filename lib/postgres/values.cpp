// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "values.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <new>
#include <string_view>
#include <system_error>
#include <variant>

namespace headgate::detail {

namespace {

// From the server's catalogue pg_type; these never change.
enum type_oid : Oid {
    bool_oid = 16,
    bytea_oid = 17,
    int8_oid = 20,
    int2_oid = 21,
    int4_oid = 23,
    oid_oid = 26,
    float4_oid = 700,
    float8_oid = 701,
};

constexpr int text_format = 0;
constexpr int binary_format = 1;
constexpr std::size_t largest_value = std::size_t{1} << 30;  // the server's bound

template <class Number>
std::string to_text(Number number) {
    std::array<char, 32> buffer;
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number).ptr;
    return {buffer.data(), end};
}

// As PostgreSQL writes them: numeric takes no "-nan", and has the infinities by these names.
std::string to_text_of_real(double number) {
    if (std::isnan(number)) {
        return "NaN";
    }
    if (std::isinf(number)) {
        return number < 0 ? "-Infinity" : "Infinity";
    }
    return to_text(number);
}

// The text where it is no such number. The server may write one that is none: with a negative extra_float_digits, the
// largest double is rounded up out of its range.
template <class Number>
sql_value number_of(std::string_view text) {
    Number number{};
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (ec != std::errc{} || end != text.data() + text.size()) {
        return std::string(text);
    }
    return number;
}

sql_value real_of(std::string_view text) {
    return text == "NaN" ? sql_value(std::numeric_limits<double>::quiet_NaN()) : number_of<double>(text);
}

sql_value bytes_of(const char* text) {
    std::size_t length = 0;
    const pq_memory<unsigned char> bytes(PQunescapeBytea(reinterpret_cast<const unsigned char*>(text), &length));
    if (!bytes) {
        throw std::bad_alloc();
    }
    const auto* first = reinterpret_cast<const std::byte*>(bytes.get());
    return sql_blob(first, first + length);
}

sql_value value_of(const PGresult* r, int row, int column) {
    if (PQgetisnull(r, row, column) != 0) {
        return {};
    }
    const char* data = PQgetvalue(r, row, column);
    const std::string_view text(data, static_cast<std::size_t>(PQgetlength(r, row, column)));
    switch (PQftype(r, column)) {
        case int2_oid:
        case int4_oid:
        case int8_oid:
        case oid_oid: return number_of<std::int64_t>(text);
        case float4_oid:
        case float8_oid: return real_of(text);
        case bool_oid: return std::int64_t{text == "t"};
        case bytea_oid: return bytes_of(data);
        default: return std::string(text);
    }
}

// libpq takes the result that it reads this from as not constant.
std::uint64_t affected_by(PGresult* r) {
    std::uint64_t count = 0;
    const std::string_view tag = PQcmdStatus(r);
    for (const std::string_view verb : {"INSERT", "UPDATE", "DELETE", "MERGE"}) {  // others count what they read
        if (tag.substr(0, verb.size()) == verb) {
            const std::string_view text = PQcmdTuples(r);
            std::from_chars(text.data(), text.data() + text.size(), count);
        }
    }
    return count;
}

bool has_zero_byte(const sql_value& value) {
    const auto* text = std::get_if<std::string>(&value);
    return text != nullptr && text->find('\0') != std::string::npos;
}

}  // namespace

result<pq_params> pq_params::make(const sql_params& params) {
    for (std::size_t i = 0; i < params.size(); ++i) {
        if (has_zero_byte(params[i])) {
            return error(errc::invalid_argument, "parameter $" + std::to_string(i + 1) +
                                                     " is a text with a zero byte, which PostgreSQL cannot store; use "
                                                     "a blob");
        }
        const auto* blob = std::get_if<sql_blob>(&params[i]);
        const auto* text = std::get_if<std::string>(&params[i]);
        if ((blob != nullptr && blob->size() > largest_value) || (text != nullptr && text->size() > largest_value)) {
            return error(errc::invalid_argument, "parameter $" + std::to_string(i + 1) + " is larger than 1 GB");
        }
    }
    return pq_params(params);
}

pq_params::pq_params(const sql_params& params)
    : types_(params.size()), values_(params.size()), lengths_(params.size()), formats_(params.size(), text_format) {
    numbers_.reserve(params.size());  // so that they stay where they are
    for (std::size_t i = 0; i < params.size(); ++i) {
        if (const auto* text = std::get_if<std::string>(&params[i])) {
            values_[i] = text->c_str();
        } else if (const auto* blob = std::get_if<sql_blob>(&params[i])) {
            types_[i] = bytea_oid;
            // A null pointer, as an empty vector may have, would be SQL's null.
            values_[i] = blob->empty() ? "" : reinterpret_cast<const char*>(blob->data());
            lengths_[i] = static_cast<int>(blob->size());
            formats_[i] = binary_format;
        } else if (const auto* integer = std::get_if<std::int64_t>(&params[i])) {
            values_[i] = numbers_.emplace_back(to_text(*integer)).c_str();
        } else if (const auto* real = std::get_if<double>(&params[i])) {
            values_[i] = numbers_.emplace_back(to_text_of_real(*real)).c_str();
        }
    }
}

sql_rows to_rows(const PGresult* r) {
    sql_rows out;
    const int columns = PQnfields(r);
    const int rows = PQntuples(r);
    for (int c = 0; c < columns; ++c) {
        out.columns.emplace_back(PQfname(r, c));
    }
    out.rows.resize(static_cast<std::size_t>(rows));
    for (int i = 0; i < rows; ++i) {
        auto& row = out.rows[static_cast<std::size_t>(i)];
        row.reserve(static_cast<std::size_t>(columns));
        for (int c = 0; c < columns; ++c) {
            row.push_back(value_of(r, i, c));
        }
    }
    out.affected = affected_by(const_cast<PGresult*>(r));
    return out;
}

}  // namespace headgate::detail
