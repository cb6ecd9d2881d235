// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/guard.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_future.hpp>

#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <headgate/spawn.hpp>
#include <headgate/with_timeout.hpp>

#include "support/start.hpp"
#include "support/zone_fixture.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct thing {
    int number = 0;
};

// A database that can be broken and healed.
struct database {
    struct state {
        bool broken = false;
        int made = 0;
        int closed = 0;
    };
    std::shared_ptr<state> s = std::make_shared<state>();

    asio::awaitable<thing> connect() {
        if (s->broken) {
            throw std::runtime_error("connection refused");
        }
        co_return thing{++s->made};
    }
    void close(const thing&) { ++s->closed; }
};

struct fixture : headgate::test::zone_fixture {
    database db;

    rate_limiter limits = rate_limiter::create(*z, "limits", quota::per(3, 1min).value()).value();
    circuit_breaker breaker = circuit_breaker::create(*z, "breaker", {.consecutive_failures = 3}).value();
    resource_pool<thing> pool = resource_pool<thing>::create(*z, "pool", {.size = 1}, db).value();

    fixture() { clock.run(io); }

    // Runs a call to its end.
    template <class Call>
    auto finish(Call call) {
        return test::finish(clock, io, std::move(call));
    }
    // Starts a call. The returned optional gets its result later.
    template <class Call>
    auto start_call(Call call) {
        auto out = test::start(io, std::move(call));
        io.restart();
        io.poll();
        return out;
    }
    std::uint64_t used(const char* key) { return limits.inspect(key).tightest.used; }
};

asio::awaitable<result<int>> number_of(thing& t) {
    co_return t.number;
}
asio::awaitable<result<int>> seven() {
    co_return 7;
}
asio::awaitable<result<int>> broken() {
    co_return error(boost::system::errc::make_error_code(boost::system::errc::io_error));
}

TEST_CASE_FIXTURE(fixture, "guard: runs the operation with the resource, and settles with every part") {
    const guard g(limits, breaker, pool, guard_options{.timeout = 1s});
    CHECK(finish(g.run("ann", number_of)).value() == 1);
    CHECK(used("ann") == 1);
    CHECK(breaker.snapshot().successes == 1);
    CHECK(pool.snapshot().leased == 0);
    CHECK(pool.snapshot().idle == 1);
}

TEST_CASE_FIXTURE(fixture, "guard: any subset works, and the order of construction does not matter") {
    CHECK(finish(guard(limits).run("ann", seven)).value() == 7);
    CHECK(finish(guard(breaker).run("ann", seven)).value() == 7);
    CHECK(finish(guard(pool).run("ann", number_of)).value() == 1);
    CHECK(finish(guard(limits, breaker).run("ann", seven)).value() == 7);
    CHECK(finish(guard(pool, limits).run("ann", number_of)).value() == 1);
    CHECK(finish(guard(guard_options{.timeout = 1s}, pool, breaker, limits).run("bob", number_of)).value() == 1);
    auto calls = bulkhead::create(*z, "calls", {.max_concurrent = 1}).value();
    CHECK(finish(guard(calls, breaker).run("ann", seven)).value() == 7);
    CHECK(calls.snapshot().running == 0);
    CHECK(used("ann") == 3);
    CHECK(used("bob") == 1);
    CHECK(breaker.snapshot().successes == 4);
}

TEST_CASE_FIXTURE(fixture, "guard: an operation takes its context, its resource and its arguments in this order") {
    const guard g(pool, guard_options{.timeout = 5s});
    const auto op = [](call_context context, thing& t, std::string text, int n) -> asio::awaitable<std::string> {
        co_return std::to_string(context.time_left() / 1s) + text + std::to_string(t.number + n);
    };
    const std::string text = " s, ";
    CHECK(finish(g.run("ann", op, text, 2)).value() == "5 s, 3");
    const auto nothing = [](thing&) -> asio::awaitable<void> { co_return; };
    CHECK(finish(g.run("ann", nothing)));
}

