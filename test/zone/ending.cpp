// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/zone.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <headgate/bulkhead.hpp>
#include <headgate/circuit_breaker.hpp>
#include <headgate/rate_limiter.hpp>
#include <headgate/resource_pool.hpp>

#include "support/zone_fixture.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct backend {
    std::shared_ptr<int> open = std::make_shared<int>(0);
    asio::awaitable<int> connect() { co_return ++*open; }
    void close(int) { --*open; }
};

struct fixture : headgate::test::zone_fixture {
    std::optional<result<void>> drained;

    void drain(duration limit) {
        drained.reset();
        z->drain(limit, [this](const result<void>& r) { drained = r; });
        clock.run_for(io, 0s);
    }
    bool drains() const { return !drained; }
    bool done() const { return drained && drained->has_value(); }
};

asio::awaitable<void> poller(zone& z, int& n) {
    while (const auto slept = co_await z.sleep_for(1s)) {
        ++n;
    }
}

TEST_CASE_FIXTURE(fixture, "a draining zone starts no sleep, so that a loop of them ends") {
    int n = 0;
    asio::co_spawn(io, poller(*z, n), asio::detached);
    clock.run_for(io, 5s);
    CHECK(n == 5);
    drain(30s);
    CHECK(drains());
    clock.run_for(io, 1s);
    CHECK(done());
    CHECK(n == 6);
}

TEST_CASE_FIXTURE(fixture,
                  "a drain waits for leases and permits of what has left the registry, and has no handle any more") {
    bulkhead_permit place;
    std::optional<call_permit> call;
    std::optional<lease<int>> lent;
    backend b;
    {
        auto gate = bulkhead::create(*z, "gate").value();
        place = gate.try_enter().value();
        auto breaker = circuit_breaker::create(*z, "breaker").value();
        call.emplace(breaker.try_begin().value());
        auto pool = resource_pool<int>::create(*z, "pool", {.size = 1}, b).value();
        clock.run_for(io, 0s);
        lent = pool.try_checkout().value();
    }
    z->core()->remove(primitive_kind::bulkhead, "gate");
    z->core()->remove(primitive_kind::circuit_breaker, "breaker");
    z->core()->remove(primitive_kind::resource_pool, "pool");
    drain(1h);
    CHECK(drains());
    place.give_back();
    clock.run_for(io, 0s);
    CHECK(drains());
    lent.reset();
    clock.run_for(io, 0s);
    CHECK(drains());
    call->success();
    clock.run_for(io, 0s);
    CHECK(done());
    CHECK(*b.open == 0);
}

TEST_CASE_FIXTURE(fixture, "a drain that a close overtakes goes on to wait for leases") {
    auto gate = bulkhead::create(*z, "gate").value();
    bulkhead_permit place = gate.try_enter().value();
    bool closed = false;
    drain(1h);
    z->close([&](const result<void>&) { closed = true; });
    clock.run_for(io, 0s);
    CHECK(closed);
    CHECK(drains());
    SUBCASE("until they come back") {
        place.give_back();
        clock.run_for(io, 0s);
        CHECK(done());
    }
    SUBCASE("also when the zone is gone, until its time is up") {
        z.reset();
        clock.run_for(io, 1h);
        REQUIRE(drained);
        CHECK(drained->error() == errc::wait_timed_out);
    }
}

TEST_CASE_FIXTURE(fixture, "a drain closes what is idle, and serves those who wait") {
    backend b;
    auto pool = resource_pool<int>::create(*z, "pool", {.size = 2}, b).value();
    clock.run_for(io, 0s);
    auto one = pool.try_checkout(), two = pool.try_checkout();
    std::optional<result<lease<int>>> third;
    pool.checkout({.max_wait = 1h}, [&](result<lease<int>> r) { third.emplace(std::move(r)); });
    drain(1h);
    CHECK(pool.try_checkout().error() == errc::shut_down);
    one.value().give_back();
    clock.run_for(io, 0s);
    REQUIRE(third);
    CHECK(third->has_value());
    two.value().give_back();
    clock.run_for(io, 0s);
    CHECK(drains());
    third.reset();
    clock.run_for(io, 0s);
    CHECK(done());
    CHECK(*b.open == 0);
}

TEST_CASE_FIXTURE(fixture, "a limit that is not positive looks once; the longest one is none") {
    drain(0s);
    CHECK(done());
    auto gate = bulkhead::create(*z, "refused");
    CHECK(gate.error() == errc::shut_down);
    z.emplace(io, "other", zone_options{.clock = &clock});
    bulkhead_permit place = bulkhead::create(*z, "gate").value().try_enter().value();
    for (const duration limit : {duration(0), duration(-1ms), duration::min()}) {
        drain(limit);
        REQUIRE(drained);
        CHECK(drained->error() == errc::wait_timed_out);
        CHECK(drained->error().message().find("1 operations, leases and permits") != std::string::npos);
    }
    drain(duration::max());
    clock.run_for(io, 24h * 365 * 100);
    CHECK(drains());
    place.give_back();
    clock.run_for(io, 0s);
    CHECK(done());
}

