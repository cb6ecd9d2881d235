// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "status/event_log.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <utility>
#include <vector>

namespace headgate::detail {

namespace {

constexpr std::size_t most_events = 512;       // of changes, and of others
constexpr std::size_t longest_detail = 1'024;  // bytes

std::string_view name_of(event_kind kind) {
    switch (kind) {
        case event_kind::breaker_state: return "breaker_state";
        case event_kind::keys_overflowed: return "keys_overflowed";
        case event_kind::keys_recovered: return "keys_recovered";
        case event_kind::connect_failed: return "connect_failed";
        case event_kind::pool_recovered: return "pool_recovered";
        case event_kind::resource_replaced: return "resource_replaced";
        case event_kind::lease_leaked: return "lease_leaked";
        case event_kind::budget_exhausted: return "budget_exhausted";
        case event_kind::budget_recovered: return "budget_recovered";
        case event_kind::reconfigured: return "reconfigured";
        case event_kind::overrun: return "overrun";
    }
    return "unknown";
}

std::string cut(std::string_view detail) {
    return std::string(detail.substr(0, longest_detail));
}

}  // namespace

std::int64_t unix_ms(std::chrono::nanoseconds since_epoch) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count();
}

void event_log::note(const std::string& zone_name, const event& e) noexcept {
    try {
        add(e.kind == event_kind::breaker_state ? changes_ : others_,
            {{"time", unix_ms(e.system_time.time_since_epoch())},
             {"zone", zone_name},
             {"event", name_of(e.kind)},
             {"kind", to_string(e.primitive)},
             {"name", e.name},
             {"from", e.from},
             {"to", e.to},
             {"detail", cut(e.detail)}});
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): it would leave through the service's io_context
    }
}

void event_log::note_failure(std::string_view event_name, const std::string& of, std::string_view why) noexcept {
    try {
        add(others_, {{"time", unix_ms(std::chrono::system_clock::now().time_since_epoch())},
                      {"zone", ""},
                      {"event", event_name},
                      {"kind", "site"},
                      {"name", of},
                      {"from", ""},
                      {"to", ""},
                      {"detail", cut(why)}});
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the answer tells it too
    }
}

void event_log::add(std::deque<entry>& where, json made) {
    auto shared = std::make_shared<json>(std::move(made));
    (*shared)["id"] = 0;
    const std::lock_guard guard(mutex_);
    where.push_back({last_ + 1, shared});
    (*shared)["id"] = ++last_;
    if (where.size() > most_events) {
        where.pop_front();
    }
}

void event_log::write(std::uint64_t since, json& out) const {
    std::vector<entry> news;
    news.reserve(2 * most_events);
    std::uint64_t last = 0;
    {
        const std::lock_guard guard(mutex_);
        for (const auto* kept : {&changes_, &others_}) {
            std::copy_if(kept->begin(), kept->end(), std::back_inserter(news),
                         [since](const entry& e) { return e.id > since; });
        }
        last = last_;
    }
    std::sort(news.begin(), news.end(), [](const entry& a, const entry& b) { return a.id < b.id; });
    out["last_event"] = last;
    json& events = out["events"] = json::array();
    for (const entry& e : news) {
        events.push_back(*e.text);
    }
}

}  // namespace headgate::detail
