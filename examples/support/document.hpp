// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_SUPPORT_DOCUMENT_HPP
#define HEADGATE_EXAMPLES_SUPPORT_DOCUMENT_HPP

#include <headgate/config.hpp>

#include <nlohmann/json.hpp>

#include <string_view>
#include <vector>

namespace support {

/// Parses a JSON document, in which comments are allowed. Returns a discarded value if the text is no JSON: then
/// `problems` says why and where. It quotes nothing of the text, which may be a secret.
[[nodiscard]] nlohmann::json read_document(std::string_view text, std::vector<headgate::config_problem>& problems);

}  // namespace support

#endif
