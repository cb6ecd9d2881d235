// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include <headgate/guard.hpp>
#include <headgate/resource_pool.hpp>
#include <headgate/with_timeout.hpp>

#include "server.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

using clock = std::chrono::steady_clock;

asio::awaitable<result<sql_rows>> under_deadline(call_context context, postgres_connection& c, std::string sql) {
    return c.query(context, std::move(sql));
}
asio::awaitable<result<sql_rows>> without_deadline(postgres_connection& c, std::string sql) {
    return c.query(std::move(sql));
}

struct cancelling : postgres_fixture {
    zone z{io, "test"};
    std::string slow = "select pg_sleep(10)";

    result<sql_rows> within(duration limit, postgres_connection& c, const std::string& sql) {
        return finish(with_timeout(z, limit, under_deadline, std::ref(c), sql));
    }
    std::int64_t sleeping(postgres_connection& c) {
        return value<std::int64_t>(
            c,
            "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(10)%' and "
            "pid <> pg_backend_pid()");
    }
    // The result of a statement whose coroutine is cancelled after `delay`.
    result<sql_rows> cancel_after(duration delay, asio::awaitable<result<sql_rows>> operation) {
        asio::cancellation_signal signal;
        asio::steady_timer timer(io, delay);
        timer.async_wait([&](boost::system::error_code ec) {
            if (!ec) {
                signal.emit(asio::cancellation_type::terminal);
            }
        });
        std::optional<result<sql_rows>> out;
        spawn(io.get_executor(), std::move(operation), asio::bind_cancellation_slot(signal.slot(), [&](auto r) {
                  out.emplace(std::move(r));
                  io.stop();
              }));
        io.restart();
        io.run_for(60s);
        REQUIRE(out.has_value());
        return std::move(*out);
    }
};

TEST_CASE_FIXTURE(cancelling, "postgres: a deadline ends the statement at the server too") {
    auto c = connect();
    auto observer = connect();
    const auto pid = value<std::int64_t>(c, "select pg_backend_pid()");
    const auto start = clock::now();
    CHECK(within(100ms, c, slow).error() == errc::timed_out);
    CHECK(clock::now() - start < 900ms);
    CHECK(sleeping(observer) == 0);
    CHECK(value<std::int64_t>(c, "select 42") == 42);
    CHECK(value<std::int64_t>(c, "select pg_backend_pid()") == pid);
}

TEST_CASE_FIXTURE(cancelling, "postgres: a deadline around an operation that takes no context") {
    auto c = connect();
    auto observer = connect();
    CHECK(finish(with_timeout(z, 100ms, without_deadline, std::ref(c), slow)).error() == errc::timed_out);
    CHECK(sleeping(observer) == 0);
    CHECK(value<std::int64_t>(c, "select 42") == 42);
}

TEST_CASE_FIXTURE(cancelling, "postgres: a deadline that has passed already") {
    auto c = connect();
    CHECK(within(1ns, c, slow).error() == errc::timed_out);
    CHECK(within(0ms, c, slow).error() == errc::wait_timed_out);  // the statement does not begin
    CHECK(value<std::int64_t>(c, "select 42") == 42);
}

TEST_CASE_FIXTURE(cancelling, "postgres: a coroutine that is cancelled") {
    auto c = connect();
    auto observer = connect();
    CHECK(cancel_after(50ms, c.query(slow)).error() == errc::canceled);
    CHECK(sleeping(observer) == 0);
    CHECK(value<std::int64_t>(c, "select 42") == 42);
    SUBCASE("under a deadline that is far away") {
        auto call = with_timeout(z, 1h, under_deadline, std::ref(c), slow);
        CHECK(cancel_after(50ms, std::move(call).as_awaitable()).error() == errc::canceled);
        CHECK(sleeping(observer) == 0);
        CHECK(value<std::int64_t>(c, "select 42") == 42);
    }
}

TEST_CASE_FIXTURE(cancelling, "postgres: cancelled in a transaction, which has failed then") {
    auto c = connect();
    REQUIRE(finish(c.begin()));
    CHECK(within(50ms, c, slow).error() == errc::timed_out);
    CHECK(query(c, "select 1").error().code == sqlstate("25P02"));
    REQUIRE(finish(c.rollback()));
    CHECK(value<std::int64_t>(c, "select 42") == 42);
}

TEST_CASE_FIXTURE(cancelling, "postgres: cancelled while a large answer arrives") {
    auto c = connect();
    CHECK(within(50ms, c, "select repeat('x', 1000) from generate_series(1, 10000000)").error() == errc::timed_out);
    CHECK(value<std::int64_t>(c, "select 42") == 42);
}

