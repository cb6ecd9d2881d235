// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "target.hpp"

#include <algorithm>

namespace config_service {

namespace {

int digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool is_path_character(char c) {
    constexpr std::string_view others = "._~@:+=,-";
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           others.find(c) != std::string_view::npos;
}

// Up to the next `separator`; both are taken from the front of `text`.
std::string_view take(std::string_view& text, char separator) {
    const auto at = std::min(text.find(separator), text.size());
    const std::string_view out = text.substr(0, at);
    text.remove_prefix(std::min(at + 1, text.size()));
    return out;
}

}  // namespace

std::optional<std::string> percent_decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        const int high = i + 2 < text.size() ? digit(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? digit(text[i + 2]) : -1;
        if (high < 0 || low < 0 || high * 16 + low == 0) {
            return {};
        }
        out += static_cast<char>(high * 16 + low);
        i += 2;
    }
    return out;
}

std::optional<std::string> query_value(std::string_view target, std::string_view name) {
    const auto question = target.find('?');
    std::string_view rest = question == std::string_view::npos ? "" : target.substr(question + 1);
    while (!rest.empty()) {
        std::string_view pair = take(rest, '&');
        if (take(pair, '=') == name) {
            return percent_decoded(pair);
        }
    }
    return {};
}

std::string_view path_mistake(std::string_view path) {
    if (path.empty()) {
        return "the path is empty";
    }
    if (path.back() == '/') {
        return "the path ends with a slash";
    }
    for (int segments = 1; !path.empty(); ++segments) {
        const std::string_view segment = take(path, '/');
        if (segments > 16) {
            return "the path has more than 16 segments";
        }
        if (segment.empty()) {
            return "a segment of the path is empty";
        }
        if (segment.size() > 64) {
            return "a segment of the path is longer than 64 bytes";
        }
        if (segment == "." || segment == "..") {
            return "a segment of the path is . or ..";
        }
        if (!std::all_of(segment.begin(), segment.end(), is_path_character)) {
            return "a segment of the path has other characters than letters, digits, and ._~@:+=,-";
        }
    }
    return {};
}

bool matches(std::string_view tags, std::string_view tag, bool exists) {
    while (!tags.empty()) {
        std::string_view one = take(tags, ',');
        while (!one.empty() && one.front() == ' ') {
            one.remove_prefix(1);
        }
        while (!one.empty() && one.back() == ' ') {
            one.remove_suffix(1);
        }
        if (one.starts_with("W/")) {
            one.remove_prefix(2);
        }
        if (one == "*" ? exists : one == tag) {
            return true;
        }
    }
    return false;
}

}  // namespace config_service
