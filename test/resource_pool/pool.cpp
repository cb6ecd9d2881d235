// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/resource_pool.hpp>

#include <doctest/doctest.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_future.hpp>

#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "fixture.hpp"

namespace headgate {
namespace {

using namespace test;

// Cases of Poolboy's own tests ----------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture, "pool: starts size resources; checkout takes one, return gives it back; counts are right") {
    auto pool = make({.size = 5});
    CHECK(pool.snapshot().idle == 5);
    CHECK(w.made == 5);
    {
        auto a = pool.try_checkout();
        auto b = pool.try_checkout();
        REQUIRE(a);
        REQUIRE(b);
        CHECK(&*a.value() != &*b.value());
        CHECK(pool.snapshot().idle == 3);
        CHECK(pool.snapshot().leased == 2);
    }
    CHECK(pool.snapshot().idle == 5);
    CHECK(pool.snapshot().leased == 0);
    CHECK(pool.snapshot().state == pool_state::active);
    CHECK(pool.snapshot().size == 5);
    CHECK(w.closed.empty());
}

TEST_CASE_FIXTURE(fixture, "pool: overflow is made on demand up to max_overflow, and dismissed on return") {
    auto pool = make({.size = 1, .max_overflow = 1});
    auto a = pool.try_checkout();
    outcome_of second, third;
    pool.checkout(second.callback());
    pool.checkout(third.callback());
    settle();
    CHECK(second.granted());
    CHECK_FALSE(third.got);
    CHECK(pool.snapshot().overflow == 1);
    second.got->value().give_back();
    settle();
    CHECK(third.granted());
    third.got.reset();
    settle();
    CHECK(pool.snapshot().overflow == 0);
    CHECK(w.closed.size() == 1);
    CHECK(w.alive == 1);
}

TEST_CASE_FIXTURE(fixture, "pool: overflow is dismissed after overflow_ttl") {
    auto pool = make({.size = 1, .max_overflow = 1, .overflow_ttl = 3s});
    auto a = pool.try_checkout();
    outcome_of second;
    pool.checkout(second.callback());
    settle();
    second.got.reset();
    a = errc::canceled;
    clock.run_for(io, 3s - 1ns);
    CHECK(w.alive == 2);
    clock.run_for(io, 1ns);
    CHECK(w.alive == 1);
}

TEST_CASE_FIXTURE(fixture, "pool: empty without overflow blocks until a return; non-blocking is exhausted at once") {
    for (const std::uint32_t overflow : {0u, 1u}) {
        auto pool = make({.size = 1, .max_overflow = overflow}, overflow == 0 ? "without" : "with");
        auto a = pool.try_checkout();
        auto refused = pool.try_checkout();
        REQUIRE(refused.has_error());
        CHECK(refused.error() == errc::exhausted);
        outcome_of no_wait;
        pool.checkout({.max_wait = 0s}, no_wait.callback());
        settle();
        CHECK(no_wait.failed(errc::exhausted));
        CHECK(pool.snapshot().waiting == 0);
    }
}

TEST_CASE_FIXTURE(fixture, "pool: a holder that ends without returning gives its resource back") {
    auto pool = make({.size = 1});
    asio::co_spawn(
        io,
        [](resource_pool<thing> p) -> awaitable<void> {
            auto l = co_await p.checkout();
            throw std::runtime_error("holder");
        }(pool),
        [](const std::exception_ptr& e) { CHECK(e); });
    settle();
    CHECK(pool.snapshot().idle == 1);
    asio::cancellation_signal signal;
    asio::co_spawn(
        io,
        [](resource_pool<thing> p, zone& zn) -> awaitable<void> {
            auto l = co_await p.checkout();
            (void)co_await zn.sleep_for(1h);
        }(pool, *z),
        asio::bind_cancellation_slot(signal.slot(), [](const std::exception_ptr&) {}));
    settle();
    CHECK(pool.snapshot().leased == 1);
    signal.emit(asio::cancellation_type::terminal);
    settle();
    CHECK(pool.snapshot().idle == 1);
}

TEST_CASE_FIXTURE(fixture, "pool: with(op) returns the resource after an exception and passes it on as the cause") {
    auto pool = make({.size = 1});
    std::optional<result<int>> got;
    auto op = [](thing&) -> awaitable<int> { throw std::runtime_error("in the operation"); };
    spawn(io.get_executor(), pool.with(op), [&](result<int> r) { got = std::move(r); });
    settle();
    REQUIRE(got);
    REQUIRE(got->has_error());
    CHECK(got->error() == errc::operation_failed);
    CHECK_THROWS_WITH_AS(std::rethrow_exception(got->error().cause), "in the operation", std::runtime_error);
    CHECK(pool.snapshot().idle == 1);
    CHECK(w.closed.empty());
}

TEST_CASE_FIXTURE(fixture, "pool: a timeout in with(op) recovers") {
    auto pool = make({.size = 1});
    for (const bool takes_context : {false, true}) {
        std::optional<result<void>> got;
        const auto before = elapsed();
        auto done = [&](result<void> r) { got = std::move(r); };
        auto plain = [](thing&, zone* zn) -> awaitable<void> { (co_await zn->sleep_for(1h)).value(); };
        auto aware = [](call_context c, thing&, zone* zn) -> awaitable<result<void>> {
            CHECK(c.time_left() == 2s);
            co_return co_await zn->sleep_for(1h, asio::bind_cancellation_slot(c.slot(), asio::use_awaitable));
        };
        if (takes_context) {
            spawn(io.get_executor(), pool.with({.timeout = 2s}, aware, &*z), done);
        } else {
            spawn(io.get_executor(), pool.with({.timeout = 2s}, plain, &*z), done);
        }
        clock.run_for(io, 3s);
        REQUIRE(got);
        REQUIRE(got->has_error());
        CHECK(got->error() == errc::timed_out);
        CHECK(elapsed() - before == 3s);
        CHECK(pool.snapshot().idle == 1);
    }
    // Both resources are in doubt, so the pool replaces them.
    CHECK(w.closed == std::vector<int>{1, 2});
}

TEST_CASE_FIXTURE(fixture, "pool: with(op) takes operations and arguments of every kind, and any token") {
    auto pool = make({.size = 1});
    int sum = 0;
    asio::co_spawn(
        io,
        [](resource_pool<thing> p, int& out) -> awaitable<void> {
            auto by_result = [](thing& t, std::string s) -> awaitable<result<int>> {
                co_return t.number + static_cast<int>(s.size());
            };
            auto nothing = [](thing&) -> awaitable<void> { co_return; };
            const std::string text = "four";
            std::string taken = "seven77";
            auto pointer = std::make_unique<int>(10);
            auto moves = [](thing&, std::unique_ptr<int> n) -> awaitable<int> { co_return *n; };
            out += (co_await p.with(by_result, text)).value();
            out += (co_await p.with(by_result, take(taken))).value();
            out += (co_await p.with(moves, take(pointer))).value();
            CHECK((co_await p.with(nothing)).has_value());
            out += (co_await p.async_with(asio::use_awaitable, {}, by_result, text)).value();
        }(pool, sum),
        asio::detached);
    settle();
    CHECK(sum == 5 + 8 + 10 + 5);
    CHECK(pool.snapshot().idle == 1);
}

TEST_CASE_FIXTURE(fixture, "pool: a waiter that gave up is gone: the next return goes to a live waiter") {
    auto pool = make({.size = 1});
    auto a = pool.try_checkout();
    outcome_of early, late;
    pool.checkout({.max_wait = 1s}, early.callback());
    pool.checkout({.max_wait = 10s}, late.callback());
    clock.run_for(io, 1s);
    CHECK(early.failed(errc::wait_timed_out));
    CHECK(pool.snapshot().waiting == 1);
    a.value().give_back();
    settle();
    CHECK(late.granted());
    CHECK(pool.snapshot().waiting == 0);
}

TEST_CASE_FIXTURE(fixture, "pool: the default max_wait is 5 s") {
    auto pool = make({.size = 1});
    auto a = pool.try_checkout();
    outcome_of o;
    pool.checkout(o.callback());
    clock.run_for(io, 5s - 1ns);
    CHECK_FALSE(o.got);
    clock.run_for(io, 1ns);
    CHECK(o.failed(errc::wait_timed_out));
}

TEST_CASE_FIXTURE(fixture, "pool: LIFO and FIFO orders") {
    for (const auto strategy : {pool_strategy::lifo, pool_strategy::fifo}) {
        auto pool = make({.size = 3, .strategy = strategy}, strategy == pool_strategy::lifo ? "lifo" : "fifo");
        std::deque<lease<thing>> held;
        for (int i = 0; i < 3; ++i) {
            held.push_back(pool.try_checkout().value());
        }
        std::vector<int> numbers;
        while (!held.empty()) {
            numbers.push_back(held.front()->number);
            held.pop_front();
        }
        const auto next = pool.try_checkout();
        CHECK(next.value()->number == (strategy == pool_strategy::lifo ? numbers.back() : numbers.front()));
    }
}

TEST_CASE_FIXTURE(fixture, "pool: 20 tasks of 100 ms on 10 + 5 resources all succeed, in exactly 200 ms") {
    auto pool = make({.size = 10, .max_overflow = 5});
    int done = 0;
    duration last{};
    for (int i = 0; i < 20; ++i) {
        asio::co_spawn(
            io,
            [](fixture& f, resource_pool<thing> p, int& count, duration& end) -> awaitable<void> {
                auto op = [](thing&, zone* zn) -> awaitable<result<void>> { co_return co_await zn->sleep_for(100ms); };
                (co_await p.with(op, &*f.z)).value();
                ++count;
                end = f.elapsed();
            }(*this, pool, done, last),
            asio::detached);
    }
    clock.run_for(io, 1s);
    CHECK(done == 20);
    CHECK(last == 200ms);
    CHECK(w.made == 15);
    CHECK(pool.snapshot().idle == 10);
}

// Beyond Poolboy ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture, "pool: strict hand-off: with waiters queued, a newcomer never takes a returning resource") {
    auto pool = make({.size = 1});
    auto a = pool.try_checkout();
    outcome_of o;
    pool.checkout(o.callback());
    a.value().give_back();
    // The resource is handed over already, though the io_context has not run since.
    CHECK(pool.snapshot().leased == 1);
    CHECK(pool.try_checkout().has_error());
    settle();
    CHECK(o.granted());
}

