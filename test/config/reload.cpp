// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/zone_set.hpp>

#include <doctest/doctest.h>

#include <boost/asio/detached.hpp>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <headgate/bulkhead.hpp>
#include <headgate/circuit_breaker.hpp>
#include <headgate/coalescer.hpp>
#include <headgate/hedge.hpp>
#include <headgate/rate_limiter.hpp>
#include <headgate/retry.hpp>

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct counts {
    int open = 0, connects = 0, pings = 0;
};
struct backend {
    std::shared_ptr<counts> seen;
    asio::awaitable<int> connect() {
        ++seen->open;
        co_return ++seen->connects;
    }
    asio::awaitable<bool> ping(int&) {
        ++seen->pings;
        co_return true;
    }
    void close(int) { --seen->open; }
};

config parsed(std::string_view text) {
    auto c = config::parse(text);
    REQUIRE_MESSAGE(c, c.error().message());
    return c.value();
}

config with_pool(const std::string& zone_name) {
    return parsed("{\"zones\": {\"" + zone_name +
                  R"(": {"resource_pools": {"db": {"size": 4, "max_lifetime": "10m", "ping_interval": "30s"}}}}})");
}

struct fixture {
    virtual_clock clock;
    asio::io_context io;
    std::vector<config_problem> problems;
};

TEST_CASE_FIXTURE(
    fixture,
    "reload: a zone that code has closed is a mistake where something new is to be made, and nothing changes") {
    auto set = zone_set::create(
                   io, parsed(R"({"zones": {"a": {"bulkheads": {"x": {}}}, "b": {"bulkheads": {"x": {}}}}})"), &clock)
                   .value();
    const auto wanted = parsed(R"({"zones": {"a": {"bulkheads": {"x": {"max_concurrent": 3}, "new": {}}},
        "b": {"bulkheads": {"x": {}, "new": {}}, "rate_limiters": {"l": {"quota": "1/1s"}}, "resource_pools": {"p": {}}}, "c": {}}})");
    set->find("b").value()->close();
    for (int i = 0; i < 2; ++i) {
        const auto r = set->reload(wanted, problems);
        CHECK(r.error() == errc::invalid_config);
        REQUIRE(problems.size() == 3);
        CHECK(problems[0].pointer == "/zones/b/rate_limiters/l");
        CHECK(problems[1].pointer == "/zones/b/bulkheads/new");
        CHECK(problems[2].pointer == "/zones/b/resource_pools/p");
        CHECK_FALSE(bulkhead::find(*set->find("a").value(), "new"));
        CHECK(bulkhead::find(*set->find("a").value(), "x").value().snapshot().max_concurrent == 10);
        CHECK_FALSE(set->find("c"));
        CHECK_FALSE(set->current().zones.at("a").bulkheads.contains("new"));
    }
    CHECK(
        set->reload(parsed(R"({"zones": {"a": {"bulkheads": {"x": {}, "new": {}}}, "b": {"bulkheads": {"x": {}}}}})")));
    CHECK(bulkhead::find(*set->find("a").value(), "new"));
}

TEST_CASE_FIXTURE(fixture, "reload: names that code has given away are mistakes with their pointers, all of them") {
    auto set = zone_set::create(io, parsed(R"({"zones": {"z": {}}})"), &clock).value();
    zone& z = *set->find("z").value();
    const auto seen = std::make_shared<counts>();
    auto limiter = rate_limiter::create(z, "n", quota::per(5, 1s).value()).value();
    auto breaker = circuit_breaker::create(z, "n").value();
    auto gate = bulkhead::create(z, "n").value();
    auto again = retry::create(z, "n").value();
    auto twice = hedge::create(z, "n", {.retry = "n"}).value();
    auto reads = coalescer<int>::create(z, "n").value();
    auto pool = resource_pool<int>::create(z, "n", {.size = 1}, backend{seen}).value();
    CHECK_FALSE(
        set->reload(parsed(R"({"zones": {"z": {"rate_limiters": {"n": {"quota": "1/1s"}, "free": {"quota": "1/1s"}},
        "circuit_breakers": {"n": {}}, "bulkheads": {"n": {}}, "resource_pools": {"n": {}}, "retries": {"n": {}},
        "hedges": {"n": {"retry": "n"}}, "coalescers": {"n": {}}}}})"),
                    problems));
    REQUIRE(problems.size() == 7);
    for (const auto& p : problems) {
        CHECK(p.pointer.substr(p.pointer.size() - 2) == "/n");
        CHECK(p.found == "a name that code has given away in this zone already");
    }
    CHECK_FALSE(rate_limiter::find(z, "free"));
    CHECK(rate_limiter::find(z, "n").value().inspect("k").tightest.limit == 5);
    CHECK(limiter.try_acquire("k"));
    CHECK(rate_limiter::create(z, "free", quota::per(5, 1s).value()));
}

TEST_CASE_FIXTURE(fixture, "reload: all mistakes are told at once: of values, and of what cannot change") {
    auto set = zone_set::create(io, parsed(R"({"zones": {"z": {"rate_limiters": {"l": {"quota": "1/1s"}}}}})"), &clock)
                   .value();
    config wanted = set->current();
    wanted.zones["z"].rate_limiters["l"].max_keys = 7;
    wanted.zones["z"].rate_limiters["l"].busiest = 5000;
    wanted.zones["z"].rate_limiters["m"];
    wanted.zones["z"].bulkheads["b"].max_concurrent = 0;
    CHECK_FALSE(set->reload(wanted, problems));
    std::string all = to_string(problems);
    for (const char* at : {"l/max_keys: found 7", "l/busiest: found 5000; valid is a whole number from 0 to 1000",
                           "rate_limiters/m: ", "bulkheads/b/max_concurrent: "}) {
        CAPTURE(all);
        CHECK(all.find(at) != std::string::npos);
    }
}

