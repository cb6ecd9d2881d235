// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/circuit_breaker.hpp>

#include <doctest/doctest.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "support/zone_fixture.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

using task = asio::awaitable<void>;

asio::awaitable<result<int>> good() {
    co_return 1;
}
asio::awaitable<result<int>> bad() {
    co_return error(boost::system::errc::make_error_code(boost::system::errc::io_error));
}

struct fixture : headgate::test::zone_fixture {
    circuit_breaker make(const breaker_options& options = {}, std::string name = "db") {
        return circuit_breaker::create(*z, std::move(name), options).value();
    }

    // Runs a coroutine to its end, and throws its exceptions into the test.
    template <class Body, class... Args>
    void play(Body body, Args&... args) {
        play(body(args...));
    }
    void play(task coroutine) {
        std::exception_ptr thrown;
        bool ended = false;
        asio::co_spawn(io, std::move(coroutine), [&](std::exception_ptr e) {
            thrown = e;
            ended = true;
        });
        clock.run(io);
        if (thrown) {
            std::rethrow_exception(thrown);
        }
        REQUIRE(ended);
    }

    void fail(circuit_breaker& breaker, int times) {
        play(
            [](circuit_breaker& b, int n) -> task {
                for (int i = 0; i < n; ++i) {
                    (void)co_await b.run(bad);
                }
            },
            breaker, times);
    }
};

TEST_CASE_FIXTURE(fixture, "breaker: create and find; a name taken, a name unknown, options that are wrong") {
    auto b = make();
    CHECK(b.name() == "db");
    CHECK(circuit_breaker::create(*z, "db").error() == errc::name_taken);
    CHECK(circuit_breaker::create(*z, "").error() == errc::invalid_argument);
    CHECK(circuit_breaker::create(*z, "x", {.probes = 0}).error() == errc::invalid_argument);
    CHECK(circuit_breaker::find(*z, "x").error() == errc::unknown_name);
    auto same = circuit_breaker::find(*z, "db");
    REQUIRE(same);
    same.value().trip();
    CHECK(b.state() == breaker_state::open);
}

TEST_CASE_FIXTURE(fixture,
                  "breaker: five failures open; open refuses with the time left and runs nothing; a probe closes") {
    auto breaker = make();
    play(
        [](fixture& f, circuit_breaker& b) -> task {
            int ran = 0;
            auto failing = [&]() -> asio::awaitable<result<int>> {
                ++ran;
                co_return error(errc::timed_out);
            };
            for (int i = 0; i < 5; ++i) {
                CHECK((co_await b.run(failing)).error() == errc::timed_out);
            }
            (co_await f.z->sleep_for(10s)).value();
            const auto refused = co_await b.run(failing);
            CHECK(refused.error() == errc::circuit_open);
            CHECK(refused.error().retry_after == 20s);
            CHECK(ran == 5);
            (co_await f.z->sleep_for(20s)).value();
            CHECK(b.state() == breaker_state::open);
            CHECK((co_await b.run(good)).value() == 1);
            CHECK(b.state() == breaker_state::closed);
        },
        *this, breaker);
}

TEST_CASE_FIXTURE(fixture, "breaker: a thousand operations of 1 s run at once in 1 s") {
    auto breaker = make();
    int done = 0;
    for (int i = 0; i < 1000; ++i) {
        asio::co_spawn(
            io,
            [](fixture& f, circuit_breaker& b, int& ended) -> task {
                auto second = [&]() -> asio::awaitable<result<void>> { return f.z->sleep_for(1s); };
                CHECK((co_await b.run(second)).has_value());
                ++ended;
            }(*this, breaker, done),
            asio::detached);
    }
    clock.run(io);
    CHECK(done == 1000);
    CHECK(elapsed() == 1s);
    CHECK(breaker.snapshot().successes == 1000);
}

TEST_CASE_FIXTURE(fixture, "breaker: an operation may run under the same breaker, a thousand deep in a row") {
    auto breaker = make();
    play(
        [](circuit_breaker& b) -> task {
            auto inner = [&]() -> asio::awaitable<result<int>> { co_return co_await b.run(good); };
            for (int i = 0; i < 1000; ++i) {
                CHECK((co_await b.run(inner)).value() == 1);
            }
        },
        breaker);
    CHECK(breaker.snapshot().successes == 2000);
}

