// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// What a backend's members may do to a pool, and how the pool keeps their arguments alive.

#include <headgate/resource_pool.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <headgate/circuit_breaker.hpp>
#include <headgate/guard.hpp>
#include <headgate/with_timeout.hpp>

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using asio::awaitable;

/// How the members of a backend behave, and what they have seen.
struct script {
    zone* z = nullptr;
    duration ping_takes{};
    duration reset_takes{};
    duration close_takes{};
    bool heeds = true;  // ends when it is cancelled
    bool refuses = false;
    std::set<int> dead{};

    int made = 0;
    int alive = 0;
    int asked = 0;
    std::vector<int> used{};  // resources that a coroutine used just before it ended
    std::vector<int> closed{};
};

struct thing {
    thing(script& s, int n) : number(std::make_unique<int>(n)), of(&s) { ++of->alive; }
    thing(thing&& other) noexcept : number(std::move(other.number)), of(std::exchange(other.of, nullptr)) {}
    thing& operator=(thing&&) = delete;
    ~thing() {
        if (of != nullptr) {
            --of->alive;
        }
    }
    std::unique_ptr<int> number;
    script* of;
};

/// Sleeps. A cancellation ends the sleep, unless `heeds` is false.
awaitable<void> take_time(script* s, duration span) {
    if (!s->heeds) {
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    }
    if (span > 0s) {
        (void)co_await s->z->sleep_for(span);
    }
}

struct basic {
    script* s;
    awaitable<thing> connect() {
        if (s->refuses) {
            throw std::runtime_error("refused");
        }
        co_return thing(*s, ++s->made);
    }
};
struct pinged : basic {
    awaitable<bool> ping(thing& t) {
        co_await take_time(s, s->ping_takes);
        s->used.push_back(*t.number);
        co_return s->dead.count(*t.number) == 0;
    }
};
struct resetting : basic {
    awaitable<void> reset(thing& t) {
        co_await take_time(s, s->reset_takes);
        s->used.push_back(*t.number);
    }
};
struct closing : basic {
    awaitable<void> close(thing t) {
        co_await take_time(s, s->close_takes);
        s->closed.push_back(*t.number);
    }
};
struct asked : basic {
    bool is_alive(thing& t) {
        ++s->asked;
        return s->dead.count(*t.number) == 0;
    }
    void close(thing t) { s->closed.push_back(*t.number); }
};

struct fixture {
    fixture() {
        s.z = &outlives;
        sub = z->on_event([this](const event& e) { events.push_back(e); });
    }
    ~fixture() {
        z.reset();
        clock.run(io);
    }

    template <class Backend>
    resource_pool<thing> make(const pool_options& o) {
        auto p = resource_pool<thing>::create(*z, "things", o, Backend{{&s}}).value();
        settle();
        return p;
    }
    void settle() { clock.run_for(io, 0s); }
    std::size_t count(event_kind kind) const {
        return static_cast<std::size_t>(
            std::count_if(events.begin(), events.end(), [&](const event& e) { return e.kind == kind; }));
    }

    virtual_clock clock;
    script s;
    asio::io_context io;
    zone outlives{io, "of the backend", {.clock = &clock}};
    std::optional<zone> z{std::in_place, io, "test", zone_options{.clock = &clock}};
    std::vector<event> events;
    subscription sub;
};

// A running member keeps its arguments --------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture, "pool: a ping past its time frees its slot at once, and its resource when it has ended") {
    for (const bool heeds : {true, false}) {
        CAPTURE(heeds);
        s = script{.z = &outlives, .ping_takes = 1h, .heeds = heeds};
        auto pool = resource_pool<thing>::create(*z, heeds ? "heeds" : "ignores",
                                                 {.size = 1, .ping_interval = 10s, .ping_timeout = 1s}, pinged{{&s}})
                        .value();
        clock.run_for(io, 11s);
        s.ping_takes = 0s;
        CHECK(s.made == 2);
        CHECK(pool.snapshot().idle == 1);
        CHECK(*pool.try_checkout().value()->number == 2);
        CHECK(s.alive == (heeds ? 1 : 2));
        pool.resize(0, 1).value();
        clock.run_for(io, 2h);
        CHECK(s.used == std::vector<int>{1});
        CHECK(s.alive == 0);
    }
    CHECK(count(event_kind::overrun) == 1);
}

