// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <benchmark/benchmark.h>

#include <headgate/bulkhead.hpp>

#include <memory>

#include "harness.hpp"

namespace bench {

namespace {

struct fixture {
    explicit fixture(const headgate::bulkhead_options& options)
        : places(headgate::bulkhead::create(zone, "places", options).value()) {}

    asio::io_context io{1};
    headgate::zone zone{io, "bench"};
    headgate::bulkhead places;
};

body enter_and_leave(const std::shared_ptr<fixture>& f) {
    return [f](std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) {
            auto permit = f->places.try_enter();
            benchmark::DoNotOptimize(permit);
        }
    };
}

}  // namespace

void add_bulkhead() {
    auto fixed = std::make_shared<fixture>(headgate::bulkhead_options{});
    auto adapts = std::make_shared<fixture>(headgate::bulkhead_options{.limit = headgate::adaptive{}});
    add(row{.name = "bulkhead/try_enter_leave",
            .run = enter_and_leave(fixed),
            .baseline_name = "clock/now",
            .baseline = clock_now(),
            .target = 1.0,
            .count = [fixed] { return counter(fixed->zone, "places", "granted"); }});
    // What an adaptive limit costs more.
    add(row{.name = "bulkhead/try_enter_leave/adaptive",
            .run = enter_and_leave(adapts),
            .baseline_name = "clock/now",
            .baseline = clock_now(),
            .target = 0.4,
            .minus = enter_and_leave(fixed),
            .count = [adapts] { return counter(adapts->zone, "places", "granted"); }});
}

}  // namespace bench
