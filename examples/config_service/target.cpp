// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "target.hpp"

#include <boost/beast/core/string.hpp>

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

// Returns the text before the next `separator`, and removes both from the front of `text`.
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
    std::string_view segment;
    for (int segments = 1; !path.empty(); ++segments) {
        segment = take(path, '/');
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
    return segment == "history" ? "the path ends with history, under which the versions of a path are" : "";
}

std::optional<whole_url> split_url(std::string_view target) {
    for (const std::string_view scheme : {"http://", "https://"}) {
        const std::string_view start = target.substr(0, scheme.size());
        if (boost::beast::iequals({start.data(), start.size()}, {scheme.data(), scheme.size()})) {
            target.remove_prefix(scheme.size());
            const auto end = std::min(target.find_first_of("/?"), target.size());
            whole_url out{std::string(target.substr(0, end)), std::string(target.substr(end))};
            if (!out.target.starts_with('/')) {
                out.target.insert(out.target.begin(), '/');
            }
            return out;
        }
    }
    return {};
}

std::string_view port_of(std::string_view authority, std::string_view otherwise) {
    const auto colon = authority.rfind(':');
    const bool has_one = colon != std::string_view::npos && authority.find(']', colon) == std::string_view::npos;
    const std::string_view port = has_one ? authority.substr(colon + 1) : "";
    return port.empty() ? otherwise : port;
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
