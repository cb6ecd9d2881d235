// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "config/json_text.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "config/text.hpp"
#include "options/limits.hpp"

namespace headgate::detail {

namespace {

constexpr std::string_view valid_document = "a JSON document, in which comments are allowed";

// What the parser says, without its own numbers and places before it.
std::string words_of(const json::exception& e) {
    std::string_view what = e.what();
    for (const std::string_view before : {"] ", "column ", ": "}) {
        const auto at = what.find(before);
        const bool numbered = before != ": " || (!what.empty() && what.front() >= '0' && what.front() <= '9');
        if (at != std::string_view::npos && numbered) {
            what.remove_prefix(at + before.size());
        }
    }
    return for_people(what, 160);
}

std::string place_of(std::string_view text, std::size_t byte) {
    const std::string_view before = text.substr(0, std::min(byte > 0 ? byte - 1 : 0, text.size()));
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const auto last = before.rfind('\n');
    const std::size_t column = before.size() - (last == std::string_view::npos ? 0 : last + 1) + 1;
    return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

/// Makes the document from what the parser meets.
class document_maker final : public nlohmann::json_sax<json> {
public:
    document_maker(std::string_view text, std::vector<config_problem>& problems) : text_(text), problems_(problems) {}

    /// Empty when there is none.
    [[nodiscard]] std::optional<json_node> take() { return std::move(root_); }

    bool null() override { return add(json_node(json(nullptr))); }
    bool boolean(bool value) override { return add(json_node(json(value))); }
    bool number_integer(number_integer_t value) override { return add(json_node(json(value))); }
    bool number_unsigned(number_unsigned_t value) override { return add(json_node(json(value))); }
    bool number_float(number_float_t value, const string_t& /*text*/) override { return add(json_node(json(value))); }
    bool string(string_t& value) override { return add(json_node(json(std::move(value)))); }
    bool binary(binary_t& /*value*/) override { return false; }
    bool start_object(std::size_t /*size*/) override { return open(json_node::object()); }
    bool start_array(std::size_t /*size*/) override { return open(json_node::array()); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }

    bool key(string_t& name) override {
        level& here = levels_.back();
        here.name = name;
        if (!here.seen.insert(name).second) {
            problems_.push_back({pointer(), "a key for the second time", "each key once"});
        }
        return true;
    }

    bool parse_error(std::size_t byte, const std::string& token, const nlohmann::detail::exception& e) override {
        root_.reset();
        if (dynamic_cast<const json::out_of_range*>(&e) != nullptr) {
            problems_.push_back(
                {pointer(), for_people(token, 60) + ", a number out of range", "a number of at most 1.7e308"});
        } else {
            problems_.push_back(
                {"", "no JSON at " + place_of(text_, byte) + " (" + words_of(e) + ')', std::string(valid_document)});
        }
        return false;
    }

private:
    struct level {
        json_node node;
        std::string name{};
        std::set<std::string> seen{};
    };

    // Of the value that comes next, or that is read.
    [[nodiscard]] std::string pointer() const {
        std::string at;
        for (const level& l : levels_) {
            at += l.node.is_array() ? '/' + std::to_string(l.node.items().size()) : pointer_step(l.name);
        }
        return at;
    }

    bool add(json_node node) {
        if (levels_.empty()) {
            root_.emplace(std::move(node));
        } else {
            level& here = levels_.back();
            here.node.items().emplace_back(here.node.is_array() ? std::string() : here.name, std::move(node));
        }
        return true;
    }

    bool open(json_node node) {
        if (levels_.size() == deepest) {
            root_.reset();
            problems_.push_back({for_people(pointer(), 200), "more than " + std::to_string(deepest) + " levels",
                                 "objects and arrays at most " + std::to_string(deepest) + " levels deep"});
            return false;
        }
        levels_.push_back({std::move(node)});
        return true;
    }

    bool close() {
        json_node node = std::move(levels_.back().node);
        levels_.pop_back();
        return add(std::move(node));
    }

    std::string_view text_;
    std::vector<config_problem>& problems_;
    std::optional<json_node> root_;
    std::vector<level> levels_;
};

void show(const json_node& value, std::string& out, std::size_t most) {
    if (!value.is_object() && !value.is_array()) {
        out += shown(value.single());
        return;
    }
    out += value.is_object() ? '{' : '[';
    const char* between = "";
    for (const auto& [name, item] : value.items()) {
        if (out.size() > most) {
            return;  // it is cut anyway
        }
        out += between;
        between = ",";
        if (value.is_object()) {
            out += shown(json(name)) + ':';
        }
        show(item, out, most);
    }
    out += value.is_object() ? '}' : ']';
}

constexpr std::size_t line = 60;

}  // namespace

std::optional<json_node> read_json(std::string_view text, std::vector<config_problem>& problems) {
    if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
        // The parser would take it for the end.
        problems.push_back({"", "a NUL byte at " + place_of(text, nul + 1), std::string(valid_document)});
        return {};
    }
    document_maker maker(text, problems);
    if (!json::sax_parse(text.begin(), text.end(), &maker, json::input_format_t::json, true, true)) {
        return {};
    }
    return maker.take();
}

std::string shown(const json_node& value) {
    std::string text;
    show(value, text, line);
    return for_people(text, line);
}

std::string shown(const json& value) {
    if (value.is_string()) {
        // A character more than is shown, so that a cut can be seen.
        return for_people(json(value.get_ref<const std::string&>().substr(0, 2 * line))
                              .dump(-1, ' ', false, json::error_handler_t::replace),
                          line);
    }
    if (value.is_number_float() && !std::isfinite(value.get<double>())) {
        return std::to_string(value.get<double>());
    }
    return value.dump();
}

}  // namespace headgate::detail
