// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/guard.hpp>
#include <headgate/retry.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <vector>

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct counts {
    std::atomic<std::uint64_t> attempts{0}, calls{0}, good{0}, running{0};
};

// Most attempts fail, some take longer than an attempt may, some ignore their context.
asio::awaitable<result<void>> operation(call_context context, zone* where, counts* c) {
    static std::atomic<std::uint32_t> turn{0};
    const std::uint32_t how = turn++ * 2'654'435'761U;
    ++c->attempts;
    ++c->running;
    if (how % 5 < 3) {
        (void)co_await where->sleep_for(duration(1us) * (how % 1500),
                                        asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
    }
    --c->running;
    if (how % 3 != 0) {
        co_return error(errc::connect_failed, duration(1us) * (how % 200));
    }
    co_return success();
}

asio::awaitable<void> caller(guard<> g, retry again, zone* where, counts* c, std::uint32_t seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 200; ++i) {
        ++c->calls;
        const duration limit = duration(1us) * (500 + random() % 4000);
        if (random() % 2 == 0) {
            const result<void> r = co_await again.run({.timeout = limit, .idempotent = true}, operation, where, c);
            c->good += r ? 1 : 0;
        } else {
            const result<void> r = co_await g.run(i, {.timeout = limit, .idempotent = true}, operation, where, c);
            c->good += r ? 1 : 0;
        }
    }
}

TEST_CASE("retry: each call is counted once, under cancellation, time-outs and changes of options by two threads") {
    const auto seed = std::random_device{}();
    MESSAGE("seed " << seed);
    counts c;
    asio::io_context io;
    zone z(io, "stress");
    retry_options options{.max_attempts = 4,
                          .attempt_timeout = 1ms,
                          .backoff_min = 10us,
                          .backoff_max = 200us,
                          .budget_ratio = 0.5,
                          .budget_floor = 20};
    auto again = retry::create(z, "again", options).value();
    const guard<> g(again, circuit_breaker::create(z, "b", {.consecutive_failures = 20, .reset_timeout = 1ms}).value(),
                    bulkhead::create(z, "places", {.max_concurrent = 4, .max_wait = 1ms}).value());
    constexpr int callers = 16;
    std::vector<asio::cancellation_signal> signals(callers);
    std::vector<asio::strand<asio::io_context::executor_type>> strands;
    std::atomic<int> left{callers};
    std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work(asio::make_work_guard(io));
    for (int i = 0; i < callers; ++i) {
        strands.push_back(asio::make_strand(io));
        asio::co_spawn(strands.back(), caller(g, again, &z, &c, seed + static_cast<std::uint32_t>(i)),
                       asio::bind_cancellation_slot(signals[static_cast<std::size_t>(i)].slot(),
                                                    asio::bind_executor(strands.back(), [&](const std::exception_ptr&) {
                                                        if (--left == 0) {
                                                            z.close();
                                                            work.reset();
                                                        }
                                                    })));
    }
    for (int i = 0; i < callers; i += 3) {
        auto at = std::make_shared<asio::steady_timer>(strands[static_cast<std::size_t>(i)], 5ms + i * 1ms);
        at->async_wait([&signals, i, at](boost::system::error_code) {
            signals[static_cast<std::size_t>(i)].emit(asio::cancellation_type::terminal);
        });
    }
    std::thread second([&] { io.run(); });
    std::thread changes([&] {
        for (int i = 0; left > 0; ++i) {
            options.max_attempts = 2 + static_cast<std::uint32_t>(i % 3);
            options.attempt_timeout = i % 2 == 0 ? std::optional<duration>(1ms) : std::nullopt;
            again.reconfigure(options).value();
            std::this_thread::yield();
        }
    });
    io.run();
    second.join();
    changes.join();
    io.restart();
    io.run_for(2s);
    const retry_snapshot s = again.snapshot();
    CHECK(c.running == 0);
    CHECK(s.waiting == 0);
    // A caller that was cancelled does not begin its next call.
    CHECK(s.calls <= c.calls);
    CHECK(s.calls + callers >= c.calls);
    CHECK(s.retries > 0);
    CHECK(s.recovered > 0);
    CHECK(s.calls == c.good + s.not_retried + s.out_of_attempts + s.out_of_budget + s.out_of_time + s.canceled);
    CHECK(c.attempts <= s.calls + s.retries);
}

}  // namespace
}  // namespace headgate
