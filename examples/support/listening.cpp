// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "listening.hpp"

#include <sys/resource.h>

#include <charconv>
#include <cstdint>
#include <stdexcept>

namespace support {

boost::asio::ip::tcp::endpoint endpoint_of(const std::string& name, const std::string& text) {
    const auto colon = text.rfind(':');
    std::string host = colon == std::string::npos ? "" : text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) {
        host = host.substr(1, host.size() - 2);
    }
    boost::system::error_code ec;
    const auto address = boost::asio::ip::make_address(host, ec);
    std::uint16_t port = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, failed] = std::from_chars(colon == std::string::npos ? end : text.data() + colon + 1, end, port);
    if (ec || failed != std::errc{} || stop != end) {
        throw std::runtime_error(name + " is \"" + text +
                                 "\"; it must be an address and a port, such as 127.0.0.1:8080");
    }
    return {address, port};
}

void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

}  // namespace support
