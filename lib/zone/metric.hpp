// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_ZONE_METRIC_HPP
#define HEADGATE_LIB_ZONE_METRIC_HPP

#include <cstdint>
#include <string_view>

#include <headgate/snapshot.hpp>

namespace headgate::detail {

inline metric counter(std::string_view name, std::uint64_t value, std::string_view help) {
    return {.name = name, .value = static_cast<double>(value), .counter = true, .help = help};
}

inline metric gauge(std::string_view name, double value, std::string_view help) {
    return {.name = name, .value = value, .counter = false, .help = help};
}

inline metric gauge(std::string_view name, std::uint64_t value, std::string_view help) {
    return gauge(name, static_cast<double>(value), help);
}

}  // namespace headgate::detail

#endif
