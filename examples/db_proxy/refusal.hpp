// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_REFUSAL_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_REFUSAL_HPP

#include <headgate/error.hpp>

#include <string>

#include "settings.hpp"
#include "upstream.hpp"

/// What clients are told when they get no permit or no server: errors of the library as SQLSTATEs.
namespace db_proxy {

struct refusal {
    std::string code;
    std::string text;
    std::string hint;
};

/// For a client whose connection lives on.
[[nodiscard]] refusal refusal_of(const headgate::error& e, const settings& s, server_pool& pool);
/// For a start-up, which ends with it: no code can be chosen for that.
[[nodiscard]] refusal start_up_refusal(const headgate::error& e, const settings& s, server_pool& pool);

}  // namespace db_proxy

#endif
