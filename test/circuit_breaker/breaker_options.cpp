// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/breaker_options.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <string>

using namespace headgate;
using namespace std::chrono_literals;

TEST_CASE("breaker options: the defaults are valid, and so is each condition alone") {
    CHECK(check(breaker_options{}).empty());
    CHECK(check(breaker_options{.consecutive_failures = {}, .failure_ratio = 0.5}).empty());
    CHECK(check(breaker_options{.consecutive_failures = {}, .slow_ratio = 1.0, .slow_after = 1s}).empty());
    CHECK(check(breaker_options{.slow_after = 1ns}).empty());
    CHECK(
        check(breaker_options{.window = 1ms, .reset_timeout = 1ns, .max_reset_timeout = 1ns, .probes = 1000}).empty());
}

TEST_CASE("breaker options: each bad value is an error that names it and what would be right") {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    constexpr double inf = std::numeric_limits<double>::infinity();
    struct row {
        breaker_options options;
        std::string text;
    };
    const row rows[] = {
        {{.consecutive_failures = 0}, "consecutive_failures is 0; it must be 1 to 4294967295, or empty for off"},
        {{.failure_ratio = 0.0}, "failure_ratio is 0; it must be above 0 and at most 1, or empty for off"},
        {{.failure_ratio = -0.5}, "failure_ratio is -0.5; it must be above 0 and at most 1, or empty for off"},
        {{.failure_ratio = 1.5}, "failure_ratio is 1.5; it must be above 0 and at most 1, or empty for off"},
        {{.failure_ratio = nan}, "failure_ratio is nan; it must be above 0 and at most 1, or empty for off"},
        {{.slow_ratio = inf, .slow_after = 1s},
         "slow_ratio is inf; it must be above 0 and at most 1, or empty for off"},
        {{.slow_ratio = 0.5}, "slow_after is empty; it must be set, because slow_ratio is"},
        {{.slow_after = 0s}, "slow_after is 0 s; it must be above 0 and at most 36500d, or empty for off"},
        {{.min_calls = 0}, "min_calls is 0; it must be 1 to 4294967295"},
        {{.window = 999us}, "window is 999000 ns; it must be at least 1ms and at most 36500d"},
        {{.window = duration::max()}, "window is 9223372036854775807 ns; it must be at least 1ms and at most 36500d"},
        {{.reset_timeout = -1s}, "reset_timeout is -1 s; it must be above 0 and at most 36500d"},
        {{.max_reset_timeout = 0s}, "max_reset_timeout is 0 s; it must be above 0 and at most 36500d"},
        {{.reset_timeout = 30s, .max_reset_timeout = 29500ms},
         "max_reset_timeout is 29500 ms; it must be at least reset_timeout, which is 30 s"},
        {{.probes = 0}, "probes is 0; it must be 1 to 1000"},
        {{.probes = 1001}, "probes is 1001; it must be 1 to 1000"},
        {{.probe_deadline = 0s}, "probe_deadline is 0 s; it must be above 0 and at most 36500d"},
        {{.mode = static_cast<breaker_mode>(9)},
         "mode is 9; it must be one of automatic, forced_open, forced_closed, observe"},
        {{.consecutive_failures = {}},
         "each of consecutive_failures, failure_ratio and slow_ratio is empty; it must be set for one of them at "
         "least, "
         "else nothing opens the breaker"},
    };
    for (const auto& r : rows) {
        CAPTURE(r.text);
        const auto checked = detail::accept(check(r.options));
        REQUIRE_FALSE(checked);
        CHECK(checked.error() == errc::invalid_argument);
        CHECK(*checked.error().detail == r.text);
    }
}

TEST_CASE("breaker options: states, modes and reasons have names") {
    CHECK(to_string(breaker_state::half_open) == "half_open");
    CHECK(to_string(breaker_mode::forced_closed) == "forced_closed");
    for (int r = 0; r <= static_cast<int>(breaker_reason::mode); ++r) {
        CHECK(to_string(static_cast<breaker_reason>(r)) != "unknown");
    }
    for (int i = 0; i < 4; ++i) {
        CHECK(to_string(static_cast<breaker_mode>(i)) != "unknown");
        CHECK((to_string(static_cast<breaker_state>(i)) == "unknown") == (i == 3));
    }
    CHECK(to_string(static_cast<breaker_mode>(99)) == "unknown");
    CHECK(to_string(static_cast<breaker_reason>(99)) == "unknown");
}