TEST_CASE_FIXTURE(fixture,
                  "reload: a dropped zone closes its connections, and is freed with its last lease, call and handle") {
    const auto seen = std::make_shared<counts>();
    auto set = zone_set::create(io, with_pool("v1"), &clock).value();
    auto pool = std::optional(set->make_pool<int>("v1", "db", backend{seen}).value());
    clock.run_for(io, 1s);
    CHECK(seen->open == 4);
    std::vector<lease<int>> lent;
    lent.push_back(pool->try_checkout().value());
    const std::weak_ptr<detail::zone_core> core = set->find("v1").value()->core();
    REQUIRE(set->reload(with_pool("v2")));
    clock.run_for(io, 24h);
    CHECK(seen->open == 1);
    CHECK(pool->try_checkout().error() == errc::shut_down);
    const int pings = seen->pings, connects = seen->connects;
    clock.run_for(io, 24h);
    CHECK(seen->pings == pings);
    CHECK(seen->connects == connects);
    lent.clear();
    clock.run_for(io, 1s);
    CHECK(seen->open == 0);
    CHECK_FALSE(core.expired());
    pool.reset();
    CHECK(core.expired());
}

TEST_CASE_FIXTURE(fixture, "reload: a thousand zones that come and go leave nothing") {
    const auto seen = std::make_shared<counts>();
    auto set = zone_set::create(io, with_pool("v"), &clock).value();
    std::vector<std::weak_ptr<detail::zone_core>> cores;
    for (int v = 0; v < 1000; ++v) {
        std::string name("v");
        name += std::to_string(v);
        REQUIRE(set->reload(with_pool(name)));
        REQUIRE(set->make_pool<int>(name, "db", backend{seen}));
        cores.push_back(set->find(name).value()->core());
        clock.run_for(io, 1s);
    }
    CHECK(seen->open == 4);
    CHECK(std::count_if(cores.begin(), cores.end(), [](const auto& c) { return !c.expired(); }) == 1);
}

TEST_CASE_FIXTURE(fixture, "reload: a zone that is referred to lives on when it is dropped, and when the set goes") {
    auto set = zone_set::create(io, parsed(R"({"zones": {"z": {}}})"), &clock).value();
    const zone_ref kept = set->find("z").value();
    zone* const plain = kept;
    REQUIRE(set->reload(parsed(R"({"zones": {}})")));
    clock.run(io);
    CHECK(plain->name() == "z");
    CHECK(kept->core()->refusing());
    set.reset();
    CHECK(kept->snapshot().name == "z");
}

TEST_CASE_FIXTURE(fixture, "reload: a lease of a dropped zone does not keep the set or the io_context from going") {
    const auto seen = std::make_shared<counts>();
    auto set = zone_set::create(io, with_pool("v1"), &clock).value();
    auto pool = set->make_pool<int>("v1", "db", backend{seen}).value();
    clock.run_for(io, 1s);
    auto lent = pool.try_checkout();
    REQUIRE(set->reload(parsed(R"({"zones": {}})")));
    clock.run_for(io, 1s);
    set.reset();
    io.restart();
    io.run();
    CHECK(seen->open == 1);
    lent.value().give_back();
    io.restart();
    io.run();
    CHECK(seen->open == 0);
}

TEST_CASE_FIXTURE(fixture, "reload: a pool that is made while its entry changes has the entry's options") {
    const auto seen = std::make_shared<counts>();
    auto set = zone_set::create(io, with_pool("z"), &clock).value();
    // A backend that reloads during its third move.
    struct reloading : backend {
        reloading(std::shared_ptr<counts> s, std::function<void()> f) : backend{std::move(s)}, first(std::move(f)) {}
        reloading(reloading&& other) : backend(other), first(std::move(other.first)) {
            if (first && ++moves == 3) {
                first();
            }
        }
        std::function<void()> first;
        int moves = 0;
    };
    config wanted = with_pool("z");
    wanted.zones["z"].resource_pools["db"].size = 2;
    auto pool = set->make_pool<int>("z", "db", reloading(seen, [&] { REQUIRE(set->reload(wanted)); }));
    REQUIRE(pool);
    REQUIRE(set->reload(wanted));
    clock.run_for(io, 1s);
    CHECK(pool.value().snapshot().size == 2);
}

TEST_CASE("reload: zones come and go beside calls, looks and other reloads on other threads") {
    asio::io_context io;
    const config one =
        parsed(R"({"zones": {"a": {"rate_limiters": {"l": {"quota": "1000/1s"}}, "bulkheads": {"b": {}}}, "b": {}}})");
    const config two =
        parsed(R"({"zones": {"a": {"rate_limiters": {"l": {"quota": "2000/1s"}}}, "c": {"bulkheads": {"b": {}}}}})");
    auto set = zone_set::create(io, one).value();
    std::atomic<bool> stop{false};
    std::thread runs([&] {
        while (!stop) {
            io.restart();
            io.poll();
        }
    });
    std::thread looks([&] {
        while (!stop) {
            for (const zone_ref& z : set->zones()) {
                (void)z->snapshot();
                if (auto gate = bulkhead::find(*z, "b")) {
                    auto place = gate.value().try_enter();
                }
            }
            (void)set->dump();
        }
    });
    std::thread reloads([&] {
        for (int i = 0; i < 200; ++i) {
            CHECK(set->reload(i % 2 == 0 ? two : one));
        }
    });
    for (int i = 0; i < 200; ++i) {
        CHECK(set->reload(i % 3 == 0 ? one : two));
    }
    reloads.join();
    stop = true;
    looks.join();
    runs.join();
    set.reset();
    io.restart();
    io.run();
}

}  // namespace
}  // namespace headgate
