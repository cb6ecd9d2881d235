// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/zone_set.hpp>

#include <doctest/doctest.h>

#include <boost/asio/detached.hpp>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include <headgate/coalescer.hpp>
#include <headgate/guard.hpp>
#include <headgate/hedge.hpp>
#include <headgate/spawn.hpp>

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct backend {
    asio::awaitable<int> connect() { co_return 1; }
};

config parsed(std::string_view text) {
    auto c = config::parse(text);
    REQUIRE_MESSAGE(c, c.error().message());
    return c.value();
}

constexpr std::string_view shop = R"({"zones": {"shop": {
    "rate_limiters": {"calls": {"quota": "4/1m"}},
    "circuit_breakers": {"db": {"consecutive_failures": 2}},
    "resource_pools": {"db": {"size": 2}},
    "bulkheads": {"reports": {"max_concurrent": 1}},
    "retries": {"again": {"max_attempts": 2}, "old": {}},
    "hedges": {"twice": {"retry": "old"}, "gone": {"retry": "again"}},
    "coalescers": {"reads": {"keep_for": "1m"}}
}}})";

struct fixture {
    virtual_clock clock;
    asio::io_context io;
    std::unique_ptr<zone_set> set = zone_set::create(io, parsed(shop), &clock).value();
    zone& z = *set->find("shop").value();
    resource_pool<int> pool = set->make_pool<int>("shop", "db", backend{}).value();
    fixture() { clock.run(io); }
};

TEST_CASE_FIXTURE(fixture, "zone_set: makes what the configuration says; pools are made by code, with its options") {
    CHECK(rate_limiter::find(z, "calls"));
    CHECK(circuit_breaker::find(z, "db"));
    CHECK(bulkhead::find(z, "reports"));
    CHECK(pool.snapshot().size == 2);
    CHECK(set->find("shops").error() == errc::unknown_name);
    CHECK(set->make_pool<int>("shop", "cache", backend{}).error() == errc::unknown_name);
    CHECK(set->make_pool<int>("shop", "db", backend{}).error() == errc::name_taken);
    CHECK(set->current() == parsed(shop));
    CHECK(parsed(set->dump()) == parsed(shop));
    CHECK(set->snapshot().front().primitives.size() == 9);
}

TEST_CASE_FIXTURE(fixture, "zone_set: a reload keeps state and takes new parameters") {
    auto calls = rate_limiter::find(z, "calls").value();
    auto breaker = circuit_breaker::find(z, "db").value();
    CHECK(calls.try_acquire("ann"));
    CHECK(calls.try_acquire("ann"));
    breaker.try_begin().value().failure();
    auto lease = pool.try_checkout();
    REQUIRE(set->reload(parsed(R"({"zones": {"shop": {
        "rate_limiters": {"calls": {"quota": "8/1m"}, "more": {"quota": "1/1s"}},
        "circuit_breakers": {"db": {"consecutive_failures": 3, "probes": 2}},
        "resource_pools": {"db": {"size": 3, "max_wait": "1s"}},
        "bulkheads": {"reports": {"max_concurrent": 2}},
        "retries": {"again": {"attempt_timeout": "1s"}, "new": {}},
        "hedges": {"twice": {"retry": "new", "delay": "5ms"}},
        "coalescers": {"reads": {"keep_for": "2m"}}
    }, "new": {"bulkheads": {"b": {}}}}})")));
    clock.run(io);
    CHECK(calls.inspect("ann").tightest.used == 2);
    CHECK(calls.inspect("ann").tightest.limit == 8);
    CHECK(breaker.snapshot().consecutive_failures == 1);
    CHECK(pool.snapshot().size == 3);
    CHECK(pool.snapshot().leased == 1);
    CHECK(pool.core()->max_wait() == 1s);
    CHECK(bulkhead::find(z, "reports").value().snapshot().max_concurrent == 2);
    CHECK(retry::find(z, "again").value().core()->attempt_timeout() == 1s);
    CHECK(retry::find(z, "old").error() == errc::unknown_name);
    CHECK(hedge::find(z, "twice").value().snapshot().delay == duration(5ms));
    CHECK(hedge::find(z, "gone").error() == errc::unknown_name);
    CHECK(coalescer<int>::find(z, "reads"));
    CHECK(coalescer<std::string>::find(z, "reads").error() == errc::unknown_name);
    CHECK(rate_limiter::find(z, "more"));
    CHECK(bulkhead::find(*set->find("new").value(), "b"));
}

