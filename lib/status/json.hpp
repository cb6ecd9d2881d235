// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_STATUS_JSON_HPP
#define HEADGATE_LIB_STATUS_JSON_HPP

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include <headgate/status.hpp>

namespace headgate::detail {

using json = nlohmann::json;

[[nodiscard]] json zones_json(const std::vector<zone_snapshot>& zones);
/// On one line; bytes that are no UTF-8 are replaced.
[[nodiscard]] std::string text_of(const json& value);

}  // namespace headgate::detail

#endif
