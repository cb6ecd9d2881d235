// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_DEMO_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_DEMO_HPP

#include <boost/asio/io_context.hpp>

#include <string>

namespace config_service {

/// Starts a few clients over real sockets, some 60 requests a second in all. One client writes more than its limit
/// allows, some read paths with and without a value, and one sends source texts to the parser. They end with the
/// io_context.
void start_demo(boost::asio::io_context& io, const std::string& url);

}  // namespace config_service

#endif
