// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/with_timeout.hpp>

#include <doctest/doctest.h>

#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>

#include <optional>
#include <stdexcept>
#include <string>

#include <headgate/zone.hpp>

#include "call/fixture.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

using test::call_fixture;

TEST_CASE_FIXTURE(call_fixture, "an operation may return awaitable<result<T>>, awaitable<T> or awaitable<void>") {
    CHECK(run(duration::max(), []() -> asio::awaitable<result<int>> { co_return 3; }).value() == 3);
    CHECK(run(duration::max(), []() -> asio::awaitable<std::string> { co_return "x"; }).value() == "x");
    CHECK(run(duration::max(), []() -> asio::awaitable<void> { co_return; }).has_value());
    CHECK(run(1s, [](int a, int b) -> asio::awaitable<int> { co_return a - b; }, 5, 3).value() == 2);
}

TEST_CASE_FIXTURE(call_fixture,
                  "an exception becomes operation_failed with its cause, operation_aborted becomes canceled") {
    for (const duration limit : {duration(1s), duration::max()}) {
        const auto failed = run(limit, []() -> asio::awaitable<int> {
            throw std::runtime_error("broken");
            co_return 1;
        });
        CHECK(failed.error() == errc::operation_failed);
        CHECK(failed.error().message().find("broken") != std::string::npos);
        const auto aborted = run(limit, []() -> asio::awaitable<int> {
            throw boost::system::system_error(asio::error::operation_aborted);
            co_return 1;
        });
        CHECK(aborted.error() == errc::canceled);
    }
}