TEST_CASE_FIXTURE(fixture, "guard: refused by the breaker, no permit is spent and no resource taken") {
    breaker.trip(10s);
    const guard g(limits, breaker, pool);
    const auto r = finish(g.run("ann", number_of));
    CHECK(r.error() == errc::circuit_open);
    CHECK(r.error().retry_after == 10s);
    CHECK(used("ann") == 0);
    CHECK(pool.snapshot().leased == 0);
}

TEST_CASE_FIXTURE(fixture, "guard: refused by the limiter, no probe is used and the resource is back") {
    for (int i = 0; i < 3; ++i) {
        REQUIRE(limits.try_acquire("ann"));
    }
    breaker.trip(10s);
    clock.run_for(io, 10s);
    const guard g(limits, breaker, pool);
    const auto r = finish(g.run("ann", number_of));
    CHECK(r.error() == errc::rate_limited);
    CHECK(r.error().retry_after == 10s);
    CHECK(breaker.snapshot().probes_running == 0);
    CHECK(pool.snapshot().idle == 1);
    // The breaker's permit came back without a call, so the breaker records no latency.
    CHECK(breaker.core()->snapshot().latencies.front().durations.count() == 0);
    // Another user can still have the probe.
    CHECK(finish(g.run("bob", number_of)));
    CHECK(breaker.state() == breaker_state::closed);
}

TEST_CASE_FIXTURE(fixture, "guard: refused by the pool, no permit is spent and no probe used") {
    auto held = pool.try_checkout();
    breaker.trip(10s);
    clock.run_for(io, 10s);
    const guard g(limits, breaker, pool);
    REQUIRE(pool.reconfigure({.size = 1, .max_wait = 1s}));
    const auto r = finish(g.run("ann", number_of));
    CHECK(r.error() == errc::wait_timed_out);
    CHECK(used("ann") == 0);
    CHECK(breaker.snapshot().probes_running == 0);
    CHECK(breaker.snapshot().failures == 0);
    held.value().give_back();
    CHECK(finish(g.run("ann", number_of)));
    CHECK(breaker.state() == breaker_state::closed);
}

