// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_LOG_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_LOG_HPP

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <string_view>

namespace config_service {

struct http_request;
struct http_response;

enum class log_level : std::uint8_t { info, warning, error };

/// Starts the log: one JSON object a line on the standard output, written by a thread of its own. A slow reader loses
/// lines, the oldest first, but never blocks the service.
void start_log();

/// One line: time, level, event, and the fields.
void log_event(log_level level, std::string_view event, const nlohmann::json& fields = nlohmann::json::object());

/// Writes the line of an answered request.
void log_request(const http_request& request, const http_response& answer, std::chrono::nanoseconds took);

/// Writes the queued lines, and ends the log.
void end_log();

}  // namespace config_service

#endif
