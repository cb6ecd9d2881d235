// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>

#include <functional>
#include <new>
#include <string>

#include "../allocation/awaited.hpp"
#include "../allocation/failing.hpp"
#include "fixture.hpp"

// Each allocation of an operation fails once, on any thread. SQLite's own allocations do not fail.

namespace headgate {
namespace {

using namespace test;
using asio::awaitable;

struct memory : fixture {
    sqlite_backend backend = sqlite_backend::create(options()).value();
    sqlite_connection observer = connect(backend);

    memory() { query(observer, "CREATE TABLE t(a)").value(); }

    // After each operation, `after` gets whether it succeeded.
    template <class T>
    std::uint64_t every_allocation_fails(const std::function<void()>& before, const allocation::awaited<T>& operation,
                                         const std::function<void(bool)>& after) {
        const auto tells = [](const error& e) {
            return e == errc::out_of_memory || e.code == std::errc::not_enough_memory;
        };
        return allocation::every_allocation_of<T>([this](auto started) { return this->finish(std::move(started)); },
                                                  tells, before, operation, after);
    }
};

TEST_CASE_FIXTURE(memory, "sqlite: a connect whose memory runs out is told so, and the next one works") {
    std::optional<sqlite_connection> c;
    every_allocation_fails<void>([] {},
                                 [&]() -> awaitable<result<void>> {
                                     auto made = co_await backend.connect();
                                     if (!made) {
                                         co_return made.error();
                                     }
                                     c.emplace(std::move(made).value());
                                     co_return success();
                                 },
                                 [&](bool) { CHECK(number(observer, "SELECT 1") == 1); });
    CHECK(number(*c, "SELECT 1") == 1);
}

TEST_CASE_FIXTURE(memory, "sqlite: a statement whose memory runs out has changed nothing") {
    auto c = connect(backend);
    std::int64_t rows = 0;
    const auto before = [&] { rows = number(observer, "SELECT count(*) FROM t"); };
    const auto added = [&](std::int64_t n) {
        return [&, n](bool succeeded) {
            CHECK(number(observer, "SELECT count(*) FROM t") == rows + (succeeded ? n : 0));
            REQUIRE(finish(backend.reset(c)));
            CHECK(number(c, "SELECT 1") == 1);
        };
    };
    const std::string text(100, 'x');
    SUBCASE("without rows") {
        every_allocation_fails<sql_rows>(before, [&] { return c.query("INSERT INTO t VALUES (?)", text); }, added(1));
    }
    SUBCASE("with rows") {
        every_allocation_fails<sql_rows>(
            before,
            [&] { return c.query("INSERT INTO t VALUES (1), (2), (3) RETURNING a, 'a text that is long enough'"); },
            added(3));
    }
    SUBCASE("that only reads") {
        every_allocation_fails<sql_rows>(
            before, [&] { return c.query("SELECT hex(zeroblob(50)), zeroblob(50), 1 UNION SELECT 1, 2, 3"); },
            added(0));
    }
    SUBCASE("that is wrong") {
        every_allocation_fails<sql_rows>(
            before,
            [&]() -> awaitable<result<sql_rows>> {
                auto r = co_await c.query("SELECT * FROM nowhere");
                if (!r && code_of(r.error()) == 1) {  // SQLITE_ERROR is the right answer
                    co_return sql_rows();
                }
                co_return r;
            },
            added(0));
    }
}

TEST_CASE_FIXTURE(memory, "sqlite: a transaction whose memory runs out is whole or not there") {
    auto c = connect(backend);
    std::int64_t rows = 0;
    every_allocation_fails<void>([&] { rows = number(observer, "SELECT count(*) FROM t"); },
                                 [&]() -> awaitable<result<void>> {
                                     auto begun = co_await c.begin();
                                     if (!begun) {
                                         co_return begun.error();
                                     }
                                     auto inserted = co_await c.query("INSERT INTO t VALUES (1), (2) RETURNING a");
                                     if (!inserted) {
                                         co_return inserted.error();
                                     }
                                     co_return co_await c.commit();
                                 },
                                 [&](bool succeeded) {
                                     REQUIRE(finish(c.rollback()));
                                     CHECK(number(observer, "SELECT count(*) FROM t") == rows + (succeeded ? 2 : 0));
                                 });
}

TEST_CASE_FIXTURE(memory, "sqlite: upkeep whose memory runs out") {
    auto c = connect(backend);
    const auto works = [&](bool) {
        if (!finish(backend.reset(c))) {  // reset closed it, and could not open it again
            c = connect(backend);
        }
        CHECK(number(c, "SELECT 1") == 1);
    };
    SUBCASE("ping") {
        every_allocation_fails<void>([] {}, [&] { return backend.ping(c); }, works);
    }
    SUBCASE("reset of a transaction") {
        every_allocation_fails<void>([&] { REQUIRE(finish(c.begin())); }, [&] { return backend.reset(c); }, works);
    }
    SUBCASE("reset by opening again") {
        every_allocation_fails<void>([&] { query(c, "CREATE TEMP TABLE IF NOT EXISTS x(a)").value(); },
                                     [&] { return backend.reset(c); }, works);
    }
    SUBCASE("close, of which nobody hears") {
        allocation::every_allocation_of_threads([&] {
            auto last = connect(backend);
            const allocation::failing scope(allocation::threads::all);
            backend.close(std::move(last));
        });
        CHECK(number(c, "SELECT 1") == 1);
    }
}

}  // namespace
}  // namespace headgate
