// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>

#include "fixture.hpp"

// Every allocation fails once: the n-th of a scenario, for n = 1, 2, … until the scenario passes. SQLite has its own.

namespace {

std::atomic<long> allocations_left{-1};  // until one fails; negative: none does

bool fails_now() noexcept {
    long left = allocations_left.load(std::memory_order_relaxed);
    while (left > 0 && !allocations_left.compare_exchange_weak(left, left - 1)) {
    }
    return left == 1;
}

void* allocate(std::size_t size) {
    void* memory = fails_now() ? nullptr : std::malloc(size != 0 ? size : 1);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}

}  // namespace

void* operator new(std::size_t size) {
    return allocate(size);
}
void* operator new[](std::size_t size) {
    return allocate(size);
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete[](void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
    std::free(memory);
}

namespace headgate {
namespace {

using namespace test;
using asio::awaitable;

struct memory : fixture {
    sqlite_backend backend = sqlite_backend::create(options()).value();
    sqlite_connection observer = connect(backend);

    memory() { query(observer, "CREATE TABLE t(a)").value(); }

    // Does it with memory for `n - 1` allocations.
    template <class T>
    static awaitable<result<T>> with_memory_for(long n, std::function<awaitable<result<T>>()> operation) {
        result<T> out = error(errc::operation_failed);
        allocations_left = n;
        try {
            out = co_await operation();
        } catch (const std::bad_alloc&) {
            out = error(errc::out_of_memory);
        }
        const bool failed = allocations_left.exchange(-1) == 0;
        if (!failed && !out) {
            FAIL("it failed, though there was memory: " << out.error().message());
        }
        if (!failed) {
            done_ = true;
        }
        co_return out;
    }

    // `after` gets whether it succeeded, each time.
    template <class T>
    void every_allocation_fails(const std::function<void()>& before, std::function<awaitable<result<T>>()> operation,
                                const std::function<void(bool)>& after) {
        done_ = false;
        long n = 0;
        while (!done_) {
            REQUIRE(++n < 1000);
            CAPTURE(n);
            before();
            const auto r = finish(with_memory_for<T>(n, operation));
            const bool told = r || r.error() == errc::out_of_memory || r.error().code == std::errc::not_enough_memory;
            CHECK_MESSAGE(told, r.error().message());
            after(r.has_value());
        }
        MESSAGE(n << " allocations");
        CHECK(n > 2);
    }

    static inline bool done_ = false;
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
        if (!finish(backend.reset(c))) {  // it was closed, and could not be opened again
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
        for (long n = 1; n < 5; ++n) {
            auto last = connect(backend);
            allocations_left = n;
            backend.close(std::move(last));
            allocations_left = -1;
        }
        CHECK(number(c, "SELECT 1") == 1);
    }
}

}  // namespace
}  // namespace headgate
