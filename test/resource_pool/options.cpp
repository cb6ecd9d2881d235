// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>
#include <headgate/pool_options.hpp>

#include <limits>
#include <string>
#include <vector>

using namespace headgate;
using namespace std::chrono_literals;

namespace {

std::string problem(const pool_options& o) {
    const auto r = detail::accept(check(o));
    if (r) {
        return "";
    }
    CHECK(r.error() == errc::invalid_argument);
    REQUIRE(r.error().detail);
    return *r.error().detail;
}

}  // namespace

TEST_CASE("pool options: the defaults are valid") {
    CHECK(problem({}) == "");
}

TEST_CASE("pool options: every impossible value is a clear error") {
    CHECK(problem({.size = 0}) == "size + max_overflow is 0; it must be 1 to 1000000");
    CHECK(problem({.size = 0, .max_overflow = 1}) == "");
    CHECK(problem({.size = 1'000'000, .max_overflow = 1}) == "size + max_overflow is 1000001; it must be 1 to 1000000");
    CHECK(problem({.size = 0xffffffff, .max_overflow = 1}) == "size is 4294967295; it must be 0 to 1000000");
    CHECK(problem({.strategy = static_cast<pool_strategy>(9)}) == "strategy is 9; it must be one of lifo, fifo");
    CHECK(problem({.max_connecting = 0}) == "max_connecting is 0; it must be 1 to 4294967295");
    CHECK(problem({.max_wait = 0s}) == "max_wait is 0 s; it must be above 0");
    CHECK(problem({.overflow_ttl = -1ns}) == "overflow_ttl is -1 ns; it must be above 0, or 0 for off");
    CHECK(problem({.connect_timeout = -1s}) == "connect_timeout is -1 s; it must be above 0");
    CHECK(problem({.backoff_min = 0s}) == "backoff_min is 0 s; it must be above 0");
    CHECK(problem({.backoff_min = 2ns, .backoff_max = 1ns}) ==
          "backoff_max is 1 ns; it must be at least backoff_min, which is 2 ns");
    CHECK(problem({.max_lifetime = -1ns}) == "max_lifetime is -1 ns; it must be above 0, or 0 for off");
    CHECK(problem({.idle_timeout = -1ns}) == "idle_timeout is -1 ns; it must be above 0, or 0 for off");
    CHECK(problem({.ping_interval = -1ns}) == "ping_interval is -1 ns; it must be above 0, or 0 for off");
    CHECK(problem({.ping_timeout = 0ns}) == "ping_timeout is 0 s; it must be above 0");
    CHECK(problem({.leak_threshold = -1ns}) == "leak_threshold is -1 ns; it must be above 0, or 0 for off");
    CHECK(problem({.backoff_jitter = std::numeric_limits<double>::quiet_NaN()}) ==
          "backoff_jitter is nan; it must be from 0 to 1");
    CHECK(problem({.backoff_jitter = -0.5}) == "backoff_jitter is -0.5; it must be from 0 to 1");
    CHECK(problem({.lifetime_jitter = 1.5}) == "lifetime_jitter is 1.5; it must be from 0 to 1");
    CHECK(problem({.lifetime_jitter = std::numeric_limits<double>::infinity()}) ==
          "lifetime_jitter is inf; it must be from 0 to 1");
}

TEST_CASE("pool options: all mistakes are told at once, as data; a wrong member is not held against another") {
    const pool_options o{.max_wait = 0s, .connect_timeout = -1s, .backoff_min = 0s, .backoff_max = -1s};
    CHECK(check(o) == std::vector<config_problem>{{"/max_wait", "0 s", "above 0"},
                                                  {"/connect_timeout", "-1 s", "above 0"},
                                                  {"/backoff_min", "0 s", "above 0"},
                                                  {"/backoff_max", "-1 s", "above 0"}});
    CHECK(problem({.max_connecting = 0, .ping_timeout = 0ns}) ==
          "max_connecting is 0; it must be 1 to 4294967295. ping_timeout is 0 s; it must be above 0");
    CHECK(check(pool_options{.size = 0}) ==
          std::vector<config_problem>{{"", "size + max_overflow is 0", "1 to 1000000"}});
}
