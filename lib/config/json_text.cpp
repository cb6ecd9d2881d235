// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "config/json_text.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "config/limits.hpp"
#include "config/text.hpp"

namespace headgate::detail {

namespace {

constexpr std::string_view valid_document = "a JSON document, in which comments are allowed";

/// Follows the parser through the document: knows where it is, and sees what the parser would let pass.
class follower {
public:
    struct too_deep {};

    explicit follower(std::vector<config_problem>& problems) : problems_(problems) {}

    // Called by the parser. It keeps the last of two equal keys in silence, and what is nested deeply would need as
    // much stack later.
    bool operator()(int /*depth*/, json::parse_event_t event, json& parsed) {
        using event_kind = json::parse_event_t;
        switch (event) {
            case event_kind::object_start:
            case event_kind::array_start:
                count();
                levels_.push_back({.array = event == event_kind::array_start});
                if (levels_.size() > deepest) {
                    throw too_deep();
                }
                break;
            case event_kind::object_end:
            case event_kind::array_end: levels_.pop_back(); break;
            case event_kind::key: take_key(parsed.get_ref<const std::string&>()); break;
            case event_kind::value: count(); break;
        }
        return true;
    }

    /// The value that is read now.
    [[nodiscard]] std::string pointer() const {
        std::string at;
        for (const level& l : levels_) {
            at += l.array ? '/' + std::to_string(l.index) : l.named ? pointer_step(l.name) : std::string();
        }
        return at;
    }
    /// The value of which only the beginning was read: the parser has not told of it.
    [[nodiscard]] std::string pointer_to_next() {
        count();
        return pointer();
    }

private:
    struct level {
        bool array = false;
        std::size_t index = 0;  // of the element that is read
        std::size_t count = 0;
        bool named = false;
        std::string name{};
        std::set<std::string> seen{};
    };

    void count() {
        if (!levels_.empty() && levels_.back().array) {
            level& here = levels_.back();
            here.index = here.count++;
        }
    }

    void take_key(const std::string& name) {
        level& here = levels_.back();
        here.named = true;
        here.name = name;
        if (!here.seen.insert(name).second) {
            problems_.push_back({pointer(), "a key for the second time", "each key once"});
        }
    }

    std::vector<config_problem>& problems_;
    std::vector<level> levels_;
};

std::string place_of(std::string_view text, std::size_t byte) {
    const std::string_view before = text.substr(0, std::min(byte > 0 ? byte - 1 : 0, text.size()));
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const auto last = before.rfind('\n');
    const std::size_t column = before.size() - (last == std::string_view::npos ? 0 : last + 1) + 1;
    return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

// What the parser says, without its own numbers and places before it.
std::string words_of(const json::exception& e) {
    std::string_view what = e.what();
    for (const std::string_view before : {std::string_view("] "), std::string_view("column ")}) {
        if (const auto at = what.find(before); at != std::string_view::npos) {
            what.remove_prefix(at + before.size());
        }
    }
    if (!what.empty() && what.front() >= '0' && what.front() <= '9') {
        what.remove_prefix(std::min(what.size(), what.find(": ") == std::string_view::npos ? 0 : what.find(": ") + 2));
    }
    return for_people(what, 160);
}

void show(const json& value, std::string& out, std::size_t most) {
    if (out.size() > most) {
        return;
    }
    switch (value.type()) {
        case json::value_t::object:
            out += '{';
            for (auto it = value.begin(); it != value.end() && out.size() <= most; ++it) {
                out += it == value.begin() ? "" : ",";
                show(it.key(), out, most);
                out += ':';
                show(it.value(), out, most);
            }
            out += '}';
            break;
        case json::value_t::array:
            out += '[';
            for (auto it = value.begin(); it != value.end() && out.size() <= most; ++it) {
                out += it == value.begin() ? "" : ",";
                show(*it, out, most);
            }
            out += ']';
            break;
        case json::value_t::string:
            out += json(value.get_ref<const std::string&>().substr(0, most))
                       .dump(-1, ' ', false, json::error_handler_t::replace);
            break;
        case json::value_t::number_float: {
            const double x = value.get<double>();
            out += std::isfinite(x) ? value.dump() : std::to_string(x);
            break;
        }
        default: out += value.dump(); break;
    }
}

}  // namespace

std::optional<json> read_json(std::string_view text, std::vector<config_problem>& problems) {
    if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
        // The parser would take it for the end.
        problems.push_back({"", "a NUL byte at " + place_of(text, nul + 1), std::string(valid_document)});
        return {};
    }
    follower at(problems);
    const auto follow = [&at](int depth, json::parse_event_t event, json& parsed) { return at(depth, event, parsed); };
    try {
        return json::parse(text.begin(), text.end(), follow, true, true);
    } catch (const follower::too_deep&) {
        problems.push_back({for_people(at.pointer(), 200), "more than " + std::to_string(deepest) + " levels",
                            "objects and arrays at most " + std::to_string(deepest) + " levels deep"});
    } catch (const json::parse_error& e) {
        problems.push_back(
            {"", "no JSON at " + place_of(text, e.byte) + " (" + words_of(e) + ')', std::string(valid_document)});
    } catch (const json::exception& e) {
        // A number that no double can hold.
        problems.push_back({at.pointer_to_next(), words_of(e), "a number of at most 1.7e308"});
    }
    return {};
}

std::string shown(const json& value) {
    constexpr std::size_t most = 60;
    std::string text;
    show(value, text, most);
    return for_people(text, most);
}

}  // namespace headgate::detail
