// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "status/history.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

namespace headgate::detail {

namespace {

using namespace std::chrono_literals;

constexpr duration shortest = 500ms;  // between two samples
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
        case primitive_kind::retry: return {{"calls", "retries"}, {true, true}};
        case primitive_kind::hedge: return {{"calls", "hedges"}, {true, true}};
        case primitive_kind::coalescer: return {{"led", "joined"}, {true, true}};
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

duration history::since_last(time_point now) const noexcept {
    return last_ == 0 ? duration::max() : now - times_[place(last_)];
}

bool history::is_due(time_point now) const {
    const std::lock_guard guard(mutex_);
    return since_last(now) >= shortest;
}

void history::add(time_point now, const std::vector<zone_snapshot>& zones) {
    const std::lock_guard guard(mutex_);
    const duration since = since_last(now);
    if (since < shortest) {
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
    std::uint64_t last = 0;
    std::vector<time_point> times;
    std::vector<std::pair<std::uint64_t, std::vector<std::array<float, 2>>>> parts;
    times.reserve(length);
    parts.reserve(ids.size());
    {
        // Copies only: text takes longer than others may wait.
        const std::lock_guard guard(mutex_);
        last = last_;
        const std::uint64_t oldest = last - std::min<std::uint64_t>(last, length);
        const std::uint64_t begin = std::max(since > last ? 0 : since, oldest) + 1;
        for (std::uint64_t n = begin; n <= last; ++n) {
            times.push_back(times_[place(n)]);
        }
        for (const auto& [name, kept] : parts_) {
            if (std::find(ids.begin(), ids.end(), kept.id) != ids.end()) {
                auto& copy = parts.emplace_back(kept.id, std::vector<std::array<float, 2>>()).second;
                copy.reserve(times.size());
                for (std::uint64_t n = begin; n <= last; ++n) {
                    copy.push_back(kept.samples[place(n)]);
                }
            }
        }
    }
    json out = {{"last", last}, {"times", json::array()}, {"parts", json::object()}};
    for (const time_point t : times) {
        out["times"].push_back(unix_now - std::chrono::floor<std::chrono::milliseconds>(now - t).count());
    }
    for (const auto& [id, samples] : parts) {
        json& both = out["parts"][std::to_string(id)] = json::array({json::array(), json::array()});
        for (const auto& [first, second] : samples) {
            both[0].push_back(rounded(first));
            both[1].push_back(rounded(second));
        }
    }
    return out;
}

}  // namespace headgate::detail
