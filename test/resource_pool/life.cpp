// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/resource_pool.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "fixture.hpp"

namespace headgate {
namespace {

using namespace test;

TEST_CASE_FIXTURE(fixture, "pool: one that dies idle is replaced, one that dies while leased is replaced on return") {
    auto pool = make({.size = 2, .ping_interval = 1s});
    w.dead.insert(1);
    clock.run_for(io, 1s);
    CHECK(w.closed == std::vector<int>{1});
    CHECK(pool.snapshot().idle == 2);
    w.dead.clear();
    auto a = pool.try_checkout();
    w.broken.insert(a.value()->number);
    const int broken = a.value()->number;
    a = errc::canceled;
    settle();
    CHECK(w.closed == std::vector<int>{1, broken});
    CHECK(pool.snapshot().idle == 2);
    CHECK(w.made == 4);
}

TEST_CASE_FIXTURE(fixture, "pool: while the pool is full and waiters wait, a replacement goes to the first waiter") {
    auto pool = make({.size = 1});
    auto a = pool.try_checkout();
    outcome_of first, second;
    pool.checkout(first.callback());
    pool.checkout(second.callback());
    a.value().discard();
    settle();
    CHECK(first.granted());
    CHECK(first.got->value()->number == 2);
    CHECK_FALSE(second.got);
    CHECK(w.closed == std::vector<int>{1});
}

TEST_CASE_FIXTURE(fixture, "pool: a waiter cancelled during a connect does not cancel the connect, it feeds the next") {
    w.connect_takes = 1s;
    auto pool = make({.size = 0, .max_overflow = 1});
    asio::cancellation_signal signal;
    outcome_of first, second;
    pool.checkout(asio::bind_cancellation_slot(signal.slot(), first.callback()));
    settle();
    CHECK(pool.snapshot().connecting == 1);
    signal.emit(asio::cancellation_type::terminal);
    settle();
    CHECK(first.failed(errc::canceled));
    CHECK(w.connecting == 1);
    pool.checkout(second.callback());
    clock.run_for(io, 1s);
    CHECK(second.granted());
    CHECK(w.connects.size() == 1);
}

TEST_CASE_FIXTURE(fixture, "pool: all waiters learn of a dead backend at once, with the cause and retry_after") {
    w.connect_takes = 10ms;
    w.fail_connects = 1'000;
    auto pool = make({.size = 2});
    std::vector<outcome_of> waiters(5);
    for (auto& o : waiters) {
        pool.checkout(o.callback());
    }
    clock.run_for(io, 10ms);
    for (auto& o : waiters) {
        REQUIRE(o.failed(errc::connect_failed));
        CHECK(o.got->error().retry_after > 0ns);
        CHECK_THROWS_WITH_AS(std::rethrow_exception(o.got->error().cause), "refused", std::runtime_error);
    }
    // Each kind of checkout fails in the same way during the back-off.
    const auto refused = pool.try_checkout();
    REQUIRE(refused.has_error());
    CHECK(refused.error() == errc::connect_failed);
    CHECK(refused.error().cause);
    CHECK(refused.error().retry_after <= 100ms);
    CHECK(refused.error().retry_after >= 80ms);
    outcome_of late;
    pool.checkout(late.callback());
    settle();
    CHECK(late.failed(errc::connect_failed));
    clock.run_for(io, 20s);
    CHECK(w.most_connecting == 2);
    // Two connects at once, then single ones after 100 ms, 200 ms, ... 5 s.
    for (std::size_t i = 3; i < w.connects.size(); ++i) {
        const duration pause = w.connects[i] - w.connects[i - 1] - 10ms;
        const duration base = std::min<duration>(100ms * (1 << (i - 2)), 5s);
        CHECK(pause <= base);
        CHECK(pause >= base * 8 / 10);
    }
    // The backend recovers: the first checkout succeeds within one back-off step.
    w.fail_connects = 0;
    w.most_connecting = 0;
    clock.run_for(io, 5s + 10ms);
    CHECK(pool.try_checkout());
    CHECK(w.most_connecting <= 4);
}

TEST_CASE_FIXTURE(fixture, "pool: a connector that throws before it is a coroutine is a failed connect too") {
    w.throw_at_once = true;
    auto pool = make({.size = 1});
    const auto refused = pool.try_checkout();
    REQUIRE(refused.has_error());
    CHECK(refused.error() == errc::connect_failed);
    CHECK_THROWS_WITH_AS(std::rethrow_exception(refused.error().cause), "no route", std::runtime_error);
}

TEST_CASE_FIXTURE(fixture, "pool: a hanging connect ends at connect_timeout") {
    w.hang_connects = true;
    auto pool = make({.size = 1, .connect_timeout = 2s});
    outcome_of o;
    pool.checkout(o.callback());
    clock.run_for(io, 2s);
    REQUIRE(o.failed(errc::connect_failed));
    CHECK(w.connecting == 0);
    w.hang_connects = false;
    clock.run_for(io, 1s);
    CHECK(pool.try_checkout());
}

TEST_CASE_FIXTURE(fixture, "pool: connects are never more than max_connecting at once, and not one after the other") {
    w.connect_takes = 100ms;
    auto pool = make({.size = 12, .max_connecting = 4});
    clock.run_for(io, 300ms);
    CHECK(w.most_connecting == 4);
    CHECK(pool.snapshot().idle == 12);
}

TEST_CASE_FIXTURE(fixture, "pool: a slow connect or close does not block the pool") {
    auto pool = make({.size = 2});
    w.connect_takes = 700ms;
    w.close_takes = 700ms;
    auto a = pool.try_checkout();
    a.value().discard();
    settle();
    auto b = pool.try_checkout();
    CHECK(b);
    b.value().give_back();
    CHECK(pool.try_checkout());
    CHECK(elapsed() == 0s);
}

TEST_CASE_FIXTURE(fixture, "pool: a failed overflow connect leaves the pool and its resources alone") {
    auto pool = make({.size = 1, .max_overflow = 1});
    auto a = pool.try_checkout();
    w.fail_connects = 1;
    outcome_of o;
    pool.checkout(o.callback());
    settle();
    CHECK_FALSE(o.got);
    CHECK(pool.snapshot().waiting == 1);
    CHECK(pool.snapshot().leased == 1);
    a.value().give_back();
    settle();
    CHECK(o.granted());
}

TEST_CASE_FIXTURE(fixture, "pool: idle timeout and ping in virtual time; ping never delays a checkout of a fresh one") {
    auto pool = make({.size = 2, .ping_interval = 10s});
    clock.run_for(io, 9s);
    auto fresh = pool.try_checkout();
    const int number = fresh.value()->number;
    fresh.value().give_back();
    w.ping_takes = 500ms;
    clock.run_for(io, 1s);
    CHECK(w.pinged.size() == 1);
    CHECK(w.pinged[0] != number);
    auto again = pool.try_checkout();
    REQUIRE(again);
    CHECK(again.value()->number == number);
    again.value().give_back();
    clock.run_for(io, 10s - 1ns);
    CHECK(w.pinged.size() == 1);
    clock.run_for(io, 1ns);
    CHECK(w.pinged.size() == 2);
}

TEST_CASE_FIXTURE(fixture, "pool: a ping that hangs is a failure after ping_timeout") {
    auto pool = make({.size = 1, .ping_interval = 10s, .ping_timeout = 1s});
    w.ping_takes = 1h;
    clock.run_for(io, 11s);
    CHECK(w.closed == std::vector<int>{1});
    CHECK(pool.snapshot().idle == 1);
    CHECK(w.made == 2);
}

TEST_CASE_FIXTURE(fixture, "pool: an idle timeout replaces") {
    auto pool = make({.size = 1, .idle_timeout = 10s});
    clock.run_for(io, 10s);
    CHECK(w.closed == std::vector<int>{1});
    CHECK(pool.try_checkout().value()->number == 2);
}

TEST_CASE_FIXTURE(fixture, "pool: a thousand resources made together are not replaced together") {
    auto pool = make({.size = 1'000, .max_connecting = 100, .max_lifetime = 100s, .lifetime_jitter = 0.1});
    REQUIRE(pool.snapshot().idle == 1'000);
    clock.run_for(io, 90s - 1ns);
    CHECK(w.closed.empty());
    std::size_t before = 0;
    for (int i = 0; i < 100; ++i) {
        clock.run_for(io, 100ms);
        CHECK(w.closed.size() - before <= 40);
        before = w.closed.size();
    }
    clock.run_for(io, 1ms);
    CHECK(w.closed.size() == 1'000);
    CHECK(pool.snapshot().idle == 1'000);
}

TEST_CASE_FIXTURE(fixture, "pool: a resource returned in doubt is never lent again") {
    auto pool = make({.size = 1});
    auto a = pool.try_checkout();
    w.broken.insert(1);
    a.value().give_back();
    CHECK(pool.try_checkout().has_error());
    settle();
    CHECK(w.closed == std::vector<int>{1});
    auto b = pool.try_checkout();
    CHECK(b.value()->number == 2);
    b.value().discard();
    CHECK_FALSE(b.value());
    settle();
    CHECK(w.closed == std::vector<int>{1, 2});
    CHECK(w.was_reset == std::vector<int>{1});  // a discarded resource needs no reset
}

TEST_CASE_FIXTURE(fixture, "pool: resize up and down under load") {
    auto pool = make({.size = 2});
    auto a = pool.try_checkout();
    auto b = pool.try_checkout();
    outcome_of o;
    pool.checkout(o.callback());
    CHECK(pool.resize(3, 0));
    settle();
    CHECK(o.granted());
    CHECK(pool.resize(1, 0));
    a.value().give_back();
    b.value().give_back();
    settle();
    CHECK(pool.snapshot().leased == 1);
    CHECK(w.alive == 1);
    o.got.reset();
    CHECK(pool.snapshot().idle == 1);
    const auto wrong = pool.resize(0, 0);
    REQUIRE(wrong.has_error());
    CHECK(wrong.error() == errc::invalid_argument);
}

TEST_CASE_FIXTURE(fixture, "pool: pause and resume with waiters") {
    auto pool = make({.size = 2});
    pool.pause();
    std::vector<outcome_of> waiters(3);
    for (auto& o : waiters) {
        pool.checkout(o.callback());
    }
    settle();
    CHECK(pool.snapshot().waiting == 3);
    CHECK(pool.try_checkout().has_error());
    pool.resume();
    settle();
    CHECK(waiters[0].granted());
    CHECK(waiters[1].granted());
    CHECK_FALSE(waiters[2].got);
    waiters[0].got.reset();
    settle();
    CHECK(waiters[2].granted());
}

TEST_CASE_FIXTURE(fixture, "pool: drain refuses new work, lets running work end, says what was left") {
    auto pool = make({.size = 2});
    auto a = pool.try_checkout();
    auto b = pool.try_checkout();
    std::optional<result<void>> hasty, patient;
    outcome_of queued;
    pool.checkout({.max_wait = 1h}, queued.callback());
    pool.drain(1s, [&](result<void> r) { hasty = std::move(r); });
    const auto refused = pool.try_checkout();
    CHECK(refused.error() == errc::shut_down);
    clock.run_for(io, 1s);
    REQUIRE(hasty);
    REQUIRE(hasty->has_error());
    CHECK(hasty->error() == errc::wait_timed_out);
    CHECK(*hasty->error().detail == "2 leases are left");
    CHECK(queued.failed(errc::shut_down));
    pool.drain(1h, [&](result<void> r) { patient = std::move(r); });
    a.value().give_back();
    settle();
    CHECK_FALSE(patient);
    b.value().give_back();
    settle();
    REQUIRE(patient);
    CHECK(patient->has_value());
    CHECK(w.alive == 0);
    CHECK(w.closed.size() == 2);
}

TEST_CASE_FIXTURE(fixture, "pool: a wait for the drain is cancelled alone, and ends with the zone") {
    auto pool = make({.size = 1});
    auto a = pool.try_checkout();
    asio::cancellation_signal signal;
    std::optional<result<void>> first, second;
    pool.drain(1h, asio::bind_cancellation_slot(signal.slot(), [&](result<void> r) { first = std::move(r); }));
    pool.drain(1h, [&](result<void> r) { second = std::move(r); });
    signal.emit(asio::cancellation_type::total);
    settle();
    REQUIRE(first);
    CHECK(first->error() == errc::canceled);
    CHECK_FALSE(second);
    z->close();
    settle();
    REQUIRE(second);
    CHECK(second->error() == errc::shut_down);
}

TEST_CASE_FIXTURE(fixture, "pool: close waits for closes and cancels connects, and not for leases") {
    auto pool = make({.size = 2});
    w.close_takes = 1s;
    w.hang_connects = true;
    auto a = pool.try_checkout();
    a.value().discard();
    settle();
    CHECK(w.connecting == 1);
    auto kept = pool.try_checkout();
    bool closed = false;
    z->close([&](result<void>) { closed = true; });
    settle();
    CHECK(w.connecting == 0);
    clock.run_for(io, 2s);
    CHECK(closed);
}

TEST_CASE_FIXTURE(fixture, "pool: zone drain refuses new checkouts and waits for leases") {
    auto pool = make({.size = 1});
    auto a = pool.try_checkout();
    bool drained = false;
    z->drain(1h, [&](result<void> r) { drained = r.has_value(); });
    settle();
    CHECK(pool.try_checkout().error() == errc::shut_down);
    outcome_of o;
    pool.checkout(o.callback());
    settle();
    CHECK(o.failed(errc::shut_down));
    CHECK_FALSE(drained);
    a.value().give_back();
    settle();
    CHECK(drained);
}

// Its connect never ends. It waits for an Asio timer, which the io_context destroys before the posted handlers.
struct endless {
    awaitable<int> connect() {
        asio::steady_timer never(co_await asio::this_coro::executor, asio::steady_timer::time_point::max());
        co_await never.async_wait(asio::use_awaitable);
        co_return 0;
    }
};

TEST_CASE("pool: several connects are given up when zone and io_context go at once") {
    asio::io_context io;
    zone z(io, "test");
    (void)resource_pool<int>::create(z, "pool", {.size = 4}, endless{}).value();
    io.poll();
}

TEST_CASE("pool: handle, zone, lease and io_context may go in every order with operations pending") {
    // Each digit says what is destroyed next: 0 handle, 1 zone, 2 lease, 3 io_context.
    std::string order = "0123";
    do {
        for (const int mode : {0, 1, 2, 3}) {
            CAPTURE(order);
            CAPTURE(mode);
            virtual_clock clock;
            world w;
            {
                auto io = std::make_unique<asio::io_context>();
                auto z = std::make_unique<zone>(*io, "test", zone_options{.clock = &clock});
                zone outlives(*io, "of the backend", {.clock = &clock});
                w.z = &outlives;
                w.start = clock.now();
                auto made = resource_pool<thing>::create(
                    *z, "things", {.size = 2, .max_overflow = 1, .ping_interval = 1s, .leak_threshold = 1h},
                    backend{&w});
                auto pool = std::make_unique<resource_pool<thing>>(made.value());
                made = errc::canceled;
                clock.run_for(*io, 0s);
                auto held = std::make_unique<lease<thing>>(pool->try_checkout().value());
                w.hang_connects = true;
                w.ping_takes = 1h;
                w.close_takes = 1h;
                clock.run_for(*io, 1s);  // the pool pings the idle resource
                bool completed = false;
                pool->checkout([&](result<lease<thing>> r) { completed = !r; });
                auto op = [](thing&) -> awaitable<void> { co_return; };
                spawn(io->get_executor(), pool->with(op), asio::detached);
                clock.run_for(*io, 0s);
                if (mode == 1) {
                    held->give_back();  // handed over, but the waiter never runs
                } else if (mode == 2) {
                    pool->drain(1h, asio::detached);
                } else if (mode == 3) {
                    z->close();
                }
                for (const char next : order) {
                    switch (next) {
                        case '0': pool.reset(); break;
                        case '1': z.reset(); break;
                        case '2': held.reset(); break;
                        default:
                            if (io && next == '3') {
                                io.reset();
                            }
                            break;
                    }
                    if (io && mode != 1) {
                        clock.run_for(*io, 0s);
                    }
                }
            }
            CHECK(w.alive == 0);
            CHECK(w.connecting == 0);
        }
    } while (std::next_permutation(order.begin(), order.end()));
}

struct minimal {
    awaitable<result<int>> connect() { co_return number++; }
    int number = 1;
};

TEST_CASE_FIXTURE(fixture, "pool: a backend that only connects is enough, and may give a result") {
    auto pool = resource_pool<int>::create(*z, "ints", {.size = 1, .ping_interval = 1s}, minimal{});
    REQUIRE(pool);
    clock.run_for(io, 10s);
    auto a = pool.value().try_checkout();
    CHECK(*a.value() == 1);
    a.value().discard();
    settle();
    CHECK(*pool.value().try_checkout().value() == 2);
}

struct slow_reset : minimal {
    zone* z;
    int* resets;
    bool works;
    awaitable<result<void>> reset(int&) {
        ++*resets;
        if (const auto slept = co_await z->sleep_for(100ms); !slept) {
            co_return slept.error();
        }
        if (!works) {
            co_return errc::operation_failed;
        }
        co_return success();
    }
    void close(int&&) { throw std::runtime_error("nobody cares"); }
};

TEST_CASE_FIXTURE(fixture, "pool: a reset may be a coroutine; its resource is lent when it has ended well") {
    for (const bool works : {true, false}) {
        int resets = 0;
        auto pool =
            resource_pool<int>::create(*z, works ? "good" : "bad", {.size = 1}, slow_reset{{}, &*z, &resets, works});
        settle();
        auto a = pool.value().try_checkout();
        a.value().give_back();
        CHECK(pool.value().snapshot().leased == 1);
        std::optional<int> got;
        pool.value().checkout([&](result<lease<int>> r) { got = *r.value(); });
        clock.run_for(io, 99ms);
        CHECK(resets == 1);
        CHECK_FALSE(got);
        clock.run_for(io, 1ms);
        CHECK(got == (works ? 1 : 2));
    }
}

struct resetting_throws : minimal {
    bool reset(int&) { throw std::runtime_error("unread data"); }
};

TEST_CASE_FIXTURE(fixture, "pool: a reset that throws means doubt") {
    auto pool = resource_pool<int>::create(*z, "ints", {.size = 1}, resetting_throws{});
    settle();
    pool.value().try_checkout().value().give_back();
    settle();
    CHECK(*pool.value().try_checkout().value() == 2);
}

struct stubborn {
    zone* z;
    awaitable<int> connect() {
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        (void)co_await z->sleep_for(10s);
        co_return ++count;
    }
    void close(int n) { closed->push_back(n); }
    std::vector<int>* closed;
    int count = 0;
};

TEST_CASE_FIXTURE(fixture,
                  "pool: a connect that ignores its cancellation fails in time, and its late result is closed") {
    std::vector<int> closed;
    auto pool = resource_pool<int>::create(
        *z, "ints", {.size = 1, .connect_timeout = 1s, .backoff_min = 1h, .backoff_max = 1h}, stubborn{&*z, &closed});
    clock.run_for(io, 1s);
    CHECK(pool.value().try_checkout().error() == errc::connect_failed);
    clock.run_for(io, 10s);
    CHECK(closed == std::vector<int>{1});
}

}  // namespace
}  // namespace headgate
