// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/zone.hpp>

#include <doctest/doctest.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <optional>
#include <thread>
#include <vector>

#include "support/zone_fixture.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

using fixture = headgate::test::zone_fixture;

TEST_CASE_FIXTURE(fixture, "sleep_for completes at exactly its time on the virtual clock") {
    std::vector<duration> woke;
    for (const duration span : {3s, 1s, 2s}) {
        z->sleep_for(span, [&](result<void> r) {
            CHECK(r);
            woke.push_back(elapsed());
        });
    }
    clock.run(io);
    CHECK(woke == std::vector<duration>{1s, 2s, 3s});
}

TEST_CASE_FIXTURE(fixture, "a day of sleeping in a coroutine takes no real time") {
    int steps = 0;
    asio::co_spawn(
        io,
        [](zone& zn, int& count) -> asio::awaitable<void> {
            for (; count < 24 * 60; ++count) {
                (co_await zn.sleep_for(1min)).value();
            }
        }(*z, steps),
        asio::detached);
    clock.run(io);
    CHECK(steps == 24 * 60);
    CHECK(elapsed() == 24h);
}

TEST_CASE_FIXTURE(fixture, "run_for goes no further than asked") {
    bool woke = false;
    z->sleep_for(10s, [&](result<void>) { woke = true; });
    clock.run_for(io, 9s);
    CHECK_FALSE(woke);
    CHECK(elapsed() == 9s);
    clock.run_for(io, 1s);
    CHECK(woke);
}

TEST_CASE_FIXTURE(fixture, "a sleep is cancelled by each type of cancellation") {
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total}) {
        asio::cancellation_signal signal;
        std::optional<result<void>> got;
        z->sleep_for(1h, asio::bind_cancellation_slot(signal.slot(), [&](result<void> r) { got = r; }));
        io.restart();
        io.poll();
        signal.emit(type);
        CHECK_FALSE(got);
        io.restart();
        io.poll();
        REQUIRE(got);
        CHECK(got->error() == errc::canceled);
    }
}

TEST_CASE_FIXTURE(fixture, "a completion runs on the handler's executor") {
    asio::thread_pool pool(1);
    std::thread::id where;
    z->sleep_for(1s,
                 asio::bind_executor(pool.get_executor(), [&](result<void>) { where = std::this_thread::get_id(); }));
    clock.run(io);
    pool.join();
    CHECK(where != std::thread::id{});
    CHECK(where != std::this_thread::get_id());
}

TEST_CASE_FIXTURE(fixture, "a completion runs on a strand over any executor") {
    const auto strand = asio::make_strand(asio::any_io_executor(io.get_executor()));
    bool inside = false;
    z->sleep_for(1s, asio::bind_executor(strand, [&](result<void>) { inside = strand.running_in_this_thread(); }));
    clock.run(io);
    CHECK(inside);
}

TEST_CASE_FIXTURE(fixture,
                  "close ends every waiter with shut_down and completes when no handler is left; twice is harmless") {
    std::vector<int> order;
    z->sleep_for(1h, [&](result<void> r) {
        CHECK(r.error() == errc::shut_down);
        order.push_back(1);
    });
    io.poll();
    z->close([&](result<void> r) {
        CHECK(r);
        order.push_back(2);
    });
    z->close([&](result<void> r) {
        CHECK(r);
        order.push_back(3);
    });
    CHECK(order.empty());
    clock.run(io);
    CHECK(order == std::vector<int>{1, 2, 3});
    CHECK(elapsed() == 0s);
    z->sleep_for(1s, [&](result<void> r) { CHECK(r.error() == errc::shut_down); });
    clock.run(io);
    CHECK(z->snapshot().closed);
    CHECK(z->snapshot().operations == 0);
}

TEST_CASE_FIXTURE(fixture, "drain says what was left at its deadline") {
    z->sleep_for(1h, [](result<void>) {});
    std::optional<result<void>> got;
    z->drain(5s, [&](result<void> r) { got = r; });
    clock.run_for(io, 5s);
    REQUIRE(got);
    CHECK(got->error() == errc::wait_timed_out);
    CHECK(got->error().message().find("1 operations") != std::string::npos);
}