TEST_CASE_FIXTURE(fixture, "breaker: operations that return awaitable<T>, awaitable<void>, and take arguments") {
    auto breaker = make();
    play(
        [](circuit_breaker& b) -> task {
            auto text = [](const std::string& s, std::unique_ptr<int> n) -> asio::awaitable<std::string> {
                co_return s + std::to_string(*n);
            };
            std::string hello = "hello ";
            auto number = std::make_unique<int>(5);
            CHECK((co_await b.run(text, hello, take(number))).value() == "hello 5");
            CHECK(number == nullptr);
            int calls = 0;
            auto nothing = [&](int by) -> asio::awaitable<void> {
                calls += by;
                co_return;
            };
            CHECK((co_await b.run(nothing, 3)).has_value());
            auto owner = [p = std::make_unique<int>(4)]() -> asio::awaitable<int> { co_return *p; };
            CHECK((co_await b.run(take(owner))).value() == 4);
            CHECK(calls == 3);
            auto named = b.run(good);
            CHECK((co_await std::move(named)).value() == 1);
        },
        breaker);
    CHECK(breaker.snapshot().successes == 4);
}

TEST_CASE_FIXTURE(fixture, "breaker: an exception counts as a failure and reaches the caller with its cause") {
    auto breaker = make();
    play(
        [](circuit_breaker& b) -> task {
            auto thrower = []() -> asio::awaitable<int> {
                throw std::runtime_error("no such table");
                co_return 0;
            };
            auto early = []() -> asio::awaitable<int> { throw std::runtime_error("before it was a coroutine"); };
            const auto r = co_await b.run(thrower);
            CHECK(r.error() == errc::operation_failed);
            CHECK_THROWS_WITH(std::rethrow_exception(r.error().cause), "no such table");
            CHECK((co_await b.run(early)).error() == errc::operation_failed);
            auto aborted = []() -> asio::awaitable<int> {
                throw boost::system::system_error(asio::error::operation_aborted);
                co_return 0;
            };
            CHECK((co_await b.run(aborted)).error() == errc::canceled);
        },
        breaker);
    CHECK(breaker.snapshot().failures == 2);
    CHECK(breaker.snapshot().neutral == 1);
}

TEST_CASE("breaker: what errors count as by default: all but cancellation and headgate's own refusals") {
    for (int i = 1; i <= static_cast<int>(errc::would_block); ++i) {
        const auto e = static_cast<errc>(i);
        const bool counts = e == errc::timed_out || e == errc::connect_failed || e == errc::operation_failed;
        CHECK((outcome_of(error(e)) == call_outcome::failure) == counts);
    }
    CHECK(outcome_of(error(static_cast<errc>(99))) == call_outcome::failure);
    CHECK(outcome_of(error(asio::error::operation_aborted)) == call_outcome::neutral);
    CHECK(outcome_of(error(boost::system::error_code(asio::error::connection_reset))) == call_outcome::failure);
}

TEST_CASE_FIXTURE(fixture, "breaker: a call may have its own opinion on what counts, and for how long to open") {
    auto breaker = make();
    play(
        [](circuit_breaker& b) -> task {
            auto zero_is_bad = [](const result<int>& r) {
                return r && r.value() == 0 ? call_outcome::failure : call_outcome::success;
            };
            auto zero = []() -> asio::awaitable<int> { co_return 0; };
            CHECK((co_await b.run(call_options{.judge = zero_is_bad}, zero)).value() == 0);
            (void)co_await b.run(call_options{.judge = zero_is_bad}, bad);
            auto busy = [](const result<int>&) { return call_verdict(call_outcome::failure, 7s); };
            (void)co_await b.run(call_options{.judge = busy}, good);
            CHECK((co_await b.run(good)).error().retry_after == 7s);
            b.reset();
            auto broken = [](const result<int>&) -> call_outcome { throw std::runtime_error("judge"); };
            CHECK((co_await b.run(call_options{.judge = broken}, good)).error() == errc::operation_failed);
        },
        breaker);
    CHECK(breaker.snapshot().successes == 1);
    CHECK(breaker.snapshot().failures == 3);
}

