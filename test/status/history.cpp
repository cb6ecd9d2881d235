// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "status/history.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "status/event_log.hpp"

using namespace headgate;
using namespace std::chrono_literals;
using detail::history;
using detail::json;

namespace {

constexpr time_point start = time_point(1000h);
constexpr std::int64_t unix_start = 1'000'000;

primitive_snapshot limiter(const std::string& name, double granted, double refused) {
    return {.kind = primitive_kind::rate_limiter,
            .name = name,
            .state = {},
            .metrics = {{"granted", granted, true}, {"refused", refused, true}}};
}

primitive_snapshot breaker(const std::string& name, std::string_view state, double refused) {
    return {
        .kind = primitive_kind::circuit_breaker, .name = name, .state = state, .metrics = {{"refused", refused, true}}};
}

primitive_snapshot pool(const std::string& name, double leased, double waiting) {
    return {.kind = primitive_kind::resource_pool,
            .name = name,
            .state = "active",
            .metrics = {{"leased", leased, false}, {"waiting", waiting, false}}};
}

zone_snapshot zone_of(std::vector<primitive_snapshot> parts) {
    return {.name = "shop", .primitives = std::move(parts)};
}

// The two rows of samples of one part.
json rows(const history& h, std::uint64_t id, std::uint64_t since = 0) {
    return h.after(since, {id}, start, unix_start)["parts"][std::to_string(id)];
}

}  // namespace

TEST_CASE("history: gauges are kept as they are, counters as their growth in a second") {
    history h;
    h.add(start, {zone_of({limiter("l", 100, 5), pool("p", 3, 1), breaker("b", "closed", 7)})});
    h.add(start + 2s, {zone_of({limiter("l", 110, 5), pool("p", 0, 2.5), breaker("b", "open", 10)})});
    h.add(start + 3s, {zone_of({limiter("l", 110, 6), pool("p", 1, 0), breaker("b", "half_open", 10)})});
    const auto id = [&](const primitive_snapshot& p) { return h.id_of("shop", p); };
    CHECK(rows(h, id(limiter("l", 0, 0))) == json::parse("[[null, 5.0, 0.0], [null, 0.0, 1.0]]"));
    CHECK(rows(h, id(pool("p", 0, 0))) == json::parse("[[3.0, 0.0, 1.0], [1.0, 2.5, 0.0]]"));
    CHECK(rows(h, id(breaker("b", "", 0))) == json::parse("[[0.0, 2.0, 1.0], [null, 1.5, 0.0]]"));
    CHECK(id(pool("other", 0, 0)) == 0);
    CHECK(h.id_of("other", pool("p", 0, 0)) == 0);
}

TEST_CASE(
    "history: times are the system's of now, less the age of the sample, whatever the system's clock did meanwhile") {
    history h;
    h.add(start, {});
    h.add(start + 1500ms, {});
    const json told = h.after(0, {}, start + 2s, unix_start);
    CHECK(told == json::parse(R"({"last": 2, "times": [998000, 999500], "parts": {}})"));
    CHECK(h.after(1, {}, start + 2s, 50)["times"] == json::parse("[-450]"));
    CHECK(h.after(2, {}, start + 2s, 50)["times"].empty());
    CHECK(h.after(3, {}, start + 2s, unix_start)["times"].size() == 2);  // the 3 comes from an earlier server
}

TEST_CASE("history: a sample within half a second of the last one is not taken, nor one of a time before it") {
    history h;
    h.add(start, {});
    for (const duration d : {duration(0), duration(499ms), duration(-1h)}) {
        h.add(start + d, {});
        CHECK(h.after(0, {}, start, 0)["last"] == 1);
    }
    h.add(start + 500ms, {});
    CHECK(h.after(0, {}, start, 0)["last"] == 2);
}