TEST_CASE_FIXTURE(cancelling, "postgres: no cancellation reaches a later statement") {
    auto c = connect();
    const unsigned seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> deadline_us(1, 20'000);
    int cancelled = 0;
    for (int i = 0; i < 300; ++i) {
        const auto r = within(std::chrono::microseconds(deadline_us(random)), c, "select pg_sleep(0.015)");
        cancelled += r ? 0 : 1;
        REQUIRE((r || r.error() == errc::timed_out));
        REQUIRE(value<std::int64_t>(c, "select $1::int", i) == i);
    }
    MESSAGE(cancelled, " of 300 were cancelled");
}

// Uses the connection again at once, in the same coroutine. So a late cancellation would hit the next statement: there
// is no time between the two in which it could get lost.
asio::awaitable<result<int>> race(zone& z, postgres_connection& c, std::mt19937& random) {
    int cancelled = 0;
    std::uniform_int_distribution<int> deadline_us(1, 20'000);
    for (int i = 0; i < 200; ++i) {
        const auto limit = std::chrono::microseconds(deadline_us(random));
        const std::string quick = "select pg_sleep(0.015)";
        auto r = co_await with_timeout(z, limit, under_deadline, std::ref(c), quick);
        if (!r && r.error() != errc::timed_out) {
            co_return r.error();
        }
        cancelled += r ? 0 : 1;
        auto next = co_await c.query("select pg_sleep(0.0005)");
        if (!next) {
            co_return next.error();
        }
    }
    co_return cancelled;
}

TEST_CASE_FIXTURE(cancelling, "postgres: no cancellation reaches the statement that follows at once") {
    auto c = connect();
    const unsigned seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto cancelled = finish(race(z, c, random));
    REQUIRE_MESSAGE(cancelled, cancelled.error().message());
    MESSAGE(cancelled.value(), " of 200 were cancelled");
}

TEST_CASE_FIXTURE(cancelling, "postgres: a server that stands still breaks the connection after three seconds") {
    auto c = connect();
    tell_server("freeze");
    const auto start = clock::now();
    const auto r = within(50ms, c, "select 1");
    const auto took = clock::now() - start;
    tell_server("thaw");
    CHECK(r.error() == errc::timed_out);
    CHECK(took > 2s);
    CHECK(took < 5s);
    CHECK_FALSE(c.is_open());
}

asio::awaitable<result<int>> work(zone& z, resource_pool<postgres_connection> pool, unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> deadline_us(1'000, 20'000);
    int done = 0;
    for (int i = 0; i < 25; ++i) {
        auto lent = co_await pool.checkout({.max_wait = 10s});
        if (!lent) {
            co_return lent.error();
        }
        const lease<postgres_connection> lease = std::move(lent).value();
        const std::string quick = "select pg_sleep(0.005)";
        const auto limit = std::chrono::microseconds(deadline_us(random));
        (void)co_await with_timeout(z, limit, under_deadline, std::ref(*lease), quick);
        auto next = co_await lease->query("select $1::int", i);
        if (!next) {
            co_return next.error();
        }
        done += *next.value().get<std::int64_t>(0, 0) == i ? 1 : 0;
    }
    co_return done;
}

TEST_CASE_FIXTURE(cancelling, "postgres: two threads, each coroutine on a strand of its own") {
    auto pool = resource_pool<postgres_connection>::create(z, "db", {.size = 3}, backend).value();
    std::array<std::optional<result<int>>, 6> results;
    std::atomic<std::size_t> left = results.size();
    for (unsigned i = 0; i < results.size(); ++i) {
        spawn(asio::make_strand(io), work(z, pool, i), [&, i](auto r) {
            results[i].emplace(std::move(r));
            if (--left == 0) {
                io.stop();
            }
        });
    }
    io.restart();
    std::thread other([&] { io.run_for(60s); });
    io.run_for(60s);
    other.join();
    for (const auto& r : results) {
        REQUIRE(r.has_value());
        REQUIRE_MESSAGE(*r, r->error().message());
        CHECK(r->value() == 25);
    }
}

TEST_CASE_FIXTURE(cancelling, "postgres: through a guard and a pool") {
    auto pool = resource_pool<postgres_connection>::create(z, "db", {.size = 2}, backend).value();
    const guard g(pool, guard_options{.timeout = 200ms});
    auto observer = connect();
    for (int i = 0; i < 5; ++i) {
        CHECK(finish(g.run("ann", under_deadline, slow)).error() == errc::timed_out);
        CHECK(sleeping(observer) == 0);
    }
    const std::string one = "select 1";
    CHECK(*finish(pool.with(without_deadline, one)).value().get<std::int64_t>(0, 0) == 1);
    const std::string setting = "set search_path = nowhere";
    for (int i = 0; i < 4; ++i) {
        CHECK(finish(pool.with(without_deadline, setting)));
    }
    const std::string show = "show search_path";
    CHECK(*finish(pool.with(without_deadline, show)).value().get<std::string>(0, 0) == "\"$user\", public");
    z.close();
    io.restart();
    io.run_for(5s);
}

}  // namespace
}  // namespace headgate
