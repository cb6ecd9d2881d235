// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "status/history.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

namespace headgate::detail {

namespace {

using namespace std::chrono_literals;

constexpr float unknown = std::numeric_limits<float>::quiet_NaN();

/// The two numbers of a part: gauges as they are, counters as their growth in a second.
struct followed {
    std::array<std::string_view, 2> metrics;
    std::array<bool, 2> counters;
};

followed followed_of(primitive_kind kind) {
    switch (kind) {
        case primitive_kind::rate_limiter: return {{"granted", "refused"}, {true, true}};
        case primitive_kind::resource_pool: return {{"leased", "waiting"}, {false, false}};
        case primitive_kind::bulkhead: return {{"running", "waiting"}, {false, false}};
        case primitive_kind::circuit_breaker: return {{"state", "refused"}, {false, true}};
        case primitive_kind::guard: break;  // no zone has one as a part
    }
    return {};
}

double number_of(const primitive_snapshot& from, std::string_view metric) {
    if (metric == "state") {
        return from.state == "open" ? 2 : from.state == "half_open" ? 1 : 0;
    }
    return from[metric];
}

// Two digits behind the point: more is not drawn.
json rounded(float value) {
    return std::isnan(value) ? json(nullptr) : json(std::round(static_cast<double>(value) * 100) / 100);
}

}  // namespace

void history::add(time_point now, const std::vector<zone_snapshot>& zones) {
    const std::lock_guard guard(mutex_);
    const duration since = last_ == 0 ? duration::max() : now - times_[place(last_)];
    if (since < 500ms) {
        return;
    }
    times_[place(++last_)] = now;
    std::erase_if(parts_, [this](const auto& p) { return last_ - p.second.last_seen >= length; });
    for (auto& [name, part] : parts_) {
        part.samples[place(last_)] = {unknown, unknown};
    }
    const double seconds = std::chrono::duration<double>(since).count();
    for (const zone_snapshot& z : zones) {
        for (const primitive_snapshot& p : z.primitives) {
            note(z.name, p, seconds);
        }
    }
}

void history::note(std::string_view zone, const primitive_snapshot& from, double seconds) {
    part_name key(zone, from.kind, from.name);
    auto found = parts_.find(key);
    if (found == parts_.end()) {
        if (parts_.size() == most_parts) {
            return;
        }
        kept_part made;
        made.samples.assign(length, {unknown, unknown});
        made.id = last_id_ + 1;
        found = parts_.emplace(std::move(key), std::move(made)).first;
        ++last_id_;
    }
    kept_part& p = found->second;
    const followed what = followed_of(from.kind);
    for (std::size_t i = 0; i < what.metrics.size(); ++i) {
        const double value = number_of(from, what.metrics[i]);
        float& sample = p.samples[place(last_)][i];
        if (!what.counters[i]) {
            sample = static_cast<float>(value);
        } else if (p.last_seen != 0 && p.last_seen + 1 == last_ && value >= p.counters[i]) {
            sample = static_cast<float>((value - p.counters[i]) / seconds);
        }
        p.counters[i] = value;
    }
    p.last_seen = last_;
}

std::uint64_t history::id_of(std::string_view zone, const primitive_snapshot& part) const {
    const part_name key(zone, part.kind, part.name);
    const std::lock_guard guard(mutex_);
    const auto found = parts_.find(key);
    return found == parts_.end() ? 0 : found->second.id;
}

json history::after(std::uint64_t since, const std::vector<std::uint64_t>& ids, time_point now,
                    std::int64_t unix_now) const {
    const std::lock_guard guard(mutex_);
    const std::uint64_t oldest = last_ - std::min<std::uint64_t>(last_, length);
    const std::uint64_t begin = std::max(since > last_ ? 0 : since, oldest) + 1;
    json times = json::array();
    for (std::uint64_t n = begin; n <= last_; ++n) {
        times.push_back(unix_now - std::chrono::floor<std::chrono::milliseconds>(now - times_[place(n)]).count());
    }
    json found = json::object();
    for (const auto& [name, part] : parts_) {
        if (std::find(ids.begin(), ids.end(), part.id) == ids.end()) {
            continue;
        }
        json both = json::array({json::array(), json::array()});
        for (std::uint64_t n = begin; n <= last_; ++n) {
            both[0].push_back(rounded(part.samples[place(n)][0]));
            both[1].push_back(rounded(part.samples[place(n)][1]));
        }
        found[std::to_string(part.id)] = std::move(both);
    }
    return {{"last", last_}, {"times", std::move(times)}, {"parts", std::move(found)}};
}

}  // namespace headgate::detail