TEST_CASE_FIXTURE(fixture,
                  "breaker: a timeout cancels the operation, with or without a call_context, and is a failure") {
    auto breaker = make();
    play(
        [](fixture& f, circuit_breaker& b) -> task {
            auto aware = [&](call_context context) -> asio::awaitable<result<void>> {
                CHECK(context.time_left() == 3s);
                co_return co_await f.z->sleep_for(1h,
                                                  asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
            };
            auto unaware = [&]() -> asio::awaitable<result<void>> { co_return co_await f.z->sleep_for(1h); };
            CHECK((co_await b.run({.timeout = 3s}, aware)).error() == errc::timed_out);
            CHECK(f.elapsed() == 3s);
            CHECK((co_await b.run({.timeout = 2s}, unaware)).error() == errc::timed_out);
            CHECK(f.elapsed() == 5s);
            CHECK((co_await b.run({.timeout = 2s}, good)).value() == 1);
            auto unlimited = [](call_context context) -> asio::awaitable<bool> {
                co_return context.time_left() == duration::max();
            };
            CHECK((co_await b.run(unlimited)).value());
        },
        *this, breaker);
    CHECK(breaker.snapshot().failures == 2);
    CHECK(breaker.snapshot().successes == 2);
}

TEST_CASE_FIXTURE(fixture, "breaker: slow calls count by duration even when they succeed, timed by the zone's clock") {
    auto breaker = make({.slow_ratio = 1.0, .slow_after = 100ms, .min_calls = 3});
    play(
        [](fixture& f, circuit_breaker& b) -> task {
            auto slow = [&]() -> asio::awaitable<result<void>> { return f.z->sleep_for(100ms); };
            for (int i = 0; i < 3; ++i) {
                CHECK((co_await b.run(slow)).has_value());
            }
            CHECK((co_await b.run(slow)).error() == errc::circuit_open);
        },
        *this, breaker);
    CHECK(breaker.snapshot().slow == 3);
}

TEST_CASE_FIXTURE(fixture, "breaker: cancellation by the caller counts as nothing") {
    auto breaker = make({.consecutive_failures = 1});
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total}) {
        asio::cancellation_signal signal;
        std::optional<result<void>> got;
        auto op = [&]() -> asio::awaitable<result<void>> {
            co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
            co_await asio::this_coro::throw_if_cancelled(false);
            co_return co_await z->sleep_for(1h);
        };
        breaker.async_run(asio::bind_cancellation_slot(signal.slot(), [&](result<void> r) { got = std::move(r); }), op);
        clock.run_for(io, 1s);
        signal.emit(type);
        CHECK_FALSE(got);
        clock.run_for(io, 0s);
        REQUIRE(got);
        CHECK(got->error() == errc::canceled);
    }
    CHECK(breaker.snapshot().neutral == 3);
    CHECK(breaker.state() == breaker_state::closed);
}

TEST_CASE_FIXTURE(fixture, "breaker: a coroutine that throws on cancellation counts as nothing, too") {
    auto breaker = make({.consecutive_failures = 1});
    asio::cancellation_signal signal;
    std::optional<result<void>> got;
    auto op = [&]() -> asio::awaitable<void> {
        (void)co_await z->sleep_for(1h);
        (void)co_await z->sleep_for(1h);  // here Asio throws operation_aborted
    };
    breaker.async_run(asio::bind_cancellation_slot(signal.slot(), [&](result<void> r) { got = std::move(r); }), op);
    clock.run_for(io, 1s);
    signal.emit(asio::cancellation_type::terminal);
    clock.run_for(io, 0s);
    REQUIRE(got);
    CHECK(got->error() == errc::canceled);
    CHECK(breaker.state() == breaker_state::closed);
}

TEST_CASE_FIXTURE(fixture, "breaker: a probe that is cancelled, destroyed, or ignored gives its place back") {
    auto breaker = make();
    fail(breaker, 5);
    clock.run_for(io, 30s);
    SUBCASE("cancelled") {
        asio::cancellation_signal signal;
        auto op = [&]() -> asio::awaitable<result<void>> { co_return co_await z->sleep_for(1h); };
        breaker.async_run(asio::bind_cancellation_slot(signal.slot(), [](result<void>) {}), op);
        clock.run_for(io, 1s);
        CHECK(breaker.try_begin().error() == errc::circuit_open);
        signal.emit(asio::cancellation_type::terminal);
        clock.run_for(io, 0s);
    }
    SUBCASE("its coroutine destroyed while it runs") {
        {
            asio::io_context other;
            asio::co_spawn(
                other,
                [](fixture& f, circuit_breaker b) -> task {
                    auto op = [&]() -> asio::awaitable<result<void>> { co_return co_await f.z->sleep_for(1h); };
                    (void)co_await b.run(op);
                }(*this, breaker),
                asio::detached);
            other.poll();
            CHECK(breaker.snapshot().probes_running == 1);
            z->close();
            io.restart();
            io.poll();
        }
        // The zone was closed to end the sleep, so it refuses calls. Its breaker has the probe's place back.
        CHECK(breaker.snapshot().probes_running == 0);
        CHECK(breaker.snapshot().state == breaker_state::half_open);
        return;
    }
    SUBCASE("permit ignored") {
        for (int i = 0; i < 10; ++i) {
            const auto permit = breaker.try_begin();
            CHECK(permit.has_value());
            CHECK_FALSE(breaker.try_begin().has_value());
        }
    }
    SUBCASE("permit moved over") {
        auto permit = breaker.try_begin();
        auto moved = std::move(permit).value();
        auto again = std::move(moved);
        moved = std::move(again);
        CHECK(breaker.snapshot().probes_running == 1);
        moved.release();
        CHECK(moved.success() == call_record::stale);
    }
    CHECK(breaker.state() == breaker_state::half_open);
    CHECK(breaker.try_begin().value().success() == call_record::recorded);
    CHECK(breaker.state() == breaker_state::closed);
}