TEST_CASE("history: a part that is away leaves a gap, its counter begins anew, and is forgotten after ten minutes") {
    history h;
    h.add(start, {zone_of({limiter("l", 10, 0)})});
    h.add(start + 1s, {zone_of({})});
    h.add(start + 2s, {zone_of({limiter("l", 50, 0)})});
    h.add(start + 3s, {zone_of({limiter("l", 20, 0)})});  // another limiter of that name
    h.add(start + 4s, {zone_of({limiter("l", 21, 0)})});
    const auto id = h.id_of("shop", limiter("l", 0, 0));
    CHECK(rows(h, id)[0] == json::parse("[null, null, null, null, 1.0]"));
    for (std::size_t i = 5; i < 4 + history::length; ++i) {
        h.add(start + 1s * i, {});
        CHECK(h.id_of("shop", limiter("l", 0, 0)) == id);
    }
    h.add(start + 1s * (4 + history::length), {});
    CHECK(h.id_of("shop", limiter("l", 0, 0)) == 0);
    h.add(start + 1s * (5 + history::length), {zone_of({limiter("l", 21, 0)})});
    CHECK(h.id_of("shop", limiter("l", 0, 0)) > id);  // no number is given twice
}

TEST_CASE("history: there are at most so many parts; room comes with those that go") {
    history h;
    std::vector<primitive_snapshot> parts;
    for (std::size_t i = 0; i < history::most_parts + 1; ++i) {
        parts.push_back(pool("p" + std::to_string(i), 0, 0));
    }
    h.add(start, {zone_of(parts)});
    CHECK(h.id_of("shop", parts[history::most_parts - 1]) != 0);
    CHECK(h.id_of("shop", parts.back()) == 0);
    for (std::size_t i = 1; i <= history::length; ++i) {
        h.add(start + 1s * i, {zone_of({parts.back()})});
    }
    CHECK(h.id_of("shop", parts.back()) != 0);
    CHECK(h.id_of("shop", parts.front()) == 0);
}

TEST_CASE("history: against a reference that keeps everything, over many turns of the ring") {
    std::mt19937 random(20261127);
    history h;
    std::deque<std::pair<time_point, std::map<std::string, std::pair<double, double>>>> all;
    time_point now = start;
    for (int turn = 0; turn < 3000; ++turn) {
        now += std::chrono::milliseconds(500 + random() % 1500);
        zone_snapshot z = zone_of({});
        auto& kept = all.emplace_back(now, std::map<std::string, std::pair<double, double>>{}).second;
        for (const char* name : {"a", "b", "c"}) {
            if (random() % 50 != 0) {
                kept[name] = {static_cast<double>(random() % 100), static_cast<double>(random() % 7)};
                z.primitives.push_back(pool(name, kept[name].first, kept[name].second));
            }
        }
        h.add(now, {z});
        if (all.size() > history::length) {
            all.pop_front();
        }
        if (random() % 20 != 0) {
            continue;
        }
        const std::uint64_t last = static_cast<std::uint64_t>(turn) + 1, since = last - random() % (all.size() + 1);
        for (const char* name : {"a", "b", "c"}) {
            const auto id = h.id_of("shop", pool(name, 0, 0));
            if (id == 0) {
                continue;
            }
            const json told = h.after(since, {id}, now, unix_start);
            const json& both = told["parts"][std::to_string(id)];
            REQUIRE(told["last"] == last);
            REQUIRE(told["times"].size() == last - since);
            for (std::size_t i = 0; i < both[0].size(); ++i) {
                const auto& [time, values] = all[all.size() - (last - since) + i];
                REQUIRE(told["times"][i] == unix_start - (now - time) / 1ms);
                const auto found = values.find(name);
                REQUIRE(both[0][i] == (found == values.end() ? json(nullptr) : json(found->second.first)));
                REQUIRE(both[1][i] == (found == values.end() ? json(nullptr) : json(found->second.second)));
            }
        }
    }
}

TEST_CASE("events: those of breakers are not pushed out by others, and all come in their order") {
    detail::event_log log;
    log.note("shop",
             {.kind = event_kind::breaker_state, .primitive = primitive_kind::circuit_breaker, .name = "first"});
    for (int i = 0; i < 600; ++i) {
        log.note("shop",
                 {.kind = event_kind::connect_failed, .primitive = primitive_kind::resource_pool, .name = "db"});
    }
    log.note("shop", {.kind = event_kind::breaker_state, .primitive = primitive_kind::circuit_breaker, .name = "last"});
    json out;
    log.write(0, out);
    const json& events = out["events"];
    REQUIRE(events.size() == 514);
    CHECK(events.front()["name"] == "first");
    CHECK(events.back()["name"] == "last");
    CHECK(out["last_event"] == 602);
    for (std::size_t i = 1; i < events.size(); ++i) {
        CHECK(events[i - 1]["id"] < events[i]["id"]);
    }
    log.write(601, out);
    CHECK(out["events"].size() == 1);
}
