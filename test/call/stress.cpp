// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "fixture.hpp"

namespace headgate::test {
namespace {

using task = asio::awaitable<result<void>>;

struct tally {
    std::atomic<int> ok{0}, late{0}, other{0}, running{0};

    void add(const result<void>& r) { ++(r ? ok : r.error() == errc::timed_out ? late : other); }
};

// Waits that end close to the deadline, bound to the slot and not.
task with_context(call_context context, zone* z, std::uint32_t dice) {
    const auto slot = context.slot();
    (void)co_await z->sleep_for(duration(1us) * (dice % 700), bound(dice % 3 == 0 ? asio::cancellation_slot{} : slot));
    if (dice % 5 == 0) {
        co_await asio::post(asio::use_awaitable);
    }
    if (dice % 7 == 0) {
        asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::microseconds(dice % 900));
        boost::system::error_code failed;
        co_await timer.async_wait(asio::redirect_error(bound(slot), failed));
    }
    co_return co_await z->sleep_for(duration(1us) * (dice % 1100), bound(dice % 2 == 0 ? slot : context.slot()));
}

task without(zone* z, std::uint32_t dice) {
    if (dice % 3 == 0) {
        co_await asio::this_coro::throw_if_cancelled(false);
    }
    (void)co_await z->sleep_for(duration(1us) * (dice % 700));
    if (dice % 7 == 0) {
        asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::microseconds(dice % 900));
        boost::system::error_code failed;
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, failed));
    }
    co_return co_await z->sleep_for(duration(1us) * (dice % 1100));
}

asio::awaitable<void> caller(zone* z, tally* t, std::uint32_t seed, int calls) {
    ++t->running;
    std::mt19937 random(seed);
    for (int i = 0; i < calls; ++i) {
        const auto dice = static_cast<std::uint32_t>(random());
        const duration limit = duration(1us) * (100 + dice % 1000);
        result<void> r = success();
        if (random() % 2 == 0) {
            r = co_await with_timeout(*z, limit, with_context, z, dice);
        } else {
            r = co_await with_timeout(*z, limit, without, z, dice);
        }
        t->add(r);
    }
    --t->running;
}

TEST_CASE("call stress: deadlines of both forms race with their operations on an io_context with two threads") {
    const auto seed = std::random_device{}();
    MESSAGE("seed " << seed);
    constexpr int callers = 8;
    constexpr int calls = 400;
    enum class start { bare, strand, by_zone };
    for (const auto how : {start::bare, start::strand, start::by_zone}) {
        asio::io_context io;
        zone z(io, "stress");
        tally t;
        for (std::uint32_t i = 0; i < callers; ++i) {
            auto body = caller(&z, &t, seed + i, calls);
            switch (how) {
                case start::bare: asio::co_spawn(io, std::move(body), asio::detached); break;
                case start::strand: asio::co_spawn(asio::make_strand(io), std::move(body), asio::detached); break;
                case start::by_zone: spawn(z, std::move(body), asio::detached); break;
            }
        }
        std::thread second([&] { io.run(); });
        io.run();
        second.join();
        CHECK(t.running == 0);
        CHECK(t.ok + t.late == callers * calls);
        CHECK(t.other == 0);
        CHECK(t.late > 0);
        CHECK(t.ok > 0);
        CHECK(z.snapshot().operations == 0);
    }
}

TEST_CASE("call stress: calls are cancelled, destroyed and timed out at once, beside a zone on another io_context") {
    const auto seed = std::random_device{}();
    MESSAGE("seed " << seed);
    asio::io_context home;
    zone z(home, "stress");
    auto keep = asio::make_work_guard(home);
    std::thread driver([&] { home.run(); });
    std::mt19937 random(seed);
    int completed = 0;
    for (int round = 0; round < 300; ++round) {
        std::vector<std::unique_ptr<asio::cancellation_signal>> signals;
        asio::io_context io;  // destroyed with calls in it, whose deadlines are on their way from another thread
        for (int i = 0; i < 8; ++i) {
            signals.push_back(std::make_unique<asio::cancellation_signal>());
            const auto dice = static_cast<std::uint32_t>(random());
            const duration limit = duration(1us) * (50 + random() % 600);
            // The wait uses a timer of its own io_context, which destroys it.
            const auto wait = [](std::uint32_t d, asio::cancellation_slot slot) -> task {
                asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::microseconds(d % 1500));
                boost::system::error_code failed;
                co_await timer.async_wait(asio::redirect_error(bound(slot), failed));
                co_return failed ? result<void>(error(failed)) : result<void>(success());
            };
            auto form = [wait, dice](call_context context) { return wait(dice, context.slot()); };
            auto plain = [dice]() -> task {
                asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::microseconds(dice % 1500));
                co_await timer.async_wait(asio::use_awaitable);
                co_return success();
            };
            auto token = asio::bind_cancellation_slot(signals.back()->slot(),
                                                      [&completed](const result<void>&) { ++completed; });
            i % 2 == 0 ? spawn(io, call_fixture::body(z, limit, form), std::move(token))
                       : spawn(io, call_fixture::body(z, limit, plain), std::move(token));
        }
        io.run_for(std::chrono::microseconds(random() % 800));
        signals[random() % signals.size()]->emit(asio::cancellation_type::terminal);
        io.poll();
    }
    CHECK(completed > 0);
    z.close();
    keep.reset();
    driver.join();
    CHECK(z.snapshot().operations == 0);
}

}  // namespace
}  // namespace headgate::test
