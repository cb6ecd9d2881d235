// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "zone/deadline_wheel.hpp"

#include <doctest/doctest.h>

#include <deque>
#include <map>
#include <random>
#include <vector>

#include "zone/deadline_access.hpp"

namespace headgate::detail {
namespace {

using namespace std::chrono_literals;

TEST_CASE("a deadline is due at exactly its time, in order of time and then of arrival") {
    deadline_wheel wheel;
    probe_deadline late(time_point{5ms}), first(time_point{2ms}), second(time_point{2ms}), soon(time_point{1ms + 1ns});
    for (auto* d : {&late, &first, &second, &soon}) {
        wheel.add(*d);
    }
    CHECK(wheel.next_wake() <= time_point{1ms + 1ns});
    CHECK(wheel.pop_due(time_point{1ms}) == nullptr);
    CHECK(wheel.pop_due(time_point{1ms + 1ns}) == &soon);
    CHECK(wheel.pop_due(time_point{2ms - 1ns}) == nullptr);
    CHECK(wheel.pop_due(time_point{3ms}) == &first);
    CHECK(wheel.remove(second));
    CHECK_FALSE(wheel.remove(second));
    CHECK(wheel.pop_due(time_point{4ms}) == nullptr);
    CHECK(wheel.next_wake() == time_point{5ms});
    CHECK(wheel.pop_due(time_point::max()) == &late);
    CHECK(wheel.empty());
    CHECK(wheel.next_wake() == time_point::max());
}

TEST_CASE("random deadlines over the whole range of time fire as in a sorted map, 100,000 events") {
    const auto seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    deadline_wheel wheel;
    std::deque<probe_deadline> nodes;
    std::multimap<time_point, probe_deadline*> model;
    time_point now{random() % 2 == 0 ? -1h : 1000000h};
    for (int event = 0; event < 100'000; ++event) {
        const auto choice = random() % 10;
        if (choice < 5) {
            const auto exponent = random() % 63;
            const auto ahead = duration{static_cast<duration::rep>(random() % (std::uint64_t{1} << exponent))};
            auto& node = nodes.emplace_back(saturating_add(now, ahead));
            wheel.add(node);
            model.emplace(node.when(), &node);
        } else if (choice < 7 && !model.empty()) {
            auto it = model.lower_bound(now + duration{static_cast<duration::rep>(random() % 1'000'000'000)});
            if (it != model.end()) {
                REQUIRE(wheel.remove(*it->second));
                model.erase(it);
            }
        } else {
            const auto wake = wheel.next_wake();
            REQUIRE(wake <= (model.empty() ? time_point::max() : model.begin()->first));
            if (random() % 2 == 0 && wake < now + 1h) {
                now = std::max(now, wake);
            } else if (random() % 100 == 0) {
                now += duration{static_cast<duration::rep>(random() % 1'000'000'000'000)};
            }
            while (deadline* due = wheel.pop_due(now)) {
                REQUIRE(!model.empty());
                REQUIRE(due == model.begin()->second);
                model.erase(model.begin());
            }
            REQUIRE((model.empty() || model.begin()->first > now));
        }
    }
    for (auto& [when, node] : model) {
        CHECK(wheel.remove(*node));
    }
    CHECK(wheel.empty());
}

TEST_CASE("a hundred thousand deadlines within one millisecond fire in order, those of one time as they came") {
    std::mt19937_64 random(1);
    deadline_wheel wheel;
    std::deque<probe_deadline> nodes;
    std::multimap<time_point, probe_deadline*> model;
    for (int i = 0; i < 100'000; ++i) {
        auto& node = nodes.emplace_back(time_point{1h + duration{static_cast<duration::rep>(random() % 1'000)}});
        wheel.add(node);
        model.emplace(node.when(), &node);
        REQUIRE(wheel.next_wake() == model.begin()->first);
    }
    for (std::size_t i = 0; i < nodes.size(); i += 3) {
        REQUIRE(wheel.remove(nodes[i]));
    }
    std::erase_if(model, [&](const auto& m) { return !m.second->is_linked(); });
    CHECK(wheel.pop_due(time_point{1h - 1ns}) == nullptr);
    for (const auto& [when, node] : model) {
        REQUIRE(wheel.next_wake() == when);
        REQUIRE(wheel.pop_due(time_point{2h}) == node);
    }
    CHECK(wheel.empty());
    CHECK(wheel.pop_due(time_point{2h}) == nullptr);
}

TEST_CASE("time that goes backwards, stands or jumps by years makes no deadline early, and none late") {
    const auto seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    for (int round = 0; round < 20; ++round) {
        deadline_wheel wheel;
        std::deque<probe_deadline> nodes;
        std::multimap<time_point, probe_deadline*> model;
        time_point now{};
        const auto span = [&] { return duration{static_cast<duration::rep>(random() >> (10 + random() % 53))}; };
        for (int event = 0; event < 3'000; ++event) {
            auto& node = nodes.emplace_back(random() % 8 == 0 ? now - span() : now + span());
            wheel.add(node);
            model.emplace(node.when(), &node);
            if (random() % 3 == 0) {
                const auto jump = random() % 4 == 0 ? duration{} : span();
                now = random() % 3 == 0 ? std::max(now - jump, time_point{}) : std::min(now + jump, time_point{100h});
            }
            REQUIRE(wheel.next_wake() == model.begin()->first);
            while (deadline* due = wheel.pop_due(now)) {
                REQUIRE(due == model.begin()->second);
                REQUIRE(due->when() <= now);
                model.erase(model.begin());
            }
            REQUIRE((model.empty() || model.begin()->first > now));
        }
        for (auto& [when, node] : model) {
            REQUIRE(wheel.remove(*node));
        }
    }
}

}  // namespace
}  // namespace headgate::detail
