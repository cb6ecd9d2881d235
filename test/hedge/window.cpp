// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/latency_window.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <random>
#include <vector>

namespace headgate::detail {
namespace {

using namespace std::chrono_literals;

// The largest duration of the bucket that `d` is in.
duration end_of(duration d) {
    const auto i = latency_buckets::index(static_cast<std::uint64_t>(std::max<duration::rep>(d.count(), 0)));
    return duration{static_cast<duration::rep>(latency_buckets::first(i + 1) - 1)};
}

TEST_CASE("latency_window: nothing, one, and the ends of the range") {
    latency_window w;
    CHECK(w.quantile() == 0ns);
    w.record(1ms);
    CHECK(w.count() == 1);
    CHECK(w.quantile() == end_of(1ms));
    CHECK(w.quantile() >= 1ms);
    CHECK(w.quantile() < 1'062'500ns);
    latency_window odd;
    odd.record(-5s);
    CHECK(odd.quantile() == 0ns);
    for (int i = 0; i < 100; ++i) {
        odd.record(duration::max());
    }
    CHECK(odd.quantile() > duration::max() / 2);
    for (std::size_t i = 0; i < latency_window::length; ++i) {
        odd.record(duration::min());
    }
    CHECK(odd.quantile() == 0ns);
}

TEST_CASE("latency_window: is the duration of rank 95 in a hundred of the last 512, as a sorted copy has it") {
    for (const unsigned seed : {1U, 2U, 3U}) {
        latency_window w;
        std::deque<duration> model;
        std::mt19937_64 random(seed);
        std::lognormal_distribution<double> usual(std::log(2e6), 1.5);
        for (int i = 0; i < 5'000; ++i) {
            // Now and then the scale jumps, so that the mark has a long way.
            const double scale = (i / 700) % 2 == 0 ? 1 : 1e4;
            const duration d{static_cast<duration::rep>(usual(random) * scale)};
            w.record(d);
            model.push_back(d);
            if (model.size() > latency_window::length) {
                model.pop_front();
            }
            std::vector<duration> sorted(model.begin(), model.end());
            const auto rank = static_cast<std::size_t>(std::ceil(0.95 * static_cast<double>(sorted.size()) - 1e-9));
            const auto nth = sorted.begin() + static_cast<std::ptrdiff_t>(rank - 1);
            std::nth_element(sorted.begin(), nth, sorted.end());
            REQUIRE(w.count() == model.size());
            REQUIRE(w.quantile() == end_of(*nth));
        }
    }
}

}  // namespace
}  // namespace headgate::detail
