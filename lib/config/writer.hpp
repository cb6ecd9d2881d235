// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_CONFIG_WRITER_HPP
#define HEADGATE_LIB_CONFIG_WRITER_HPP

#include <nlohmann/json.hpp>

#include <headgate/config.hpp>

namespace headgate::detail {

/// As a document has it.
[[nodiscard]] nlohmann::json to_json(const quota& q);
[[nodiscard]] nlohmann::json to_json(const config& c);

}  // namespace headgate::detail

#endif
