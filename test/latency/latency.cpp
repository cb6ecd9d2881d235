// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/latency.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace headgate;
using namespace std::chrono_literals;

TEST_CASE("latency: of nothing every quantile is zero") {
    const latency_histogram h;
    CHECK(h.count() == 0);
    CHECK(h.quantile(0.5) == 0ns);
    CHECK(h.sum() == 0ns);
}

TEST_CASE("latency: sums do not overflow") {
    latency_histogram h;
    h.record(duration::max());
    CHECK(h.sum() == duration::max());
    double seconds = static_cast<double>(duration::max().count()) / 1e9;
    CHECK(h.sum_seconds() == doctest::Approx(seconds));
    double before = h.sum_seconds();
    for (int i = 0; i < 9; ++i) {  // the sum exceeds 63 bits, then 64
        h.record(duration::max());
        CHECK(h.sum() == duration::max());
        CHECK(h.sum_seconds() > before);
        before = h.sum_seconds();
    }
    CHECK(h.sum_seconds() == doctest::Approx(10 * seconds));
    CHECK(h.count() == 10);
    h.record(-1h);
    CHECK(h.sum_seconds() == before);
    latency_histogram small;
    small.record(1500ms);
    CHECK(small.sum() == 1500ms);
    CHECK(small.sum_seconds() == 1.5);
}

TEST_CASE("latency: long durations are told from each other") {
    latency_histogram h;
    for (const duration d : {duration(1min), duration(20min), duration(3h), duration(24h * 365), duration::max()}) {
        h.record(d);
    }
    CHECK(h.count_up_to(5min) == 1);
    CHECK(h.count_up_to(1h) == 2);
    CHECK(h.count_up_to(4h) == 3);
    CHECK(h.count_up_to(24h * 400) == 4);
    CHECK(h.count_up_to(duration::max()) == 5);
    CHECK(std::abs(static_cast<double>(h.quantile(0.6).count()) / static_cast<double>(duration(3h).count()) - 1) <
          1.0 / 32);
    const std::vector<duration> bounds = {duration(-1s), duration(0), duration(1h), duration::max()};
    CHECK(h.cumulative(bounds) == std::vector<std::uint64_t>{0, 0, 2, 5});
}

TEST_CASE("latency: quantiles that are none") {
    latency_histogram h;
    h.record(5ns);
    h.record(9ns);
    CHECK(h.quantile(std::nan("")) == 5ns);
    CHECK(h.quantile(-1) == 5ns);
    CHECK(h.quantile(-std::numeric_limits<double>::infinity()) == 5ns);
    CHECK(h.quantile(2) == 9ns);
    CHECK(h.quantile(std::numeric_limits<double>::infinity()) == 9ns);
}

TEST_CASE("latency: short durations are exact, negative ones are zero, long ones count as the longest") {
    latency_histogram h;
    for (int i = 0; i < 16; ++i) {
        h.record(duration(i));
    }
    CHECK(h.quantile(0.5) == 7ns);
    CHECK(h.quantile(1) == 15ns);
    CHECK(h.count_up_to(3ns) == 4);
    h.record(-1h);
    CHECK(h.count_up_to(0ns) == 2);
    CHECK(h.count_up_to(-1ns) == 0);
    h.record(duration::max());
    CHECK(h.quantile(1) > 18min);
    CHECK(h.count() == 18);
}

TEST_CASE("latency: quantiles of random durations are within 1/32 of the exact ones") {
    const std::uint64_t seed = 7;
    MESSAGE("seed " << seed);
    std::mt19937_64 random(seed);
    latency_histogram h;
    std::vector<double> exact;
    std::uint64_t sum = 0;
    for (int i = 0; i < 100'000; ++i) {
        const double ns = std::exp(std::uniform_real_distribution<double>(0, 27)(random));
        const duration d{static_cast<duration::rep>(ns)};
        h.record(d);
        exact.push_back(static_cast<double>(d.count()));
        sum += static_cast<std::uint64_t>(d.count());
    }
    std::sort(exact.begin(), exact.end());
    CHECK(h.count() == exact.size());
    CHECK(h.sum().count() == static_cast<duration::rep>(sum));
    for (const double q : {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0}) {
        const double wanted = exact[static_cast<std::size_t>(std::ceil(q * static_cast<double>(exact.size()))) - 1];
        CHECK(std::abs(static_cast<double>(h.quantile(q).count()) - wanted) <= wanted / 32 + 1);
    }
    for (const duration d : {duration(1us), duration(1ms), duration(1s)}) {
        const auto wanted = static_cast<double>(
            std::upper_bound(exact.begin(), exact.end(), static_cast<double>(d.count())) - exact.begin());
        CHECK(static_cast<double>(h.count_up_to(d)) >= wanted);
        CHECK(static_cast<double>(h.count_up_to(d)) <= wanted * 1.05 + 1);
    }
}
