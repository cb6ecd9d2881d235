// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "options/rules.hpp"

#include <algorithm>
#include <cstdio>

#include "config/text.hpp"
#include "options/limits.hpp"

namespace headgate::detail {

namespace {

constexpr std::uint64_t unbounded = accepts::whole_number{}.most;

duration longest_of(const accepts::time_span& r, written_in where) {
    return where == written_in::document ? std::min(r.most, longest_duration) : r.most;
}

/// Whether a value keeps a rule, with an overload for each rule.
struct rule_check {
    const member_value& value;
    written_in where;

    bool operator()(const accepts::whole_number& r) const {
        const auto* const n = std::get_if<std::uint64_t>(&value);
        return n != nullptr && *n >= r.least && *n <= r.most;
    }
    bool operator()(const accepts::time_span& r) const {
        const auto* const d = std::get_if<duration>(&value);
        return d != nullptr && *d >= r.least && *d <= longest_of(r, where);
    }
    bool operator()(const accepts::share& r) const {
        const auto* const x = std::get_if<double>(&value);
        // Written so that a NaN is wrong.
        return x != nullptr && (r.may_be_zero ? *x >= 0.0 : *x > 0.0) && *x <= 1.0;
    }
    bool operator()(const accepts::flag& /*r*/) const { return std::holds_alternative<bool>(value); }
    bool operator()(const accepts::choice& r) const {
        const auto* const n = std::get_if<std::uint64_t>(&value);
        return n != nullptr && *n < r.words.size();
    }
    bool operator()(const accepts::text& r) const {
        const auto* const t = std::get_if<std::string>(&value);
        return t != nullptr && (r.is_valid == nullptr || r.is_valid(*t));
    }
    bool operator()(const accepts::text_list& r) const {
        const auto* const all = std::get_if<std::vector<std::string>>(&value);
        return all != nullptr && all->size() >= r.least &&
               (r.is_valid == nullptr || std::all_of(all->begin(), all->end(), r.is_valid));
    }
};

/// Which values keep a rule. A document has to be told the kind, too.
struct rule_text {
    bool document;

    std::string operator()(const accepts::whole_number& r) const {
        const std::string least = std::to_string(r.least);
        if (!document) {
            return r.most == unbounded ? "at least " + least : least + " to " + std::to_string(r.most);
        }
        const std::string kind = "a whole number" + (r.of.empty() ? "" : " of " + std::string(r.of));
        return r.most != unbounded ? kind + " from " + least + " to " + std::to_string(r.most)
               : r.least > 0       ? kind + ", at least " + least
                                   : kind;
    }
    std::string operator()(const accepts::time_span& r) const {
        const std::string zero(r.zero);
        if (document) {
            return "a duration such as \"30s\", or a whole number of milliseconds" +
                   (r.least == duration::zero() ? "; zero is " + zero : ", from " + format_duration(r.least) + " up") +
                   "; at most " + format_duration(longest_of(r, written_in::document));
        }
        const std::string most = r.most == duration::max() ? "" : " and at most " + format_duration(r.most);
        return (r.least > duration{1} ? "at least " + format_duration(r.least) : "above 0") + most +
               (r.least == duration::zero() ? ", or 0 for " + zero : "");
    }
    std::string operator()(const accepts::share& r) const {
        return std::string(document ? "a number " : "") + (r.may_be_zero ? "from 0 to 1" : "above 0 and at most 1");
    }
    std::string operator()(const accepts::flag& /*r*/) const { return "true or false"; }
    std::string operator()(const accepts::choice& r) const {
        const char* const quote = document ? "\"" : "";
        std::string out = "one of";
        for (const std::string_view word : r.words) {
            out.append(out == "one of" ? " " : ", ").append(quote).append(word).append(quote);
        }
        return out;
    }
    std::string operator()(const accepts::text& r) const { return std::string(r.valid); }
    std::string operator()(const accepts::text_list& r) const { return std::string(r.valid); }
};

}  // namespace

bool is_valid(const member& m, const member_value& value, written_in where) {
    return (m.optional && std::holds_alternative<std::monostate>(value)) ||
           std::visit(rule_check{value, where}, m.rule);
}

std::string valid_values(const member& m, written_in where) {
    const bool document = where == written_in::document;
    std::string out = std::visit(rule_text{document}, m.rule);
    if (m.optional) {
        out += document ? ", or null for off" : ", or empty for off";
    }
    return out;
}

std::string shown(const member& m, const member_value& value) {
    if (const auto* const n = std::get_if<std::uint64_t>(&value)) {
        const auto* const r = std::get_if<accepts::choice>(&m.rule);
        return r != nullptr && *n < r->words.size() ? std::string(r->words[*n]) : std::to_string(*n);
    }
    if (const auto* const d = std::get_if<duration>(&value)) {
        return text_of(*d);
    }
    if (const auto* const x = std::get_if<double>(&value)) {
        char buffer[32];
        std::snprintf(buffer, sizeof buffer, "%g", *x);
        return buffer;
    }
    return "empty";
}

std::string text_of(duration d) {
    const auto ns = d.count();
    if (ns % 1'000'000'000 == 0) {
        return std::to_string(ns / 1'000'000'000) + " s";
    }
    if (ns % 1'000'000 == 0) {
        return std::to_string(ns / 1'000'000) + " ms";
    }
    return std::to_string(ns) + " ns";
}

}  // namespace headgate::detail
