// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// Each allocation of an operation fails once, on any thread. The allocations of libpq and Asio do not fail.

#include <functional>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "../allocation/awaited.hpp"
#include "../allocation/failing.hpp"
#include "server.hpp"

namespace headgate {
namespace {

using boost::asio::awaitable;

struct memory : postgres_fixture {
    postgres_connection observer = connect();

    memory() { query(observer, "create table if not exists t(a text)").value(); }
    ~memory() { query(observer, "drop table t").value(); }
    memory(const memory&) = delete;
    memory& operator=(const memory&) = delete;

    std::int64_t rows() { return value<std::int64_t>(observer, "select count(*) from t"); }

    // After each operation, `after` gets whether it succeeded.
    template <class T>
    std::uint64_t every_allocation_fails(const std::function<void()>& before, const allocation::awaited<T>& operation,
                                         const std::function<void(bool)>& after) {
        // `operation_failed`: the statement has ended, but memory for its rows is missing. It must not run again.
        const auto tells = [](const error& e) { return e == errc::out_of_memory || e == errc::operation_failed; };
        return allocation::every_allocation_of<T>([this](auto started) { return this->finish(std::move(started)); },
                                                  tells, before, operation, after);
    }

    // As the pool would do: replaces a connection that is not open or cannot be reset.
    void mend(postgres_connection& c) {
        if (!c.is_open() || !finish(backend.reset(c))) {
            c = connect();
        }
        CHECK(value<std::int64_t>(c, "select 1::bigint") == 1);
    }
};

TEST_CASE_FIXTURE(memory,
                  "postgres: a connect whose memory runs out is told so, leaves nothing, and the next one works") {
    const std::size_t descriptors = open_descriptors();
    const auto allocations = every_allocation_fails<void>([] {},
                                                          [&]() -> awaitable<result<void>> {
                                                              auto made = co_await backend.connect();
                                                              if (!made) {
                                                                  co_return made.error();
                                                              }
                                                              co_return success();
                                                          },
                                                          [&](bool) { CHECK(open_descriptors() == descriptors); });
    CHECK(allocations > 10);
    auto c = connect();
    CHECK(value<std::int64_t>(c, "select 1::bigint") == 1);
}

TEST_CASE_FIXTURE(memory, "postgres: a statement whose memory runs out: the connection is closed, or works on") {
    auto c = connect();
    const std::string text(100, 'x');
    SUBCASE("without rows") {
        every_allocation_fails<sql_rows>([] {}, [&] { return c.query("insert into t values ($1)", text); },
                                         [&](bool) { mend(c); });
        CHECK(rows() > 0);
    }
    SUBCASE("that only reads") {
        every_allocation_fails<sql_rows>(
            [] {}, [&] { return c.query("select repeat('x', 50), '\\x00'::bytea, 1.5::float8, null, true"); },
            [&](bool) { mend(c); });
    }
    SUBCASE("that is wrong") {
        every_allocation_fails<sql_rows>([] {},
                                         [&]() -> awaitable<result<sql_rows>> {
                                             auto r = co_await c.query("select * from nowhere");
                                             if (!r && r.error().code == sqlstate("42P01")) {
                                                 co_return sql_rows();
                                             }
                                             co_return r;
                                         },
                                         [&](bool) { mend(c); });
    }
}

TEST_CASE_FIXTURE(memory,
                  "postgres: a transaction whose memory runs out is whole, or not there, or in doubt and closed") {
    auto c = connect();
    std::int64_t before = 0;
    every_allocation_fails<void>([&] { before = rows(); },
                                 [&]() -> awaitable<result<void>> {
                                     auto begun = co_await c.begin();
                                     if (!begun) {
                                         co_return begun.error();
                                     }
                                     auto inserted = co_await c.query("insert into t values (1), (2) returning a");
                                     if (!inserted) {
                                         co_return inserted.error();
                                     }
                                     co_return co_await c.commit();
                                 },
                                 [&](bool succeeded) {
                                     const bool closed = !c.is_open();
                                     mend(c);
                                     const auto added = rows() - before;
                                     CHECK((added == (succeeded ? 2 : 0) || (closed && added == 2)));
                                 });
}

TEST_CASE_FIXTURE(memory, "postgres: a ping whose memory runs out") {
    auto c = connect();
    every_allocation_fails<void>([] {}, [&] { return backend.ping(c); }, [&](bool) { mend(c); });
}

}  // namespace
}  // namespace headgate