TEST_CASE_FIXTURE(fixture,
                  "breaker: a probe that never ends is a failure at probe_deadline, told in time by an event") {
    auto breaker = make({.probe_deadline = 5s});
    fail(breaker, 5);
    clock.run_for(io, 30s);
    std::vector<std::pair<duration, std::string>> seen;
    const auto listening = z->on_event([&](const event& e) { seen.emplace_back(e.time - start, e.detail); });
    auto permit = breaker.try_begin();
    REQUIRE(permit);
    clock.run_for(io, 10s);
    REQUIRE(seen.size() == 2);
    CHECK(seen[0] == std::pair<duration, std::string>(30s, "reset_timeout"));
    CHECK(seen[1] == std::pair<duration, std::string>(35s, "probe_expired"));
    CHECK(permit.value().success() == call_record::stale);
    CHECK(breaker.state() == breaker_state::open);
}

TEST_CASE_FIXTURE(fixture, "breaker: a probe that ends in time stops its timer") {
    auto breaker = make({.probe_deadline = 5s});
    fail(breaker, 5);
    clock.run_for(io, 30s);
    for (int i = 0; i < 3; ++i) {
        auto permit = breaker.try_begin();
        REQUIRE(permit);
        clock.run_for(io, 1s);
    }
    CHECK(breaker.try_begin().value().success() == call_record::recorded);
    const auto before = clock.now();
    clock.run(io);
    CHECK(clock.now() == before);
}

TEST_CASE_FIXTURE(fixture, "breaker: state-change events in order, each once, on the zone's strand") {
    auto breaker = make();
    std::vector<std::string> seen;
    const auto listening = z->on_event([&](const event& e) {
        CHECK(e.kind == event_kind::breaker_state);
        CHECK(e.primitive == primitive_kind::circuit_breaker);
        CHECK(e.name == "db");
        seen.push_back(std::string(e.from) + ">" + std::string(e.to) + " " + e.detail);
    });
    fail(breaker, 7);
    clock.run_for(io, 30s);
    fail(breaker, 1);
    breaker.reset();
    breaker.trip();
    breaker.trip(1s);
    (void)breaker.set_mode(breaker_mode::forced_closed);
    clock.run(io);
    CHECK(seen == std::vector<std::string>{"closed>open consecutive_failures", "open>half_open reset_timeout",
                                           "half_open>open probe_failed", "open>closed reset", "closed>open tripped",
                                           "open>closed mode"});
}

TEST_CASE_FIXTURE(fixture, "breaker: forced open, forced closed, observe, reset, trip for a given time") {
    auto breaker = make();
    CHECK(breaker.set_mode(static_cast<breaker_mode>(7)).error() == errc::invalid_argument);
    CHECK(breaker.set_mode(breaker_mode::forced_open));
    CHECK(breaker.mode() == breaker_mode::forced_open);
    CHECK(breaker.try_begin().error() == errc::circuit_open);
    CHECK_FALSE(breaker.trip());
    CHECK(breaker.set_mode(breaker_mode::forced_closed));
    fail(breaker, 10);
    CHECK(breaker.state() == breaker_state::closed);
    CHECK(breaker.set_mode(breaker_mode::observe));
    fail(breaker, 10);
    CHECK(breaker.state() == breaker_state::open);
    CHECK(breaker.snapshot().would_refuse == 5);
    CHECK(breaker.set_mode(breaker_mode::automatic));
    CHECK(breaker.try_begin().error().retry_after == 30s);
    breaker.reset();
    CHECK(breaker.try_begin());
    CHECK(breaker.trip(9s));
    CHECK(breaker.try_begin().error().retry_after == 9s);
}

