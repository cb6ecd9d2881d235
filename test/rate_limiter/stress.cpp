// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/rate_limiter.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

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
    std::atomic<int> granted{0};
    std::atomic<int> refused{0};
    std::atomic<int> canceled{0};
};

// One caller. It decides in place, or waits. It cancels waits at random, from its own strand.
asio::awaitable<void> caller(rate_limiter limiter, totals& sum, unsigned seed, int rounds) {
    std::mt19937 random(seed);
    const auto self = co_await asio::this_coro::executor;
    for (int i = 0; i < rounds; ++i) {
        const int key = static_cast<int>(random() % 3);
        if (random() % 3 == 0) {
            ++(limiter.try_acquire(key) ? sum.granted : sum.refused);
            continue;
        }
        auto signal = std::make_shared<asio::cancellation_signal>();
        if (random() % 2 == 0) {
            asio::post(self, [signal] { signal->emit(asio::cancellation_type::terminal); });
        }
        const auto r = co_await limiter.acquire(key, {.max_wait = duration(random() % 2'000'000)},
                                                asio::bind_cancellation_slot(signal->slot(), asio::use_awaitable));
        ++(r ? sum.granted : r.error() == errc::canceled ? sum.canceled : sum.refused);
    }
}

void run_stress(int contexts, int threads_each) {
    const auto seed = std::random_device{}();
    CAPTURE(seed);
    std::vector<std::unique_ptr<asio::io_context>> ios;
    for (int i = 0; i < contexts; ++i) {
        ios.push_back(std::make_unique<asio::io_context>());
    }
    totals sum;
    constexpr int callers = 16;
    constexpr int rounds = 500;
    {
        zone z(*ios.front(), "stress");
        auto limiter = rate_limiter::create(z, "l", quota::per(100'000, 1s, 5).value()).value();
        for (int i = 0; i < callers; ++i) {
            auto& io = *ios[static_cast<std::size_t>(i % contexts)];
            asio::co_spawn(asio::make_strand(io), caller(limiter, sum, seed + static_cast<unsigned>(i), rounds),
                           asio::detached);
        }
        // The zone's own io_context must run as long as a caller waits on it.
        std::vector<asio::executor_work_guard<asio::io_context::executor_type>> work;
        work.push_back(asio::make_work_guard(*ios.front()));
        std::vector<std::thread> threads;
        for (auto& io : ios) {
            for (int i = 0; i < threads_each; ++i) {
                threads.emplace_back([&io] { io->run(); });
            }
        }
        while (sum.granted + sum.refused + sum.canceled < callers * rounds) {
            std::this_thread::yield();
        }
        work.clear();
        z.close();
        for (auto& t : threads) {
            t.join();
        }
        CHECK(limiter.snapshot().granted == sum.granted);
        CHECK(limiter.snapshot().waiting == 0);
    }
    CHECK(sum.granted > 0);
}

TEST_CASE("limiter: two threads on one io_context, with random cancellation") {
    run_stress(1, 2);
}

TEST_CASE("limiter: two io_contexts calling one zone, with random cancellation") {
    run_stress(2, 1);
}

TEST_CASE("limiter: two threads on a fresh key lose no hit") {
    asio::io_context io;
    zone z(io, "stress");
    auto limiter = rate_limiter::create(z, "l", quota::per(1000, 24h).value()).value();
    std::atomic<int> granted = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 2000; ++i) {
                granted += limiter.try_acquire("fresh").has_value() ? 1 : 0;
            }
        });
    }
    for (auto& t : threads) {
        t.join();
    }
    CHECK(granted == 1000);
}

// A table that is far too small for its keys: buckets come and go, and most callers share one, while others wait.
void run_overflow(unsigned threads) {
    const auto seed = std::random_device{}();
    CAPTURE(seed);
    asio::io_context io;
    zone z(io, "stress");
    const rate_limiter_options options{
        .tiers = {{"default", {quota::per(20'000, 1s, 3).value()}},
                  {"other", {quota::per(50'000, 1s, 4).value(), quota::fixed_window(900, 10ms).value()}}},
        .max_keys = 64,
        .max_waiters = 16,
        .busiest = 4};
    auto limiter = rate_limiter::create(z, "l", options).value();
    std::atomic<std::uint64_t> granted = 0, asked = 0, done = 0;
    const auto work = [&](unsigned number) {
        std::mt19937 random(seed + number);
        for (int i = 0; i < 20'000; ++i) {
            const int key = static_cast<int>(random() % 300);
            acquire_options how;
            how.cost = 1 + random() % 2;
            how.tier = random() % 4 == 0 ? "other" : "";
            switch (random() % 8) {
                case 0: (void)limiter.inspect(key); break;
                case 1: (void)limiter.forget(key); break;
                case 2:
                    how.max_wait = duration(random() % 1'000'000);
                    ++asked;
                    limiter.acquire(key, how, [&](result<grant> r) {
                        granted += r.has_value();
                        ++done;
                    });
                    break;
                case 3:
                    if (random() % 64 == 0) {
                        rate_limiter_options changed = options;
                        changed.tiers[0].quotas = {quota::per(20'000, 1s, 3 + random() % 3).value()};
                        changed.tiers[1].name = random() % 2 == 0 ? "other" : "more";
                        (void)limiter.reconfigure(changed);
                    }
                    break;
                default: granted += limiter.try_acquire(key, how).has_value(); break;
            }
        }
    };
    auto busy = std::make_optional(asio::make_work_guard(io));
    std::vector<std::thread> runners, callers;
    for (int i = 0; i < 2; ++i) {
        runners.emplace_back([&] { io.run(); });
    }
    for (unsigned i = 0; i < threads; ++i) {
        callers.emplace_back(work, i);
    }
    for (auto& t : callers) {
        t.join();
    }
    while (done < asked) {
        std::this_thread::yield();
    }
    CHECK(limiter.snapshot().granted == granted);
    CHECK(limiter.snapshot().waiting == 0);
    CHECK(limiter.snapshot().keys <= 64 + 16);
    z.close();
    busy.reset();
    for (auto& t : runners) {
        t.join();
    }
}

TEST_CASE("limiter: four threads on a table that overflows all the time, with waits, resets and live changes") {
    run_overflow(4);
}

}  // namespace
}  // namespace headgate