TEST_CASE_FIXTURE(fixture, "pool: a reset past its time frees its slot at once, and its resource when it has ended") {
    s.heeds = false;
    auto pool = make<resetting>({.size = 1, .ping_timeout = 1s});
    s.reset_takes = 1h;
    pool.try_checkout().value().give_back();
    CHECK(pool.snapshot().leased == 1);
    clock.run_for(io, 1s);
    CHECK(pool.snapshot().leased == 0);
    CHECK(pool.snapshot().idle == 1);
    CHECK(s.alive == 2);
    clock.run_for(io, 2s);
    REQUIRE(count(event_kind::overrun) == 1);
    const auto overrun =
        std::find_if(events.begin(), events.end(), [](const event& e) { return e.kind == event_kind::overrun; });
    CHECK(overrun->name == "things");
    CHECK(overrun->detail.starts_with("reset of "));
    CHECK(overrun->detail.find("resetting") != std::string::npos);
    clock.run_for(io, 1h);
    CHECK(s.used == std::vector<int>{1});
    CHECK(s.alive == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "pool: closing the zone waits for no coroutine that ignores it, and leaves it its resource") {
    s.heeds = false;
    auto pool = make<pinged>({.size = 2, .ping_interval = 10s, .ping_timeout = 1h});
    s.ping_takes = 10h;
    clock.run_for(io, 10s);
    CHECK(pool.snapshot().idle == 2);
    bool closed = false;
    z->close([&](const result<void>&) { closed = true; });
    clock.run_for(io, 2s);
    CHECK(closed);
    CHECK(count(event_kind::overrun) == 2);
    CHECK(s.alive == 2);
    clock.run_for(io, 10h);
    CHECK(s.used.size() == 2);
    CHECK(s.alive == 0);
}

TEST_CASE_FIXTURE(fixture, "pool: a close has a time limit, and closing the zone waits no longer than that") {
    for (const bool heeds : {true, false}) {
        CAPTURE(heeds);
        events.clear();
        zone own(io, "own", {.clock = &clock});
        const auto heard = own.on_event([this](const event& e) { events.push_back(e); });
        s = script{.z = &outlives, .close_takes = 100h, .heeds = heeds};
        auto pool = resource_pool<thing>::create(own, "db", {.size = 2, .connect_timeout = 3s}, closing{{&s}}).value();
        settle();
        CHECK(s.alive == 2);
        bool closed = false;
        own.close([&](const result<void>&) { closed = true; });
        clock.run_for(io, 3s - 1ns);
        CHECK_FALSE(closed);
        clock.run_for(io, 1ns + (heeds ? 0s : 2s));
        CHECK(closed);
        CHECK(count(event_kind::overrun) == (heeds ? 0 : 2));
        CHECK(s.alive == (heeds ? 0 : 2));
        clock.run_for(io, 100h);
        CHECK(s.alive == 0);
    }
}

TEST_CASE_FIXTURE(fixture, "pool: a close has 30 seconds at most, also where a connect has all the time") {
    for (const duration connect_timeout : {duration::max(), duration(1h)}) {
        zone own(io, "own", {.clock = &clock});
        s = script{.z = &outlives, .close_takes = 100h};
        auto pool =
            resource_pool<thing>::create(own, "db", {.size = 2, .connect_timeout = connect_timeout}, closing{{&s}})
                .value();
        settle();
        bool closed = false;
        own.close([&](const result<void>&) { closed = true; });
        clock.run_for(io, max_pool_close - 1ns);
        CHECK_FALSE(closed);
        CHECK(s.alive == 2);
        clock.run_for(io, 1ns);
        CHECK(closed);
        CHECK(s.alive == 0);
    }
}

/// Its close may be between two waits when the cancellation comes, and no exception tells it.
struct between_waits : basic {
    awaitable<void> close(thing) {
        co_await asio::this_coro::throw_if_cancelled(false);
        int interrupted = 0;
        for (int i = 0; i < 1'000'000; ++i) {
            if (const auto slept = co_await s->z->sleep_for(250ms, asio::use_awaitable); !slept) {
                if (++interrupted == 3) {
                    co_return;
                }
            }
        }
    }
};

TEST_CASE_FIXTURE(fixture, "pool: a cancellation is given again until it is heeded") {
    auto pool = make<between_waits>({.size = 1, .connect_timeout = 3s});
    pool.try_checkout().value().discard();
    clock.run_for(io, 2s);
    CHECK(s.alive == 2);
    clock.run_for(io, 2s);
    CHECK(s.alive == 1);
    CHECK(count(event_kind::overrun) == 0);
}

struct never_connects {
    zone* z;
    awaitable<int> connect() {
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        (void)co_await z->sleep_for(24h);
        co_return 1;
    }
};

TEST_CASE_FIXTURE(fixture, "pool: a connect that ignores its cancellation does not keep a zone from closing") {
    auto pool = resource_pool<int>::create(*z, "ints", {.size = 3, .connect_timeout = 1h}, never_connects{&outlives});
    settle();
    bool closed = false;
    z->close([&](const result<void>&) { closed = true; });
    clock.run_for(io, 2s);
    CHECK(closed);
    CHECK(count(event_kind::overrun) == 3);
}

// Dead resources ------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture, "pool: after a restart of the server no call fails: dead idle resources are replaced") {
    auto pool = make<asked>({.size = 8, .max_connecting = 8});
    clock.run_for(io, 501ms);
    s.dead = {2, 3, 4, 5, 6, 7, 8};
    auto live = pool.try_checkout();
    REQUIRE(live);
    CHECK(*live.value()->number == 1);
    settle();
    CHECK(s.closed.size() == 7);
    CHECK(s.asked == 8);
    CHECK(count(event_kind::resource_replaced) == s.closed.size());
    CHECK(count(event_kind::connect_failed) == 0);
    for (int i = 0; i < 20; ++i) {
        const auto next = pool.try_checkout();
        REQUIRE(next);
        CHECK(s.dead.count(*next.value()->number) == 0);
        settle();
    }
    CHECK(pool.snapshot().idle + pool.snapshot().leased == 8);
}