TEST_CASE_FIXTURE(fixture, "guard: a call that waits for the pool holds no permit and no probe") {
    auto held = pool.try_checkout();
    breaker.trip(10s);
    clock.run_for(io, 10s);
    const guard g(limits, breaker, pool);
    const auto waiting = start_call(g.run("ann", number_of));
    CHECK(pool.snapshot().waiting == 1);
    CHECK(used("ann") == 0);
    CHECK(breaker.snapshot().probes_running == 0);
    // The probe is free for another call.
    CHECK(start_call(guard(breaker).run("bob", seven))->value());
    held.value().give_back();
    io.restart();
    io.poll();
    REQUIRE(waiting->has_value());
    CHECK(waiting->value().value() == 1);
    CHECK(used("ann") == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "guard: at hand-off all is checked again; refused then, the resource goes to the next waiter") {
    auto held = pool.try_checkout();
    const guard g(limits, breaker, pool);
    const auto first = start_call(g.run("ann", number_of));
    const auto second = start_call(g.run("bob", number_of));
    CHECK(pool.snapshot().waiting == 2);
    for (int i = 0; i < 3; ++i) {
        REQUIRE(limits.try_acquire("ann"));
    }
    held.value().give_back();
    io.restart();
    io.poll();
    REQUIRE(first->has_value());
    CHECK(first->value().error() == errc::rate_limited);
    REQUIRE(second->has_value());
    CHECK(second->value().value() == 1);
    CHECK(pool.snapshot().idle == 1);

    // The same with the breaker.
    held = pool.try_checkout();
    const auto third = start_call(g.run("eve", number_of));
    breaker.trip(1h);
    held.value().give_back();
    io.restart();
    io.poll();
    REQUIRE(third->has_value());
    CHECK(third->value().error() == errc::circuit_open);
    CHECK(used("eve") == 0);
    CHECK(pool.snapshot().idle == 1);
}

TEST_CASE_FIXTURE(fixture, "guard: a call that the limiter or the breaker would refuse does not queue in vain") {
    auto held = pool.try_checkout();
    const guard g(limits, breaker, pool);
    for (int i = 0; i < 3; ++i) {
        REQUIRE(limits.try_acquire("ann"));
    }
    const auto r = start_call(g.run("ann", number_of));
    REQUIRE(r->has_value());
    CHECK(r->value().error() == errc::rate_limited);
    CHECK(r->value().error().retry_after == 20s);
    breaker.trip(1h);
    const auto open = start_call(g.run("bob", number_of));
    REQUIRE(open->has_value());
    CHECK(open->value().error() == errc::circuit_open);
    CHECK(pool.snapshot().waiting == 0);
    const auto unknown = start_call(guard(limits, pool).run("bob", {.tier = "gold"}, number_of));
    CHECK(unknown->value().error() == errc::invalid_argument);
    const auto big = start_call(guard(limits, pool).run("bob", {.cost = 4}, number_of));
    CHECK(big->value().error() == errc::cost_exceeds_limit);
}

TEST_CASE_FIXTURE(
    fixture, "guard: connect_failed is a failure in the current generation, so a dead database trips its breaker") {
    db.s->broken = true;
    auto dead = resource_pool<thing>::create(*z, "dead", {.size = 1}, db).value();
    const guard g(limits, breaker, dead);
    int refused = 0;
    for (int i = 0; i < 10 && breaker.state() == breaker_state::closed; ++i) {
        const auto r = start_call(g.run(i, number_of));
        clock.run_for(io, 1s);
        REQUIRE(r->has_value());
        CHECK(r->value().error() == errc::connect_failed);
        CHECK(r->value().error().cause != nullptr);
        ++refused;
    }
    CHECK(refused == 3);
    CHECK(breaker.state() == breaker_state::open);
    for (int i = 0; i < refused; ++i) {
        CHECK(limits.inspect(i).tightest.used == 0);
    }
}

TEST_CASE_FIXTURE(fixture, "guard: the deadline covers waiting and running; what is left reaches the operation") {
    auto held = pool.try_checkout();
    const guard g(breaker, pool, guard_options{.timeout = 3s});
    duration left{};
    const auto op = [&left](call_context context, thing&) -> asio::awaitable<void> {
        left = context.time_left();
        co_return;
    };
    const auto call = start_call(g.run("ann", op));
    clock.run_for(io, 2s);
    held.value().give_back();
    clock.run_for(io, 0s);
    CHECK(call->has_value());
    CHECK(left == 1s);
    // A call whose time ends while it waits counts as neutral.
    held = pool.try_checkout();
    const auto late = finish(g.run("ann", op));
    CHECK(late.error() == errc::wait_timed_out);
    CHECK(breaker.snapshot().failures == 0);
    CHECK(elapsed() == 5s);
}

TEST_CASE_FIXTURE(fixture,
                  "guard: a deadline that passes while running cancels, is a failure, and closes the resource") {
    const guard g(breaker, pool, guard_options{.timeout = 3s});
    const auto by_context = [](call_context context, thing&, zone* where) -> asio::awaitable<result<void>> {
        co_return co_await where->sleep_for(1h, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
    };
    const auto enforced = [](thing&, zone* where) -> asio::awaitable<result<void>> {
        co_return co_await where->sleep_for(1h);
    };
    CHECK(finish(g.run("ann", by_context, &*z)).error() == errc::timed_out);
    CHECK(elapsed() == 3s);
    CHECK(breaker.snapshot().failures == 1);
    CHECK(db.s->closed == 1);
    CHECK(finish(g.run("ann", enforced, &*z)).error() == errc::timed_out);
    CHECK(elapsed() == 6s);
    CHECK(breaker.snapshot().failures == 2);
    CHECK(db.s->closed == 2);
    // The call's own timeout replaces the guard's.
    CHECK(finish(g.run("ann", {.timeout = 1s}, by_context, &*z)).error() == errc::timed_out);
    CHECK(elapsed() == 7s);
    CHECK(finish(g.run("ann", {.timeout = 0s}, by_context, &*z)).error() == errc::wait_timed_out);
    CHECK(breaker.snapshot().failures == 3);
}

TEST_CASE_FIXTURE(fixture, "guard: an operation that ignores its cancellation keeps its caller, and overrun names it") {
    struct stubborn {
        asio::awaitable<void> operator()(call_context, zone* where) const { (void)co_await where->sleep_for(10s); }
    };
    std::vector<event> events;
    const auto sub = z->on_event([&](const event& e) { events.push_back(e); });
    const guard g(limits, guard_options{.timeout = 2s, .name = "charge"});
    const auto call = start_call(g.run("ann", stubborn{}, &*z));
    clock.run_for(io, 3s - 1ns);
    CHECK(events.empty());
    clock.run_for(io, 1ns);
    REQUIRE(events.size() == 1);
    CHECK(events[0].kind == event_kind::overrun);
    CHECK(events[0].primitive == primitive_kind::guard);
    CHECK(events[0].name == "charge");
    CHECK(events[0].detail.find("stubborn") != std::string::npos);
    CHECK_FALSE(call->has_value());
    clock.run(io);
    REQUIRE(call->has_value());
    CHECK(call->value());  // it succeeded after all
    CHECK(elapsed() == 10s);
    CHECK(events.size() == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "guard: an exception is a failure and reaches the caller with its cause; the resource is back") {
    const guard g(breaker, pool);
    const auto op = [](thing&) -> asio::awaitable<int> {
        throw std::runtime_error("no such table");
        co_return 1;
    };
    const auto r = finish(g.run("ann", op));
    CHECK(r.error() == errc::operation_failed);
    CHECK(r.error().message().find("no such table") != std::string::npos);
    CHECK(breaker.snapshot().failures == 1);
    CHECK(pool.snapshot().idle == 1);
    CHECK(db.s->closed == 0);
}

TEST_CASE_FIXTURE(fixture, "guard: cancellation and destruction count for nothing, and lose no resource") {
    const guard g(limits, breaker, pool, guard_options{.timeout = 1h});
    const auto op = [](thing&, zone* where) -> asio::awaitable<result<void>> {
        co_return co_await where->sleep_for(1h);
    };
    asio::cancellation_signal signal;
    std::optional<result<void>> end;
    g.async_run(asio::bind_cancellation_slot(signal.slot(), [&](result<void> r) { end.emplace(std::move(r)); }), "ann",
                op, &*z);
    io.restart();
    io.poll();
    CHECK(pool.snapshot().leased == 1);
    signal.emit(asio::cancellation_type::terminal);
    clock.run(io);
    REQUIRE(end);
    CHECK(end->error() == errc::canceled);
    CHECK(breaker.snapshot().neutral == 1);
    CHECK(breaker.snapshot().failures == 0);
    CHECK(pool.snapshot().leased == 0);
    CHECK(elapsed() == 0s);
    // Cancelled while it waits for the pool.
    auto held = pool.try_checkout();
    end.reset();
    g.async_run(asio::bind_cancellation_slot(signal.slot(), [&](result<void> r) { end.emplace(std::move(r)); }), "ann",
                op, &*z);
    io.restart();
    io.poll();
    CHECK(pool.snapshot().waiting == 1);
    signal.emit(asio::cancellation_type::terminal);
    clock.run_for(io, 0s);
    REQUIRE(end);
    CHECK(end->error() == errc::canceled);
    CHECK(pool.snapshot().waiting == 0);
    CHECK(used("ann") == 1);
}

TEST_CASE_FIXTURE(fixture, "guard: cancelled while its resource is on its way, it has not run and spent nothing") {
    const guard g(limits, breaker, pool);
    auto held = pool.try_checkout().value();
    bool ran = false;
    const auto op = [&ran](thing&) -> asio::awaitable<void> {
        ran = true;
        co_return;
    };
    asio::cancellation_signal signal;
    std::optional<result<void>> end;
    const auto strand = asio::make_strand(io);
    g.async_run(asio::bind_executor(strand, asio::bind_cancellation_slot(
                                                signal.slot(), [&](result<void> r) { end.emplace(std::move(r)); })),
                "ann", op);
    io.restart();
    io.poll();
    CHECK(pool.snapshot().waiting == 1);
    asio::post(strand, [&] {
        held.give_back();  // goes to the call that waits
        signal.emit(asio::cancellation_type::terminal);
    });
    clock.run(io);
    REQUIRE(end);
    CHECK(end->error() == errc::canceled);
    CHECK_FALSE(ran);
    CHECK(used("ann") == 0);
    CHECK(pool.snapshot().leased == 0);
    CHECK(breaker.snapshot().probes_running == 0);
}

TEST_CASE_FIXTURE(fixture, "guard: what counts as a failure can be said for a call") {
    const guard g(breaker);
    const auto not_found = [](const result<int>& r) {
        return r || r.error().code == boost::system::errc::io_error ? call_outcome::success : call_outcome::failure;
    };
    for (int i = 0; i < 10; ++i) {
        CHECK_FALSE(finish(g.run("ann", guard_call_options<decltype(not_found)>{.judge = not_found}, broken)));
    }
    CHECK(breaker.state() == breaker_state::closed);
    CHECK(breaker.snapshot().successes == 10);
}

TEST_CASE_FIXTURE(fixture, "guard: protect finds the parts by their names") {
    CHECK(finish(z->protect<thing>({.limiter = "limits", .breaker = "breaker", .pool = "pool"}, "ann", number_of))
              .value() == 1);
    CHECK(used("ann") == 1);
    CHECK(breaker.snapshot().successes == 1);
    const auto no_limiter = finish(z->protect({.limiter = "limit"}, "ann", seven));
    CHECK(no_limiter.error() == errc::unknown_name);
    CHECK(no_limiter.error().message().find("\"limit\" in zone \"test\"") != std::string::npos);
    CHECK(finish(z->protect({.breaker = "none"}, "ann", seven)).error() == errc::unknown_name);
    const auto of_int = [](int& n) -> asio::awaitable<int> { co_return n; };
    CHECK(finish(z->protect<int>({.pool = "pool"}, "ann", of_int)).error() == errc::unknown_name);
    CHECK(finish(z->protect({.pool = "pool"}, "ann", seven)).error() == errc::invalid_argument);
    CHECK(finish(z->protect({}, "ann", seven)).error() == errc::invalid_argument);
    CHECK(make_guard(*z, {.limiter = "limits", .timeout = 1s}));
    CHECK(make_guard(*z, {.limiter = "limit"}).error() == errc::unknown_name);
}

TEST_CASE_FIXTURE(fixture, "guard: a zone may declare that a missing breaker means to run") {
    zone lenient(io, "lenient", {.clock = &clock, .missing_breaker = missing_breaker::run});
    CHECK(finish(lenient.protect({.breaker = "none"}, "ann", seven)).value() == 7);
    CHECK(finish(lenient.protect({.limiter = "none"}, "ann", seven)).error() == errc::unknown_name);
    auto there = circuit_breaker::create(lenient, "there").value();
    there.trip(1h);
    CHECK(finish(lenient.protect({.breaker = "there"}, "ann", seven)).error() == errc::circuit_open);
}

TEST_CASE_FIXTURE(fixture, "guard: parts on different clocks are refused") {
    zone real(io, "real");
    auto other = circuit_breaker::create(real, "b").value();
    CHECK_THROWS_AS(guard(limits, other), headgate::system_error);
}

TEST_CASE_FIXTURE(fixture, "guard: a re-entrant call just works, and at size 1 ends at its deadline") {
    const guard outer(limits, breaker);
    const auto nested = [](const guard<>* g) -> asio::awaitable<result<int>> {
        co_return co_await g->run("bob", seven);
    };
    CHECK(finish(outer.run("ann", nested, &outer)).value() == 7);
    const guard<thing> single(pool, guard_options{.timeout = 1s});
    const auto again = [](thing&, const guard<thing>* g) -> asio::awaitable<result<int>> {
        co_return co_await g->run("bob", {.timeout = 500ms}, number_of);
    };
    CHECK(finish(single.run("ann", again, &single)).error() == errc::wait_timed_out);
    CHECK(elapsed() == 500ms);
}

TEST_CASE_FIXTURE(fixture, "guard: run latencies are kept for the breaker") {
    const guard g(breaker);
    const auto op = [](zone* where) -> asio::awaitable<void> { (void)co_await where->sleep_for(200ms); };
    for (int i = 0; i < 10; ++i) {
        CHECK(finish(g.run("ann", op, &*z)));
    }
    for (const auto& p : z->snapshot().primitives) {
        if (p.kind == primitive_kind::circuit_breaker) {
            REQUIRE(p.latencies.size() == 1);
            CHECK(p.latencies[0].durations.count() == 10);
            CHECK(p.latencies[0].durations.quantile(0.5) > 190ms);
            CHECK(p.latencies[0].durations.quantile(0.5) < 210ms);
        }
    }
}

// A refused call spends nothing of the other parts. The test counts this exactly, under random refusals, timeouts,
// cancellations and failures.
TEST_CASE_FIXTURE(fixture, "guard: conservation under random refusals, in virtual time") {
    const std::uint64_t seed = 20261124;
    MESSAGE("seed " << seed);
    std::mt19937_64 random(seed);
    auto quota_ = rate_limiter::create(*z, "many", quota::per(150, 1s, 5).value()).value();
    auto tripping = circuit_breaker::create(
                        *z, "tripping", {.consecutive_failures = 2, .reset_timeout = 5ms, .max_reset_timeout = 20ms})
                        .value();
    auto few = resource_pool<thing>::create(*z, "few", {.size = 3, .max_waiters = 5, .max_wait = 20ms}, db).value();
    clock.run(io);
    const guard g(quota_, tripping, few, guard_options{.timeout = 30ms});
    int ran = 0, ended = 0, started = 0;
    std::map<int, int> errors;
    const auto op = [&](thing&, zone* where, int how) -> asio::awaitable<result<void>> {
        ++ran;
        if (how % 4 == 0) {
            co_return error(boost::system::errc::make_error_code(boost::system::errc::io_error));
        }
        co_return co_await where->sleep_for(duration(1ms) * (how % 60));
    };
    std::vector<std::unique_ptr<asio::cancellation_signal>> signals;
    for (int i = 0; i < 20'000; ++i) {
        ++started;
        signals.push_back(std::make_unique<asio::cancellation_signal>());
        g.async_run(asio::bind_cancellation_slot(signals.back()->slot(),
                                                 [&](const result<void>& r) {
                                                     ++ended;
                                                     ++errors[r ? 0 : r.error().code.value()];
                                                 }),
                    "all", op, &*z, static_cast<int>(random() % 1000));
        if (random() % 3 == 0) {
            clock.run_for(io, duration(1ms) * (random() % 8));
        }
        if (random() % 7 == 0) {
            signals[random() % signals.size()]->emit(asio::cancellation_type::terminal);
        }
    }
    clock.run(io);
    CHECK(ended == started);
    CHECK(few.snapshot().leased == 0);
    CHECK(few.snapshot().waiting == 0);
    CHECK(few.snapshot().idle == 3);
    CHECK(tripping.snapshot().probes_running == 0);
    const auto counts = quota_.snapshot();
    CHECK(counts.granted == ran);  // a permit for each operation that ran, and for no other
    const auto b = tripping.snapshot();
    CHECK(b.admitted == b.successes + b.failures + b.neutral + b.stale);
    // Every possible result occurred.
    for (const errc e : {errc{}, errc::rate_limited, errc::queue_full, errc::wait_timed_out, errc::timed_out,
                         errc::circuit_open, errc::canceled}) {
        CAPTURE(static_cast<int>(e));
        CHECK(errors[static_cast<int>(e)] > 0);
    }
}

TEST_CASE_FIXTURE(fixture,
                  "guard: a day of traffic with a failing backend: refused fast, not stampeded, all closed again") {
    auto day_limits = rate_limiter::create(*z, "day", quota::per(100, 1s).value()).value();
    auto day_breaker =
        circuit_breaker::create(*z, "day", {.failure_ratio = 0.5, .min_calls = 10, .reset_timeout = 30s}).value();
    auto day_pool = resource_pool<thing>::create(*z, "day", {.size = 8, .max_wait = 1s}, db).value();
    clock.run(io);
    const guard g(day_limits, day_breaker, day_pool, guard_options{.timeout = 2s});
    struct {
        bool down = false;
        int running = 0, most = 0, most_after_recovery = 0, calls_while_down = 0;
    } backend;
    const auto op = [&backend](thing&, zone* where) -> asio::awaitable<result<void>> {
        backend.calls_while_down += backend.down;
        ++backend.running;
        backend.most = std::max(backend.most, backend.running);
        const bool down = backend.down;
        (void)co_await where->sleep_for(down ? 1s : 50ms);
        --backend.running;
        co_return down ? result<void>(error(boost::system::errc::make_error_code(boost::system::errc::io_error)))
                       : result<void>(success());
    };
    int ok = 0, refused = 0, failed = 0, slow_refusals = 0;
    const auto client = [&](zone* where, int id) -> asio::awaitable<void> {
        std::mt19937_64 random(static_cast<std::uint64_t>(id));
        while (where->now() - start < 24h) {
            const time_point asked = where->now();
            const result<void> r = co_await g.run(id, op, where);
            if (r) {
                ++ok;
            } else if (r.error() == errc::circuit_open) {
                ++refused;
                slow_refusals += where->now() != asked;
            } else {
                ++failed;
            }
            (void)co_await where->sleep_for(duration(1ms) * (20'000 + random() % 20'000));
        }
    };
    for (int id = 0; id < 20; ++id) {
        asio::co_spawn(io, client(&*z, id), asio::detached);
    }
    clock.run_for(io, 8h);
    CHECK(failed == 0);
    backend.down = true;
    backend.calls_while_down = 0;
    clock.run_for(io, 2h);
    // Two hours of 20 clients are some 4,800 calls; the backend sees the first few, then one probe each 5 minutes.
    CHECK(refused > 4'600);
    CHECK(slow_refusals == 0);
    CHECK(backend.calls_while_down < 60);
    CHECK(day_breaker.state() != breaker_state::closed);
    backend.down = false;
    backend.most = 0;
    const int ok_before = ok;
    clock.run_for(io, 14h);
    CHECK(backend.most <= 8);
    CHECK(ok > ok_before);
    CHECK(day_breaker.state() == breaker_state::closed);
    clock.run(io);
    CHECK(day_pool.snapshot().leased == 0);
    CHECK(day_breaker.snapshot().probes_running == 0);
}

TEST_CASE_FIXTURE(fixture, "guard: with an io_context destroyed while calls wait and run, nothing leaks") {
    auto token = std::make_shared<int>(0);
    {
        asio::io_context other;
        zone zn(other, "z");
        auto p = resource_pool<thing>::create(zn, "p", {.size = 1}, database{}).value();
        auto b = circuit_breaker::create(zn, "b").value();
        while (!p.try_checkout()) {
            other.restart();
            other.poll();
        }
        const guard g(p, b, guard_options{.timeout = 1h});
        const auto op = [](thing&, zone* where, std::shared_ptr<int>) -> asio::awaitable<result<void>> {
            co_return co_await where->sleep_for(1h);
        };
        const auto with_context = [](call_context, thing&, zone* where,
                                     std::shared_ptr<int>) -> asio::awaitable<result<void>> {
            co_return co_await where->sleep_for(1h);
        };
        g.async_run(asio::detached, 1, op, &zn, token);
        g.async_run(asio::detached, 1, with_context, &zn, token);
        other.restart();
        other.poll();
        CHECK(p.snapshot().leased == 1);
        CHECK(p.snapshot().waiting == 1);
        CHECK(token.use_count() == 3);
    }
    CHECK(token.use_count() == 1);
}

}  // namespace
}  // namespace headgate
