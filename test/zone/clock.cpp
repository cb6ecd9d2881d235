// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/virtual_clock.hpp>

#include <doctest/doctest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <headgate/circuit_breaker.hpp>
#include <headgate/rate_limiter.hpp>
#include <headgate/resource_pool.hpp>
#include <headgate/zone.hpp>

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

asio::awaitable<void> sleep_again_and_again(zone& z, duration span, int& times) {
    while (const auto slept = co_await z.sleep_for(span)) {
        ++times;
    }
}

struct connection {};
struct backend {
    asio::awaitable<connection> connect() { co_return connection{}; }
    asio::awaitable<bool> ping(connection&) { co_return true; }
};

TEST_CASE("a virtual clock that is set backwards goes on from there, and armed deadlines keep their times") {
    virtual_clock clock;
    asio::io_context io;
    zone z(io, "z", {.clock = &clock});
    const time_point start = clock.now();
    bool first = false, second = false, kept = false;
    z.sleep_for(1h, [&](const result<void>& r) { first = r.has_value(); });
    z.sleep_for(90min, [&](const result<void>&) { kept = true; });
    clock.run_for(io, 1h);
    CHECK(first);
    clock.set(start);
    z.sleep_for(10ms, [&](const result<void>& r) { second = r.has_value(); });
    clock.run_for(io, 9ms);
    CHECK_FALSE(second);
    clock.run_for(io, 1ms);
    CHECK(second);
    clock.run_for(io, 89min);
    CHECK_FALSE(kept);
    clock.run_for(io, 2min);
    CHECK(kept);
}

TEST_CASE(
    "deadlines fire at exactly their times however the clock is moved: back, not at all, by years; 40,000 events") {
    const auto seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    virtual_clock clock;
    asio::io_context io;
    zone z(io, "z", {.clock = &clock});
    std::multimap<time_point, int> due;  // the model: when each sleep ends
    std::map<int, std::multimap<time_point, int>::iterator> pending;
    const auto some = [&](unsigned bits) {
        return duration{static_cast<duration::rep>(random() % (std::uint64_t{1} << (random() % bits)))};
    };
    // A deadline at the end of the range never comes, so the clock stays away from there.
    constexpr time_point last{duration{std::int64_t{1} << 61}};
    constexpr time_point first = time_point{} - last.time_since_epoch();
    for (int i = 0; i < 40'000; ++i) {
        switch (random() % 8) {
            case 0: clock.set(std::max(clock.now() - some(60), first)); break;
            case 1: clock.set(std::min(clock.now() + some(60), last)); break;
            case 2: clock.run_for(io, 0s); break;
            case 3: clock.run_for(io, some(50)); break;
            default: {
                const time_point when = saturating_add(clock.now(), some(61) + 1ns);
                pending[i] = due.emplace(when, i);
                z.sleep_for(saturating_sub(when, clock.now()), [&, i](const result<void>& r) {
                    REQUIRE(r.has_value());
                    const auto at = pending.at(i);
                    REQUIRE(at->first <= clock.now());
                    due.erase(at);
                    pending.erase(i);
                });
            }
        }
        if (random() % 4 == 0) {
            clock.run_for(io, 0s);
            REQUIRE((due.empty() || due.begin()->first > clock.now()));
        }
    }
    clock.run(io);
    CHECK(due.empty());
}

TEST_CASE("run is bounded beside work that comes again and again, and names it") {
    virtual_clock clock;
    asio::io_context io;
    zone z(io, "shop", {.clock = &clock});
    const auto message = [&] {
        try {
            clock.run(io, 1000);
        } catch (const system_error& e) {
            CHECK(e.payload() == errc::wait_timed_out);
            return e.payload().message();
        }
        return std::string("it ended");
    };
    int times = 0;
    asio::co_spawn(io, sleep_again_and_again(z, 1min, times), asio::detached);
    CHECK(message().find("zone \"shop\": zone::sleep_for") != std::string::npos);
    CHECK(times >= 300);
    auto pool = resource_pool<connection>::create(z, "db", {.size = 1, .ping_interval = 1s}, backend{}).value();
    CHECK(message().find("zone \"shop\": resource_pool \"db\"") != std::string::npos);
    z.close();
    CHECK(message() == "it ended");
    // A long run that ends is allowed.
    zone other(io, "other", {.clock = &clock});
    bool woke = false;
    other.sleep_for(24h * 365 * 50, [&](const result<void>&) { woke = true; });
    clock.run(io);
    CHECK(woke);
}

