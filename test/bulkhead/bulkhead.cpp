// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/bulkhead.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <vector>

#include <headgate/guard.hpp>
#include <headgate/spawn.hpp>

#include "support/zone_fixture.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct fixture : headgate::test::zone_fixture {
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
    CHECK(calls.snapshot().running == 40);
    running.pop_back();
    CHECK(calls.try_enter());
    running.clear();
    CHECK(calls.snapshot().running == 0);
}

// A backend that works on `servers` calls at once, for 10 ms each; others wait there.
asio::awaitable<result<void>> serve(bulkhead servers, zone* where) {
    const auto place = co_await servers.enter({.max_wait = duration::max()});
    (void)co_await where->sleep_for(10ms);
    co_return success();
}

asio::awaitable<void> client(bulkhead calls, bulkhead servers, zone* where, int* good) {
    while (!where->core()->closed()) {
        const result<void> r = co_await calls.with(serve, servers, where);
        *good += r ? 1 : 0;
    }
}

TEST_CASE_FIXTURE(fixture, "bulkhead: an adaptive limit follows the backend, down and up again") {
    auto calls = make({.limit = adaptive{.min = 1, .max = 200, .initial = 100}});
    CHECK(calls.snapshot().max_concurrent == 100);
    auto servers = bulkhead::create(*z, "servers", {.max_concurrent = 20}).value();
    int good = 0;
    for (int i = 0; i < 150; ++i) {
        asio::co_spawn(io, client(calls, servers, &*z, &good), asio::detached);
    }
    // After `span` to find its limit, for ten seconds: how many calls succeed, and the limit that holds most of the
    // time. For moments it is lower, to measure.
    std::uint32_t usual = 0;
    const auto good_in = [&](duration span) {
        clock.run_for(io, span);
        const int before = good;
        std::vector<std::uint32_t> limits;
        for (int i = 0; i < 100; ++i) {
            clock.run_for(io, 100ms);
            limits.push_back(calls.snapshot().max_concurrent);
        }
        std::nth_element(limits.begin(), limits.begin() + 50, limits.end());
        usual = limits[50];
        return good - before;
    };
    const int all = 20'000;  // that 20 servers do in 10 s
    CHECK(good_in(30s) >= all * 9 / 10);
    CHECK(usual >= 15);
    CHECK(usual <= 60);
    CHECK(servers.resize(5));
    CHECK(good_in(30s) >= all / 4 * 9 / 10);
    CHECK(usual <= 20);
    CHECK(servers.resize(20));
    CHECK(good_in(30s) >= all * 9 / 10);
    z->close();
    clock.run(io);
    CHECK(calls.snapshot().running == 0);
}

TEST_CASE_FIXTURE(fixture, "bulkhead: a limit that adapts and one that is fixed replace each other under load") {
    auto calls = make({.limit = adaptive{.min = 2, .max = 8, .initial = 4}});
    std::vector<bulkhead_permit> running;
    while (auto permit = calls.try_enter()) {
        running.push_back(std::move(permit).value());
    }
    CHECK(running.size() == 4);
    int let_in = 0;
    calls.enter({.max_wait = 1h}, [&](const result<bulkhead_permit>& r) { let_in += r ? 1 : 0; });
    io.poll();
    CHECK(calls.reconfigure({.max_concurrent = 5}));
    io.poll();
    CHECK(let_in == 1);
    CHECK(calls.reconfigure({.limit = adaptive{.min = 2, .max = 8, .initial = 3}}));
    CHECK(calls.snapshot().max_concurrent == 3);
    running.clear();  // those that were measured and those that were not
    CHECK(calls.reconfigure({.limit = adaptive{.min = 5, .max = 8, .initial = 6}}));
    CHECK(calls.snapshot().max_concurrent == 5);  // what was learnt stays, within the new bounds
    CHECK(calls.resize(7));
    CHECK(calls.snapshot().max_concurrent == 7);
    CHECK(calls.snapshot().running == 0);
}

TEST_CASE_FIXTURE(fixture, "bulkhead: bounds of an adaptive limit that are wrong are each told") {
    const auto says = [&](const adaptive& limit) {
        const auto wrong = check(bulkhead_options{.limit = limit});
        return wrong.size() == 1 ? wrong[0].pointer : std::to_string(wrong.size());
    };
    CHECK(says({.min = 0}) == "/limit/min");
    CHECK(says({.max = 10'000'000}) == "/limit/max");
    CHECK(says({.min = 10, .max = 5}) == "/limit/max");
    CHECK(says({.max = 10}) == "/limit/initial");
    CHECK(says({.min = 30}) == "/limit/initial");
    CHECK(says({}) == "0");
    CHECK(bulkhead::create(*z, "x", {.limit = adaptive{.min = 0}}).error() == errc::invalid_argument);
}