TEST_CASE_FIXTURE(fixture, "pool: every way to a resource asks, and a breaker hears of no failure") {
    auto pool = make<asked>({.size = 2});
    auto breaker = circuit_breaker::create(*z, "db", {.consecutive_failures = 1}).value();
    int ok = 0;
    int expected = 0;
    const auto op = [](thing& t) -> awaitable<int> { co_return *t.number; };
    const auto again = [&] {
        s.dead.insert({s.made, s.made - 1});
        clock.run_for(io, 1s);
        ++expected;
    };
    const auto count_up = [&](const auto& r) { ok += r ? 1 : 0; };
    again();
    pool.checkout(count_up);
    clock.run_for(io, 1s);
    again();
    asio::co_spawn(
        io, [](resource_pool<thing> p, int& n) -> awaitable<void> { n += (co_await p.checkout()) ? 1 : 0; }(pool, ok),
        asio::detached);
    clock.run_for(io, 1s);
    again();
    spawn(io.get_executor(), pool.with(op), count_up);
    clock.run_for(io, 1s);
    again();
    guard g(pool, breaker);
    g.async_run(count_up, "k", op);
    clock.run_for(io, 1s);
    again();
    pool.pause();
    pool.checkout(count_up);
    clock.run_for(io, 1s);
    pool.resume();
    clock.run_for(io, 1s);
    CHECK(ok == expected);
    CHECK(count(event_kind::breaker_state) == 0);
    CHECK(count(event_kind::resource_replaced) == 2 * static_cast<std::size_t>(expected));
    CHECK(z->snapshot().primitives[0]["granted"] == expected);
}

