// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_DEMO_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_DEMO_HPP

#include <boost/asio/io_context.hpp>

#include <string>

namespace config_service {

/// A few clients over real sockets, some 60 requests a second in all: one that writes more than it may, some that read
/// what is there and what is not, and one that has source texts parsed. Ends with the io_context.
void start_demo(boost::asio::io_context& io, const std::string& url);

}  // namespace config_service

#endif