TEST_CASE_FIXTURE(fixture, "a sleep that is not positive ends at once, the longest one never by time") {
    for (const duration span : {duration(0), duration(-1ms), duration::min()}) {
        bool done = false;
        z->sleep_for(span, [&](const result<void>& r) { done = r.has_value(); });
        CHECK_FALSE(done);
        io.restart();
        io.poll();
        CHECK(done);
    }
    clock.set(time_point(-1h));
    std::optional<result<void>> end;
    z->sleep_for(duration::max(), [&](const result<void>& r) { end = r; });
    clock.run(io);
    CHECK_FALSE(end);
    z->close();
    clock.run(io);
    REQUIRE(end);
    CHECK(end->error() == errc::shut_down);
}

TEST_CASE_FIXTURE(fixture, "a primitive that is removed is freed with its last handle, lease or call") {
    std::weak_ptr<detail::primitive> limiter, pool, gate, breaker;
    std::optional<lease<int>> lent;
    {
        limiter = rate_limiter::create(*z, "l", quota::per(1, 1s).value()).value().core();
        auto p = resource_pool<int>::create(*z, "p", {.size = 3, .ping_interval = 1s}, backend{}).value();
        pool = p.core();
        gate = bulkhead::create(*z, "b").value().core();
        breaker = circuit_breaker::create(*z, "c").value().core();
        clock.run_for(io, 0s);
        lent = p.try_checkout().value();
    }
    CHECK_FALSE(pool.expired());
    for (const auto& [kind, name] : {std::pair(primitive_kind::rate_limiter, "l"),
                                     {primitive_kind::resource_pool, "p"},
                                     {primitive_kind::bulkhead, "b"},
                                     {primitive_kind::circuit_breaker, "c"}}) {
        z->core()->remove(kind, name);
    }
    clock.run_for(io, 1min);
    CHECK(limiter.expired());
    CHECK(gate.expired());
    CHECK(breaker.expired());
    lent.reset();
    clock.run(io);
    CHECK(pool.expired());
}

TEST_CASE("an io_context goes while threads of others call a zone on it: nothing hangs, leaks or is touched too late") {
    for (int round = 0; round < 30; ++round) {
        asio::io_context theirs;
        const auto work = asio::make_work_guard(theirs);
        std::thread runs([&] { theirs.run(); });
        std::optional<asio::io_context> io(std::in_place);
        std::optional<zone> z(std::in_place, *io, "z");
        auto core = z->core();
        auto limiter = rate_limiter::create(*z, "l", quota::per(1000, 1s).value()).value();
        auto breaker = circuit_breaker::create(*z, "b", {.consecutive_failures = 1}).value();
        std::atomic<bool> stop{false};
        std::atomic<int> started{0};
        std::vector<std::thread> callers;
        for (int t = 0; t < 2; ++t) {
            callers.emplace_back([&] {
                while (!stop) {
                    (void)limiter.try_acquire("k").has_value();
                    breaker.trip();
                    breaker.reset();
                    core->post([] {});
                    (void)core->snapshot();
                    ++started;
                }
            });
        }
        while (started < 20) {
            std::this_thread::yield();
        }
        io->poll();
        z->close();
        io.reset();
        stop = true;
        for (auto& t : callers) {
            t.join();
        }
        z.reset();
        theirs.stop();
        runs.join();
    }
}

TEST_CASE("an operation that ends beside a close or a drain on another thread completes it") {
    for (int round = 0; round < 300; ++round) {
        asio::io_context io;
        zone z(io, "z");
        auto gate = bulkhead::create(z, "gate").value();
        bulkhead_permit place = gate.try_enter().value();
        detail::zone_core& core = *z.core();
        core.operation_started();
        bool ended = false;
        std::thread other([&] {
            place.give_back();
            core.operation_finished();
        });
        if (round % 2 == 0) {
            z.close([&](const result<void>&) { ended = true; });
        } else {
            z.drain(duration::max(), [&](const result<void>&) { ended = true; });
        }
        other.join();
        io.run();
        REQUIRE(ended);
    }
}

TEST_CASE("a zone is used from one thread, from many on one io_context, and from several io_contexts") {
    for (const int contexts : {1, 3}) {
        std::vector<std::unique_ptr<asio::io_context>> ios;
        for (int i = 0; i < contexts; ++i) {
            ios.push_back(std::make_unique<asio::io_context>());
        }
        zone z(*ios[0], "z");
        std::atomic<int> slept{0};
        auto work = asio::make_work_guard(*ios[0]);
        std::vector<std::thread> threads;
        for (int t = 0; t < 3; ++t) {
            asio::io_context& own = *ios[static_cast<std::size_t>(t % contexts)];
            for (int i = 0; i < 50; ++i) {
                z.sleep_for(std::chrono::microseconds(i * 20), asio::bind_executor(own, [&](const result<void>& r) {
                                REQUIRE(r);
                                if (++slept == 150) {
                                    work.reset();
                                }
                            }));
            }
            threads.emplace_back([&own] { own.run(); });
        }
        for (auto& t : threads) {
            t.join();
        }
        for (auto& io : ios) {
            io->restart();
            io->run();
        }
        CHECK(slept == 150);
    }
}

}  // namespace
}  // namespace headgate
