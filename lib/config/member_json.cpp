// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "config/member_json.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <headgate/config.hpp>

#include "config/text.hpp"
#include "options/limits.hpp"

namespace headgate::detail {

namespace {

using maybe_value = std::optional<member_value>;

/// How each kind of member is read.
struct value_reader {
    const json_node& node;

    // Null for an object or an array.
    [[nodiscard]] const json& single() const { return node.single(); }

    maybe_value operator()(const accepts::whole_number& /*r*/) const {
        return single().is_number_unsigned() ? maybe_value(single().get<std::uint64_t>()) : std::nullopt;
    }
    // A text with units, or whole milliseconds.
    maybe_value operator()(const accepts::time_span& /*r*/) const {
        if (node.is_string()) {
            const auto parsed = parse_duration(node.text());
            return parsed ? maybe_value(*parsed) : std::nullopt;
        }
        constexpr std::uint64_t most = longest_duration / std::chrono::milliseconds{1};
        if (!single().is_number_unsigned() || single().get<std::uint64_t>() > most) {
            return {};
        }
        return duration(std::chrono::milliseconds{single().get<std::int64_t>()});
    }
    maybe_value operator()(const accepts::share& /*r*/) const {
        return single().is_number() ? maybe_value(single().get<double>()) : std::nullopt;
    }
    maybe_value operator()(const accepts::flag& /*r*/) const {
        return single().is_boolean() ? maybe_value(single().get<bool>()) : std::nullopt;
    }
    maybe_value operator()(const accepts::choice& r) const {
        for (std::size_t i = 0; node.is_string() && i < r.words.size(); ++i) {
            if (r.words[i] == node.text()) {
                return std::uint64_t{i};
            }
        }
        return {};
    }
    maybe_value operator()(const accepts::text& /*r*/) const {
        return node.is_string() ? maybe_value(node.text()) : std::nullopt;
    }
    maybe_value operator()(const accepts::text_list& /*r*/) const {
        std::vector<std::string> all;
        for (const auto& [name, item] : node.items()) {
            if (!item.is_string()) {
                return {};
            }
            all.push_back(item.text());
        }
        return node.is_array() ? maybe_value(std::move(all)) : std::nullopt;
    }
};

}  // namespace

std::optional<member_value> read_value(const member& m, const json_node& from) {
    const bool null = from.single().is_null() && !from.is_object() && !from.is_array();
    return m.optional && null ? maybe_value(std::monostate()) : std::visit(value_reader{from}, m.rule);
}

json to_json(const member& m, const member_value& value) {
    if (const auto* const r = std::get_if<accepts::choice>(&m.rule)) {
        const auto* const n = std::get_if<std::uint64_t>(&value);
        return n == nullptr ? json(nullptr) : *n < r->words.size() ? json(std::string(r->words[*n])) : json(*n);
    }
    return std::visit(
        []<class T>(const T& v) {
            if constexpr (std::is_same_v<T, std::monostate>) {
                return json(nullptr);
            } else if constexpr (std::is_same_v<T, duration>) {
                return json(format_duration(v));
            } else {
                return json(v);
            }
        },
        value);
}

}  // namespace headgate::detail
