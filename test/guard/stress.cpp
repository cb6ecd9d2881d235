// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/guard.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct connection {
    std::atomic<int>* users;
};
struct backend {
    std::atomic<int>* users;
    asio::awaitable<connection> connect() { co_return connection{users}; }
};

struct counts {
    std::atomic<int> ran{0}, ok{0}, refused{0}, ended{0}, running{0}, most{0};
};

// Runs for 0 to 3 ms, with or without its context, and fails now and then.
asio::awaitable<result<void>> operation(call_context context, connection&, zone* where, counts* c, std::uint32_t how) {
    ++c->ran;
    const int now = ++c->running;
    for (int most = c->most; now > most && !c->most.compare_exchange_weak(most, now);) {
    }
    if (how % 3 != 0) {
        (void)co_await where->sleep_for(duration(1us) * (how % 3000),
                                        asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
    }
    --c->running;
    if (how % 11 == 0) {
        co_return error(boost::system::errc::make_error_code(boost::system::errc::io_error));
    }
    co_return success();
}

// One caller: a coroutine on its own strand, so that it can be cancelled. Some are.
asio::awaitable<void> caller(guard<connection> g, zone* where, counts* c, std::uint32_t seed, int calls) {
    std::mt19937 random(seed);
    for (int i = 0; i < calls; ++i) {
        const guard_call_options<> how{.timeout = duration(1us) * (500 + random() % 2500)};
        const auto kind = static_cast<std::uint32_t>(random());
        const result<void> r = co_await g.run(kind % 5, how, operation, where, c, kind);
        ++c->ended;
        ++(r ? c->ok : c->refused);
    }
}

TEST_CASE("guard: conservation under random refusals, timeouts and cancellations with two threads") {
    const auto seed = std::random_device{}();
    MESSAGE("seed " << seed);
    std::atomic<int> users{0};
    counts c;
    for (const bool two_contexts : {false, true}) {
        asio::io_context io, other;
        zone z(io, "stress");
        auto limits = rate_limiter::create(z, "l", quota::per(20'000, 1s, 50).value()).value();
        auto breaker =
            circuit_breaker::create(z, "b", {.consecutive_failures = 3, .reset_timeout = 1ms, .max_reset_timeout = 2ms})
                .value();
        auto pool =
            resource_pool<connection>::create(z, "p", {.size = 3, .max_waiters = 8, .max_wait = 1ms}, backend{&users})
                .value();
        const guard<connection> g(limits, breaker, pool);
        const int granted_before = c.ran;
        constexpr int callers = 16;
        constexpr int calls = 300;
        std::vector<asio::cancellation_signal> signals(callers);
        std::vector<asio::strand<asio::io_context::executor_type>> strands;
        std::atomic<int> left{callers};
        std::vector<asio::executor_work_guard<asio::io_context::executor_type>> work;
        work.push_back(asio::make_work_guard(io));
        work.push_back(asio::make_work_guard(other));
        for (int i = 0; i < callers; ++i) {
            strands.push_back(asio::make_strand(two_contexts && i % 2 == 1 ? other : io));
            asio::co_spawn(
                strands.back(), caller(g, &z, &c, seed + static_cast<std::uint32_t>(i), calls),
                asio::bind_cancellation_slot(signals[static_cast<std::size_t>(i)].slot(),
                                             asio::bind_executor(strands.back(), [&](const std::exception_ptr&) {
                                                 if (--left == 0) {
                                                     z.close();
                                                     work.clear();
                                                 }
                                             })));
        }
        // A quarter of the callers are cancelled on the way, each on its own strand.
        for (int i = 0; i < callers; i += 4) {
            auto at = std::make_shared<asio::steady_timer>(strands[static_cast<std::size_t>(i)], 5ms + i * 1ms);
            at->async_wait([&signals, i, at](boost::system::error_code) {
                signals[static_cast<std::size_t>(i)].emit(asio::cancellation_type::terminal);
            });
        }
        std::thread second([&] { (two_contexts ? other : io).run(); });
        io.run();
        second.join();
        io.restart();
        io.run_for(2s);
        CHECK(pool.snapshot().leased == 0);
        CHECK(pool.snapshot().waiting == 0);
        CHECK(breaker.snapshot().probes_running == 0);
        CHECK(c.running == 0);
        CHECK(limits.snapshot().granted == c.ran - granted_before);
        const auto b = breaker.snapshot();
        CHECK(b.admitted == b.successes + b.failures + b.neutral + b.stale);
    }
    CHECK(c.most <= 3);
    CHECK(c.ok > 0);
    CHECK(c.refused > 0);
}

}  // namespace
}  // namespace headgate
