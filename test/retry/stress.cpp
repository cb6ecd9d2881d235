// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/guard.hpp>
#include <headgate/retry.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/io_context.hpp>

#include <atomic>
#include <optional>
#include <random>

#include "support/crowd.hpp"

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
    test::run_crowd(
        io, z, callers, [&](int i) { return caller(g, again, &z, &c, seed + static_cast<std::uint32_t>(i)); },
        [](int i) { return i % 3 == 0 ? test::fate::cancelled : test::fate::cancellable; },
        [&](int turn) {
            options.max_attempts = 2 + static_cast<std::uint32_t>(turn % 3);
            options.attempt_timeout = turn % 2 == 0 ? std::optional<duration>(1ms) : std::nullopt;
            again.reconfigure(options).value();
        });
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
