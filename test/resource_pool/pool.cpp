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
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using asio::awaitable;

/// How the backend of a test behaves, and what it has seen.
struct world {
    zone* z = nullptr;
    duration connect_takes{};
    int fail_connects = 0;  // how many more connects fail
    bool hang_connects = false;
    bool throw_at_once = false;
    duration ping_takes{};
    duration close_takes{};
    std::set<int> dead;    // pings of these resources fail
    std::set<int> broken;  // resets of these resources fail

    int made = 0;
    int connecting = 0;
    int most_connecting = 0;
    std::vector<duration> connects;  // times since the start
    std::vector<int> pinged;
    std::vector<int> closed;
    std::vector<int> was_reset;
    int alive = 0;
    time_point start{};
};

/// A resource that counts itself.
struct thing {
    thing(world& w, int n) : number(n), of(&w) { ++w.alive; }
    thing(thing&& other) noexcept : number(other.number), of(std::exchange(other.of, nullptr)) {}
    thing& operator=(thing&&) = delete;
    ~thing() {
        if (of != nullptr) {
            --of->alive;
        }
    }
    int number;
    world* of;
};

struct backend {
    world* w;

    awaitable<thing> connect() {
        if (w->throw_at_once) {
            throw std::runtime_error("no route");
        }
        return connect_later();
    }
    awaitable<thing> connect_later() {
        struct in_flight {
            explicit in_flight(world& world_) : w(world_) {
                ++w.connecting;
                w.most_connecting = std::max(w.most_connecting, w.connecting);
                w.connects.push_back(w.z->now() - w.start);
            }
            ~in_flight() { --w.connecting; }
            world& w;
        } guard(*w);
        if (w->hang_connects) {
            (co_await w->z->sleep_for(1000h)).value();
        }
        if (w->connect_takes > 0s) {
            (co_await w->z->sleep_for(w->connect_takes)).value();
        }
        if (w->fail_connects > 0) {
            --w->fail_connects;
            throw std::runtime_error("refused");
        }
        co_return thing(*w, ++w->made);
    }
    bool reset(thing& t) {
        w->was_reset.push_back(t.number);
        return w->broken.count(t.number) == 0;
    }
    awaitable<bool> ping(thing& t) {
        w->pinged.push_back(t.number);
        if (w->ping_takes > 0s) {
            (void)co_await w->z->sleep_for(w->ping_takes);
        }
        co_return w->dead.count(t.number) == 0;
    }
    awaitable<void> close(thing t) {
        w->closed.push_back(t.number);
        if (w->close_takes > 0s) {
            (void)co_await w->z->sleep_for(w->close_takes);
        }
    }
};

struct fixture {
    fixture() {
        w.z = &*z;
        w.start = clock.now();
    }
    ~fixture() {
        z.reset();
        clock.run(io);
    }

    resource_pool<thing> make(pool_options o, const char* name = "things") {
        auto p = resource_pool<thing>::create(*z, name, o, backend{&w});
        REQUIRE(p);
        clock.run_for(io, 0s);
        return p.value();
    }
    duration elapsed() const { return clock.now() - w.start; }
    void settle() { clock.run_for(io, 0s); }

    virtual_clock clock;
    world w;
    asio::io_context io;
    std::optional<zone> z{std::in_place, io, "test", zone_options{.clock = &clock}};
};

/// The end of a checkout by callback.
struct outcome_of {
    using slot = std::optional<result<lease<thing>>>;
    std::shared_ptr<slot> state = std::make_shared<slot>();  // the callback may run after the test
    slot& got = *state;
    auto callback() {
        return [to = std::weak_ptr<slot>(state)](result<lease<thing>> r) {
            if (const auto alive = to.lock()) {
                alive->emplace(std::move(r));
            }
        };
    }
    bool failed(errc e) const { return got && got->has_error() && got->error() == e; }
    bool granted() const { return got && got->has_value(); }
};

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

// Other backends ------------------------------------------------------------------------------------------------------

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
