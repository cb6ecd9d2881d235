// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/quota.hpp>

#include <doctest/doctest.h>

#include <chrono>

using namespace headgate;
using namespace std::chrono_literals;

namespace {

bool says(const result<quota>& q, const char* text) {
    return !q && q.error() == errc::invalid_argument && q.error().detail->find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("quota: a zero anywhere but in none() is an error that says what would be right") {
    CHECK(says(quota::per(0, 1s), "permits is 0; it must be at least 1"));
    CHECK(says(quota::per(1, 0s), "period is 0 ns"));
    CHECK(says(quota::per(1, -1s), "period is -1000000000 ns"));
    CHECK(says(quota::per(1, 1s, 0), "burst is 0"));
    CHECK(says(quota::fixed_window(0, 1s), "permits is 0"));
    CHECK(says(quota::fixed_window(1, 0s), "period is 0"));
    CHECK(says(quota::at_most(5, 1s, 0), "burst is 0"));
    CHECK(says(quota::at_most(0, 1s, 1), "permits is 0"));
}

TEST_CASE("quota: overflowing parameters are errors") {
    CHECK(says(quota::per(quota::max_permits + 1, 1s), "it must be at most 4294967295"));
    CHECK(says(quota::per(1, 1s, ~0ULL), "burst is 18446744073709551615"));
    CHECK(says(quota::at_most(5, 1s, 5), "burst is 5; it must be less than permits, which is 5"));
    CHECK(says(quota::at_most(5, 1s, 6), "less than permits"));
}

TEST_CASE("quota: what was asked for can be read back") {
    const auto plain = quota::per(10, 1min).value();
    CHECK(plain.permits() == 10);
    CHECK(plain.burst() == 10);
    CHECK(plain.sustained() == 10);
    CHECK(plain.period() == 1min);
    CHECK(plain.algorithm() == quota_algorithm::gcra);
    CHECK(plain == quota::per(10, 1min, 10).value());
    CHECK_FALSE(plain == quota::per(10, 1min, 5).value());

    const auto strict = quota::at_most(10, 1min, 4).value();
    CHECK(strict.is_at_most());
    CHECK(strict.permits() == 10);
    CHECK(strict.sustained() == 6);
    CHECK(strict.burst() == 4);

    const auto window = quota::fixed_window(7, 1h).value();
    CHECK(window.algorithm() == quota_algorithm::fixed_window);
    CHECK(window.burst() == 7);

    CHECK(quota::none().is_none());
    CHECK(quota::none().burst() == 0);
}
