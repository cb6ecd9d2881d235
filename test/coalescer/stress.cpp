// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/coalescer.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/io_context.hpp>

#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "support/crowd.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

using text = std::shared_ptr<const std::string>;

struct counts {
    std::atomic<std::uint64_t> calls{0}, good{0}, wrong{0}, timed_out{0}, canceled{0}, failed{0}, runs{0}, running{0};
};

// Most runs take some time, some fail, some ignore their context.
asio::awaitable<result<text>> operation(call_context context, zone* where, counts* c, std::string key) {
    const std::uint64_t how = (c->runs++ * 2'654'435'761U) >> 8;
    ++c->running;
    if (how % 5 < 3) {
        (void)co_await where->sleep_for(duration(1us) * (how % 1500),
                                        asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
    } else if (how % 5 == 3) {
        (void)co_await where->sleep_for(duration(1us) * (how % 300));
    }
    --c->running;
    if (how % 7 == 0) {
        co_return error(errc::connect_failed);
    }
    co_return std::make_shared<const std::string>(std::move(key));
}

asio::awaitable<void> caller(coalescer<text> reads, zone* where, counts* c, std::uint32_t seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 300; ++i) {
        ++c->calls;
        const std::string key = "a key that needs memory " + std::to_string(random() % 5);
        const coalescer_call_options how{
            .timeout = random() % 3 == 0 ? duration(1us) * static_cast<int>(random() % 1000) : duration::max()};
        const result<text> r = co_await reads.run(key, how, operation, where, c, key);
        c->good += r ? 1 : 0;
        c->wrong += r && *r.value() != key ? 1 : 0;
        const bool out_of_time = !r && (r.error() == errc::timed_out || r.error() == errc::wait_timed_out);
        c->timed_out += out_of_time ? 1 : 0;
        c->canceled += !r && is_canceled(r.error()) ? 1 : 0;
        c->failed += !r && r.error() == errc::connect_failed ? 1 : 0;
        if (random() % 10 == 0) {
            reads.forget(key);
        }
    }
}

TEST_CASE(
    "coalescer: every caller gets the result of its key, under cancellation, time-outs and changes by two threads") {
    const auto seed = std::random_device{}();
    MESSAGE("seed " << seed);
    counts c;
    asio::io_context io;
    zone z(io, "stress");
    coalescer_options options{.keep_for = 200us, .keep_errors_for = 100us, .max_kept = 3};
    auto reads = coalescer<text>::create(z, "reads", options).value();
    // A third of the callers cannot be cancelled: their operations run in place.
    constexpr test::fate fates[] = {test::fate::stays, test::fate::cancelled, test::fate::cancellable};
    test::run_crowd(
        io, z, 24, [&](int i) { return caller(reads, &z, &c, seed + static_cast<std::uint32_t>(i)); },
        [&](int i) { return fates[i % 3]; },
        [&](int turn) {
            options.max_kept = 1 + static_cast<std::uint32_t>(turn % 4);
            options.keep_for = duration(1us) * (turn % 300);
            reads.reconfigure(options).value();
        });
    const coalescer_snapshot s = reads.snapshot();
    CHECK(c.wrong == 0);
    CHECK(c.running == 0);
    CHECK(s.running == 0);
    CHECK(s.waiting == 0);
    CHECK(s.led == c.runs);
    CHECK(s.joined > 0);
    CHECK(s.kept_hits > 0);
    CHECK(s.led + s.joined + s.kept_hits <= c.calls);
    CHECK(c.good + c.timed_out + c.canceled + c.failed <= c.calls);
    CHECK(c.good > c.calls / 4);
    CHECK(z.snapshot().operations == 0);
}

}  // namespace
}  // namespace headgate
