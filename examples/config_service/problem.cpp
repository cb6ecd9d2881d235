// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "problem.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace config_service {

namespace {

using headgate::errc;

struct mapping {
    errc code;
    unsigned status;
    const char* name;
    const char* text;
};

constexpr mapping mappings[] = {
    {errc::rate_limited, 429, "rate_limited", "too many requests: the limit is reached for now"},
    {errc::cost_exceeds_limit, 429, "cost_exceeds_limit", "this is more than the limit ever allows"},
    {errc::circuit_open, 503, "circuit_open", "what stands behind this fails, and is given time to recover"},
    {errc::exhausted, 503, "exhausted", "all connections are in use"},
    {errc::queue_full, 503, "queue_full", "too many requests wait already"},
    {errc::wait_timed_out, 503, "wait_timed_out", "no connection became free in time"},
    {errc::connect_failed, 503, "connect_failed", "what stands behind this cannot be reached"},
    {errc::shut_down, 503, "shut_down", "the service is shutting down"},
    {errc::canceled, 503, "canceled", "the request was cancelled"},
    {errc::timed_out, 504, "timed_out", "what stands behind this did not answer in time"},
};

// The database's own error message goes to the log, not to the client.
constexpr mapping of_the_database{errc::operation_failed, 503, "database_error", "the database could not do this"};

std::string_view title_of(unsigned status) {
    switch (status) {
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 412: return "Precondition Failed";
        case 413: return "Content Too Large";
        case 422: return "Unprocessable Content";
        case 429: return "Too Many Requests";
        case 431: return "Request Header Fields Too Large";
        case 502: return "Bad Gateway";
        case 503: return "Service Unavailable";
        case 504: return "Gateway Timeout";
        default: return "Internal Server Error";
    }
}

std::string quoted(std::string_view text) {
    const bool plain =
        std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 0x7f && c != '"' && c != '\\'; });
    return plain ? '"' + std::string(text) + '"' : text_of(nlohmann::json(text));
}

}  // namespace

std::string text_of(const nlohmann::json& value) {
    return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

http_response json_answer(unsigned status, const nlohmann::json& body) {
    return {status, {{"Content-Type", "application/json"}}, text_of(body) + '\n'};
}

http_response problem(unsigned status, std::string_view code, std::string_view detail, const nlohmann::json& more) {
    // Builds the text by hand, except for texts of others: a refusal must cost as little as an answer.
    http_response out{status, {{"Content-Type", "application/problem+json"}}, {}};
    std::string& text = out.body;
    text.reserve(256);
    text.append(R"({"type":"about:blank","title":")").append(title_of(status)).append(R"(","status":)");
    text.append(std::to_string(status)).append(R"(,"code":")").append(code).append(R"(","detail":)");
    text.append(quoted(detail));
    for (const auto& [name, value] : more.items()) {
        text.append(",\"").append(name).append("\":").append(text_of(value));
    }
    text.append("}\n");
    return out;
}

http_response refusal(const headgate::error& e, headgate::duration busy_retry, nlohmann::json more) {
    const auto* found =
        std::find_if(std::begin(mappings), std::end(mappings), [&](const mapping& m) { return e == m.code; });
    if (found == std::end(mappings) && e.code.category() == headgate::error_category()) {
        return problem(500, "operation_failed", "this request met a fault of the service", more);
    }
    if (found == std::end(mappings)) {
        found = &of_the_database;
    }
    if (found->status == 504 || found->code == errc::cost_exceeds_limit) {
        return problem(found->status, found->name, found->text, more);  // a retry does not help
    }
    const headgate::duration wait = e.retry_after > headgate::duration::zero() ? e.retry_after : busy_retry;
    more["retry_after_ms"] = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
    http_response out = problem(found->status, found->name, found->text, more);
    out.headers.emplace_back("Retry-After", seconds_of(wait));
    return out;
}

std::string seconds_of(headgate::duration d) {
    return std::to_string(std::max<std::int64_t>(1, std::chrono::ceil<std::chrono::seconds>(d).count()));
}

}  // namespace config_service