TEST_CASE("a handler that throws while run looks for what keeps it running leaves no trace on") {
    virtual_clock clock;
    asio::io_context io;
    zone z(io, "z", {.clock = &clock});
    int left = 15;  // clock jumps: more than `run` may make, fewer than it traces afterwards
    const std::function<void(const result<void>&)> again = [&](const result<void>& r) {
        if (!r) {
            return;
        }
        if (--left == 0) {
            throw std::runtime_error("enough");
        }
        z.sleep_for(1s, again);
    };
    z.sleep_for(1s, again);
    CHECK_THROWS_AS(clock.run(io, 10), std::runtime_error);
    CHECK(left == 0);
    const detail::clock_state* const state = z.core()->clock();
    CHECK_FALSE(state->tracing.load());
    CHECK(state->due.empty());
}

TEST_CASE("a handler that moves the clock is not undone by the run around it") {
    virtual_clock clock;
    asio::io_context io;
    zone z(io, "z", {.clock = &clock});
    const time_point start = clock.now();
    z.sleep_for(1s, [&](const result<void>&) { clock.set(start + 1h); });
    clock.run_for(io, 1min);
    CHECK(clock.now() == start + 1h);
    clock.run_for(io, -1h);
    CHECK(clock.now() == start + 1h);
    clock.set(time_point::max());
    clock.run_for(io, 1h);
    CHECK(clock.now() == time_point::max());
    CHECK(clock.system_now() > std::chrono::system_clock::time_point{});
    clock.set(time_point::min());
    bool woke = false;
    z.sleep_for(1ns, [&](const result<void>&) { woke = true; });
    clock.run_for(io, 1ns);
    CHECK(woke);
}

TEST_CASE("time does not jump while a thread works on what was handed to it") {
    virtual_clock clock;
    asio::io_context io;
    asio::thread_pool threads(1);
    zone z(io, "z", {.clock = &clock});
    const time_point start = clock.now();
    std::string order;
    z.sleep_for(5s, [&](const result<void>&) { order += "deadline "; });
    asio::post(threads, [&, hold = std::make_shared<clock_hold>(io)]() mutable {
        for (int i = 0; i < 100; ++i) {
            std::this_thread::yield();
        }
        CHECK(clock.now() == start);
        asio::post(io, [&] { order += "work "; });
        hold->reset();
    });
    clock.run(io);
    threads.join();
    CHECK(order == "work deadline ");
}

TEST_CASE("a hold may outlive its io_context, and moves") {
    std::optional<asio::io_context> io(std::in_place);
    clock_hold a(*io), b;
    b = std::move(a);
    io.reset();
    b.reset();
    b = clock_hold();
}

TEST_CASE("handles that outlive zone and clock read the time at which the clock stood last") {
    asio::io_context io;
    std::optional<rate_limiter> limiter;
    std::optional<circuit_breaker> breaker;
    std::shared_ptr<detail::zone_core> core;
    time_point last;
    {
        auto clock = std::make_unique<virtual_clock>();
        zone z(io, "z", {.clock = clock.get()});
        limiter = rate_limiter::create(z, "l", quota::per(1, 1s).value()).value();
        breaker = circuit_breaker::create(z, "b").value();
        core = z.core();
        clock->set(clock->now() + 1h);
        last = clock->now();
    }
    CHECK(core->now() == last);
    CHECK(core->coarse_now() == last);
    CHECK(limiter->try_acquire("k").error() == errc::shut_down);
    CHECK_FALSE(limiter->inspect("k").known);
    CHECK(breaker->try_begin().error() == errc::shut_down);
    CHECK(breaker->snapshot().admitted == 0);
}

TEST_CASE("a zone goes on without its clock, at one time") {
    asio::io_context io;
    auto clock = std::make_unique<virtual_clock>();
    zone z(io, "z", {.clock = clock.get()});
    auto limiter = rate_limiter::create(z, "l", quota::per(1, 1s).value()).value();
    CHECK(limiter.try_acquire("k"));
    clock.reset();
    CHECK(limiter.try_acquire("k").error() == errc::rate_limited);
    std::optional<result<void>> slept;
    z.sleep_for(1s, [&](const result<void>& r) { slept = r; });
    z.close();
    io.run();
    REQUIRE(slept);
    CHECK(slept->error() == errc::shut_down);
}

TEST_CASE("zones that come and go leave nothing with the clock and the io_context") {
    virtual_clock clock;
    asio::io_context io;
    std::weak_ptr<detail::zone_core> one;
    for (int i = 0; i < 1000; ++i) {
        zone z(io, "z", {.clock = &clock});
        z.sleep_for(1h, [](const result<void>&) {});
        one = z.core();
        z.close();
        clock.run(io);
    }
    CHECK(one.expired());
}

}  // namespace
}  // namespace headgate
