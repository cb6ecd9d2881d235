// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_SUPPORT_LISTENING_HPP
#define HEADGATE_EXAMPLES_SUPPORT_LISTENING_HPP

#include <boost/asio/ip/tcp.hpp>

#include <string>

/// What programs share that listen for clients.
namespace support {

/// The endpoint that a setting of that name says, as in "127.0.0.1:8080" and "[::1]:8080". Throws `std::runtime_error`,
/// which says what is wrong, for anything else.
[[nodiscard]] boost::asio::ip::tcp::endpoint endpoint_of(const std::string& name, const std::string& text);

/// Each client takes one descriptor; the soft limit is often 1,024, and the hard one more.
void raise_descriptor_limit();

}  // namespace support

#endif
