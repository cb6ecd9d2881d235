// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/status.hpp>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <chrono>
#include <map>
#include <utility>

#include "status/names.hpp"

namespace headgate {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using namespace std::chrono_literals;

constexpr std::array<duration, 18> bounds = {1us,   10us,  100us, 1ms, 2500us, 5ms, 10ms, 25ms, 50ms,
                                             100ms, 250ms, 500ms, 1s,  2500ms, 5s,  10s,  30s,  60s};

double seconds(duration d) {
    return std::chrono::duration<double>(d).count();
}

/// Families by their names: the format wants all of one together.
class families {
public:
    void add(const std::string& name, MetricType type, std::string_view help, ClientMetric metric) {
        MetricFamily& family = by_name_[name];
        if (family.metric.empty()) {
            family.name = name;
            family.type = type;
            family.help = help;
        }
        family.metric.push_back(std::move(metric));
    }

    [[nodiscard]] std::vector<MetricFamily> take() && {
        std::vector<MetricFamily> out;
        out.reserve(by_name_.size());
        for (auto& [name, family] : by_name_) {
            out.push_back(std::move(family));
        }
        return out;
    }

private:
    std::map<std::string, MetricFamily> by_name_;
};

ClientMetric labelled(const zone_snapshot& z, const primitive_snapshot* p) {
    ClientMetric m;
    m.label.push_back({"zone", z.name});
    if (p != nullptr) {
        m.label.push_back({"name", p->name});
    }
    return m;
}

void add_latency(families& out, const zone_snapshot& z, const primitive_snapshot& p, const latency_snapshot& l) {
    ClientMetric m = labelled(z, &p);
    const auto counts = l.durations.cumulative(bounds);
    for (std::size_t i = 0; i < bounds.size(); ++i) {
        m.histogram.bucket.push_back({counts[i], seconds(bounds[i])});
    }
    m.histogram.sample_count = l.durations.count();
    m.histogram.sample_sum = l.durations.sum_seconds();
    out.add("headgate_" + std::string(to_string(p.kind)) + '_' + std::string(l.name) + "_seconds",
            MetricType::Histogram,
            l.name == "wait" ? "How long callers that were queued waited." : "How long calls ran.", std::move(m));
}

void add_state(families& out, const zone_snapshot& z, const primitive_snapshot& p) {
    constexpr std::array<std::string_view, 3> breaker_states = {"closed", "open", "half_open"};
    constexpr std::array<std::string_view, 4> pool_states = {"active", "paused", "draining", "closed"};
    const auto add = [&](std::string_view state) {
        ClientMetric m = labelled(z, &p);
        m.label.push_back({"state", std::string(state)});
        m.gauge.value = state == p.state ? 1 : 0;
        out.add("headgate_" + std::string(to_string(p.kind)) + "_state", MetricType::Gauge,
                "1 for the state that it is in, 0 for the others.", std::move(m));
    };
    if (p.kind == primitive_kind::circuit_breaker) {
        for (const auto state : breaker_states) {
            add(state);
        }
    } else if (p.kind == primitive_kind::resource_pool) {
        for (const auto state : pool_states) {
            add(state);
        }
    }
}

void add_zone(families& out, const zone_snapshot& z) {
    ClientMetric operations = labelled(z, nullptr);
    operations.gauge.value = static_cast<double>(z.operations);
    out.add("headgate_zone_operations", MetricType::Gauge, "Asynchronous operations pending.", std::move(operations));
    ClientMetric closed = labelled(z, nullptr);
    closed.gauge.value = z.closed ? 1 : 0;
    out.add("headgate_zone_closed", MetricType::Gauge, "Whether the zone is closed.", std::move(closed));
}

void add_primitive(families& out, const zone_snapshot& z, const primitive_snapshot& p) {
    const std::string prefix = "headgate_" + std::string(to_string(p.kind)) + '_';
    add_state(out, z, p);
    for (const metric& number : p.metrics) {
        ClientMetric m = labelled(z, &p);
        (number.counter ? m.counter.value : m.gauge.value) = number.value;
        out.add(prefix + std::string(number.name) + (number.counter ? "_total" : ""),
                number.counter ? MetricType::Counter : MetricType::Gauge, number.help, std::move(m));
    }
    for (const latency_snapshot& l : p.latencies) {
        add_latency(out, z, p, l);
    }
}

}  // namespace

std::string to_prometheus(const std::vector<zone_snapshot>& zones) {
    std::vector<zone_snapshot> named = zones;
    detail::name_apart(named);
    families out;
    for (const zone_snapshot& z : named) {
        add_zone(out, z);
        for (const primitive_snapshot& p : z.primitives) {
            add_primitive(out, z, p);
        }
    }
    return prometheus::TextSerializer().Serialize(std::move(out).take());
}

}  // namespace headgate
