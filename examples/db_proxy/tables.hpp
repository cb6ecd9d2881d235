// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_TABLES_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_TABLES_HPP

#include <headgate/rate_limiter.hpp>

#include <cstddef>
#include <vector>

#include "backends.hpp"
#include "console.hpp"
#include "session_registry.hpp"

namespace db_proxy {

/// The tables that SHOW prints on the console. `logins` is the number of clients that are logging in.
[[nodiscard]] std::vector<console_table> make_tables(const backends& servers, const session_registry& sessions,
                                                     const headgate::rate_limiter& transactions, std::size_t logins);

}  // namespace db_proxy

#endif
