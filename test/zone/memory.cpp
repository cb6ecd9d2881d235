// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// What the zone and the configuration do when memory is out: the n-th allocation of each scenario fails, for n = 1
// until the scenario passes. This program brings its own `operator new`, and where no sanitizer has one,
// `aligned_alloc`, which Asio uses.

#include <doctest/doctest.h>

#include <boost/asio/io_context.hpp>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <headgate/bulkhead.hpp>
#include <headgate/circuit_breaker.hpp>
#include <headgate/config.hpp>
#include <headgate/rate_limiter.hpp>
#include <headgate/zone.hpp>
#include <headgate/zone_set.hpp>

namespace {

// The allocation that fails next, and how many after it; negative: none.
std::atomic<std::int64_t> countdown{-1};
std::atomic<std::int64_t> failing{0};
std::atomic<std::int64_t> failed{0};
std::atomic<std::int64_t> alive{0};

bool fails() noexcept {
    if (countdown < 0 || countdown.fetch_sub(1) > 0) {
        return false;
    }
    ++failed;
    countdown = failing.fetch_sub(1) > 1 ? 0 : -1;
    return true;
}

void* allocate(std::size_t bytes) {
    void* const memory = fails() ? nullptr : std::malloc(bytes);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    ++alive;
    return memory;
}

void give_back(void* memory) noexcept {
    alive -= memory != nullptr ? 1 : 0;
    std::free(memory);
}

}  // namespace

void* operator new(std::size_t bytes) {
    return allocate(bytes);
}
void operator delete(void* memory) noexcept {
    give_back(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    give_back(memory);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HEADGATE_SANITIZED
#endif
#endif
#if defined(__GLIBC__) && !defined(HEADGATE_SANITIZED) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
extern "C" void* __libc_memalign(std::size_t alignment, std::size_t bytes);
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
    return fails() ? nullptr : __libc_memalign(alignment, bytes);
}
#endif

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

// Runs `scenario` with its n-th allocation failing, for n = 1, 2, ... until none fails any more. Each run begins with
// `prepare` and ends with a look by the scenario itself; nothing may be left of a run that failed.
template <class Scenario>
int fail_each(const Scenario& scenario, std::int64_t at_once = 1) {
    scenario([] {});  // makes what is made once, and kept
    for (int n = 0;; ++n) {
        REQUIRE(n < 100'000);
        failed = 0;
        const std::int64_t before = alive;
        scenario([n, at_once] {
            failing = at_once;
            countdown = n;
        });
        countdown = -1;
        if (failed == 0) {
            return n;
        }
        CAPTURE(n);
        // Blocks that Asio keeps for this thread are no leak, and are not counted here.
        CHECK(alive == before);
    }
}

void no_more_failures() {
    countdown = -1;
}

class probe final : public detail::deadline {
public:
    int fired = 0;

private:
    void on_deadline() noexcept override { ++fired; }
};

TEST_CASE("arming a deadline and calling it in time needs no memory") {
    fail_each(
        [](const auto& start) {
            asio::io_context io;
            zone z(io, "z");
            detail::zone_core& core = *z.core();
            probe soon, later, first;
            // The io_context has its own tables ready; and without memory for one more timer, the driver tries again.
            core.arm(later, core.now() + 5ms);
            start();
            core.arm(soon, core.now() + 2ms);
            core.arm(first, core.now());
            while (later.fired == 0) {
                io.restart();
                io.run_one_for(1s);
            }
            CHECK(soon.fired == 1);
            CHECK(first.fired == 1);
        },
        3);
}

TEST_CASE("on a virtual clock, too") {
    virtual_clock clock;
    fail_each(
        [&](const auto& start) {
            asio::io_context io;
            zone z(io, "z", {.clock = &clock});
            probe soon;
            z.core()->arm(soon, clock.now() + 1h);
            clock.set(clock.now() + 1h);
            start();
            z.core()->wake();
            while (soon.fired == 0) {
                io.restart();
                io.poll();
            }
            no_more_failures();
        },
        1000);
}

TEST_CASE("a post to the strand happens, or says that it does not; the strand goes on") {
    const int failures = fail_each([](const auto& start) {
        asio::io_context io;
        zone z(io, "z");
        int ran = 0;
        bool told = false;
        start();
        try {
            z.core()->post([&ran, kept = std::make_shared<int>()] { ++ran; });
        } catch (const std::bad_alloc&) {
            told = true;
        }
        no_more_failures();
        z.core()->post([&ran] { ran += 10; });
        io.run();
        CHECK(ran == (told ? 10 : 11));
    });
    CHECK(failures > 0);
}

TEST_CASE("an event for which there is no memory is lost, and no other") {
    virtual_clock clock;
    const int failures = fail_each([&](const auto& start) {
        asio::io_context io;
        zone z(io, "z", {.clock = &clock});
        std::string heard;
        const auto s = z.on_event([&](const event& e) { heard += static_cast<char>('0' + e.sequence); });
        const std::string name(100, 'n');
        start();
        z.core()->emit(primitive_kind::bulkhead, name, {});
        no_more_failures();
        z.core()->emit(primitive_kind::bulkhead, name, {});
        z.core()->emit(primitive_kind::bulkhead, name, {});
        clock.run_for(io, 0s);
        CHECK((heard == "123" || heard == "23"));
    });
    CHECK(failures > 0);
}

TEST_CASE("what a zone cannot do for want of memory has not happened") {
    virtual_clock clock;
    asio::io_context io;
    const auto throws = [](const auto& f) {
        try {
            f();
        } catch (const std::bad_alloc&) {
        }
    };
    int failures = fail_each([&](const auto& start) {
        start();
        throws([&] { zone z(io, std::string(100, 'z'), {.clock = &clock}); });
    });
    CHECK(failures > 3);
    zone z(io, "z", {.clock = &clock});
    failures = fail_each([&](const auto& start) {
        start();
        throws([&] { const auto s = z.on_event([](const event&) {}); });
    });
    CHECK(failures > 0);
    auto gate = bulkhead::create(z, "gate").value();
    failures = fail_each([&](const auto& start) {
        start();
        throws([&] { (void)z.snapshot(); });
        throws([&] { (void)z.core()->find(primitive_kind::bulkhead, "gate"); });
        throws([&] { (void)z.core()->find(primitive_kind::bulkhead, "another").error(); });
    });
    CHECK(failures > 0);
    CHECK(z.core()->find(primitive_kind::bulkhead, "gate"));
}

TEST_CASE("closing, draining and removing need no memory of the zone") {
    virtual_clock clock;
    asio::io_context io;
    zone z(io, "z", {.clock = &clock});
    auto limiter = rate_limiter::create(z, "l", quota::per(1, 1s).value()).value();
    auto breaker = circuit_breaker::create(z, "b").value();
    detail::zone_core& core = *z.core();
    failing = 1'000'000;
    countdown = 0;
    core.remove(primitive_kind::rate_limiter, "l");
    core.drain();
    core.close();
    core.release();
    no_more_failures();
    CHECK(breaker.try_begin().error() == errc::shut_down);
}

constexpr std::string_view small = R"({"zones": {"shop": {
    "rate_limiters": {"calls": {"quota": "4/1m"}, "old": {"quota": "1/1s"}},
    "circuit_breakers": {"db": {"consecutive_failures": 2}},
    "bulkheads": {"reports": {"max_concurrent": 1}, "old": {}}},
    "gone": {"bulkheads": {"b": {}}}}})";
