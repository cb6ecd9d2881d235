// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "config/reader.hpp"

#include <optional>

#include "config/member_json.hpp"
#include "options/limits.hpp"
#include "options/members.hpp"
#include "options/rules.hpp"

namespace headgate::detail {

namespace {

constexpr std::string_view quota_text =
    "a quota: a text such as \"10/1m\", \"none\", or an object with permits, period, burst and algorithm";

void require(reporter& r, const json_node& from, const std::string& at, std::initializer_list<const char*> members,
             const char* valid) {
    for (const char* needed : members) {
        if (from.find(needed) == nullptr) {
            r.report(at, "no \"" + std::string(needed) + '"', valid);
        }
    }
}

// Reports a burst that does not fit, if the members that it depends on are right. True when it fits.
bool burst_fits(reporter& r, const quota_fields& f, const wrong_members& wrong, const std::string& at) {
    if (wrong.contains("burst") || wrong.contains("algorithm")) {
        return false;
    }
    if (f.kind == quota_kind::fixed_window && f.burst != 0) {
        r.report(at + "/burst", std::to_string(f.burst), "nothing: a fixed_window has no burst");
        return false;
    }
    const bool known = !wrong.contains("permits") && f.permits != 0;
    if (f.kind == quota_kind::at_most && (f.burst == 0 || (known && f.burst >= f.permits))) {
        r.report(at + "/burst", f.burst == 0 ? "nothing" : std::to_string(f.burst),
                 "for at_most, a whole number from 1 to permits - 1");
        return false;
    }
    return true;
}

std::optional<quota> read_quota(reporter& r, const json_node& from, const std::string& at) {
    if (from.is_string()) {
        auto parsed = parse_quota(from.text());
        if (!parsed) {
            r.report(at, shown(from), std::string(quota_text));
        }
        return parsed;
    }
    if (!from.is_object()) {
        r.report(at, shown(from), std::string(quota_text));
        return {};
    }
    quota_fields f;
    const std::size_t before = r.problems();
    const wrong_members wrong = read_members(r, from, at, quota_members.members, &f);
    require(r, from, at, {"permits", "period"}, "an object with permits and period");
    if (!burst_fits(r, f, wrong, at) || r.problems() != before) {
        return {};
    }
    const auto made = f.kind == quota_kind::gcra
                          ? quota::per(f.permits, f.period, f.burst == 0 ? std::nullopt : std::optional(f.burst))
                      : f.kind == quota_kind::at_most ? quota::at_most(f.permits, f.period, f.burst)
                                                      : quota::fixed_window(f.permits, f.period);
    return made.value();
}

void check_quota_count(reporter& r, const std::string& at, std::size_t count) {
    if (count == 0 || count > most_quotas) {
        r.report(at, std::to_string(count) + " quotas", "1 to " + std::to_string(most_quotas) + " quotas");
    }
}

// One quota, or an array of them.
std::vector<quota> read_quotas(reporter& r, const json_node& from, const std::string& at) {
    std::vector<quota> out;
    const auto add = [&](const json_node& one, const std::string& where) {
        if (const auto q = read_quota(r, one, where)) {
            out.push_back(*q);
        }
    };
    if (!from.is_array()) {
        add(from, at);
        return out;
    }
    const auto& items = from.items();
    check_quota_count(r, at, items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
        add(items[i].second, at + '/' + std::to_string(i));
    }
    return out;
}

void check_tier_count(reporter& r, const std::string& at, std::size_t count) {
    if (count == 0 || count > most_tiers) {
        r.report(at, std::to_string(count) + " tiers",
                 "an array of 1 to " + std::to_string(most_tiers) + " tiers, the first of which is the default");
    }
}

void check_tier_name(reporter& r, const std::string& at, const std::string& name, std::set<std::string>& before) {
    r.name(at, name);
    if (!name.empty() && !before.insert(name).second) {
        r.report(at, shown(name), "a name that no tier before it has");
    }
}

void read_tier(reporter& r, const json_node& from, const std::string& at, std::set<std::string>& names, tier& to) {
    constexpr std::string_view known[] = {"name", "quota"};
    for (const auto& [key, value] : from.items()) {
        if (key == "name" && value.is_string()) {
            to.name = value.text();
            check_tier_name(r, at + "/name", to.name, names);
        } else if (key == "name") {
            r.report(at + "/name", shown(value), valid_name());
        } else if (key == "quota") {
            to.quotas = read_quotas(r, value, at + "/quota");
        } else {
            r.unknown_key(at, key, known);
        }
    }
    require(r, from, at, {"name", "quota"}, "an object with name and quota");
}

void read_tiers(reporter& r, const json_node& from, const std::string& at, std::vector<tier>& to) {
    if (!from.is_array()) {
        r.report(at, shown(from),
                 "an array of 1 to " + std::to_string(most_tiers) + " tiers, the first of which is the default");
        return;
    }
    const auto& items = from.items();
    check_tier_count(r, at, items.size());
    std::set<std::string> names;
    for (std::size_t i = 0; i < items.size(); ++i) {
        const std::string here = at + '/' + std::to_string(i);
        if (r.object(items[i].second, here, "name and quota")) {
            read_tier(r, items[i].second, here, names, to.emplace_back());
        }
    }
}

void read_limiter(reporter& r, const json_node& from, const std::string& at, rate_limiter_options& to) {
    constexpr std::string_view others[] = {"quota", "tiers"};
    wrong_members wrong = read_members(r, from, at, limiter_members.members, &to, others);
    const std::size_t before = r.problems();
    const json_node* const one = from.find("quota");
    const json_node* const many = from.find("tiers");
    if ((one == nullptr) == (many == nullptr)) {
        r.report(at, one != nullptr ? "both quota and tiers" : "neither quota nor tiers", "one of them");
    }
    if (one != nullptr) {
        to.tiers = {{"default", read_quotas(r, *one, at + "/quota")}};
    }
    if (many != nullptr && (one == nullptr || !many->items().empty())) {
        to.tiers.clear();
        read_tiers(r, *many, at + "/tiers", to.tiers);
    }
    if (r.problems() != before) {
        wrong.insert("tiers");
    }
    check_options(r, at, to, wrong);
}

template <class Options, std::size_t Size>
void read_options(reporter& r, const json_node& from, const std::string& at, const member_table<Options, Size>& known,
                  Options& to) {
    check_options(r, at, to, read_members(r, from, at, known.members, &to));
}

void read_bulkhead(reporter& r, const json_node& from, const std::string& at, bulkhead_options& to) {
    constexpr std::string_view others[] = {"limit"};
    wrong_members wrong = read_members(r, from, at, bulkhead_members.members, &to, others);
    const json_node* const limit = from.find("limit");
    if (limit != nullptr && !limit->is_null()) {
        const bool right =
            r.object(*limit, at + "/limit", "min, max and initial") &&
            read_members(r, *limit, at + "/limit", adaptive_members.members, &to.limit.emplace()).empty();
        if (!right) {
            wrong.insert("limit");
        }
    }
    check_options(r, at, to, wrong);
}

template <class Options, class Read>
void read_group(reporter& r, const json_node& from, const std::string& at, std::map<std::string, Options>& to,
                Read read) {
    if (!r.object(from, at, "primitives by their names")) {
        return;
    }
    for (const auto& [name, value] : from.items()) {
        const std::string here = at + pointer_step(name);
        r.name(here, name);
        Options& made = to[name];
        if (r.object(value, here, "options")) {
            read(value, here, made);
        }
    }
}

// The retries that hedges name are among those of the zone.
void check_budgets(reporter& r, const std::string& at, const zone_config& z) {
    for (const auto& [name, options] : z.hedges) {
        const std::string here = at + "/hedges" + pointer_step(name);
        if (options.retry.empty() || z.retries.contains(options.retry)) {
            continue;
        }
        std::vector<std::string_view> names;
        names.reserve(z.retries.size());
        for (const auto& [retry, unused] : z.retries) {
            names.push_back(retry);
        }
        const std::string_view close = nearest(options.retry, names);
        r.report(here + "/retry", '"' + options.retry + '"',
                 close.empty() ? "the name of one of the zone's \"retries\"" : '"' + std::string(close) + '"');
    }
}

void read_zone(reporter& r, const json_node& from, const std::string& at, zone_config& to) {
    constexpr std::string_view known[] = {"missing_breaker", "rate_limiters", "resource_pools", "circuit_breakers",
                                          "bulkheads",       "retries",       "hedges",         "coalescers"};
    const auto options = [&r](const auto& table) {
        return [&r, &table](const json_node& v, const std::string& a, auto& o) { read_options(r, v, a, table, o); };
    };
    for (const auto& [key, value] : from.items()) {
        const std::string here = at + pointer_step(key);
        if (key == "missing_breaker") {
            const std::string_view text = value.is_string() ? std::string_view(value.text()) : std::string_view();
            if (text != "refuse" && text != "run") {
                r.report(here, shown(value), "one of \"refuse\", \"run\"");
            }
            to.missing_breaker = text == "run" ? missing_breaker::run : missing_breaker::refuse;
        } else if (key == "rate_limiters") {
            read_group(r, value, here, to.rate_limiters,
                       [&r](const json_node& v, const std::string& a, auto& o) { read_limiter(r, v, a, o); });
        } else if (key == "resource_pools") {
            read_group(r, value, here, to.resource_pools, options(pool_members));
        } else if (key == "circuit_breakers") {
            read_group(r, value, here, to.circuit_breakers, options(breaker_members));
        } else if (key == "bulkheads") {
            read_group(r, value, here, to.bulkheads,
                       [&r](const json_node& v, const std::string& a, auto& o) { read_bulkhead(r, v, a, o); });
        } else if (key == "retries") {
            read_group(r, value, here, to.retries, options(retry_members));
        } else if (key == "hedges") {
            read_group(r, value, here, to.hedges, options(hedge_members));
        } else if (key == "coalescers") {
            read_group(r, value, here, to.coalescers, options(coalescer_members));
        } else {
            r.unknown_key(at, key, known);
        }
    }
    check_budgets(r, at, to);
}

void check_members(reporter& r, const std::string& at, const void* options, std::span<const member> known,
                   wrong_members& wrong) {
    for (const member& m : known) {
        const member_value value = m.get(options);
        if (!is_valid(m, value, written_in::document)) {
            wrong.insert(m.name);
            r.report(at + pointer_step(m.name), shown(to_json(m, value)), valid_values(m, written_in::document));
        }
    }
}

template <class Options, std::size_t Size>
void check_made(reporter& r, const std::string& at, const Options& options, const member_table<Options, Size>& known) {
    wrong_members wrong;
    check_members(r, at, &options, known.members, wrong);
    check_options(r, at, options, wrong);
}

// A quota holds what it may hold; only its period may be longer than a document can say.
void check_quota(reporter& r, const std::string& at, const quota& q) {
    const quota_fields fields{.permits = q.permits(), .period = q.period(), .burst = q.burst()};
    wrong_members wrong;
    if (!q.is_none()) {
        check_members(r, at, &fields, quota_members.members, wrong);
    }
}

// As a document would have them: one tier named "default" is a quota.
void check_tiers(reporter& r, const std::string& at, const std::vector<tier>& tiers) {
    if (tiers.empty()) {
        r.report(at, "neither quota nor tiers", "one of them");
        return;
    }
    const bool alone = tiers.size() == 1 && tiers.front().name == "default";
    if (!alone) {
        check_tier_count(r, at + "/tiers", tiers.size());
    }
    std::set<std::string> names;
    for (std::size_t i = 0; i < tiers.size(); ++i) {
        const std::string here = alone ? at : at + "/tiers/" + std::to_string(i);
        check_tier_name(r, here + "/name", tiers[i].name, names);
        const auto& quotas = tiers[i].quotas;
        check_quota_count(r, here + "/quota", quotas.size());
        for (std::size_t k = 0; k < quotas.size(); ++k) {
            check_quota(r, here + "/quota" + (quotas.size() == 1 ? "" : '/' + std::to_string(k)), quotas[k]);
        }
    }
}

void check_limiter(reporter& r, const std::string& at, const rate_limiter_options& options) {
    wrong_members wrong;
    check_members(r, at, &options, limiter_members.members, wrong);
    const std::size_t before = r.problems();
    check_tiers(r, at, options.tiers);
    if (r.problems() != before) {
        wrong.insert("tiers");
    }
    check_options(r, at, options, wrong);
}

void read_zones(reporter& r, const json_node& from, config& to) {
    const json_node* const zones = from.find("zones");
    if (zones == nullptr) {
        r.report("", "no \"zones\"", "an object with zones");
        return;
    }
    if (!r.object(*zones, "/zones", "zones by their names")) {
        return;
    }
    for (const auto& [name, value] : zones->items()) {
        const std::string here = "/zones" + pointer_step(name);
        r.name(here, name);
        zone_config& made = to.zones[name];
        if (r.object(value, here, "groups of primitives")) {
            read_zone(r, value, here, made);
        }
    }
}

const json_node& empty_object() {
    static const json_node one = json_node::object();
    return one;
}

void read_section(reporter& r, const json_node& from, const config_section& section, const config& zones) {
    const json_node* found = from.find(section.name);
    const std::string at = pointer_step(section.name);
    if (found == nullptr && section.required) {
        r.report("", "no \"" + std::string(section.name) + '"', "an object with " + std::string(section.name));
    }
    if (section.read) {
        found = found != nullptr && r.object(*found, at, "settings") ? found : &empty_object();
        section.read(config_object(*found, at, r), zones);
    }
}

template <class Options, class Check>
void check_group(reporter& r, const std::string& at, const std::map<std::string, Options>& group, const Check& check) {
    for (const auto& [name, options] : group) {
        const std::string here = at + pointer_step(name);
        r.name(here, name);
        check(here, options);
    }
}

}  // namespace

// Reports -------------------------------------------------------------------------------------------------------------

bool reporter::object(const json_node& value, const std::string& at, std::string_view of) {
    if (!value.is_object()) {
        report(at, shown(value), "an object of " + std::string(of));
    }
    return value.is_object();
}

void reporter::name(const std::string& at, std::string_view name) {
    if (std::string fault = name_fault(name); !fault.empty()) {
        report(at, std::move(fault), valid_name());
    }
}

void reporter::unknown_key(const std::string& at, const std::string& key, std::span<const std::string_view> known) {
    const std::string_view close = nearest(key, known);
    std::string valid;
    if (!close.empty()) {
        valid = '"' + std::string(close) + '"';
    } else {
        valid = "one of";
        for (const std::string_view k : known) {
            valid += (valid == "one of" ? " \"" : ", \"") + std::string(k) + '"';
        }
    }
    report(at + pointer_step(key), "an unknown key", std::move(valid));
}

// Reading -------------------------------------------------------------------------------------------------------------

wrong_members read_members(reporter& r, const json_node& from, const std::string& at, std::span<const member> known,
                           void* to, std::span<const std::string_view> others) {
    wrong_members wrong;
    for (const auto& [key, value] : from.items()) {
        const auto found =
            std::find_if(known.begin(), known.end(), [&name = key](const member& m) { return m.name == name; });
        if (found != known.end()) {
            const auto read = read_value(*found, value);
            if (read && is_valid(*found, *read, written_in::document)) {
                found->set(to, *read);
            } else {
                wrong.insert(found->name);
                r.report(at + pointer_step(key), shown(value), valid_values(*found, written_in::document));
            }
        } else if (std::find(others.begin(), others.end(), key) == others.end()) {
            std::vector<std::string_view> names(others.begin(), others.end());
            for (const member& m : known) {
                names.push_back(m.name);
            }
            r.unknown_key(at, key, names);
        }
    }
    return wrong;
}

void read_document(reporter& r, const json_node& from, std::span<const config_section> sections, config& to) {
    if (!r.object(from, "", "zones")) {
        return;
    }
    std::vector<std::string_view> known;
    for (const config_section& s : sections) {
        known.push_back(s.name);
    }
    known.emplace_back("zones");
    for (const auto& [key, value] : from.items()) {
        if (key != "$schema" && std::find(known.begin(), known.end(), key) == known.end()) {
            r.unknown_key("", key, known);
        }
    }
    read_zones(r, from, to);
    for (const config_section& s : sections) {
        read_section(r, from, s, to);
    }
}

void check_document(reporter& r, const config& made) {
    for (const auto& [name, z] : made.zones) {
        const std::string at = "/zones" + pointer_step(name);
        r.name(at, name);
        check_group(r, at + "/rate_limiters", z.rate_limiters,
                    [&r](const std::string& a, const auto& o) { check_limiter(r, a, o); });
        check_group(r, at + "/resource_pools", z.resource_pools,
                    [&r](const std::string& a, const auto& o) { check_made(r, a, o, pool_members); });
        check_group(r, at + "/circuit_breakers", z.circuit_breakers,
                    [&r](const std::string& a, const auto& o) { check_made(r, a, o, breaker_members); });
        check_group(r, at + "/bulkheads", z.bulkheads,
                    [&r](const std::string& a, const auto& o) { check_made(r, a, o, bulkhead_members); });
        check_group(r, at + "/retries", z.retries,
                    [&r](const std::string& a, const auto& o) { check_made(r, a, o, retry_members); });
        check_group(r, at + "/hedges", z.hedges,
                    [&r](const std::string& a, const auto& o) { check_made(r, a, o, hedge_members); });
        check_group(r, at + "/coalescers", z.coalescers,
                    [&r](const std::string& a, const auto& o) { check_made(r, a, o, coalescer_members); });
        check_budgets(r, at, z);
    }
}

}  // namespace headgate::detail

namespace headgate {

std::set<std::string_view> config_object::read_members(std::span<const member> table, void* to,
                                                       std::span<const std::string_view> others) const {
    return detail::read_members(*problems_, *node_, pointer_, table, to, others);
}

void config_object::each(std::string_view name,
                         const std::function<void(const std::string&, const config_object&)>& read) const {
    const detail::json_node* const all = node_->find(name);
    const std::string at = pointer_ + pointer_step(name);
    if (all == nullptr || !all->is_object() || all->items().empty()) {
        problems_->report(at, all == nullptr ? "nothing" : detail::shown(*all), "an object with at least one name");
        return;
    }
    for (const auto& [key, value] : all->items()) {
        const std::string here = at + pointer_step(key);
        problems_->name(here, key);
        const bool is_object = problems_->object(value, here, "settings");
        read(key, config_object(is_object ? value : detail::empty_object(), here, *problems_));
    }
}

void config_object::report(std::string_view pointer, std::string found, std::string valid) const {
    problems_->report(pointer_ + std::string(pointer), std::move(found), std::move(valid));
}

}  // namespace headgate