TEST_CASE("bulkhead: what an error tells about the load") {
    using detail::adaptive_outcome;
    using detail::adaptive_outcome_of;
    CHECK(adaptive_outcome_of(errc::timed_out) == adaptive_outcome::dropped);
    CHECK(adaptive_outcome_of(error(errc::operation_failed, duration(1s))) == adaptive_outcome::dropped);
    CHECK(adaptive_outcome_of(errc::operation_failed) == adaptive_outcome::failure);
    CHECK(adaptive_outcome_of(errc::connect_failed) == adaptive_outcome::failure);
    CHECK(adaptive_outcome_of(errc::canceled) == adaptive_outcome::neutral);
    CHECK(adaptive_outcome_of(error(errc::rate_limited, duration(1s))) == adaptive_outcome::neutral);
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
    CHECK(calls.snapshot().waiting == 2);
    CHECK(calls.try_enter().error() == errc::exhausted);
    held.value().give_back();
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
    CHECK(*past.error().detail == "max_wait is -1 s; it must be above 0, or 0 for no waiting");
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
    held.value().give_back();
    CHECK(calls.try_enter().error() == errc::shut_down);
}

TEST_CASE_FIXTURE(fixture, "bulkhead: a snapshot has its numbers, and how long callers waited") {
    auto calls = make({.max_concurrent = 1});
    auto held = calls.try_enter();
    calls.enter({}, [](const result<bulkhead_permit>&) {});
    clock.run_for(io, 300ms);
    held.value().give_back();
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

TEST_CASE_FIXTURE(fixture, "bulkhead: a place is free when its call has ended, however it ended") {
    std::vector<event> events;
    const auto sub = z->on_event([&](const event& e) { events.push_back(e); });
    auto calls = make({.max_concurrent = 1, .max_wait = 0s});
    guard g(calls, guard_options{.timeout = 1s});
    int refused = 0;
    int timed_out = 0;
    const auto slow = [](call_context c, zone* where) -> asio::awaitable<result<void>> {
        co_return co_await where->sleep_for(1h, asio::bind_cancellation_slot(c.slot(), asio::use_awaitable));
    };
    const auto fails = []() -> asio::awaitable<int> { throw std::runtime_error("no"); };
    const auto quick = []() -> asio::awaitable<int> { co_return 1; };
    const auto all_ends = [&](zone* where) -> asio::awaitable<void> {
        for (int i = 0; i < 3; ++i) {
            const auto late = co_await g.run("k", slow, where);
            timed_out += late.error() == errc::timed_out ? 1 : 0;
            refused += (co_await g.run("k", quick)) ? 0 : 1;
            const auto again = co_await calls.with({.timeout = 1s}, slow, where);
            timed_out += again.error() == errc::timed_out ? 1 : 0;
            refused += (co_await calls.with(quick)) ? 0 : 1;
            (void)co_await calls.with(fails);
            refused += calls.try_enter() ? 0 : 1;
        }
    };
    asio::co_spawn(io, all_ends(&*z), asio::detached);
    clock.run(io);
    CHECK(timed_out == 6);
    CHECK(refused == 0);
    CHECK(calls.snapshot().running == 0);
    CHECK(events.empty());  // a bulkhead has no resources to replace
}

TEST_CASE_FIXTURE(fixture, "bulkhead: a call that is given up, or cancelled, gives its place back") {
    auto calls = make({.max_concurrent = 1});
    const auto op = [](zone* where) -> asio::awaitable<void> { (void)co_await where->sleep_for(1h); };
    asio::cancellation_signal signal;
    spawn(io.get_executor(), calls.with(op, &*z),
          asio::bind_cancellation_slot(signal.slot(), [](const result<void>&) {}));
    clock.run_for(io, 1s);
    CHECK(calls.snapshot().running == 1);
    signal.emit(asio::cancellation_type::terminal);
    clock.run_for(io, 0s);
    CHECK(calls.snapshot().running == 0);
    {
        const auto never_awaited = calls.with(op, &*z);
    }
    CHECK(calls.snapshot().running == 0);
}

TEST_CASE_FIXTURE(fixture,
                  "bulkhead: each type of cancellation takes a waiter out, one at the hand-over passes it on") {
    auto calls = make({.max_concurrent = 1});
    auto held = calls.try_enter();
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total}) {
        asio::cancellation_signal signal;
        std::optional<errc> end;
        calls.enter({}, asio::bind_cancellation_slot(signal.slot(), [&](const result<bulkhead_permit>& r) {
                        end = static_cast<errc>(r.error().code.value());
                    }));
        CHECK(calls.snapshot().waiting == 1);
        signal.emit(type);
        CHECK(calls.snapshot().waiting == 0);
        clock.run_for(io, 0s);
        CHECK(end == errc::canceled);
    }
    asio::cancellation_signal signal;
    asio::co_spawn(
        io,
        [](bulkhead b, zone* where) -> asio::awaitable<void> {
            const auto place = co_await b.enter();
            (void)co_await where->sleep_for(1h);
        }(calls, &*z),
        asio::bind_cancellation_slot(signal.slot(), [](const std::exception_ptr&) {}));
    clock.run_for(io, 0s);
    int next = 0;
    calls.enter({}, [&](const result<bulkhead_permit>& r) { next += r ? 1 : 0; });
    held.value().give_back();
    signal.emit(asio::cancellation_type::terminal);
    clock.run_for(io, 0s);
    CHECK(next == 1);
    CHECK(calls.snapshot().running == 0);
}

