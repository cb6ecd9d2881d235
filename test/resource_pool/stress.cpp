// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/resource_pool.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#if defined(__GNUC__) && !defined(__clang__)
// A false positive of g++ 12 at -O1: it believes that Asio's operator new did not allocate the coroutine frame.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

namespace headgate::pool_stress {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using asio::awaitable;

/// A resource that counts its users, to find out when two have it at once.
struct thing {
    std::unique_ptr<std::atomic<int>> users = std::make_unique<std::atomic<int>>(0);
};

struct counts {
    std::atomic<int> open{0};
    std::atomic<int> connects{0};
};

struct backend {
    counts* c;
    awaitable<thing> connect() {
        const int n = ++c->connects;
        if (n % 11 == 0) {
            throw std::runtime_error("refused");
        }
        ++c->open;
        co_return thing();
    }
    bool reset(thing& t) { return t.users->load() == 0; }
    void close(thing) { --c->open; }
};

struct totals {
    std::atomic<std::uint64_t> served{0};
    std::atomic<std::uint64_t> refused{0};
    std::atomic<std::uint64_t> canceled{0};
    std::atomic<std::uint64_t> shared{0};  // lent to two at once
};

void use(thing& t, totals& out) {
    if (t.users->fetch_add(1) != 0) {
        ++out.shared;
    }
    ++out.served;
    t.users->fetch_sub(1);
}

/// Checks out in every way, from one coroutine. It emits signals on its own strand, as Asio requires.
awaitable<void> worker(resource_pool<thing> pool, totals& out, std::uint64_t seed, int rounds) {
    std::mt19937_64 rng(seed);
    const auto executor = co_await asio::this_coro::executor;
    for (int i = 0; i < rounds; ++i) {
        const auto dice = rng() % 10;
        if (dice < 3) {
            if (auto l = pool.try_checkout()) {
                use(*l.value(), out);
                if (dice == 0 && rng() % 8 == 0) {
                    l.value().discard();
                }
            } else {
                ++out.refused;
            }
        } else if (dice < 6) {
            if (auto l = co_await pool.checkout({.max_wait = 10s})) {
                use(*l.value(), out);
                if (rng() % 2 == 0) {
                    co_await asio::post(executor, asio::use_awaitable);
                }
            } else {
                ++out.refused;
            }
        } else if (dice < 7) {
            if (auto l = co_await pool.checkout({.max_wait = duration(1 + static_cast<int>(rng() % 50'000))})) {
                use(*l.value(), out);
            } else {
                ++out.refused;
            }
        } else {
            // Cancelled before, at, or after the hand-off.
            auto signal = std::make_shared<asio::cancellation_signal>();
            for (auto hops = rng() % 3; hops > 0; --hops) {
                co_await asio::post(executor, asio::use_awaitable);
            }
            pool.checkout(asio::bind_cancellation_slot(
                signal->slot(), asio::bind_executor(executor, [&out, signal](result<lease<thing>> l) {
                    if (l) {
                        use(*l.value(), out);
                    } else {
                        ++(l.error() == errc::canceled ? out.canceled : out.refused);
                    }
                })));
            for (auto hops = rng() % 4; hops > 0; --hops) {
                co_await asio::post(executor, asio::use_awaitable);
            }
            signal->emit(asio::cancellation_type::total);
        }
    }
}

std::uint64_t new_seed(const char* name) {
    std::uint64_t seed = std::random_device{}();
    if (const char* given = std::getenv("HEADGATE_SEED")) {
        seed = std::stoull(given);
    }
    std::cout << "HEADGATE_SEED=" << seed << " (" << name << ")\n";
    return seed;
}

/// Two threads. `contexts` io_contexts share the pool of a zone on the first. Meanwhile the pool is resized and paused.
void run(std::size_t contexts, std::uint64_t seed) {
    constexpr int workers = 8;
    constexpr int rounds = 1'500;
    asio::io_context first, second;
    asio::io_context* const io[] = {&first, contexts == 1 ? &first : &second};
    counts c;
    totals out;
    {
        zone z(first, "stress");
        auto pool = resource_pool<thing>::create(z, "things",
                                                 {.size = 2,
                                                  .max_overflow = 2,
                                                  .max_waiters = 6,
                                                  .backoff_min = 1ms,
                                                  .backoff_max = 2ms,
                                                  .max_lifetime = 20ms,
                                                  .idle_timeout = 5ms,
                                                  .leak_threshold = 1h},
                                                 backend{&c})
                        .value();
        auto left = std::make_shared<std::atomic<int>>(workers);
        for (int i = 0; i < workers; ++i) {
            asio::co_spawn(asio::make_strand(*io[i % 2]),
                           worker(pool, out, seed + static_cast<std::uint64_t>(i), rounds),
                           [left, &z](const std::exception_ptr& e) {
                               CHECK_FALSE(e);
                               if (--*left == 0) {
                                   z.close();
                               }
                           });
        }
        asio::co_spawn(
            first,
            [](resource_pool<thing> p, zone& zn, std::shared_ptr<std::atomic<int>> n) -> awaitable<void> {
                for (std::uint32_t i = 0; *n > 0; ++i) {
                    (void)p.resize(1 + i % 3, i % 2 + 1);
                    if (i % 4 == 0) {
                        p.pause();
                        (void)p.snapshot();
                        p.resume();
                    }
                    (void)zn.snapshot();
                    const auto slept = co_await zn.sleep_for(500us);
                    if (!slept) {
                        co_return;
                    }
                }
            }(pool, z, left),
            asio::detached);
        auto work = asio::make_work_guard(second);
        std::thread other([&] { io[1]->run(); });
        first.run();
        work.reset();
        other.join();
        first.restart();
        first.run();
        CHECK(out.shared == 0);
        CHECK(out.served > 0);
        CHECK(out.served + out.refused + out.canceled == std::uint64_t{workers} * rounds);
        CHECK(pool.snapshot().leased == 0);
        CHECK(pool.snapshot().waiting == 0);
        CHECK(pool.snapshot().idle == 0);
    }
    CHECK(c.open == 0);
}

TEST_CASE("pool stress: two threads on one io_context, random cancellation: nothing lost, nothing lent twice") {
    run(1, new_seed("pool, one io_context"));
}

TEST_CASE("pool stress: two io_contexts on one pool, random cancellation: nothing lost, nothing lent twice") {
    run(2, new_seed("pool, two io_contexts"));
}

TEST_CASE("pool stress: leases come back on other threads while handle and zone go") {
    for (int round = 0; round < 200; ++round) {
        asio::io_context io;
        counts c;
        std::vector<lease<thing>> leases;
        {
            zone z(io, "stress");
            auto pool = resource_pool<thing>::create(z, "things", {.size = 4}, backend{&c}).value();
            while (pool.snapshot().idle < 4) {
                io.run_for(1ms);
                io.restart();
            }
            for (int i = 0; i < 4; ++i) {
                leases.push_back(pool.try_checkout().value());
            }
        }
        std::thread one([&] {
            leases[0].give_back();
            leases[1].give_back();
        });
        std::thread two([&] {
            leases[2].give_back();
            leases[3].discard();
        });
        io.restart();
        io.run();
        one.join();
        two.join();
        io.restart();
        io.run();
        CHECK(c.open == 0);
    }
}

TEST_CASE("pool stress: a resize undoes no reconfigure beside it, and the other way round") {
    asio::io_context io;
    counts c;
    zone z(io, "stress");
    auto pool = resource_pool<thing>::create(z, "things", {.size = 1}, backend{&c}).value();
    const pool_options other{.size = 1, .max_waiters = 77, .max_wait = 77s};
    for (std::uint32_t round = 0; round < 5'000; ++round) {
        std::thread one([&] { pool.resize(1 + round % 7, 1).value(); });
        pool.reconfigure(other).value();
        one.join();
        // In either order: options that `resize` does not set are those of `reconfigure`.
        REQUIRE(pool.core()->options().max_waiters == 77);
        REQUIRE(pool.core()->max_wait() == 77s);
        pool.reconfigure({.size = 1}).value();
        REQUIRE(pool.core()->options().max_waiters == 10'000);
    }
    z.close();
    io.run();
}

/// Resources die while they are idle. A caller on any thread gets a live resource or waits.
struct mortal {
    std::unique_ptr<std::atomic<bool>> lives = std::make_unique<std::atomic<bool>>(true);
};
struct mortal_backend {
    std::atomic<int>* open;
    awaitable<mortal> connect() {
        ++*open;
        co_return mortal();
    }
    bool is_alive(mortal& m) { return *m.lives; }
    awaitable<bool> reset(mortal& m) {
        co_await asio::post(asio::use_awaitable);
        co_return m.lives->load();
    }
    awaitable<void> close(mortal) {
        --*open;
        co_return;
    }
};

TEST_CASE("pool stress: asked, reset and closed on the strand while two threads check out and the zone closes") {
    for (int round = 0; round < 20; ++round) {
        asio::io_context io;
        std::atomic<int> open{0};
        std::atomic<int> served{0};
        {
            zone z(io, "stress");
            auto pool = resource_pool<mortal>::create(z, "mortals", {.size = 3, .max_overflow = 1, .max_waiters = 4},
                                                      mortal_backend{&open})
                            .value();
            const auto work = [&](int n) {
                for (int i = 0; i < n; ++i) {
                    if (auto lent = pool.try_checkout()) {
                        ++served;
                        *lent.value()->lives = i % 5 != 0;
                    }
                    pool.checkout({.max_wait = 1ms}, [&](const result<lease<mortal>>& r) { served += r ? 1 : 0; });
                    if (i % 64 == 0) {
                        std::this_thread::yield();
                    }
                }
            };
            auto guard = asio::make_work_guard(io);
            std::thread strand([&] { io.run(); });
            std::thread other([&] { work(500); });
            work(500);
            other.join();
            z.close();
            guard.reset();
            strand.join();
            io.restart();
            io.run();
        }
        CHECK(open == 0);
    }
}

}  // namespace headgate::pool_stress
