// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_PROBLEM_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_PROBLEM_HPP

#include <nlohmann/json.hpp>

#include <headgate/error.hpp>

#include <string>
#include <string_view>

#include "http.hpp"

namespace config_service {

/// A value as JSON text. Replaces bytes of names and messages that are not UTF-8.
[[nodiscard]] std::string text_of(const nlohmann::json& value);

/// A JSON answer.
[[nodiscard]] http_response json_answer(unsigned status, const nlohmann::json& body);

/// Problem details (RFC 9457). `code` is stable: programs may rely on it, people read `detail`.
[[nodiscard]] http_response problem(unsigned status, std::string_view code, std::string_view detail,
                                    const nlohmann::json& more = {});

/// Maps a refusal or a failure of a protected operation to HTTP: 429, 503, 504 or 500, with Retry-After where a retry
/// makes sense. Retry-After is `busy_retry` when the library cannot know the time, as for an exhausted pool. `more`
/// holds further members of the document.
[[nodiscard]] http_response refusal(const headgate::error& e, headgate::duration busy_retry,
                                    nlohmann::json more = nlohmann::json::object());

/// The value for Retry-After: whole seconds, rounded up, at least 1.
[[nodiscard]] std::string seconds_of(headgate::duration d);

}  // namespace config_service

#endif