constexpr std::string_view large = R"({"zones": {"shop": {"missing_breaker": "run",
    "rate_limiters": {"calls": {"quota": "8/1m"}, "more": {"quota": "1/1s"}},
    "circuit_breakers": {"db": {"consecutive_failures": 3, "probes": 2}, "more": {}},
    "bulkheads": {"reports": {"max_concurrent": 20}, "more": {}}},
    "new": {"bulkheads": {"b": {}}, "rate_limiters": {"l": {"quota": "1/1s"}}}}})";

TEST_CASE("a document that is read without memory is out_of_memory, and no mistake") {
    const int failures = fail_each([](const auto& start) {
        std::vector<config_problem> problems;
        start();
        try {
            const auto parsed = config::parse(large, problems);
            CHECK((parsed || parsed.error() == errc::out_of_memory));
            CHECK(problems.empty());
        } catch (const std::bad_alloc&) {
            FAIL("thrown");
        }
    });
    CHECK(failures > 100);
}

TEST_CASE("a reload without memory changes nothing and leaves nothing, and the next one works") {
    virtual_clock clock;
    const config from = config::parse(small).value(), to = config::parse(large).value();
    const int failures = fail_each([&](const auto& start) {
        asio::io_context io;
        std::unique_ptr<zone_set> set = zone_set::create(io, from, &clock).value();
        const auto shop = set->find("shop").value();
        start();
        const auto changed = set->reload(to);
        no_more_failures();
        if (!changed) {
            CHECK(changed.error() == errc::out_of_memory);
            CHECK(set->current() == from);
            CHECK_FALSE(set->find("new"));
            CHECK(set->find("gone"));
            CHECK_FALSE(shop->core()->runs_without_breaker());
            CHECK(rate_limiter::find(*shop, "old"));
            CHECK_FALSE(rate_limiter::find(*shop, "more"));
            CHECK(rate_limiter::find(*shop, "calls").value().inspect("ann").tightest.limit == 4);
            CHECK(bulkhead::find(*shop, "reports").value().status().max_concurrent == 1);
            REQUIRE(set->reload(to));
        }
        CHECK(set->current() == to);
        CHECK(set->find("new"));
        CHECK_FALSE(set->find("gone"));
        CHECK(rate_limiter::find(*shop, "more"));
        CHECK(rate_limiter::find(*shop, "calls").value().inspect("ann").tightest.limit == 8);
        CHECK(bulkhead::find(*shop, "reports").value().status().max_concurrent == 20);
        clock.run(io);
    });
    CHECK(failures > 50);
}

}  // namespace
}  // namespace headgate
