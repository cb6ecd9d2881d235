// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <nlohmann/json.hpp>

#include <iostream>
#include <span>
#include <string>

#include <headgate/member_table.hpp>

#include "config/member_json.hpp"
#include "config/text.hpp"
#include "options/members.hpp"
#include "options/rules.hpp"

// Reads a schema from the standard input and writes it again, with the members of options as the library's tables have
// them: schema_members < docs/headgate.schema.json

using namespace headgate;
using nlohmann::ordered_json;

namespace {

/// The schema of each kind of member.
struct schema_of {
    ordered_json operator()(const accepts::whole_number& r) const {
        return {{"type", "integer"}, {"minimum", r.least}, {"maximum", r.most}};
    }
    ordered_json operator()(const accepts::time_span& r) const {
        return {{"$ref", r.least == duration::zero() ? "#/$defs/duration_or_off" : "#/$defs/positive_duration"}};
    }
    ordered_json operator()(const accepts::share& r) const {
        return {{"type", "number"}, {r.may_be_zero ? "minimum" : "exclusiveMinimum", 0}, {"maximum", 1}};
    }
    ordered_json operator()(const accepts::flag& /*r*/) const { return {{"type", "boolean"}}; }
    ordered_json operator()(const accepts::choice& r) const {
        ordered_json words = ordered_json::array();
        for (const std::string_view word : r.words) {
            words.push_back(std::string(word));
        }
        return {{"enum", words}};
    }
    ordered_json operator()(const accepts::text& /*r*/) const { return {{"type", "string"}}; }
    ordered_json operator()(const accepts::text_list& r) const {
        return {{"type", "array"}, {"items", {{"type", "string"}}}, {"minItems", r.least}};
    }
};

std::string description_of(const member& m) {
    std::string out(m.what);
    if (const auto* const r = std::get_if<accepts::time_span>(&m.rule)) {
        out += r->least > duration{1} ? " At least " + detail::format_duration(r->least) + '.' : "";
        out += r->least == duration::zero() && r->zero != "off" ? " Zero is " + std::string(r->zero) + '.' : "";
    }
    const bool says_so = m.what.find("null") != std::string_view::npos;
    return out + (m.optional && !says_so ? " null is off." : "");
}

template <class Options, std::size_t Size>
void put(ordered_json& into, const member_table<Options, Size>& table) {
    const Options defaults{};
    for (const member& m : table.members) {
        ordered_json entry{{"description", description_of(m)}};
        const ordered_json rule = std::visit(schema_of{}, m.rule);
        if (m.optional) {
            entry["anyOf"] = ordered_json::array({rule, {{"type", "null"}}});
        } else {
            entry.update(rule);
        }
        const member_value value = m.get(&defaults);
        if (detail::is_valid(m, value, detail::written_in::document)) {
            entry["default"] = detail::to_json(m, value);
        }
        into[std::string(m.name)] = entry;
    }
}

}  // namespace

int main() {
    ordered_json schema = ordered_json::parse(std::cin);
    ordered_json& kinds = schema["$defs"];
    ordered_json& limiter = kinds["rate_limiter"]["properties"];
    limiter = {{"quota", limiter["quota"]}, {"tiers", limiter["tiers"]}};
    put(limiter, detail::limiter_members);
    put(kinds["resource_pool"]["properties"] = ordered_json::object(), detail::pool_members);
    put(kinds["circuit_breaker"]["properties"] = ordered_json::object(), detail::breaker_members);
    ordered_json& bulkhead = kinds["bulkhead"]["properties"];
    bulkhead = {{"limit", bulkhead["limit"]}};
    put(bulkhead, detail::bulkhead_members);
    put(kinds["adaptive"]["properties"] = ordered_json::object(), detail::adaptive_members);
    put(kinds["retry"]["properties"] = ordered_json::object(), detail::retry_members);
    put(kinds["hedge"]["properties"] = ordered_json::object(), detail::hedge_members);
    put(kinds["coalescer"]["properties"] = ordered_json::object(), detail::coalescer_members);
    put(kinds["quota"]["anyOf"][2]["properties"] = ordered_json::object(), detail::quota_members);
    std::cout << schema.dump(2) << '\n';
}
