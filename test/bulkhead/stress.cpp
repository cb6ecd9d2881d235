// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/bulkhead.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct totals {
    std::atomic<int> inside{0};
    std::atomic<int> most{0};
    std::atomic<int> ended{0};

    void enter() {
        const int now = ++inside;
        int before = most;
        while (before < now && !most.compare_exchange_weak(before, now)) {
        }
    }
};

asio::awaitable<void> worker(bulkhead calls, totals& out, std::uint64_t seed, int rounds) {
    std::mt19937_64 rng(seed);
    const auto executor = co_await asio::this_coro::executor;
    for (int i = 0; i < rounds; ++i) {
        if (rng() % 3 == 0) {
            auto signal = std::make_shared<asio::cancellation_signal>();
            calls.enter(
                {}, asio::bind_cancellation_slot(
                        signal->slot(), asio::bind_executor(executor, [&out, signal](const result<bulkhead_permit>& r) {
                            if (r) {
                                out.enter();
                                --out.inside;
                            }
                            ++out.ended;
                        })));
            for (auto hops = rng() % 4; hops > 0; --hops) {
                co_await asio::post(executor, asio::use_awaitable);
            }
            signal->emit(asio::cancellation_type::total);
        } else {
            const duration wait = rng() % 2 == 0 ? duration(10s) : duration(static_cast<int>(rng() % 50'000));
            if (const auto place = co_await calls.enter({.max_wait = wait})) {
                out.enter();
                co_await asio::post(executor, asio::use_awaitable);
                --out.inside;
            }
            ++out.ended;
        }
    }
}

TEST_CASE("bulkhead stress: two threads, random cancellation and resizes: no place is lost or given twice") {
    constexpr int workers = 8;
    constexpr int rounds = 1'500;
    asio::io_context io;
    totals out;
    zone z(io, "stress");
    auto calls = bulkhead::create(z, "calls", {.max_concurrent = 3, .max_waiters = 6}).value();
    auto left = std::make_shared<std::atomic<int>>(workers);
    for (int i = 0; i < workers; ++i) {
        asio::co_spawn(asio::make_strand(io), worker(calls, out, static_cast<std::uint64_t>(i), rounds),
                       [left, &z](const std::exception_ptr& e) {
                           CHECK_FALSE(e);
                           if (--*left == 0) {
                               z.close();
                           }
                       });
    }
    std::thread other([&] { io.run(); });
    for (std::uint32_t i = 0; *left > 0; ++i) {
        (void)calls.resize(1 + i % 3);
        (void)calls.snapshot();
        std::this_thread::yield();
        io.poll_one();
    }
    io.run();
    other.join();
    io.restart();
    io.run();
    CHECK(out.most <= 3);
    CHECK(out.ended == workers * rounds);
    CHECK(calls.snapshot().running == 0);
    CHECK(calls.snapshot().waiting == 0);
}

TEST_CASE("bulkhead stress: permits come back on other threads while handle and zone go") {
    for (int round = 0; round < 200; ++round) {
        asio::io_context io;
        std::vector<bulkhead_permit> places;
        {
            zone z(io, "stress");
            auto calls = bulkhead::create(z, "calls", {.max_concurrent = 4}).value();
            for (int i = 0; i < 4; ++i) {
                places.push_back(calls.try_enter().value());
            }
            std::thread early([&] { places[0].give_back(); });
            early.join();
        }
        std::thread one([&] { places[1].give_back(); });
        std::thread two([&] { places[2].give_back(); });
        places[3].give_back();
        io.run();
        one.join();
        two.join();
    }
}

}  // namespace
}  // namespace headgate