TEST_CASE_FIXTURE(fixture, "breaker: a permit's failure(trip_for) opens at once for that long") {
    auto breaker = make();
    CHECK(breaker.try_begin().value().failure(42s) == call_record::recorded);
    CHECK(breaker.try_begin().error().retry_after == 42s);
}

TEST_CASE_FIXTURE(fixture, "breaker: every completion token that the guide lists") {
    auto breaker = make();
    std::optional<int> by_callback;
    breaker.async_run([&](result<int> r) { by_callback = r.value(); }, good);
    CHECK_FALSE(by_callback);  // never inside the call
    clock.run(io);
    CHECK(by_callback == 1);

    auto future = breaker.async_run(asio::use_future, good);
    clock.run(io);
    CHECK(future.get().value() == 1);

    breaker.async_run(asio::detached, good);
    breaker.async_run(asio::detached, {.timeout = 1s}, good);
    clock.run(io);

    auto deferred = breaker.async_run(asio::deferred, good);
    std::optional<int> by_deferred;
    std::move(deferred)([&](result<int> r) { by_deferred = r.value(); });
    clock.run(io);
    CHECK(by_deferred == 1);

    std::optional<int> by_tuple;
    breaker.async_run(asio::as_tuple([&](std::tuple<result<int>> t) { by_tuple = std::get<0>(t).value(); }), good);
    clock.run(io);
    CHECK(by_tuple == 1);

    play(
        [](circuit_breaker& b) -> task {
            CHECK((co_await b.async_run(asio::use_awaitable, good)).value() == 1);
            CHECK((co_await b.async_run(asio::deferred, good)).value() == 1);
            auto [r] = co_await b.async_run(asio::as_tuple(asio::use_awaitable), good);
            CHECK(r.value() == 1);
        },
        breaker);
    CHECK(breaker.snapshot().successes == 9);
}

TEST_CASE_FIXTURE(fixture, "breaker: async_run runs the operation and completes on the handler's executor") {
    auto breaker = make();
    asio::thread_pool pool(1);
    std::thread::id ran;
    std::thread::id completed;
    auto op = [&]() -> asio::awaitable<void> {
        ran = std::this_thread::get_id();
        co_return;
    };
    breaker.async_run(asio::bind_executor(pool, [&](result<void>) { completed = std::this_thread::get_id(); }), op);
    pool.join();
    CHECK(ran != std::thread::id());
    CHECK(ran != std::this_thread::get_id());
    CHECK(completed == ran);
}

TEST_CASE_FIXTURE(fixture, "breaker: refused through a token, it completes with the refusal, posted") {
    auto breaker = make();
    breaker.trip(5s);
    std::optional<result<int>> got;
    breaker.async_run([&](result<int> r) { got = std::move(r); }, good);
    CHECK_FALSE(got);
    clock.run_for(io, 0s);
    REQUIRE(got);
    CHECK(got->error() == errc::circuit_open);
    CHECK(got->error().retry_after == 5s);
}

TEST_CASE_FIXTURE(fixture, "breaker: as_awaitable works with the operators of Asio") {
    using namespace asio::experimental::awaitable_operators;
    auto breaker = make();
    play(
        [](fixture& f, circuit_breaker& b) -> task {
            auto second = [&]() -> asio::awaitable<result<void>> { co_return co_await f.z->sleep_for(1s); };
            auto [one, two] = co_await (b.run(second).as_awaitable() && b.run(second).as_awaitable());
            CHECK(one.has_value());
            CHECK(two.has_value());
            CHECK(f.elapsed() == 1s);
        },
        *this, breaker);
}

TEST_CASE_FIXTURE(fixture, "breaker: works in coroutines on io_context::executor_type") {
    auto breaker = make();
    using executor = asio::io_context::executor_type;
    std::optional<int> got;
    asio::co_spawn(
        io,
        [](circuit_breaker& b, std::optional<int>& out) -> asio::awaitable<void, executor> {
            auto op = []() -> asio::awaitable<int, executor> { co_return 8; };
            out = (co_await b.run(op)).value();
        }(breaker, got),
        asio::detached);
    clock.run(io);
    CHECK(got == 8);
}

