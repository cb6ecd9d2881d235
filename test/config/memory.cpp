// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// A document and a reload without memory.

#include <doctest/doctest.h>

#include <boost/asio/io_context.hpp>

#include <memory>
#include <string_view>
#include <vector>

#include <headgate/circuit_breaker.hpp>
#include <headgate/config.hpp>
#include <headgate/rate_limiter.hpp>
#include <headgate/virtual_clock.hpp>
#include <headgate/zone_set.hpp>

#include "../allocation/failing.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using allocation::every_allocation;
using allocation::failing;

constexpr std::string_view small = R"({"zones": {"shop": {
    "rate_limiters": {"calls": {"quota": "4/1m"}, "old": {"quota": "1/1s"}},
    "circuit_breakers": {"db": {"consecutive_failures": 2}, "old": {}}},
    "gone": {"circuit_breakers": {"b": {}}}}})";
constexpr std::string_view large = R"({"zones": {"shop": {"missing_breaker": "run",
    "rate_limiters": {"calls": {"quota": "8/1m"}, "more": {"quota": "1/1s"}},
    "circuit_breakers": {"db": {"consecutive_failures": 3, "probes": 2}, "more": {}}},
    "new": {"circuit_breakers": {"b": {}}, "rate_limiters": {"l": {"quota": "1/1s"}},
        "bulkheads": {"reports": {"max_concurrent": 2}}, "retries": {"r": {"max_attempts": 2}},
        "hedges": {"h": {"retry": "r"}}, "coalescers": {"c": {"keep_for": "1s"}}}}})";

TEST_CASE("a document that is read without memory is out_of_memory, and no mistake") {
    const auto failures = every_allocation([] {
        std::vector<config_problem> problems;
        failing scope;
        const auto parsed = config::parse(large, problems);
        scope.stop();
        CHECK((parsed || parsed.error() == errc::out_of_memory));
        CHECK(problems.empty());
    });
    CHECK(failures > 100);
}

TEST_CASE("a reload without memory changes nothing and leaves nothing, and the next one works") {
    virtual_clock clock;
    const config from = config::parse(small).value(), to = config::parse(large).value();
    const auto failures = every_allocation([&] {
        asio::io_context io;
        std::unique_ptr<zone_set> set = zone_set::create(io, from, &clock).value();
        const auto shop = set->find("shop").value();
        failing scope;
        const auto changed = set->reload(to);
        scope.stop();
        if (!changed) {
            CHECK(changed.error() == errc::out_of_memory);
            CHECK(set->current() == from);
            CHECK_FALSE(set->find("new"));
            CHECK(set->find("gone"));
            CHECK_FALSE(shop->core()->runs_without_breaker());
            CHECK(rate_limiter::find(*shop, "old"));
            CHECK_FALSE(rate_limiter::find(*shop, "more"));
            CHECK(rate_limiter::find(*shop, "calls").value().inspect("ann").tightest.limit == 4);
            CHECK(circuit_breaker::find(*shop, "old"));
            REQUIRE(set->reload(to));
        }
        CHECK(set->current() == to);
        CHECK(set->find("new"));
        CHECK_FALSE(set->find("gone"));
        CHECK(rate_limiter::find(*shop, "more"));
        CHECK(rate_limiter::find(*shop, "calls").value().inspect("ann").tightest.limit == 8);
        CHECK_FALSE(circuit_breaker::find(*shop, "old"));
        clock.run(io);
    });
    CHECK(failures > 50);
}

}  // namespace
}  // namespace headgate