TEST_CASE_FIXTURE(fixture, "pool: a fresh resource is not asked, and neither is one handed over") {
    auto pool = make<asked>({.size = 1});
    for (int i = 0; i < 10; ++i) {
        auto lent = pool.try_checkout();
        int got = 0;
        pool.checkout([&](const result<lease<thing>>& r) { got += r ? 1 : 0; });
        clock.run_for(io, 2s);
        lent.value().give_back();
        settle();
        CHECK(got == 1);
        clock.run_for(io, 500ms);
    }
    CHECK(s.asked == 0);
    CHECK(s.made == 1);
}

// Replacement ---------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture, "pool: age and idleness are told, and take nothing away while the backend refuses") {
    for (const bool by_age : {true, false}) {
        events.clear();
        zone own(io, "own", {.clock = &clock});
        const auto heard = own.on_event([this](const event& e) { events.push_back(e); });
        s = script{.z = &outlives};
        pool_options o{.size = 4, .lifetime_jitter = 0};
        (by_age ? o.max_lifetime : o.idle_timeout) = 10s;
        auto pool = resource_pool<thing>::create(own, "db", o, asked{{&s}}).value();
        settle();
        s.refuses = true;
        clock.run_for(io, 10min);
        CHECK(s.alive == 4);
        CHECK(count(event_kind::resource_replaced) == 0);
        for (int i = 0; i < 20; ++i) {
            CHECK(pool.try_checkout());
        }
        s.refuses = false;
        clock.run_for(io, 30s);
        CHECK(s.alive >= 4);
        CHECK(s.alive <= 5);
        CHECK(s.closed.size() >= 3);
        CHECK(count(event_kind::resource_replaced) == s.closed.size());
        const auto told = std::find_if(events.begin(), events.end(),
                                       [](const event& e) { return e.kind == event_kind::resource_replaced; });
        CHECK(told->detail == (by_age ? "past its lifetime" : "idle for too long"));
        own.close();
        settle();
    }
}

// Errors that mean "cancelled" ----------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture, "pool: a resource whose operation was cancelled or timed out, by whatever name, is closed") {
    using boost::system::error_code;
    using boost::system::errc::make_error_code;
    const std::vector<std::pair<error, bool>> ends{
        {errc::canceled, true},
        {errc::timed_out, true},
        {error(error_code(asio::error::operation_aborted)), true},
        {error(error_code(make_error_code(boost::system::errc::operation_canceled))), true},
        {error(error_code(asio::error::timed_out)), true},
        {errc::wait_timed_out, false},
        {errc::exhausted, false},
        {error(error_code(asio::error::connection_reset)), false},
    };
    auto pool = make<asked>({.size = 1});
    guard g(pool);
    int runs = 0;
    for (const auto& [how, in_doubt] : ends) {
        CAPTURE(how.message());
        for (const bool throws : {false, true}) {
            const auto op = [&how, throws](thing&) -> awaitable<result<void>> {
                if (throws) {
                    throw system_error(how);
                }
                co_return how;
            };
            for (const bool guarded : {false, true}) {
                s.closed.clear();
                if (guarded) {
                    g.async_run([](const result<void>&) {}, "k", op);
                } else {
                    spawn(io.get_executor(), pool.with(op), [](const result<void>&) {});
                }
                settle();
                CHECK(s.closed.size() == (in_doubt ? 1 : 0));
                ++runs;
            }
        }
    }
    CHECK(runs == 32);
}