TEST_CASE_FIXTURE(call_fixture, "the deadline cancels an operation through its call_context, and tells the time left") {
    const auto r = run(5s, [this](call_context context) -> asio::awaitable<result<void>> {
        CHECK(context.time_left() == 5s);
        (co_await z.sleep_for(1s)).value();
        CHECK(context.time_left() == 4s);
        co_return co_await z.sleep_for(1h, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
    });
    CHECK(r.error() == errc::timed_out);
    CHECK(clock.now() - start == 5s);
}

TEST_CASE_FIXTURE(call_fixture, "the deadline is enforced on an operation that takes no call_context") {
    const auto r = run(5s, [this]() -> asio::awaitable<result<void>> { co_return co_await z.sleep_for(1h); });
    CHECK(r.error() == errc::timed_out);
    CHECK(clock.now() - start == 5s);
}

TEST_CASE_FIXTURE(call_fixture, "an operation that ends before its deadline leaves nothing behind") {
    CHECK(run(5s, [this]() -> asio::awaitable<result<void>> { co_return co_await z.sleep_for(1s); }));
    CHECK(run(5s, [this](call_context) -> asio::awaitable<result<void>> { co_return co_await z.sleep_for(1s); }));
    CHECK(clock.now() - start == 2s);
    CHECK(z.core()->next_wake() == time_point::max());
}

TEST_CASE_FIXTURE(call_fixture, "the caller's cancellation reaches an operation whose deadline is enforced") {
    asio::cancellation_signal signal;
    std::optional<result<void>> got;
    auto body = [](zone& zn) -> asio::awaitable<result<void>> {
        auto op = [&zn]() -> asio::awaitable<result<void>> { co_return co_await zn.sleep_for(1h); };
        co_await asio::this_coro::throw_if_cancelled(false);
        co_return co_await with_timeout(zn, 2h, op);
    };
    spawn(io, body(z), asio::bind_cancellation_slot(signal.slot(), [&](result<void> r) { got = std::move(r); }));
    io.poll();
    signal.emit(asio::cancellation_type::terminal);
    clock.run(io);
    REQUIRE(got);
    CHECK(got->error() == errc::canceled);
    CHECK(clock.now() == start);
}

TEST_CASE_FIXTURE(call_fixture, "spawn: a cancellation that comes at once is its result, and is thrown at nobody") {
    const auto body = [this]() -> asio::awaitable<result<void>> { co_return co_await z.sleep_for(1h); };
    const auto start_and_cancel = [&](asio::cancellation_signal& signal, std::optional<result<void>>& got) {
        spawn(io, body(), asio::bind_cancellation_slot(signal.slot(), [&](result<void> r) { got = std::move(r); }));
        signal.emit(asio::cancellation_type::terminal);
    };
    for (const bool inside : {false, true}) {  // inside: before the start or after the first step, as Boost decides
        asio::cancellation_signal signal;
        std::optional<result<void>> got;
        if (inside) {
            asio::post(io, [&] { start_and_cancel(signal, got); });
        } else {
            start_and_cancel(signal, got);
        }
        clock.run(io);
        REQUIRE(got);
        CHECK(got->error() == errc::canceled);
        CHECK(clock.now() == start);
        signal.emit(asio::cancellation_type::terminal);  // after the end it does nothing
    }
}

TEST_CASE_FIXTURE(call_fixture, "spawn: a coroutine hears terminal cancellation only, unless it says otherwise") {
    asio::cancellation_signal signal;
    std::optional<result<void>> got;
    asio::post(io, [&] {
        auto body = [](zone& zn) -> asio::awaitable<result<void>> { co_return co_await zn.sleep_for(1s); };
        spawn(io, body(z), asio::bind_cancellation_slot(signal.slot(), [&](result<void> r) { got = std::move(r); }));
        signal.emit(asio::cancellation_type::partial);
    });
    clock.run(io);
    CHECK(got->has_value());
    CHECK(clock.now() - start == 1s);
}

TEST_CASE("spawn: its cancellation may be emitted when the io_context has gone") {
    asio::cancellation_signal signal;
    bool called = false;
    {
        asio::io_context io;
        spawn(
            io, []() -> asio::awaitable<result<int>> { co_return 7; }(),
            asio::bind_cancellation_slot(signal.slot(), [&](const result<int>&) { called = true; }));
    }
    signal.emit(asio::cancellation_type::terminal);
    CHECK_FALSE(called);
}

TEST_CASE_FIXTURE(call_fixture, "spawn works with a future, and with types that have no default constructor") {
    struct no_default {
        explicit no_default(int v) : value(v) {}
        int value;
    };
    auto future =
        spawn(io, []() -> asio::awaitable<result<no_default>> { co_return no_default(7); }(), asio::use_future);
    io.run();
    CHECK(future.get().value().value == 7);
}

TEST_CASE("destroying the io_context while an operation with a deadline runs leaks nothing") {
    auto token = std::make_shared<int>(0);
    for (const bool enforced : {true, false}) {
        asio::io_context io;
        zone z(io, "test");
        auto body = [](zone& zn, bool e, std::shared_ptr<int>) -> asio::awaitable<result<void>> {
            auto plain = [&zn]() -> asio::awaitable<result<void>> { co_return co_await zn.sleep_for(1h); };
            auto context = [&zn](call_context) -> asio::awaitable<result<void>> {
                co_return co_await zn.sleep_for(1h);
            };
            if (e) {
                co_return co_await with_timeout(zn, 2h, plain);
            }
            co_return co_await with_timeout(zn, 2h, context);
        };
        spawn(io, body(z, enforced, token), asio::detached);
        io.poll();
        CHECK(token.use_count() == 2);
    }
    CHECK(token.use_count() == 1);
}

TEST_CASE("take moves a named object and passes the rest through") {
    std::string name = "moved";
    std::string stored = detail::unwrap(take(name));
    CHECK(stored == "moved");
    CHECK(name.empty());
    std::string copied = detail::unwrap(stored);
    CHECK(copied == stored);
    static_assert(std::is_same_v<detail::stored_t<detail::taken<std::string>&&>, std::string>);
    static_assert(std::is_trivially_destructible_v<detail::taken<std::string>>);
}

}  // namespace
}  // namespace headgate
