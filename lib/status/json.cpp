// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "status/json.hpp"

#include <cmath>

#include "status/names.hpp"

namespace headgate::detail {

namespace {

double milliseconds(duration d) {
    return std::chrono::duration<double, std::milli>(d).count();
}

json latency_json(const latency_histogram& h) {
    return {{"count", h.count()},
            {"p50_ms", milliseconds(h.quantile(0.5))},
            {"p90_ms", milliseconds(h.quantile(0.9))},
            {"p99_ms", milliseconds(h.quantile(0.99))},
            {"max_ms", milliseconds(h.quantile(1))}};
}

json primitive_json(const primitive_snapshot& p) {
    json out = {{"kind", to_string(p.kind)}, {"name", p.name}, {"state", p.state}};
    json& metrics = out["metrics"] = json::object();
    for (const metric& m : p.metrics) {
        // Whole numbers as such; JSON knows no infinity.
        const bool whole = m.value == std::floor(m.value) && std::abs(m.value) < 9e15;
        metrics[std::string(m.name)] = whole ? json(static_cast<std::int64_t>(m.value)) : json(m.value);
    }
    json& latencies = out["latencies"] = json::object();
    for (const latency_snapshot& l : p.latencies) {
        latencies[std::string(l.name)] = latency_json(l.durations);
    }
    if (!p.busiest.empty()) {
        json& busiest = out["busiest"] = json::array();
        for (const busy_key& k : p.busiest) {
            busiest.push_back({{"key", k.text}, {"count", k.count}, {"error", k.error}});
        }
    }
    return out;
}

}  // namespace

json zones_json(const std::vector<zone_snapshot>& zones) {
    json out = json::array();
    for (const zone_snapshot& z : zones) {
        json primitives = json::array();
        for (const primitive_snapshot& p : z.primitives) {
            primitives.push_back(primitive_json(p));
        }
        out.push_back({{"name", z.name},
                       {"closed", z.closed},
                       {"operations", z.operations},
                       {"primitives", std::move(primitives)}});
    }
    return out;
}

std::string text_of(const json& value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace headgate::detail

namespace headgate {

std::string to_json(const std::vector<zone_snapshot>& zones) {
    std::vector<zone_snapshot> named = zones;
    detail::name_apart(named);
    return detail::text_of(detail::zones_json(named));
}

}  // namespace headgate
