// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "config/writer.hpp"

#include <span>
#include <string>

#include "config/members.hpp"
#include "config/text.hpp"

namespace headgate::detail {

json to_json(const quota& q) {
    if (q.is_none()) {
        return "none";
    }
    const bool window = q.algorithm() == quota_algorithm::fixed_window;
    if (!window && !q.is_at_most() && q.burst() == q.permits()) {
        return std::to_string(q.permits()) + '/' + format_duration(q.period());
    }
    json out = {{"permits", q.permits()}, {"period", format_duration(q.period())}};
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

namespace {

json quotas_json(const std::vector<quota>& quotas) {
    if (quotas.size() == 1) {
        return to_json(quotas.front());
    }
    json out = json::array();
    for (const quota& q : quotas) {
        out.push_back(to_json(q));
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
    json out = members_json(options, limiter_members());
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
        {"resource_pools", group_json(z.resource_pools, [](const auto& o) { return members_json(o, pool_members()); })},
        {"circuit_breakers",
         group_json(z.circuit_breakers, [](const auto& o) { return members_json(o, breaker_members()); })},
        {"bulkheads", group_json(z.bulkheads, [](const auto& o) { return members_json(o, bulkhead_members()); })},
    };
}

}  // namespace

json to_json(const config& c) {
    return {{"zones", group_json(c.zones, zone_json)}};
}

}  // namespace headgate::detail
