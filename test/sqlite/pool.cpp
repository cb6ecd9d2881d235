// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <fstream>

#include <headgate/guard.hpp>
#include <headgate/resource_pool.hpp>

#include "fixture.hpp"

namespace headgate {
namespace {

using namespace test;
using asio::awaitable;

struct pooled : fixture {
    std::optional<zone> z{std::in_place, io, "test"};
    sqlite_backend backend = sqlite_backend::create(options()).value();
    resource_pool<sqlite_connection> pool =
        resource_pool<sqlite_connection>::create(*z, "db", {.size = 1}, backend).value();

    lease<sqlite_connection> checkout() { return finish(pool.checkout().as_awaitable()).value(); }
};

TEST_CASE_FIXTURE(pooled, "sqlite: a backend resets, pings and closes") {
    auto c = connect(backend);
    CHECK(finish(backend.ping(c)));
    CHECK(finish(backend.reset(c)));
    query(c, "CREATE TABLE t(a)").value();
    REQUIRE(finish(c.begin()));
    query(c, "INSERT INTO t VALUES (1)").value();
    CHECK(finish(backend.reset(c)));
    CHECK(number(c, "SELECT count(*) FROM t") == 0);
    query(c, "BEGIN").value();  // a transaction that the connection object does not know of
    CHECK(finish(backend.reset(c)));
    CHECK(finish(c.begin()));
    backend.close(std::move(c));
    const sqlite_backend copy = backend;
    auto other = connect(copy);
    CHECK(finish(other.begin()));  // the lock is free
}

TEST_CASE_FIXTURE(pooled, "sqlite: what a lease leaves behind is rolled back") {
    {
        auto lent = checkout();
        query(*lent, "CREATE TABLE t(a)").value();
        REQUIRE(finish(lent->begin()));
        query(*lent, "INSERT INTO t VALUES (1)").value();
    }
    auto lent = checkout();
    CHECK(number(*lent, "SELECT count(*) FROM t") == 0);
    CHECK(finish(lent->begin()));
}

awaitable<result<sql_rows>> insert_within(call_context context, sqlite_connection& c, std::string text) {
    if (auto begun = co_await c.begin(context); !begun) {
        co_return begun.error();
    }
    auto rows = co_await c.query(context, "INSERT INTO t VALUES (?)", text);
    if (!rows) {
        co_return rows;
    }
    if (auto done = co_await c.commit(context); !done) {
        co_return done.error();
    }
    co_return rows;
}

awaitable<result<sql_rows>> count_for_ever(call_context context, sqlite_connection& c) {
    if (auto begun = co_await c.begin(context); !begun) {
        co_return begun.error();
    }
    co_return co_await c.query(context, endless);
}

TEST_CASE_FIXTURE(pooled, "sqlite: behind a guard, and a statement that takes too long is cancelled with its lock") {
    {
        auto lent = checkout();
        query(*lent, "CREATE TABLE t(a)").value();
    }
    auto breaker = circuit_breaker::create(*z, "db").value();
    const guard g(breaker, pool, guard_options{.timeout = 10s});
    const std::string text = "ann";
    CHECK(finish(g.run("ann", insert_within, text).as_awaitable()).value().affected == 1);
    const guard hasty(breaker, pool, guard_options{.timeout = 50ms});
    CHECK(finish(hasty.run("ann", count_for_ever).as_awaitable()).error() == errc::timed_out);
    CHECK(finish(g.run("ann", insert_within, text).as_awaitable()));
    auto lent = checkout();
    CHECK(number(*lent, "SELECT count(*) FROM t") == 2);
}

TEST_CASE_FIXTURE(pooled, "sqlite: a file that is no database does not connect") {
    const std::string path = directory.file("other.db");
    std::ofstream(path) << std::string(4096, 'x');
    const auto r = finish(sqlite_backend::create(sqlite_options(path)).value().connect());
    CHECK(code_of(r.error()) == SQLITE_NOTADB);
}

TEST_CASE_FIXTURE(pooled, "sqlite: a connection to a corrupt file is replaced") {
    {
        auto lent = checkout();
        query(*lent, "CREATE TABLE t(a)").value();
        query(*lent, "INSERT INTO t SELECT zeroblob(500) FROM (VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9))")
            .value();
        CHECK(number(*lent, "PRAGMA wal_checkpoint(TRUNCATE)") == 0);
        std::fstream file(options().path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(4096);  // the root page of the table
        file << std::string(4096, 'x');
    }
    auto lent = checkout();
    query(*lent, "CREATE TEMP TABLE mine(a)").value();
    query(*lent, "PRAGMA cache_size=0").value();
    query(*lent, "PRAGMA shrink_memory").value();
    const auto r = query(*lent, "SELECT sum(length(a)) FROM t");
    CHECK(code_of(r.error()) == SQLITE_CORRUPT);
    CHECK(code_of(finish(backend.reset(*lent)).error()) == SQLITE_CORRUPT);
    lent.give_back();
    lent = checkout();
    CHECK(code_of(query(*lent, "SELECT * FROM mine").error()) == SQLITE_ERROR);  // another connection
}

TEST_CASE_FIXTURE(pooled, "sqlite: the zone goes while a statement runs") {
    auto running = start(pool.with([](sqlite_connection& c) { return c.query(endless); }).as_awaitable());
    while (pool.snapshot().leased == 0) {
        io.restart();
        io.run_one();
    }
    io.poll();
    z.reset();
    CHECK_FALSE(running->has_value());
}

}  // namespace
}  // namespace headgate
