// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_POSTGRES_VALUES_HPP
#define HEADGATE_POSTGRES_VALUES_HPP

#include <string>
#include <vector>

#include <headgate/result.hpp>
#include <headgate/sql.hpp>

#include "libpq.hpp"

namespace headgate::detail {

/// Parameters in the form in which libpq takes them; refers to those that it was made of.
class pq_params {
public:
    /// Errors: `invalid_argument` for a text with a zero byte in it, which libpq would cut off there, and for a value
    /// that is larger than the server can have.
    [[nodiscard]] static result<pq_params> make(const sql_params& params);

    [[nodiscard]] int size() const noexcept { return static_cast<int>(values_.size()); }
    [[nodiscard]] const Oid* types() const noexcept { return types_.data(); }
    [[nodiscard]] const char* const* values() const noexcept { return values_.data(); }
    [[nodiscard]] const int* lengths() const noexcept { return lengths_.data(); }
    [[nodiscard]] const int* formats() const noexcept { return formats_.data(); }

private:
    explicit pq_params(const sql_params& params);

    std::vector<std::string> numbers_;  // as text
    std::vector<Oid> types_;
    std::vector<const char*> values_;
    std::vector<int> lengths_;
    std::vector<int> formats_;
};

/// The rows of a result in text format.
[[nodiscard]] sql_rows to_rows(const PGresult* r);

}  // namespace headgate::detail

#endif
