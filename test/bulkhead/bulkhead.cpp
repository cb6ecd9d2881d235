// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/bulkhead.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <optional>
#include <vector>

#include <headgate/spawn.hpp>

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct fixture {
    virtual_clock clock;
    asio::io_context io;
    std::optional<zone> z{std::in_place, io, "test", zone_options{.clock = &clock}};
    time_point start = clock.now();

    bulkhead make(const bulkhead_options& options) { return bulkhead::create(*z, "calls", options).value(); }
};

TEST_CASE_FIXTURE(fixture,
                  "bulkhead: all places are there at once, one more is exhausted, a place that came back is lent") {
    auto calls = make({.max_concurrent = 40});
    std::vector<bulkhead_permit> running;
    for (int i = 0; i < 40; ++i) {
        running.push_back(calls.try_enter().value());
    }
    CHECK(calls.try_enter().error() == errc::exhausted);
    CHECK(calls.status().running == 40);
    running.pop_back();
    CHECK(calls.try_enter());
    running.clear();
    CHECK(calls.status().running == 0);
}

TEST_CASE_FIXTURE(fixture, "bulkhead: 20 tasks of 100 ms, ten at once, take exactly 200 ms") {
    auto calls = make({.max_concurrent = 10});
    int done = 0;
    const auto task = [](zone* where) -> asio::awaitable<void> { (void)co_await where->sleep_for(100ms); };
    for (int i = 0; i < 20; ++i) {
        spawn(io.get_executor(), calls.with(task, &*z), [&](const result<void>& r) { done += r ? 1 : 0; });
    }
    clock.run(io);
    CHECK(done == 20);
    CHECK(clock.now() - start == 200ms);
}

TEST_CASE_FIXTURE(fixture, "bulkhead: waiters are served in order, bounded, and end at their deadline") {
    auto calls = make({.max_concurrent = 1, .max_waiters = 2, .max_wait = 1s});
    auto held = calls.try_enter();
    std::vector<std::pair<int, errc>> ends;
    for (int i = 0; i < 3; ++i) {
        calls.enter({}, [&ends, i](result<bulkhead_permit> r) {
            ends.emplace_back(i, r ? errc{} : static_cast<errc>(r.error().code.value()));
        });
    }
    io.poll();
    CHECK(ends == std::vector<std::pair<int, errc>>{{2, errc::queue_full}});
    CHECK(calls.status().waiting == 2);
    CHECK(calls.try_enter().error() == errc::exhausted);
    held.value().reset();
    io.restart();
    io.poll();
    CHECK(ends.size() == 3);
    CHECK(ends[1] == std::pair<int, errc>{0, errc{}});
    CHECK(ends[2] == std::pair<int, errc>{1, errc{}});
    auto again = calls.try_enter();
    calls.enter(
        {}, [&ends](result<bulkhead_permit> r) { ends.emplace_back(9, static_cast<errc>(r.error().code.value())); });
    clock.run(io);
    CHECK(ends.back() == std::pair<int, errc>{9, errc::wait_timed_out});
    CHECK(clock.now() - start == 1s);
}

TEST_CASE_FIXTURE(fixture, "bulkhead: max_wait of zero refuses at once, and can be resized all the same") {
    auto calls = make({.max_concurrent = 1, .max_wait = 0s});
    auto held = calls.try_enter();
    std::optional<errc> end;
    calls.enter({}, [&](const result<bulkhead_permit>& r) { end = static_cast<errc>(r.error().code.value()); });
    io.poll();
    CHECK(end == errc::exhausted);
    CHECK(calls.resize(2));
    clock.run(io);
    CHECK(calls.try_enter());
}

TEST_CASE_FIXTURE(fixture, "bulkhead: resize lets waiters in, and shrinks as calls end") {
    auto calls = make({.max_concurrent = 1});
    std::vector<bulkhead_permit> running;
    for (int i = 0; i < 3; ++i) {
        calls.enter({}, [&](result<bulkhead_permit> r) { running.push_back(std::move(r).value()); });
    }
    io.poll();
    CHECK(running.size() == 1);
    REQUIRE(calls.resize(3));
    clock.run(io);
    CHECK(running.size() == 3);
    REQUIRE(calls.reconfigure({.max_concurrent = 1}));
    running.pop_back();
    running.pop_back();
    clock.run(io);
    CHECK(calls.try_enter().error() == errc::exhausted);
    running.clear();
    CHECK(calls.try_enter());
    CHECK(calls.resize(0).error() == errc::invalid_argument);
}

TEST_CASE_FIXTURE(fixture, "bulkhead: bad options are refused and say what would be right") {
    const auto none = bulkhead::create(*z, "calls", {.max_concurrent = 0});
    CHECK(none.error() == errc::invalid_argument);
    CHECK(*none.error().detail == "max_concurrent is 0; it must be 1 to 1000000");
    const auto past = bulkhead::create(*z, "calls", {.max_wait = -1s});
    CHECK(*past.error().detail == "max_wait is -1000000000 ns; it must be zero or longer");
    CHECK(bulkhead::find(*z, "calls").error() == errc::unknown_name);
    (void)make({});
    CHECK(bulkhead::find(*z, "calls"));
    CHECK(bulkhead::create(*z, "calls").error() == errc::name_taken);
}

TEST_CASE_FIXTURE(fixture, "bulkhead: closing the zone ends who waits, a late permit is harmless") {
    auto calls = make({.max_concurrent = 1});
    auto held = calls.try_enter();
    std::optional<errc> end;
    calls.enter({}, [&](const result<bulkhead_permit>& r) { end = static_cast<errc>(r.error().code.value()); });
    z->close();
    clock.run(io);
    CHECK(end == errc::shut_down);
    z.reset();
    held.value().reset();
    CHECK(calls.try_enter().error() == errc::shut_down);
}

TEST_CASE_FIXTURE(fixture, "bulkhead: a snapshot has its numbers, and how long callers waited") {
    auto calls = make({.max_concurrent = 1});
    auto held = calls.try_enter();
    calls.enter({}, [](const result<bulkhead_permit>&) {});
    clock.run_for(io, 300ms);
    held.value().reset();
    clock.run(io);
    const zone_snapshot s = z->snapshot();
    REQUIRE(s.primitives.size() == 1);
    CHECK(s.primitives[0].kind == primitive_kind::bulkhead);
    CHECK(s.primitives[0]["max_concurrent"] == 1);
    CHECK(s.primitives[0]["granted"] == 2);
    CHECK(s.primitives[0]["queued"] == 1);
    REQUIRE(s.primitives[0].latencies.size() == 1);
    CHECK(s.primitives[0].latencies[0].durations.count() == 1);
    const duration wait = s.primitives[0].latencies[0].durations.quantile(0.5);
    CHECK(wait > 290ms);
    CHECK(wait < 310ms);
}

}  // namespace
}  // namespace headgate
