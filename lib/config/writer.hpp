// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_CONFIG_WRITER_HPP
#define HEADGATE_LIB_CONFIG_WRITER_HPP

#include <string>

#include <headgate/config.hpp>

namespace headgate::detail {

/// The document that a configuration is, with every value written out.
[[nodiscard]] std::string write(const config& c);

}  // namespace headgate::detail

#endif