// Timeouts ------------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture, "pool: a timeout that is not positive is no time left: one try, and nothing runs") {
    auto pool = make<basic>({.size = 1});
    for (const duration none : {duration(0), duration(-1), duration(-1ms), duration::min()}) {
        int granted = 0;
        std::optional<error> refused;
        const auto take_it = [&](const result<lease<thing>>& r) { r ? void(++granted) : void(refused = r.error()); };
        pool.checkout({.max_wait = none}, take_it);
        settle();
        CHECK(granted == 1);
        auto held = pool.try_checkout();
        pool.checkout({.max_wait = none}, take_it);
        settle();
        CHECK(refused == errc::exhausted);
        refused.reset();
        const auto op = [&](thing&) -> awaitable<void> {
            ++granted;
            co_return;
        };
        const auto end = [&](const result<void>& r) { r ? void(++granted) : void(refused = r.error()); };
        spawn(io.get_executor(), pool.with({.max_wait = none}, op), end);
        settle();
        CHECK(refused == errc::exhausted);
        held.value().give_back();
        spawn(io.get_executor(), pool.with({.max_wait = none}, op), end);
        settle();
        CHECK(granted == 3);
        spawn(io.get_executor(), pool.with({.timeout = none}, op), end);
        settle();
        CHECK(refused == errc::wait_timed_out);
        CHECK(granted == 3);
        CHECK(pool.snapshot().waiting == 0);
    }
    CHECK(z->snapshot().primitives[0]["wait_timed_out"] == 0);
}

