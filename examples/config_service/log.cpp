// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "log.hpp"

#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <string>

#include "http.hpp"

namespace config_service {

namespace {

std::shared_ptr<spdlog::logger>& logger() {
    static std::shared_ptr<spdlog::logger> the_logger;
    return the_logger;
}

std::string_view name_of(log_level level) {
    return level == log_level::info ? "info" : level == log_level::warning ? "warning" : "error";
}

}  // namespace

void start_log() {
    spdlog::init_thread_pool(8'192, 1);
    logger() =
        std::make_shared<spdlog::async_logger>("log", std::make_shared<spdlog::sinks::stdout_sink_mt>(),
                                               spdlog::thread_pool(), spdlog::async_overflow_policy::overrun_oldest);
    // The log's thread writes the opening brace and the time. `log_event` passes the line without its opening brace.
    logger()->set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ",%v)", spdlog::pattern_time_type::utc);
    logger()->flush_on(spdlog::level::info);
}

void log_event(log_level level, std::string_view event, const nlohmann::json& fields) {
    if (logger() == nullptr) {
        return;
    }
    nlohmann::json line = fields;
    line["level"] = name_of(level);
    line["event"] = event;
    const std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    logger()->info(std::string_view(text).substr(1));
}

void log_request(const http_request& request, const http_response& answer, std::chrono::nanoseconds took) {
    nlohmann::json line = {{"request", request.id},     {"peer", request.peer},    {"method", request.method},
                           {"target", request.target},  {"status", answer.status}, {"bytes", answer.body.size()},
                           {"us", took.count() / 1'000}};
    if (const std::string client = request.client.to_string(); client != request.peer) {
        line["client"] = client;
    }
    log_event(log_level::info, "request", line);
}

void end_log() {
    logger().reset();
    spdlog::shutdown();
}

}  // namespace config_service