TEST_CASE_FIXTURE(fixture, "breaker: closed with its zone: refuses with shut_down; what runs may end") {
    auto breaker = make();
    auto permit = breaker.try_begin();
    bool drained = false;
    z->drain(1h, [&](result<void> r) { drained = r.has_value(); });
    clock.run_for(io, 1s);
    CHECK_FALSE(drained);
    CHECK(breaker.try_begin().error() == errc::shut_down);
    CHECK(permit.value().success() == call_record::recorded);
    clock.run_for(io, 1s);
    CHECK(drained);
    bool closed = false;
    z->close([&](result<void>) { closed = true; });
    clock.run(io);
    CHECK(closed);
    CHECK(circuit_breaker::create(*z, "late").error() == errc::shut_down);
    std::optional<result<int>> got;
    breaker.async_run([&](result<int> r) { got = std::move(r); }, good);
    clock.run(io);
    REQUIRE(got);
    CHECK(got->error() == errc::shut_down);
}

TEST_CASE_FIXTURE(fixture, "breaker: a closed zone has no probe timer left") {
    auto breaker = make();
    fail(breaker, 5);
    clock.run_for(io, 30s);
    auto permit = breaker.try_begin();
    z->close();
    const auto before = clock.now();
    clock.run(io);
    CHECK(clock.now() == before);
    CHECK(permit.value().success() == call_record::recorded);
}

TEST_CASE_FIXTURE(fixture, "breaker: zone.snapshot shows it as plain data") {
    auto breaker = make({.failure_ratio = 0.9});
    fail(breaker, 4);
    auto permit = breaker.try_begin();
    const auto s = z->snapshot();
    REQUIRE(s.primitives.size() == 1);
    CHECK(s.primitives[0].state == "closed");
    CHECK(s.primitives[0]["admitted"] == 5);
    CHECK(s.primitives[0]["failures"] == 4);
    CHECK(s.primitives[0]["running"] == 1);
    CHECK(s.primitives[0]["failure_ratio"] == 1.0);
}

TEST_CASE("breaker: handle, zone and io_context go in every order while an operation and a probe are pending") {
    enum class part { handle, zone, context };
    const part orders[][3] = {
        {part::handle, part::zone, part::context}, {part::handle, part::context, part::zone},
        {part::zone, part::handle, part::context}, {part::zone, part::context, part::handle},
        {part::context, part::handle, part::zone}, {part::context, part::zone, part::handle},
    };
    for (const bool with_permit : {false, true}) {
        for (const auto& order : orders) {
            virtual_clock clock;
            std::optional<asio::io_context> io(std::in_place);
            std::optional<zone> z(std::in_place, *io, "test", zone_options{.clock = &clock});
            std::optional<circuit_breaker> b(circuit_breaker::create(*z, "db", {.consecutive_failures = 1}).value());
            b->trip(1s);
            clock.run_for(*io, 1s);
            std::optional<call_permit> permit;
            if (with_permit) {
                permit.emplace(b->try_begin().value());
            }
            // The operation sleeps in another zone, so that only the end of the io_context ends it.
            zone other(*io, "other", {.clock = &clock});
            bool completed = false;
            auto op = [&other]() -> asio::awaitable<result<void>> { co_return co_await other.sleep_for(1h); };
            b->async_run([&](result<void>) { completed = true; }, op);
            asio::co_spawn(
                *io, [](circuit_breaker breaker, auto sleep) -> task { (void)co_await breaker.run(sleep); }(*b, op),
                asio::detached);
            clock.run_for(*io, 1s);
            for (const part p : order) {
                p == part::handle ? b.reset() : p == part::zone ? z.reset() : io.reset();
            }
            CHECK(completed == with_permit);  // refused at once, because the permit is the only probe
            if (permit) {
                CHECK(permit->success() == call_record::recorded);
            }
        }
    }
}

TEST_CASE_FIXTURE(fixture, "breaker: reconfigure takes other options, refuses bad ones, and tells") {
    std::vector<event_kind> events;
    const auto sub = z->on_event([&](const event& e) { events.push_back(e.kind); });
    auto breaker = make({.consecutive_failures = 5});
    fail(breaker, 2);
    const auto bad_options = breaker.reconfigure({.probes = 0});
    REQUIRE_FALSE(bad_options);
    CHECK(bad_options.error() == errc::invalid_argument);
    REQUIRE(breaker.reconfigure({.consecutive_failures = 3, .slow_after = 1s}));
    fail(breaker, 1);
    CHECK(breaker.state() == breaker_state::open);
    clock.run(io);
    CHECK(events == std::vector{event_kind::reconfigured, event_kind::breaker_state});
}

}  // namespace
}  // namespace headgate