TEST_CASE_FIXTURE(fixture, "zone_set: a bad reload changes nothing, and tells all that is wrong") {
    config wrong = parsed(shop);
    wrong.zones["shop"].rate_limiters["calls"].tiers = {{"default", {quota::per(9, 1min).value()}}};
    wrong.zones["shop"].resource_pools["db"].size = 0;
    wrong.zones["shop"].bulkheads["reports"].max_concurrent = 0;
    std::vector<config_problem> problems;
    const auto r = set->reload(wrong, problems);
    CHECK(r.error() == errc::invalid_config);
    CHECK(problems.size() == 2);
    CHECK(rate_limiter::find(z, "calls").value().inspect("ann").tightest.limit == 4);
    CHECK(set->current() == parsed(shop));
    // These members cannot change while the limiter is in use.
    config fixed = parsed(shop);
    fixed.zones["shop"].rate_limiters["calls"].max_keys = 5;
    fixed.zones["shop"].rate_limiters["calls"].tiers.front().name = "other";
    CHECK_FALSE(set->reload(fixed, problems));
    REQUIRE(problems.size() == 2);
    CHECK(problems[0].pointer == "/zones/shop/rate_limiters/calls/max_keys");
    CHECK(problems[0].valid == "1048576, which cannot change while in use");
    CHECK(problems[1].pointer == "/zones/shop/rate_limiters/calls/tiers/0/name");
    CHECK_FALSE(zone_set::create(io, wrong, &clock));
}

TEST_CASE_FIXTURE(fixture, "zone_set: removed names drain, and handles to them go on") {
    auto calls = rate_limiter::find(z, "calls").value();
    auto reports = bulkhead::find(z, "reports").value();
    auto lease = pool.try_checkout();
    auto other = pool.try_checkout();
    std::optional<result<headgate::lease<int>>> waiting;
    pool.checkout([&](result<headgate::lease<int>> r) { waiting.emplace(std::move(r)); });
    io.restart();
    io.poll();
    REQUIRE(set->reload(parsed(R"({"zones": {"shop": {}}})")));
    CHECK(rate_limiter::find(z, "calls").error() == errc::unknown_name);
    CHECK(calls.try_acquire("ann"));
    CHECK(pool.try_checkout().error() == errc::shut_down);
    CHECK(reports.try_enter().error() == errc::shut_down);
    // The waiter is served, and the pool closes resources that come back.
    lease.value().give_back();
    io.restart();
    io.poll();
    REQUIRE(waiting);
    CHECK(waiting->has_value());
    waiting.reset();
    other.value().give_back();
    clock.run(io);
    CHECK(pool.snapshot().idle == 0);
    // The name is free again.
    REQUIRE(set->reload(parsed(shop)));
    CHECK(set->make_pool<int>("shop", "db", backend{}));
    // A removed zone refuses.
    REQUIRE(set->reload(parsed(R"({"zones": {}})")));
    CHECK(z.snapshot().name == "shop");
    CHECK(calls.try_acquire("ann").error() == errc::shut_down);
    CHECK(set->find("shop").error() == errc::unknown_name);
}

TEST_CASE("zone_set: closing a zone ends who waits for a pool that a reload removed") {
    virtual_clock clock;
    asio::io_context io;
    auto set = zone_set::create(io, parsed(shop), &clock).value();
    auto pool = set->make_pool<int>("shop", "db", backend{}).value();
    clock.run(io);
    auto a = pool.try_checkout(), b = pool.try_checkout();
    std::optional<errc> end;
    pool.checkout([&](const result<lease<int>>& r) { end = static_cast<errc>(r.error().code.value()); });
    io.restart();
    io.poll();
    REQUIRE(set->reload(parsed(R"({"zones": {"shop": {}}})")));
    set->find("shop").value()->close();
    clock.run(io);
    CHECK(end == errc::shut_down);
}

TEST_CASE("zone_set: a reload of many primitives under load loses no call") {
    asio::io_context io;
    config small, large;
    for (int i = 0; i < 100; ++i) {
        const std::string name = std::to_string(i);
        small.zones["z"].rate_limiters[name].tiers = {{"default", {quota::per(1'000'000, 1s).value()}}};
        large.zones["z"].rate_limiters[name].tiers = {{"default", {quota::per(2'000'000, 1s).value()}}};
        small.zones["z"].circuit_breakers[name].consecutive_failures = 5;
        large.zones["z"].circuit_breakers[name].consecutive_failures = 6;
        small.zones["z"].bulkheads[name].max_concurrent = 10;
        large.zones["z"].bulkheads[name].max_concurrent = 20;
    }
    auto set = zone_set::create(io, small).value();
    zone& z = *set->find("z").value();
    std::atomic<bool> done{false};
    int calls = 0, lost = 0;
    std::thread traffic([&] {
        std::vector<guard<>> guards;
        for (int i = 0; i < 100; ++i) {
            const std::string name = std::to_string(i);
            guards.push_back(make_guard(z, {.limiter = name, .breaker = name, .bulkhead = name}).value());
        }
        const auto op = []() -> asio::awaitable<void> { co_return; };
        asio::io_context mine;
        while (!done || calls < 1000) {
            for (const guard<>& g : guards) {
                spawn(mine.get_executor(), g.run("ann", op), [&](const result<void>& r) {
                    ++calls;
                    lost += r ? 0 : 1;
                });
            }
            mine.restart();
            mine.run();
        }
    });
    for (int i = 0; i < 50; ++i) {
        REQUIRE(set->reload(i % 2 == 0 ? large : small));
        io.restart();
        io.poll();
    }
    done = true;
    traffic.join();
    CHECK(lost == 0);
    CHECK(calls >= 1000);
}

}  // namespace
}  // namespace headgate