TEST_CASE_FIXTURE(fixture, "pool: the longest timeout is none, for a wait, a call and a drain") {
    auto pool = make<basic>({.size = 1});
    auto held = pool.try_checkout();
    int granted = 0;
    pool.checkout({.max_wait = duration::max()}, [&](const result<lease<thing>>& r) { granted += r ? 1 : 0; });
    const auto op = [](thing&, zone* zn) -> awaitable<result<void>> { co_return co_await zn->sleep_for(1000h); };
    spawn(io.get_executor(), pool.with({.max_wait = duration::max()}, op, &outlives),
          [&](const result<void>& r) { granted += r ? 1 : 0; });
    clock.run_for(io, 10'000h);
    CHECK(granted == 0);
    held.value().give_back();
    clock.run_for(io, 10'000h);
    CHECK(granted == 2);
    held = pool.try_checkout();
    std::optional<result<void>> drained;
    pool.drain(duration::max(), [&](result<void> r) { drained = std::move(r); });
    clock.run_for(io, 10'000h);
    CHECK_FALSE(drained);
    held.value().give_back();
    settle();
    CHECK(drained->has_value());
}

TEST_CASE_FIXTURE(fixture, "pool: a drain without time says what is left, and completes when nothing is") {
    auto pool = make<basic>({.size = 1});
    for (const duration none : {duration(0), duration(-5s)}) {
        auto held = pool.snapshot().state == pool_state::active ? pool.try_checkout() : errc::shut_down;
        std::optional<result<void>> drained;
        pool.drain(none, [&](result<void> r) { drained = std::move(r); });
        CHECK_FALSE(drained);
        settle();
        REQUIRE(drained);
        if (held) {
            CHECK(drained->error() == errc::wait_timed_out);
            CHECK(*drained->error().detail == "1 leases are left");
        } else {
            CHECK(drained->has_value());
        }
    }
}

TEST_CASE_FIXTURE(fixture, "pool: a call served at the last moment of its time does not run") {
    auto pool = make<basic>({.size = 1});
    auto held = pool.try_checkout();
    bool ran = false;
    const auto op = [&](thing&) -> awaitable<void> {
        ran = true;
        co_return;
    };
    std::optional<error> end;
    spawn(io.get_executor(), pool.with({.timeout = 1s}, op), [&](const result<void>& r) { end = r.error(); });
    clock.run_for(io, 1s - 1ns);
    CHECK_FALSE(end);
    held.value().give_back();  // handed over, but the waiter does not run before its deadline
    clock.set(clock.now() + 1ns);
    settle();
    CHECK(end == errc::wait_timed_out);
    CHECK_FALSE(ran);
    CHECK(pool.snapshot().idle == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "pool: a call cancelled when its resource was on its way does not run, and leaves no doubt") {
    auto pool = make<asked>({.size = 1});
    auto held = pool.try_checkout();
    bool ran = false;
    const auto op = [&](thing&) -> awaitable<void> {
        ran = true;
        co_return;
    };
    asio::cancellation_signal signal;
    std::optional<error> end;
    spawn(io.get_executor(), pool.with(op), asio::bind_cancellation_slot(signal.slot(), [&](const result<void>& r) {
              if (!r) {
                  end = r.error();
              }
          }));
    settle();
    signal.emit(asio::cancellation_type::terminal);  // the cancellation is on its way to the coroutine's executor
    held.value().give_back();                        // and the resource follows it
    settle();
    REQUIRE(end);
    CHECK(is_canceled(*end));
    CHECK_FALSE(ran);
    CHECK(s.closed.empty());
    CHECK(pool.snapshot().idle == 1);
}

TEST_CASE_FIXTURE(fixture, "pool: waits that timed out are in the histogram of waits") {
    auto pool = make<basic>({.size = 1});
    auto held = pool.try_checkout();
    pool.checkout({.max_wait = 2s}, [](const result<lease<thing>>&) {});
    clock.run_for(io, 2s);
    const auto snapshot = z->snapshot();
    const auto& waits = snapshot.primitives[0].latencies[0].durations;
    CHECK(waits.count() == 1);
    CHECK(waits.sum() == 2s);
}

// The end -------------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture, "pool: one that is dropped closes what is idle, connects and pings no more, and is freed") {
    struct watched : pinged {
        std::shared_ptr<int> token;
    };
    auto token = std::make_shared<int>(1);
    s.dead = {3};
    std::optional<lease<thing>> held;
    {
        auto pool = resource_pool<thing>::create(
                        *z, "things", {.size = 3, .ping_interval = 1s, .leak_threshold = 1000h}, watched{{{&s}}, token})
                        .value();
        settle();
        held = pool.try_checkout().value();
        s.refuses = true;
        pool.resize(5, 0).value();
        clock.run_for(io, 10s);
    }
    z->core()->remove(primitive_kind::resource_pool, "things");
    settle();
    CHECK(s.alive == 1);
    events.clear();
    s.used.clear();
    clock.run_for(io, 1h);
    CHECK(events.empty());
    CHECK(s.used.empty());
    CHECK(token.use_count() == 2);
    held.reset();
    settle();
    CHECK(s.alive == 0);
    CHECK(token.use_count() == 1);
}

TEST_CASE_FIXTURE(fixture, "pool: one that is dropped serves those who wait, and then goes") {
    auto pool = std::make_optional(make<basic>({.size = 1}));
    auto held = pool->try_checkout();
    std::optional<result<lease<thing>>> waited;
    pool->checkout([&](result<lease<thing>> r) { waited.emplace(std::move(r)); });
    z->core()->remove(primitive_kind::resource_pool, "things");
    CHECK(pool->try_checkout().error() == errc::shut_down);
    pool.reset();
    held.value().discard();  // the pool connects once more, for the waiter
    settle();
    REQUIRE(waited);
    CHECK(waited->has_value());
    waited.reset();
    settle();
    CHECK(s.alive == 0);
}

TEST_CASE_FIXTURE(fixture, "pool: leases that outlive their zone close, each on its own") {
    std::vector<lease<thing>> held;
    {
        auto pool = make<closing>({.size = 3});
        for (int i = 0; i < 3; ++i) {
            held.push_back(pool.try_checkout().value());
        }
    }
    sub = {};
    z.reset();
    clock.run(io);
    CHECK(s.alive == 3);
    held.pop_back();
    clock.run(io);
    CHECK(s.closed.size() == 1);
    held.front().discard();
    held.clear();
    clock.run(io);
    CHECK(s.closed.size() == 3);
    CHECK(s.alive == 0);
}

}  // namespace
}  // namespace headgate
