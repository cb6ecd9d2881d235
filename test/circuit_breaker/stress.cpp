// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/circuit_breaker.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr int threads = 2;
constexpr int callers = 16;
constexpr int calls_of_each = 300;

std::uint64_t seed_of_this_run() {
    const char* given = std::getenv("HEADGATE_SEED");
    const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
    std::printf("breaker stress: HEADGATE_SEED=%llu\n", static_cast<unsigned long long>(seed));
    return seed;
}

// Opens and probes all the time: reset times of a millisecond, a third of the calls fail.
const breaker_options nervous{.consecutive_failures = 4,
                              .failure_ratio = 0.6,
                              .slow_after = 1ms,
                              .min_calls = 10,
                              .window = 20ms,
                              .reset_timeout = 100us,
                              .max_reset_timeout = 400us,
                              .probes = 2,
                              .probe_deadline = 300us};

struct tally {
    std::atomic<std::uint64_t> completed{0};
    std::atomic<std::uint64_t> ran{0};
};

// A caller that makes one call after another on its own strand. Sometimes it cancels its call, from the same strand.
class caller : public std::enable_shared_from_this<caller> {
public:
    caller(asio::io_context& io, circuit_breaker breaker, tally& counts, std::uint64_t seed)
        : strand_(asio::make_strand(io)), breaker_(std::move(breaker)), counts_(counts), random_(seed) {}

    void start() {
        asio::post(strand_, [self = shared_from_this()] { self->next(); });
    }

private:
    using strand = asio::strand<asio::io_context::executor_type>;

    static asio::awaitable<result<int>> operation(asio::any_io_executor executor, tally& counts, std::uint64_t dice) {
        ++counts.ran;
        if (dice % 4 == 0) {
            asio::steady_timer timer(executor, std::chrono::microseconds(dice % 500));
            co_await timer.async_wait(asio::use_awaitable);
        } else if (dice % 4 == 1) {
            co_await asio::post(executor, asio::use_awaitable);
        }
        if (dice / 16 % 3 == 0) {
            co_return error(errc::operation_failed);
        }
        co_return 1;
    }

    void next() {
        if (left_-- == 0) {
            return;
        }
        const auto dice = random_();
        // Shared, because the signal must outlive a destroyed handler: it belongs to the call.
        auto signal = std::make_shared<asio::cancellation_signal>();
        auto handler = [self = shared_from_this(), signal](const result<int>&) {
            ++self->counts_.completed;
            self->next();
        };
        auto token = asio::bind_cancellation_slot(signal->slot(), asio::bind_executor(strand_, std::move(handler)));
        const asio::any_io_executor executor = strand_;
        const auto op = [](asio::any_io_executor ex, tally* counts, std::uint64_t d) {
            return operation(std::move(ex), *counts, d);
        };
        tally* counts = &counts_;
        if (dice % 3 == 0) {
            breaker_.async_run(std::move(token), {.timeout = 200us}, op, executor, counts, dice);
        } else {
            breaker_.async_run(std::move(token), op, executor, counts, dice);
        }
        if (dice % 5 == 0) {
            asio::post(strand_, [signal] { signal->emit(asio::cancellation_type::terminal); });
        }
    }

    strand strand_;
    circuit_breaker breaker_;
    tally& counts_;
    std::mt19937_64 random_;
    int left_ = calls_of_each;
};

// Takes permits on a plain thread, ends them on another thread or not at all, and calls all other members of a handle.
void meddle(circuit_breaker breaker, std::uint64_t seed, const std::atomic<bool>& stop) {
    std::mt19937_64 random(seed);
    std::deque<call_permit> kept;
    while (!stop) {
        switch (random() % 64) {
            case 0: breaker.reset(); break;
            case 1: breaker.trip(50us); break;
            case 2: (void)breaker.set_mode(static_cast<breaker_mode>(random() % 4)); break;
            case 3: (void)breaker.set_mode(breaker_mode::automatic); break;
            case 4: (void)breaker.snapshot(); break;
            default:
                if (auto permit = breaker.try_begin()) {
                    kept.push_back(std::move(permit).value());
                }
        }
        if (kept.size() > random() % 8) {
            if (random() % 3 != 0) {
                random() % 3 == 0 ? kept.front().failure() : kept.front().success();
            }
            kept.pop_front();
        }
    }
}

// Every admitted call ended, each in one way. An expired probe counts as a failure, and as stale when it ends.
void check_books(const circuit_breaker& breaker, const zone& z) {
    const auto s = breaker.snapshot();
    CHECK(s.successes + s.failures + s.neutral + s.stale >= s.admitted);
    CHECK(z.snapshot().primitives.at(0)["running"] == 0);
    CHECK(z.snapshot().operations == 0);
    CHECK(s.opened > 0);
}

TEST_CASE("breaker stress: two threads on one io_context, with random cancellation") {
    const auto seed = seed_of_this_run();
    asio::io_context io;
    zone z(io, "stress");
    auto breaker = circuit_breaker::create(z, "b", nervous).value();
    std::atomic<std::uint64_t> events{0};
    const auto listening = z.on_event([&](const event&) { ++events; });
    tally counts;
    for (int i = 0; i < callers; ++i) {
        std::make_shared<caller>(io, breaker, counts, seed + static_cast<std::uint64_t>(i))->start();
    }
    std::atomic<bool> stop{false};
    std::thread meddler(meddle, breaker, seed, std::cref(stop));
    std::vector<std::thread> runners;
    for (int i = 0; i < threads; ++i) {
        runners.emplace_back([&] { io.run(); });
    }
    while (counts.completed < callers * calls_of_each) {
        std::this_thread::yield();
    }
    stop = true;
    meddler.join();
    (void)breaker.set_mode(breaker_mode::automatic);
    z.close();
    for (auto& t : runners) {
        t.join();
    }
    check_books(breaker, z);
    CHECK(counts.completed == callers * calls_of_each);
    CHECK(events > 0);
}

TEST_CASE("breaker stress: several io_contexts call one zone") {
    const auto seed = seed_of_this_run();
    asio::io_context home;
    asio::io_context other;
    zone z(home, "stress");
    auto breaker = circuit_breaker::create(z, "b", nervous).value();
    tally counts;
    for (int i = 0; i < callers; ++i) {
        std::make_shared<caller>(i % 2 == 0 ? home : other, breaker, counts, seed + static_cast<std::uint64_t>(i))
            ->start();
    }
    auto keep = asio::make_work_guard(home);
    std::thread one([&] { home.run(); });
    std::thread two([&] { other.run(); });
    while (counts.completed < callers * calls_of_each) {
        std::this_thread::yield();
    }
    two.join();
    z.close();
    keep.reset();
    one.join();
    check_books(breaker, z);
}

TEST_CASE("breaker stress: the last handle, the zone and permits go at the same time on several threads") {
    for (int round = 0; round < 300; ++round) {
        asio::io_context io;
        std::optional<zone> z(std::in_place, io, "stress");
        std::optional<circuit_breaker> breaker(circuit_breaker::create(*z, "b", nervous).value());
        std::vector<call_permit> permits;
        for (int i = 0; i < 4; ++i) {
            permits.push_back(breaker->try_begin().value());
        }
        std::thread ender([&permits] {
            for (auto& permit : permits) {
                permit.failure(1us);
            }
        });
        std::thread handle([&breaker] { breaker.reset(); });
        z.reset();
        ender.join();
        handle.join();
        io.poll();
    }
}

}  // namespace
}  // namespace headgate
