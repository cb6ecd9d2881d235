// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/hedge.hpp>
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
    std::atomic<std::uint64_t> attempts{0}, calls{0}, good{0}, ended{0}, running{0};
};

// Most attempts take some time, some fail, some ignore their context.
asio::awaitable<result<void>> operation(call_context context, zone* where, counts* c) {
    const std::uint64_t how = (c->attempts++ * 2'654'435'761U) >> 8;
    ++c->running;
    if (how % 5 < 3) {
        (void)co_await where->sleep_for(duration(1us) * (how % 1500),
                                        asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
    } else if (how % 5 == 3) {
        (void)co_await where->sleep_for(duration(1us) * (how % 700));
    }
    --c->running;
    if (how % 4 == 0) {
        co_return error(errc::connect_failed);
    }
    co_return success();
}

asio::awaitable<void> caller(hedge twice, zone* where, counts* c, std::uint32_t seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 200; ++i) {
        ++c->calls;
        const duration limit = random() % 3 == 0 ? duration::max() : duration(1us) * static_cast<int>(random() % 3000);
        const result<void> r = co_await twice.run({.timeout = limit, .idempotent = true}, operation, where, c);
        ++c->ended;
        c->good += r ? 1 : 0;
    }
}

TEST_CASE("hedge: each call ends once and each attempt to its end, under cancellation and changes by two threads") {
    const auto seed = std::random_device{}();
    MESSAGE("seed " << seed);
    counts c;
    asio::io_context io;
    zone z(io, "stress");
    auto budget = retry::create(z, "budget", {.budget_ratio = 1, .budget_floor = 1'000}).value();
    hedge_options options{.retry = "budget", .max_hedges = 2, .delay = 200us};
    auto twice = hedge::create(z, "twice", options).value();
    // Calls from the bare io_context: their attempts have a strand of their own all the same.
    std::atomic<std::uint64_t> bare{0};
    for (int i = 0; i < 300; ++i) {
        twice.async_run([&](const result<void>&) { ++bare; }, {.idempotent = true}, operation, &z, &c);
    }
    test::run_crowd(
        io, z, 16, [&](int i) { return caller(twice, &z, &c, seed + static_cast<std::uint32_t>(i)); },
        [](int i) { return i % 3 == 0 ? test::fate::cancelled : test::fate::cancellable; },
        [&](int turn) {
            options.max_hedges = 1 + static_cast<std::uint32_t>(turn % 3);
            options.delay = turn % 4 == 0 ? std::nullopt : std::optional<duration>(duration(100us) * (1 + turn % 5));
            twice.reconfigure(options).value();
        });
    const hedge_snapshot s = twice.snapshot();
    CHECK(c.running == 0);
    CHECK(s.waiting == 0);
    CHECK(bare == 300);
    CHECK(s.calls <= c.calls + bare);
    CHECK(s.hedges > 0);
    CHECK(s.won > 0);
    CHECK(c.attempts <= s.calls + s.hedges);
    CHECK(c.good > c.ended / 3);
    CHECK(z.snapshot().operations == 0);
}

}  // namespace
}  // namespace headgate
