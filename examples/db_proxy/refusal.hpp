// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_REFUSAL_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_REFUSAL_HPP

#include <headgate/error.hpp>

#include <string>

#include "server_pool.hpp"
#include "settings.hpp"

/// Why a client gets no permit, no server or no session. Turns the library's errors into PostgreSQL errors.
namespace db_proxy {

/// What an ErrorResponse tells the client.
struct refusal {
    std::string code;  ///< SQLSTATE
    std::string text;
    std::string hint;
};

/// For a client that keeps its connection. The settings choose some of the codes.
[[nodiscard]] refusal refusal_of(const headgate::error& e, const settings& s, server_pool& pool);
/// For a client that is logging in. The error ends the connection. Its code is fixed, because drivers act on it.
[[nodiscard]] refusal start_up_refusal(const headgate::error& e, const settings& s, server_pool& pool);

}  // namespace db_proxy

#endif