TEST_CASE_FIXTURE(fixture, "drain completes when the last operation ends") {
    z->sleep_for(2s, [](result<void>) {});
    std::optional<duration> at;
    z->drain(5s, [&](result<void> r) {
        CHECK(r);
        at = elapsed();
    });
    clock.run(io);
    CHECK(at == 2s);
}

TEST_CASE_FIXTURE(fixture, "a wait for the end can be cancelled") {
    asio::cancellation_signal signal;
    std::optional<result<void>> got;
    z->sleep_for(1h, [](result<void>) {});
    z->drain(1h, asio::bind_cancellation_slot(signal.slot(), [&](result<void> r) { got = r; }));
    io.poll();
    signal.emit(asio::cancellation_type::terminal);
    io.restart();
    io.poll();
    REQUIRE(got);
    CHECK(got->error() == errc::canceled);
}

TEST_CASE_FIXTURE(fixture, "destroying the zone ends its waiters with shut_down") {
    std::optional<result<void>> got;
    z->sleep_for(1h, [&](result<void> r) { got = r; });
    z.reset();
    clock.run(io);
    REQUIRE(got);
    CHECK(got->error() == errc::shut_down);
}

TEST_CASE("destroying the io_context with operations pending leaks nothing, whether the zone goes before or after") {
    for (const bool zone_first : {true, false}) {
        virtual_clock clock;
        auto token = std::make_shared<int>(1);
        std::optional<asio::io_context> io(std::in_place);
        std::optional<zone> z(std::in_place, *io, "test", zone_options{.clock = &clock});
        z->sleep_for(1h, [token](result<void>) { FAIL("called"); });
        asio::co_spawn(
            *io,
            [](zone& zn, std::shared_ptr<int>) -> asio::awaitable<void> {
                (void)co_await zn.sleep_for(1h);
                FAIL("resumed");
            }(*z, token),
            asio::detached);
        io->poll();
        CHECK(token.use_count() == 3);
        if (zone_first) {
            z.reset();
            io.reset();
        } else {
            io.reset();
            z.reset();
        }
        CHECK(token.use_count() == 1);
    }
}

TEST_CASE("a zone without a name is refused with a clear error") {
    asio::io_context io;
    try {
        zone z(io, "");
        FAIL("made");
    } catch (const system_error& e) {
        CHECK(e.payload() == errc::invalid_argument);
        CHECK(e.payload().message().find("name is empty") != std::string::npos);
    }
}

TEST_CASE("on the real clock a sleep is never early, and the io_context runs out of work soon after") {
    asio::io_context io;
    zone z(io, "real");
    const auto start = std::chrono::steady_clock::now();
    std::optional<duration> slept;
    z.sleep_for(20ms, [&](result<void>) { slept = std::chrono::steady_clock::now() - start; });
    asio::cancellation_signal signal;
    z.sleep_for(
        1h, asio::bind_cancellation_slot(signal.slot(), [](result<void> r) { CHECK(r.error() == errc::canceled); }));
    z.sleep_for(1ms, [&](result<void>) { signal.emit(asio::cancellation_type::terminal); });
    io.run();
    REQUIRE(slept);
    CHECK(*slept >= 20ms);
    CHECK(std::chrono::steady_clock::now() - start < 10s);
}

TEST_CASE("close from another thread under load is harmless") {
    asio::io_context io;
    zone z(io, "real");
    std::atomic<int> ended = 0;
    for (int i = 0; i < 100; ++i) {
        z.sleep_for(1h, [&](result<void>) { ++ended; });
    }
    std::thread closer([&] { z.close(); });
    for (int i = 0; i < 100; ++i) {
        z.sleep_for(1h, [&](result<void>) { ++ended; });
    }
    closer.join();
    io.run();
    CHECK(ended == 200);
}

}  // namespace
}  // namespace headgate
