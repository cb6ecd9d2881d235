// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/config.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "config/members.hpp"
#include "config/text.hpp"

namespace headgate {

namespace {

using detail::json;
using detail::member;
using detail::pointer_step;

constexpr std::string_view valid_name = "a name of at least one character";

// A value for people, no longer than a line.
std::string shown(const json& value) {
    std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
    if (text.size() > 60) {
        text.resize(57);
        text += "...";
    }
    return text;
}

class reader {
public:
    explicit reader(std::vector<config_problem>& problems) : problems_(problems) {}

    void report(std::string pointer, std::string found, std::string valid) {
        problems_.push_back({std::move(pointer), std::move(found), std::move(valid)});
    }

    /// Whether it is an object.
    bool object(const json& value, const std::string& at, std::string_view of) {
        if (!value.is_object()) {
            report(at, shown(value), "an object of " + std::string(of));
        }
        return value.is_object();
    }

    void unknown(const std::string& at, const std::string& key, std::span<const std::string_view> known) {
        const std::string_view close = detail::nearest(key, known);
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

    /// The members of `Options` in an object; `others` are read elsewhere.
    template <class Options>
    void members(const json& from, const std::string& at, std::span<const member<Options>> known, Options& to,
                 std::initializer_list<std::string_view> others = {}) {
        for (const auto& [key, value] : from.items()) {
            const auto found =
                std::find_if(known.begin(), known.end(), [&name = key](const auto& m) { return m.name == name; });
            if (found == known.end()) {
                if (std::find(others.begin(), others.end(), key) == others.end()) {
                    std::vector<std::string_view> names(others);
                    for (const auto& m : known) {
                        names.push_back(m.name);
                    }
                    unknown(at, key, names);
                }
            } else if (!found->read(value, to)) {
                report(at + pointer_step(key), shown(value), found->valid);
            }
        }
    }

    /// What only all members together can tell, when each of them is right.
    template <class Options>
    void whole(const std::string& at, std::size_t problems_before, const Options& options) {
        if (problems_.size() != problems_before) {
            return;
        }
        if (const auto valid = validate(options); !valid) {
            // "NAME is FOUND; it must be RIGHT", or a sentence about several members.
            const std::string text = valid.error().detail ? *valid.error().detail : valid.error().message();
            const auto is = text.find(" is ");
            const auto must = text.find("; ");
            const bool of_one = is != std::string::npos && text.find(' ') == is && must != std::string::npos;
            if (of_one) {
                std::string right = text.substr(must + 2);
                if (right.starts_with("it must be ")) {
                    right.erase(0, 11);
                }
                report(at + pointer_step(text.substr(0, is)), text.substr(is + 4, must - is - 4), std::move(right));
            } else {
                report(at, text.substr(0, must), must == std::string::npos ? "" : text.substr(must + 2));
            }
        }
    }

    [[nodiscard]] std::size_t problems() const noexcept { return problems_.size(); }

private:
    std::vector<config_problem>& problems_;
};

constexpr std::string_view quota_text =
    "a quota: a text such as \"10/1m\", \"none\", or an object with permits, period, burst and algorithm";

std::optional<quota> read_quota(reader& r, const json& from, const std::string& at) {
    if (from.is_string()) {
        auto parsed = detail::parse_quota(from.get_ref<const std::string&>());
        if (!parsed) {
            r.report(at, shown(from), std::string(quota_text));
        }
        return parsed;
    }
    if (!from.is_object()) {
        r.report(at, shown(from), std::string(quota_text));
        return {};
    }
    detail::quota_fields f;
    const std::size_t before = r.problems();
    r.members(from, at, detail::quota_members(), f);
    for (const char* needed : {"permits", "period"}) {
        if (!from.contains(needed)) {
            r.report(at, "no \"" + std::string(needed) + '"', "an object with permits and period");
        }
    }
    if (r.problems() != before) {
        return {};
    }
    if (f.kind == detail::quota_kind::at_most && (f.burst == 0 || f.burst >= f.permits)) {
        r.report(at + "/burst", f.burst == 0 ? "nothing" : std::to_string(f.burst),
                 "for at_most, a whole number from 1 to permits - 1");
        return {};
    }
    if (f.kind == detail::quota_kind::fixed_window && f.burst != 0) {
        r.report(at + "/burst", std::to_string(f.burst), "nothing: a fixed_window has no burst");
        return {};
    }
    const auto made = f.kind == detail::quota_kind::gcra
                          ? quota::per(f.permits, f.period, f.burst == 0 ? std::nullopt : std::optional(f.burst))
                      : f.kind == detail::quota_kind::at_most ? quota::at_most(f.permits, f.period, f.burst)
                                                              : quota::fixed_window(f.permits, f.period);
    return made.value();
}

// One quota, or an array of them.
std::vector<quota> read_quotas(reader& r, const json& from, const std::string& at) {
    std::vector<quota> out;
    const auto add = [&](const json& one, const std::string& where) {
        if (const auto q = read_quota(r, one, where)) {
            out.push_back(*q);
        }
    };
    if (!from.is_array()) {
        add(from, at);
    } else {
        if (from.empty() || from.size() > 8) {
            r.report(at, std::to_string(from.size()) + " quotas", "1 to 8 quotas");
        }
        for (std::size_t i = 0; i < from.size(); ++i) {
            add(from[i], at + '/' + std::to_string(i));
        }
    }
    return out;
}

void read_tiers(reader& r, const json& from, const std::string& at, std::vector<tier>& to) {
    if (!from.is_array() || from.empty() || from.size() > 64) {
        r.report(at, from.is_array() ? std::to_string(from.size()) + " tiers" : shown(from),
                 "an array of 1 to 64 tiers, the first of which is the default");
        return;
    }
    for (std::size_t i = 0; i < from.size(); ++i) {
        const std::string here = at + '/' + std::to_string(i);
        if (!r.object(from[i], here, "name and quota")) {
            continue;
        }
        tier t;
        for (const auto& [key, value] : from[i].items()) {
            if (key == "name") {
                if (!value.is_string() || value.get_ref<const std::string&>().empty()) {
                    r.report(here + "/name", shown(value), std::string(valid_name));
                } else {
                    t.name = value;
                }
            } else if (key == "quota") {
                t.quotas = read_quotas(r, value, here + "/quota");
            } else {
                constexpr std::string_view known[] = {"name", "quota"};
                r.unknown(here, key, known);
            }
        }
        for (const char* needed : {"name", "quota"}) {
            if (!from[i].contains(needed)) {
                r.report(here, "no \"" + std::string(needed) + '"', "an object with name and quota");
            }
        }
        if (std::any_of(to.begin(), to.end(), [&](const tier& other) { return other.name == t.name; })) {
            r.report(here + "/name", shown(t.name), "a name that no tier before it has");
        }
        to.push_back(std::move(t));
    }
}

void read_limiter(reader& r, const json& from, const std::string& at, rate_limiter_options& to) {
    const std::size_t before = r.problems();
    r.members(from, at, detail::limiter_members(), to, {"quota", "tiers"});
    if (from.contains("quota") == from.contains("tiers")) {
        r.report(at, from.contains("quota") ? "both quota and tiers" : "neither quota nor tiers", "one of them");
    } else if (from.contains("quota")) {
        to.tiers = {{"default", read_quotas(r, from["quota"], at + "/quota")}};
    } else {
        read_tiers(r, from["tiers"], at + "/tiers", to.tiers);
    }
    r.whole(at, before, to);
}

template <class Options>
void read_options(reader& r, const json& from, const std::string& at, std::span<const member<Options>> known,
                  Options& to) {
    const std::size_t before = r.problems();
    r.members(from, at, known, to);
    r.whole(at, before, to);
}

template <class Options, class Read>
void read_group(reader& r, const json& from, const std::string& at, std::map<std::string, Options>& to, Read read) {
    if (!r.object(from, at, "primitives by their names")) {
        return;
    }
    for (const auto& [name, value] : from.items()) {
        const std::string here = at + pointer_step(name);
        if (name.empty()) {
            r.report(here, "an empty name", std::string(valid_name));
        } else if (r.object(value, here, "options")) {
            read(value, here, to[name]);
        }
    }
}

void read_zone(reader& r, const json& from, const std::string& at, zone_config& to) {
    for (const auto& [key, value] : from.items()) {
        const std::string here = at + pointer_step(key);
        if (key == "missing_breaker") {
            if (value != "refuse" && value != "run") {
                r.report(here, shown(value), "one of \"refuse\", \"run\"");
            }
            to.missing_breaker = value == "run" ? missing_breaker::run : missing_breaker::refuse;
        } else if (key == "rate_limiters") {
            read_group(r, value, here, to.rate_limiters,
                       [&](const json& v, const std::string& a, auto& o) { read_limiter(r, v, a, o); });
        } else if (key == "resource_pools") {
            read_group(r, value, here, to.resource_pools, [&](const json& v, const std::string& a, auto& o) {
                read_options(r, v, a, detail::pool_members(), o);
            });
        } else if (key == "circuit_breakers") {
            read_group(r, value, here, to.circuit_breakers, [&](const json& v, const std::string& a, auto& o) {
                read_options(r, v, a, detail::breaker_members(), o);
            });
        } else if (key == "bulkheads") {
            read_group(r, value, here, to.bulkheads, [&](const json& v, const std::string& a, auto& o) {
                read_options(r, v, a, detail::bulkhead_members(), o);
            });
        } else {
            constexpr std::string_view known[] = {"missing_breaker", "rate_limiters", "resource_pools",
                                                  "circuit_breakers", "bulkheads"};
            r.unknown(at, key, known);
        }
    }
}

void read_document(reader& r, const json& from, std::span<const std::string_view> others, config& to) {
    if (!r.object(from, "", "zones")) {
        return;
    }
    for (const auto& [key, value] : from.items()) {
        if (key != "zones" && key != "$schema" && std::find(others.begin(), others.end(), key) == others.end()) {
            std::vector<std::string_view> known(others.begin(), others.end());
            known.emplace_back("zones");
            r.unknown("", key, known);
        }
    }
    if (!from.contains("zones")) {
        r.report("", "no \"zones\"", "an object with zones");
    } else if (r.object(from["zones"], "/zones", "zones by their names")) {
        for (const auto& [name, value] : from["zones"].items()) {
            const std::string here = "/zones" + pointer_step(name);
            if (name.empty()) {
                r.report(here, "an empty name", std::string(valid_name));
            } else if (r.object(value, here, "groups of primitives")) {
                read_zone(r, value, here, to.zones[name]);
            }
        }
    }
}

std::string place_of(std::string_view text, std::size_t byte) {
    const std::string_view before = text.substr(0, std::min(byte > 0 ? byte - 1 : 0, text.size()));
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const auto last = before.rfind('\n');
    const std::size_t column = before.size() - (last == std::string_view::npos ? 0 : last + 1) + 1;
    return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

// The library would keep the last of two equal keys in silence.
class duplicates {
public:
    explicit duplicates(reader& r) : reader_(r) {}

    bool operator()(int /*depth*/, json::parse_event_t event, json& parsed) {
        switch (event) {
            case json::parse_event_t::object_start: objects_.emplace_back(); break;
            case json::parse_event_t::object_end: objects_.pop_back(); break;
            case json::parse_event_t::key: {
                auto& here = objects_.back();
                here.name = parsed.get<std::string>();
                if (!here.seen.insert(here.name).second) {
                    std::string at;
                    for (const auto& open : objects_) {
                        at += pointer_step(open.name);
                    }
                    reader_.report(std::move(at), "a key for the second time", "each key once");
                }
                break;
            }
            default: break;
        }
        return true;
    }

private:
    struct object {
        std::string name;
        std::set<std::string> seen;
    };

    reader& reader_;
    std::vector<object> objects_;
};

json quota_json(const quota& q) {
    if (q.is_none()) {
        return "none";
    }
    const bool window = q.algorithm() == quota_algorithm::fixed_window;
    if (!window && !q.is_at_most() && q.burst() == q.permits()) {
        return std::to_string(q.permits()) + '/' + detail::format_duration(q.period());
    }
    json out = {{"permits", q.permits()}, {"period", detail::format_duration(q.period())}};
    if (window) {
        out["algorithm"] = "fixed_window";
        return out;
    }
    out["burst"] = q.burst();
    if (q.is_at_most()) {
        out["algorithm"] = "at_most";
    }
    return out;
}

json quotas_json(const std::vector<quota>& quotas) {
    if (quotas.size() == 1) {
        return quota_json(quotas.front());
    }
    json out = json::array();
    for (const quota& q : quotas) {
        out.push_back(quota_json(q));
    }
    return out;
}

template <class Options>
json members_json(const Options& options, std::span<const member<Options>> members) {
    json out = json::object();
    for (const auto& m : members) {
        out[std::string(m.name)] = m.write(options);
    }
    return out;
}

json limiter_json(const rate_limiter_options& options) {
    json out = members_json(options, detail::limiter_members());
    if (options.tiers.size() == 1 && options.tiers.front().name == "default") {
        out["quota"] = quotas_json(options.tiers.front().quotas);
        return out;
    }
    out["tiers"] = json::array();
    for (const tier& t : options.tiers) {
        out["tiers"].push_back({{"name", t.name}, {"quota", quotas_json(t.quotas)}});
    }
    return out;
}

template <class Options, class Write>
json group_json(const std::map<std::string, Options>& group, Write write) {
    json out = json::object();
    for (const auto& [name, options] : group) {
        out[name] = write(options);
    }
    return out;
}

json zone_json(const zone_config& z) {
    return {
        {"missing_breaker", z.missing_breaker == missing_breaker::run ? "run" : "refuse"},
        {"rate_limiters", group_json(z.rate_limiters, limiter_json)},
        {"resource_pools",
         group_json(z.resource_pools, [](const auto& o) { return members_json(o, detail::pool_members()); })},
        {"circuit_breakers",
         group_json(z.circuit_breakers, [](const auto& o) { return members_json(o, detail::breaker_members()); })},
        {"bulkheads",
         group_json(z.bulkheads, [](const auto& o) { return members_json(o, detail::bulkhead_members()); })},
    };
}

template <class Options>
void check_group(reader& r, const std::string& at, const std::map<std::string, Options>& group) {
    for (const auto& [name, options] : group) {
        if (name.empty()) {
            r.report(at + pointer_step(name), "an empty name", std::string(valid_name));
        }
        r.whole(at + pointer_step(name), r.problems(), options);
    }
}

}  // namespace

std::string to_string(const std::vector<config_problem>& problems) {
    std::string out;
    for (const config_problem& p : problems) {
        out += (out.empty() ? "" : "\n") + (p.pointer.empty() ? "the document" : p.pointer) + ": found " + p.found +
               "; valid is " + p.valid;
    }
    return out;
}

result<config> config::parse(std::string_view text, std::vector<config_problem>& problems,
                             std::span<const std::string_view> others) {
    problems.clear();
    reader r(problems);
    config out;
    try {
        const json document = json::parse(text.begin(), text.end(), duplicates(r), true, true);
        read_document(r, document, others, out);
    } catch (const json::parse_error& e) {
        // Its message ends with what the parser met and wanted.
        const std::string what = e.what();
        const auto colon = what.rfind(": ");
        r.report("",
                 "no JSON at " + place_of(text, e.byte) + " (" +
                     (colon == std::string::npos ? what : what.substr(colon + 2)) + ')',
                 "a JSON document, in which comments are allowed");
    } catch (const json::exception& e) {
        // Such as a number that no double can hold; it does not say where.
        const std::string what = e.what();
        r.report("", what.substr(what.find("] ") == std::string::npos ? 0 : what.find("] ") + 2),
                 "a JSON document, in which comments are allowed");
    }
    if (!problems.empty()) {
        return error(errc::invalid_config, to_string(problems));
    }
    return out;
}

result<config> config::parse(std::string_view text) {
    std::vector<config_problem> problems;
    return parse(text, problems);
}

std::vector<config_problem> config::check() const {
    std::vector<config_problem> problems;
    reader r(problems);
    for (const auto& [name, z] : zones) {
        const std::string at = "/zones" + pointer_step(name);
        if (name.empty()) {
            r.report(at, "an empty name", std::string(valid_name));
        }
        check_group(r, at + "/rate_limiters", z.rate_limiters);
        check_group(r, at + "/resource_pools", z.resource_pools);
        check_group(r, at + "/circuit_breakers", z.circuit_breakers);
        check_group(r, at + "/bulkheads", z.bulkheads);
    }
    return problems;
}

std::string config::to_json() const {
    return json{{"zones", group_json(zones, zone_json)}}.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace headgate