TEST_CASE_FIXTURE(fixture, "bulkhead: a timeout that is not positive is one try, the longest is none") {
    auto calls = make({.max_concurrent = 1, .max_wait = duration::max()});
    std::vector<errc> ends;
    const auto note = [&](const result<bulkhead_permit>& r) {
        ends.push_back(r ? errc{} : static_cast<errc>(r.error().code.value()));
    };
    for (const duration none : {duration(0), duration(-1), duration::min()}) {
        calls.enter({.max_wait = none}, note);
        auto held = calls.try_enter();  // `enter` took the place at once; its permit is on its way
        CHECK(held.error() == errc::exhausted);
        calls.enter({.max_wait = none}, note);
        clock.run_for(io, 0s);
        CHECK(calls.snapshot().running == 0);
    }
    CHECK(ends.size() == 6);
    CHECK(std::count(ends.begin(), ends.end(), errc{}) == 3);
    CHECK(std::count(ends.begin(), ends.end(), errc::exhausted) == 3);
    ends.clear();
    auto held = calls.try_enter();
    calls.enter({}, note);
    clock.run_for(io, 100'000h);
    CHECK(ends.empty());
    bool ran = false;
    const auto op = [&]() -> asio::awaitable<void> {
        ran = true;
        co_return;
    };
    std::optional<error> end;
    spawn(io.get_executor(), calls.with({.timeout = -1s}, op), [&](const result<void>& r) { end = r.error(); });
    clock.run_for(io, 0s);
    CHECK(end == errc::wait_timed_out);
    held.value().give_back();
    clock.run_for(io, 0s);
    CHECK(ends == std::vector<errc>{errc{}});
    CHECK_FALSE(ran);
}

TEST_CASE_FIXTURE(fixture, "bulkhead: waits that timed out are in the histogram of waits") {
    auto calls = make({.max_concurrent = 1, .max_wait = 2s});
    auto held = calls.try_enter();
    calls.enter({}, [](const result<bulkhead_permit>&) {});
    clock.run_for(io, 2s);
    const zone_snapshot s = z->snapshot();
    CHECK(s.primitives[0].latencies[0].durations.count() == 1);
    CHECK(s.primitives[0]["wait_timed_out"] == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "bulkhead: a permit is moved, outlives zone and handle, and a dropped bulkhead serves its queue") {
    auto calls = std::make_optional(make({.max_concurrent = 1}));
    bulkhead_permit a = calls->try_enter().value();
    bulkhead_permit b = std::move(a);
    CHECK_FALSE(a);  // NOLINT(bugprone-use-after-move): that is the point
    a.give_back();
    CHECK(calls->snapshot().running == 1);
    int served = 0;
    calls->enter({}, [&](const result<bulkhead_permit>& r) { served += r ? 1 : 0; });
    z->core()->remove(primitive_kind::bulkhead, "calls");
    CHECK(calls->try_enter().error() == errc::shut_down);
    a = std::move(b);
    a.give_back();
    clock.run_for(io, 0s);
    CHECK(served == 1);
    auto other = make({.max_concurrent = 2});
    auto last = other.try_enter();
    calls.reset();
    z.reset();
    clock.run(io);
    CHECK(other.try_enter().error() == errc::shut_down);
}

TEST_CASE_FIXTURE(fixture, "bulkhead: a zone that drains waits for permits") {
    auto calls = make({.max_concurrent = 2});
    auto held = calls.try_enter();
    bool drained = false;
    z->drain(1h, [&](const result<void>& r) { drained = r.has_value(); });
    clock.run_for(io, 0s);
    CHECK(calls.try_enter().error() == errc::shut_down);
    CHECK_FALSE(drained);
    held.value().give_back();
    clock.run_for(io, 0s);
    CHECK(drained);
}

}  // namespace
}  // namespace headgate
