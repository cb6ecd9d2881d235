// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_CONFIG_JSON_TEXT_HPP
#define HEADGATE_LIB_CONFIG_JSON_TEXT_HPP

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <headgate/config.hpp>

namespace headgate::detail {

using json = nlohmann::json;

/// The document that `text` is. What is wrong with it goes to `problems`: keys that stand twice, with a document all
/// the same; or what is no JSON, nested too deeply or too large a number, with none. Needs no more stack for a deep
/// document.
[[nodiscard]] std::optional<json> read_json(std::string_view text, std::vector<config_problem>& problems);

/// A value for people, no longer than a line.
[[nodiscard]] std::string shown(const json& value);

}  // namespace headgate::detail

#endif
