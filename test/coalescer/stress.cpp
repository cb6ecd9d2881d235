// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/coalescer.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

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
    constexpr int callers = 24;
    std::vector<asio::cancellation_signal> signals(callers);
    std::vector<asio::strand<asio::io_context::executor_type>> strands;
    std::atomic<int> left{callers};
    std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work(asio::make_work_guard(io));
    const auto ended = [&](const std::exception_ptr&) {
        if (--left == 0) {
            z.close();
            work.reset();
        }
    };
    for (int i = 0; i < callers; ++i) {
        strands.push_back(asio::make_strand(io));
        auto body = caller(reads, &z, &c, seed + static_cast<std::uint32_t>(i));
        // A third of them cannot be cancelled: their operations run in place.
        if (i % 3 == 0) {
            asio::co_spawn(strands.back(), std::move(body), asio::bind_executor(strands.back(), ended));
        } else {
            asio::co_spawn(strands.back(), std::move(body),
                           asio::bind_cancellation_slot(signals[static_cast<std::size_t>(i)].slot(),
                                                        asio::bind_executor(strands.back(), ended)));
        }
    }
    for (int i = 1; i < callers; i += 3) {
        auto at = std::make_shared<asio::steady_timer>(strands[static_cast<std::size_t>(i)], 2ms + i * 1ms);
        at->async_wait([&signals, i, at](boost::system::error_code) {
            signals[static_cast<std::size_t>(i)].emit(asio::cancellation_type::terminal);
        });
    }
    std::thread second([&] { io.run(); });
    std::thread changes([&] {
        for (int i = 0; left > 0; ++i) {
            options.max_kept = 1 + static_cast<std::uint32_t>(i % 4);
            options.keep_for = duration(1us) * (i % 300);
            reads.reconfigure(options).value();
            std::this_thread::yield();
        }
    });
    io.run();
    second.join();
    changes.join();
    io.restart();
    io.run_for(2s);
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
