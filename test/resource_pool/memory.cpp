// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// Every allocation of a pool's day fails once: nothing leaks, hangs or ends the program, and the pool still works.

#include <headgate/bulkhead.hpp>
#include <headgate/resource_pool.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <new>
#include <optional>
#include <utility>

#include "../allocation/failing.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using asio::awaitable;

int alive = 0;

struct thing {
    explicit thing(int n) : number(n) { ++alive; }
    thing(thing&& other) noexcept : number(std::exchange(other.number, 0)) {}
    thing& operator=(thing&&) = delete;
    ~thing() { alive -= number != 0 ? 1 : 0; }
    int number;
};

/// Its coroutines allocate their own frames, so that those allocations can fail.
struct backend {
    awaitable<thing> connect() {
        co_await turn();
        co_return thing(1);
    }
    awaitable<bool> ping(thing&) {
        co_await turn();
        co_return true;
    }
    awaitable<bool> reset(thing&) {
        co_await turn();
        co_return true;
    }
    awaitable<void> close(thing) { co_await turn(); }
    static awaitable<void> turn() { co_await asio::post(asio::use_awaitable); }
};

/// Catches `bad_alloc` outside of the event loop and runs the loop again, as a program would.
void run_for(virtual_clock& clock, asio::io_context& io, duration span) {
    const time_point end = clock.now() + span;
    while (clock.now() < end || span == 0s) {
        try {
            clock.run_for(io, end - clock.now());
            return;
        } catch (const std::bad_alloc&) {
            io.restart();
        }
    }
}

/// One day. Memory is short in step number `broken` only.
void day(int broken) {
    virtual_clock clock;
    asio::io_context io;
    {
        zone z(io, "z", {.clock = &clock});
        std::optional<resource_pool<thing>> pool;
        int at = 0;
        const auto step = [&](const auto& what) {
            if (at++ != broken) {
                what();
                return;
            }
            const allocation::failing scope;
            try {
                what();
            } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): at the call, as it may
            }
        };
        const pool_options options{.size = 3, .max_overflow = 2, .ping_interval = 10s, .leak_threshold = 1h};
        step([&] {
            if (auto made =
                    resource_pool<thing>::create(z, "a pool whose name needs memory of its own", options, backend{})) {
                pool = std::move(made).value();
            }
        });
        if (!pool) {
            pool = resource_pool<thing>::create(z, "another pool", options, backend{}).value();
        }
        step([&] { run_for(clock, io, 0s); });
        run_for(clock, io, 6s);
        CHECK(pool->snapshot().idle == 3);
        step([&] { pool->try_checkout().value().give_back(); });
        step([&] { run_for(clock, io, 0s); });
        run_for(clock, io, 1s);
        CHECK(pool->snapshot().leased == 0);
        step([&] { pool->try_checkout().value().discard(); });
        step([&] { run_for(clock, io, 0s); });
        run_for(clock, io, 6s);
        CHECK(pool->snapshot().idle == 3);
        step([&] { run_for(clock, io, 11s); });
        run_for(clock, io, 11s);
        CHECK(pool->snapshot().idle == 3);
        step([&] { (void)pool->resize(5, 0); });
        step([&] { run_for(clock, io, 0s); });
        run_for(clock, io, 6s);
        CHECK(pool->snapshot().idle == 5);
        step([&] { (void)pool->resize(1, 0); });
        step([&] { run_for(clock, io, 0s); });
        run_for(clock, io, 1s);
        CHECK(pool->snapshot().idle == 1);
        CHECK(pool->try_checkout());
        z.close();
        step([&] { run_for(clock, io, 0s); });
        run_for(clock, io, 10s);
        CHECK(pool->snapshot().idle == 0);
        CHECK(z.snapshot().operations == 0);
    }
    run_for(clock, io, 10s);
}

TEST_CASE("pool: every allocation fails once; nothing leaks, hangs or terminates, and the pool works on") {
    std::uint64_t failures = 0;
    for (int broken = 0; broken < 12; ++broken) {
        CAPTURE(broken);
        failures += allocation::every_allocation([&] {
            alive = 0;
            day(broken);
            CHECK(alive == 0);
        });
    }
    CHECK(failures > 50);
}

}  // namespace
}  // namespace headgate
