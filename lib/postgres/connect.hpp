// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_POSTGRES_CONNECT_HPP
#define HEADGATE_POSTGRES_CONNECT_HPP

#include <boost/asio/awaitable.hpp>

#include <memory>

#include <headgate/result.hpp>

#include "session.hpp"
#include "target.hpp"

namespace headgate::detail {

/// Asks for the credentials, resolves, connects and logs in.
[[nodiscard]] boost::asio::awaitable<result<std::shared_ptr<postgres_session>>> connect(
    std::shared_ptr<const postgres_target> target);

}  // namespace headgate::detail

#endif
