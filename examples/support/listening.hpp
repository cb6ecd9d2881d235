// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_SUPPORT_LISTENING_HPP
#define HEADGATE_EXAMPLES_SUPPORT_LISTENING_HPP

#include <boost/asio/ip/tcp.hpp>

#include <string>

/// Code that the programs share that listen for clients.
namespace support {

/// Parses the text of the setting `name`, such as "127.0.0.1:8080" or "[::1]:8080". For any other text it throws
/// `std::runtime_error` with a description of the mistake.
[[nodiscard]] boost::asio::ip::tcp::endpoint endpoint_of(const std::string& name, const std::string& text);

/// Raises the soft limit to the hard limit. Each client takes one descriptor, and the soft limit is often only 1,024.
void raise_descriptor_limit();

}  // namespace support

#endif
