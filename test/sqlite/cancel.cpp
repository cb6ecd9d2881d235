// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>

#include <headgate/virtual_clock.hpp>
#include <headgate/with_timeout.hpp>

#include "fixture.hpp"

namespace headgate {
namespace {

using namespace test;
using asio::awaitable;

struct cancelling : fixture {
    sqlite_connection c = connect();
    std::optional<zone> z{std::in_place, io, "test"};
    asio::cancellation_signal signal;

    // Starts an operation that `signal` can cancel.
    template <class T>
    auto start_cancellable(awaitable<result<T>> operation) {
        auto out = std::make_shared<std::optional<result<T>>>();
        spawn(io, std::move(operation),
              asio::bind_cancellation_slot(signal.slot(), [out](auto r) { out->emplace(std::move(r)); }));
        io.restart();
        io.poll();
        return out;
    }
    void cancel() { signal.emit(asio::cancellation_type::terminal); }
};

awaitable<result<sql_rows>> count_for_ever(call_context context, sqlite_connection& c) {
    co_return co_await c.query(context, endless);
}
awaitable<result<sql_rows>> count_without_context(sqlite_connection& c) {
    co_return co_await c.query(endless);
}
awaitable<result<void>> begin_within(call_context context, sqlite_connection& c) {
    co_return co_await c.begin(context);
}

TEST_CASE_FIXTURE(cancelling, "sqlite: a deadline ends a statement through the call context") {
    CHECK(finish(with_timeout(*z, 50ms, count_for_ever, std::ref(c))).error() == errc::timed_out);
    CHECK(number(c, "SELECT 1") == 1);
}

TEST_CASE_FIXTURE(cancelling, "sqlite: a deadline ends a statement through its coroutine") {
    CHECK(finish(with_timeout(*z, 50ms, count_without_context, std::ref(c))).error() == errc::timed_out);
    CHECK(number(c, "SELECT 1") == 1);
}

TEST_CASE_FIXTURE(cancelling, "sqlite: nothing starts when the time is up") {
    bool second_started = false;
    const auto op = [&](call_context context) -> awaitable<result<void>> {
        const auto first = co_await c.query(context, endless);
        CHECK(first.error() == errc::canceled);
        const auto second = co_await c.query(context, "CREATE TABLE t(a)");
        second_started = second.error() != errc::canceled;
        co_return success();
    };
    finish(with_timeout(*z, 50ms, op)).value();
    CHECK_FALSE(second_started);
    CHECK(number(c, "SELECT count(*) FROM sqlite_schema") == 0);
}

TEST_CASE_FIXTURE(cancelling, "sqlite: with a context, the coroutine's own cancellation counts too") {
    const auto op = [&](call_context context) -> awaitable<result<sql_rows>> {
        co_return co_await c.query(context, endless);
    };
    const auto running = start_cancellable(with_timeout(*z, 1h, op).as_awaitable());
    cancel();
    CHECK(wait(running).error() == errc::canceled);
    CHECK(number(c, "SELECT 1") == 1);
}

TEST_CASE_FIXTURE(cancelling, "sqlite: a coroutine that is cancelled ends its statement") {
    const auto running = start_cancellable(c.query(endless));
    cancel();
    CHECK(wait(running).error() == errc::canceled);
    CHECK(number(c, "SELECT 1") == 1);
}

TEST_CASE_FIXTURE(cancelling, "sqlite: a cancelled write is undone, and its transaction is over") {
    query(c, "CREATE TABLE t(a)").value();
    REQUIRE(finish(c.begin()));
    query(c, "INSERT INTO t VALUES (1)").value();
    const auto running = start_cancellable(c.query(
        "INSERT INTO t WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n WHERE x < 0"));
    cancel();
    CHECK(wait(running).error() == errc::canceled);
    // Cancelled before its start, the statement leaves the transaction as it was. In its middle, SQLite rolls back.
    const auto next = query(c, "INSERT INTO t VALUES (2)");
    CHECK((next || next.error().code.value() == SQLITE_ABORT_ROLLBACK));
    REQUIRE(finish(c.rollback()));
    CHECK(number(c, "SELECT count(*) FROM t") == 0);
}

TEST_CASE_FIXTURE(cancelling, "sqlite: a cancelled statement that waits for a thread never starts") {
    auto o = options();
    o.threads = 1;
    const auto backend = sqlite_backend::create(o).value();
    auto one = connect(backend);
    auto two = connect(backend);
    asio::cancellation_signal stop_one;
    auto first = std::make_shared<std::optional<result<sql_rows>>>();
    spawn(io, one.query(endless), asio::bind_cancellation_slot(stop_one.slot(), [&](auto r) { first->emplace(r); }));
    const auto second = start_cancellable(two.query("CREATE TABLE t(a)"));
    cancel();
    io.poll();
    CHECK(second->has_value());  // though no thread was free
    CHECK_FALSE(first->has_value());
    stop_one.emit(asio::cancellation_type::terminal);
    CHECK(wait(second).error() == errc::canceled);
    CHECK(wait(first).error() == errc::canceled);
    CHECK(number(two, "SELECT count(*) FROM sqlite_schema") == 0);
}

TEST_CASE_FIXTURE(cancelling, "sqlite: a locked database is waited for as long as told, then it is busy") {
    REQUIRE(finish(c.begin()));
    auto o = options();
    o.busy_timeout = 30ms;
    auto other = connect(sqlite_backend::create(o).value());
    const auto begin = std::chrono::steady_clock::now();
    const auto busy = finish(other.begin());
    CHECK(std::chrono::steady_clock::now() - begin >= 30ms);
    CHECK(code_of(busy.error()) == SQLITE_BUSY);
    CHECK(busy.error().code == std::errc::resource_unavailable_try_again);
    REQUIRE(finish(c.commit()));
    CHECK(finish(other.begin()));
}

TEST_CASE_FIXTURE(cancelling, "sqlite: waiting for a lock is cancelled") {
    auto o = options();
    o.busy_timeout = 1h;
    auto other = connect(sqlite_backend::create(o).value());
    REQUIRE(finish(c.begin()));
    CHECK(finish(with_timeout(*z, 30ms, begin_within, std::ref(other))).error() == errc::timed_out);
    const auto waiting = start_cancellable(other.begin());
    cancel();
    CHECK(wait(waiting).error() == errc::canceled);
    REQUIRE(finish(c.commit()));
    CHECK(finish(other.begin()));
}

TEST_CASE_FIXTURE(cancelling, "sqlite: who waits for the lock does not keep its holder from the threads") {
    auto o = options();
    o.threads = 1;
    o.busy_timeout = 1h;
    const auto backend = sqlite_backend::create(o).value();
    auto holder = connect(backend);
    auto waiter = connect(backend);
    query(holder, "CREATE TABLE t(a)").value();
    REQUIRE(finish(holder.begin()));
    const auto waiting = start(waiter.begin());
    io.restart();
    io.poll();
    query(holder, "INSERT INTO t VALUES (1)").value();
    REQUIRE(finish(holder.commit()));
    REQUIRE(wait(waiting));
    CHECK(number(waiter, "SELECT count(*) FROM t") == 1);
}

TEST_CASE_FIXTURE(cancelling, "sqlite: a connection that is destroyed cancels what runs on it") {
    auto running = std::make_shared<std::optional<result<sql_rows>>>();
    {
        const sqlite_connection gone = std::move(c);
        running = start(const_cast<sqlite_connection&>(gone).query(endless));
        io.restart();
        io.poll();
    }
    CHECK(wait(running).error() == errc::canceled);
}

TEST_CASE_FIXTURE(fixture, "sqlite: virtual time does not pass while an operation is out, and passes after it") {
    const std::string slow =
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 300000) SELECT count(*) FROM n";
    virtual_clock clock;
    zone z(io, "test", {.clock = &clock});
    auto c = connect();
    const time_point begun = clock.now();
    std::string order;
    z.sleep_for(5s, [&](const result<void>&) { order += "deadline "; });
    spawn(io.get_executor(), c.query(slow), [&](const result<sql_rows>& r) {
        CHECK(r.has_value());
        CHECK(clock.now() == begun);
        order += "answer ";
    });
    clock.run(io);
    CHECK(order == "answer deadline ");
    // After a cancellation virtual time passes as well.
    asio::cancellation_signal stop;
    z.sleep_for(5s, [&](const result<void>&) { order += "deadline "; });
    spawn(io.get_executor(), c.query(endless),
          asio::bind_cancellation_slot(stop.slot(), [&](const result<sql_rows>&) { order += "canceled "; }));
    asio::post(io, [&] { stop.emit(asio::cancellation_type::terminal); });
    clock.run(io);
    CHECK(order == "answer deadline canceled deadline ");
}

TEST_CASE("sqlite: a context that is destroyed does not wait for what runs") {
    const temporary_directory directory;
    const auto backend = sqlite_backend::create(sqlite_options(directory.file("test.db"))).value();
    std::optional<sqlite_connection> outside;
    bool resumed = false;
    const auto own = [&]() -> awaitable<result<void>> {
        auto c = co_await backend.connect();
        const auto never = co_await c.value().query(endless);
        resumed = true;
        co_return success();
    };
    const auto borrowed = [&]() -> awaitable<result<void>> {
        auto c = co_await backend.connect();
        outside.emplace(std::move(c).value());
        const auto never = co_await outside->query(endless);
        resumed = true;
        co_return success();
    };
    {
        asio::io_context io;
        spawn(io, own(), [](const auto&) {});
        spawn(io, borrowed(), [](const auto&) {});
        while (!outside) {
            io.run_one();
        }
        io.poll();
    }
    CHECK_FALSE(resumed);
    // Another context can use the connection, as soon as its statement has ended.
    fixture next;
    while (true) {
        const auto r = next.query(*outside, "SELECT 1");
        if (r) {
            break;
        }
        REQUIRE(code_of(r.error()) == SQLITE_MISUSE);
    }
}

TEST_CASE("sqlite: a context may go while an operation waits for a thread, and the backend with it") {
    const temporary_directory directory;
    asio::io_context io;
    auto backend = std::make_optional(sqlite_backend::create(sqlite_options(directory.file("test.db"))).value());
    spawn(io, backend->connect(), [](const auto&) {});
    io.run_one();
    backend.reset();
}

}  // namespace
}  // namespace headgate
