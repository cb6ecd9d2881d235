// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "json_text.hpp"

#include <nlohmann/json.hpp>

namespace config_service {

namespace {

using nlohmann::json;

/// Looks at each value, and builds none.
class checker final : public nlohmann::json_sax<json> {
public:
    std::optional<json_mistake> mistake;

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool key(string_t&) override { return true; }
    bool start_object(std::size_t) override { return deeper(); }
    bool end_object() override { return --depth_ >= 0; }
    bool start_array(std::size_t) override { return deeper(); }
    bool end_array() override { return --depth_ >= 0; }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& e) override {
        // "[json.exception.parse_error.101] parse error at line 1, column 5: what the parser met and wanted".
        const std::string text = e.what();
        const auto at = text.find("] ");
        mistake = {position, at == std::string::npos ? text : text.substr(at + 2)};
        return false;
    }

private:
    bool deeper() {
        if (++depth_ > max_json_depth) {
            mistake = {0, "more than " + std::to_string(max_json_depth) + " arrays and objects within each other"};
            return false;
        }
        return true;
    }

    int depth_ = 0;
};

}  // namespace

std::optional<json_mistake> check_json(std::string_view text) {
    checker c;
    if (!json::sax_parse(text.begin(), text.end(), &c) && !c.mistake) {
        c.mistake = json_mistake{0, "no JSON"};
    }
    return c.mistake;
}

}  // namespace config_service
