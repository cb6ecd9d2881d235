// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_POSTGRES_LIBPQ_HPP
#define HEADGATE_POSTGRES_LIBPQ_HPP

#include <libpq-fe.h>

#include <memory>
#include <string>
#include <string_view>

#include <headgate/error.hpp>

namespace headgate::detail {

template <auto Free>
struct pq_deleter {
    template <class T>
    void operator()(T* p) const noexcept {
        Free(p);
    }
};

using pq_conn = std::unique_ptr<PGconn, pq_deleter<PQfinish>>;
using pq_result = std::unique_ptr<PGresult, pq_deleter<PQclear>>;
using pq_cancel = std::unique_ptr<PGcancel, pq_deleter<PQfreeCancel>>;
using pq_options = std::unique_ptr<PQconninfoOption, pq_deleter<PQconninfoFree>>;

/// Memory that libpq allocated.
template <class T>
using pq_memory = std::unique_ptr<T, pq_deleter<PQfreemem>>;

/// An error of the category "postgres".
[[nodiscard]] error sqlstate_error(std::string_view code, std::string_view detail);

/// What the server said went wrong. Precondition: `failed` holds an error.
[[nodiscard]] error error_of_result(const PGresult* failed);

/// Why a connection was not made, from the text of a connection whose verbosity is PQERRORS_VERBOSE: libpq has no other
/// way to tell the SQLSTATE.
[[nodiscard]] error connect_error(std::string_view message);

/// Without the line ends that libpq puts at the end of its messages.
[[nodiscard]] std::string_view trimmed(std::string_view message);

}  // namespace headgate::detail

#endif
