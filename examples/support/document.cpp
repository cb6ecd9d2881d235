// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "document.hpp"

#include <string>

namespace support {

using nlohmann::json;

namespace {

// The pointer of the number that stopped this parser. headgate's parser keeps track of the place.
std::string pointer_of_overflow(std::string_view text) {
    std::vector<headgate::config_problem> same;
    static_cast<void>(headgate::config::parse(text, same));
    return same.empty() ? std::string() : same.back().pointer;
}

}  // namespace

json read_document(std::string_view text, std::vector<headgate::config_problem>& problems) {
    try {
        return json::parse(text.begin(), text.end(), nullptr, true, true);
    } catch (const json::out_of_range&) {
        problems.push_back({pointer_of_overflow(text), "a number out of range", "a number of at most 1.7e308"});
    } catch (const json::parse_error& e) {
        problems.push_back(
            {"", "no JSON at byte " + std::to_string(e.byte), "a JSON document, in which comments are allowed"});
    }
    return json(json::value_t::discarded);
}

}  // namespace support