TEST_CASE_FIXTURE(fixture, "pool: FIFO under 10,000 waiters") {
    auto pool = make({.size = 1, .max_waiters = 10'000, .max_wait = 1h});
    auto a = pool.try_checkout();
    std::vector<int> order;
    for (int i = 0; i < 10'000; ++i) {
        pool.checkout([&order, i](result<lease<thing>> r) {
            CHECK(r);
            order.push_back(i);
        });
    }
    outcome_of too_many;
    pool.checkout(too_many.callback());
    settle();
    CHECK(too_many.failed(errc::queue_full));
    CHECK(pool.snapshot().waiting == 10'000);
    a.value().give_back();
    settle();
    REQUIRE(order.size() == 10'000);
    CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE_FIXTURE(fixture, "pool: each type of cancellation takes a waiter out of the queue") {
    auto pool = make({.size = 1});
    auto a = pool.try_checkout();
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total}) {
        asio::cancellation_signal signal;
        outcome_of o;
        pool.checkout(asio::bind_cancellation_slot(signal.slot(), o.callback()));
        CHECK(pool.snapshot().waiting == 1);
        signal.emit(type);
        CHECK(pool.snapshot().waiting == 0);
        CHECK_FALSE(o.got);  // not inside the emission
        settle();
        CHECK(o.failed(errc::canceled));
        CHECK_FALSE(signal.slot().has_handler());
    }
}

TEST_CASE_FIXTURE(fixture, "pool: a coroutine cancelled at the moment of hand-off passes the resource on") {
    auto pool = make({.size = 1});
    auto a = pool.try_checkout();
    asio::cancellation_signal signal;
    bool ran = false;
    asio::co_spawn(
        io,
        [](resource_pool<thing> p, zone& zn, bool& out) -> awaitable<void> {
            auto l = co_await p.checkout();
            out = true;
            (void)co_await zn.sleep_for(1h);  // throws, because it was cancelled
        }(pool, *z, ran),
        asio::bind_cancellation_slot(signal.slot(), [](const std::exception_ptr&) {}));
    settle();
    outcome_of next;
    pool.checkout(next.callback());
    a.value().give_back();
    signal.emit(asio::cancellation_type::terminal);
    settle();
    CHECK(next.granted());
}

TEST_CASE_FIXTURE(fixture, "pool: a lease held past the threshold raises one event with the place of checkout") {
    std::vector<event> events;
    auto sub = z->on_event([&](const event& e) { events.push_back(e); });
    auto pool = make({.size = 1, .leak_threshold = 10s});
    const auto line = std::source_location::current().line() + 1;
    auto a = pool.try_checkout();
    clock.run_for(io, 10s - 1ns);
    CHECK(events.empty());
    clock.run_for(io, 1h);
    REQUIRE(events.size() == 1);
    CHECK(events[0].kind == event_kind::lease_leaked);
    CHECK(events[0].name == "things");
    CHECK(events[0].where.line() == line);
    CHECK(std::string_view(events[0].where.file_name()).ends_with("pool.cpp"));
}

TEST_CASE_FIXTURE(fixture, "pool: a re-entrant checkout at size 1 ends at its deadline with wait_timed_out") {
    auto pool = make({.size = 1});
    std::optional<result<void>> got;
    auto op = [](thing&, resource_pool<thing> p) -> awaitable<result<void>> {
        auto inner = co_await p.checkout();
        if (!inner) {
            co_return std::move(inner).error();
        }
        co_return success();
    };
    spawn(io.get_executor(), pool.with(op, pool), [&](result<void> r) { got = std::move(r); });
    clock.run_for(io, 5s);
    REQUIRE(got);
    REQUIRE(got->has_error());
    CHECK(got->error() == errc::wait_timed_out);
}

TEST_CASE_FIXTURE(fixture, "pool: a moved-from lease is harmless") {
    auto pool = make({.size = 2});
    lease<thing> a = pool.try_checkout().value();
    lease<thing> b = std::move(a);
    CHECK_FALSE(a);  // NOLINT(bugprone-use-after-move): that is the point
    a.give_back();
    a.discard();
    CHECK(pool.snapshot().leased == 1);
    a = pool.try_checkout().value();
    CHECK(pool.snapshot().leased == 2);
    b = std::move(a);
    CHECK(pool.snapshot().leased == 1);
    auto& alias = b;
    b = std::move(alias);
    CHECK(b);
    b = lease<thing>();
    CHECK(pool.snapshot().idle == 2);
}

// Names and errors ----------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture, "pool: the handle without a type does all but lend") {
    auto pool = make({.size = 1});
    CHECK(any_resource_pool::find(*z, "nothing").error() == errc::unknown_name);
    auto any = any_resource_pool::find(*z, "things").value();
    CHECK(any.name() == "things");
    CHECK(any.snapshot().idle == 1);
    any.pause();
    CHECK(pool.try_checkout().error() == errc::exhausted);
    any.resume();
    CHECK(pool.try_checkout());
    CHECK(any.resize(2, 0));
    CHECK(any.reconfigure({.size = 0}).error() == errc::invalid_argument);
    CHECK(any.reconfigure({.size = 3}));
    settle();
    CHECK(pool.snapshot().size == 3);
    std::optional<result<void>> drained;
    any.drain(1s, [&](result<void> r) { drained.emplace(std::move(r)); });
    settle();
    REQUIRE(drained);
    CHECK(*drained);
    const any_resource_pool same = pool;
    CHECK(same.snapshot().state == pool_state::draining);
}

TEST_CASE_FIXTURE(fixture, "pool: registering a name twice is name_taken; an unknown one is unknown_name") {
    auto pool = make({.size = 1});
    CHECK(resource_pool<thing>::create(*z, "things", {}, backend{&w}).error() == errc::name_taken);
    CHECK(resource_pool<thing>::create(*z, "", {}, backend{&w}).error() == errc::invalid_argument);
    CHECK(resource_pool<thing>::create(*z, "x", {.size = 0}, backend{&w}).error() == errc::invalid_argument);
    CHECK(resource_pool<thing>::find(*z, "nothing").error() == errc::unknown_name);
    CHECK(resource_pool<int>::find(*z, "things").error() == errc::unknown_name);
    auto found = resource_pool<thing>::find(*z, "things");
    REQUIRE(found);
    auto a = found.value().try_checkout();
    CHECK(pool.snapshot().leased == 1);
    CHECK(pool.name() == "things");
    const auto s = z->snapshot();
    REQUIRE(s.primitives.size() == 1);
    CHECK(s.primitives[0]["leased"] == 1);
    CHECK(s.primitives[0]["granted"] == 1);
    CHECK(s.primitives[0].state == "active");
}

TEST_CASE_FIXTURE(fixture, "pool: a negative timeout is no error but no time, at once and with a token") {
    auto pool = make({.size = 1});
    outcome_of o;
    pool.checkout({.max_wait = -1s}, o.callback());
    settle();
    CHECK(o.granted());
    std::optional<errc> plain;
    asio::co_spawn(
        io,
        [](resource_pool<thing> p, std::optional<errc>& out) -> awaitable<void> {
            const auto r = co_await p.checkout({.max_wait = -1ns});
            out = r.error() == errc::exhausted ? errc::exhausted : errc::canceled;
        }(pool, plain),
        asio::detached);
    settle();
    CHECK(plain == errc::exhausted);
}

// Completion ----------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture, "pool: a token never completes inside the call, and completes on its executor") {
    auto pool = make({.size = 1});
    for (const bool free : {true, false}) {
        asio::io_context other;
        std::optional<lease<thing>> held;
        if (!free) {
            held = pool.try_checkout().value();
        }
        bool done = false;
        pool.checkout(asio::bind_executor(other, [&](result<lease<thing>> r) {
            CHECK(r);
            CHECK(other.get_executor().running_in_this_thread());
            done = true;
        }));
        CHECK_FALSE(done);
        settle();
        if (held) {
            held->give_back();
            settle();
        }
        CHECK_FALSE(done);
        other.run();
        CHECK(done);
    }
}

TEST_CASE_FIXTURE(fixture, "pool: each documented token") {
    auto pool = make({.size = 1});
    asio::cancellation_signal signal;
    pool.checkout(asio::detached);
    settle();
    CHECK(pool.snapshot().idle == 1);
    auto future = pool.checkout(asio::use_future);
    settle();
    CHECK(future.get());
    int done = 0;
    pool.checkout(asio::deferred)([&](result<lease<thing>> r) { done += r ? 1 : 0; });
    settle();
    asio::co_spawn(
        io,
        [](resource_pool<thing> p, int& count, asio::cancellation_signal& s, asio::io_context& ctx) -> awaitable<void> {
            count += (co_await p.checkout(asio::use_awaitable)) ? 1 : 0;
            count += (co_await p.checkout(asio::deferred)) ? 1 : 0;
            auto [tuple] = co_await p.checkout(asio::as_tuple(asio::use_awaitable));
            count += tuple ? 1 : 0;
            tuple.value().give_back();
            count += (co_await p.checkout(asio::bind_cancellation_slot(s.slot(), asio::use_awaitable))) ? 1 : 0;
            count += (co_await p.checkout(asio::bind_executor(ctx, asio::use_awaitable))) ? 1 : 0;
            count += (co_await p.checkout({}, asio::bind_executor(ctx, asio::deferred))) ? 1 : 0;
            count += (co_await p.checkout()) ? 1 : 0;
            count += (co_await p.checkout({.max_wait = 1s})) ? 1 : 0;
            count += (co_await p.checkout().as_awaitable()) ? 1 : 0;
            auto stored = p.checkout().as_awaitable();
            count += (co_await std::move(stored)) ? 1 : 0;
        }(pool, done, signal, io),
        asio::detached);
    settle();
    CHECK(done == 11);
    CHECK(pool.snapshot().idle == 1);
}

TEST_CASE_FIXTURE(fixture, "pool: awaited plainly it works on each executor, at once and after a wait") {
    auto pool = make({.size = 1});
    int done = 0;
    const auto twice = []<class Executor>(resource_pool<thing> p, zone& zn, int& count,
                                          Executor) -> awaitable<void, Executor> {
        for (int i = 0; i < 2; ++i) {
            auto l = co_await p.checkout();
            count += l ? 1 : 0;
            (void)co_await zn.sleep_for(1s, asio::use_awaitable_t<Executor>{});
        }
    };
    auto strand = asio::make_strand(io);
    asio::co_spawn(io, twice(pool, *z, done, asio::any_io_executor(io.get_executor())), asio::detached);
    asio::co_spawn(io.get_executor(), twice(pool, *z, done, io.get_executor()), asio::detached);
    asio::co_spawn(strand, twice(pool, *z, done, strand), asio::detached);
    clock.run_for(io, 1min);
    CHECK(done == 6);
}

// The end -------------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture,
                  "pool: close ends every waiter with shut_down; a lease returned after it closes its resource") {
    auto pool = make({.size = 2});
    lease<thing> late = pool.try_checkout().value();
    auto other = pool.try_checkout();
    outcome_of o;
    pool.checkout(o.callback());
    other.value().give_back();  // goes to the waiter
    outcome_of waits;
    pool.checkout(waits.callback());
    std::optional<result<void>> closed;
    z->close([&](result<void> r) { closed = std::move(r); });
    settle();
    CHECK(o.granted());  // the hand-over came before the close
    CHECK(waits.failed(errc::shut_down));
    REQUIRE(closed);
    CHECK(w.alive == 2);
    o.got.reset();
    late.give_back();
    settle();
    CHECK(w.alive == 0);
    CHECK(w.closed.size() == 2);
    CHECK(pool.try_checkout().error() == errc::shut_down);
    CHECK(resource_pool<thing>::create(*z, "new", {}, backend{&w}).error() == errc::shut_down);
}

// Other backends ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture, "pool: a lease held by with() is blamed on its operation, or on the place in its options") {
    std::vector<event> events;
    auto sub = z->on_event([&](const event& e) { events.push_back(e); });
    auto pool = make({.size = 1, .leak_threshold = 10s});
    struct slow_report {
        awaitable<void> operator()(thing&, zone* where) const { (void)co_await where->sleep_for(11s); }
    };
    spawn(io.get_executor(), pool.with(slow_report{}, &*z), [](const result<void>&) {});
    clock.run(io);
    REQUIRE(events.size() == 1);
    CHECK(events[0].detail.find("slow_report") != std::string::npos);
    const auto line = std::source_location::current().line() + 1;
    const with_options here{};
    spawn(io.get_executor(), pool.with(here, slow_report{}, &*z), [](const result<void>&) {});
    clock.run(io);
    REQUIRE(events.size() == 2);
    CHECK(events[1].where.line() == line);
    CHECK(events[1].detail.find("pool.cpp:") != std::string::npos);
}

}  // namespace
}  // namespace headgate
