// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// Each allocation of a limiter fails once: the caller gets an error or `bad_alloc`, and what was there works on.

#include <headgate/rate_limiter.hpp>

#include <doctest/doctest.h>

#include <boost/asio/detached.hpp>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <new>
#include <optional>
#include <string>

namespace {

/// Allocations until one fails; not positive: none does.
long until_failure = 0;

bool fails() noexcept {
    return until_failure > 0 && --until_failure == 0;
}

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) {
    void* p = fails() ? nullptr : std::malloc(size);
    if (p == nullptr) {
        throw std::bad_alloc{};
    }
    return p;
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t align) {
    const auto alignment = static_cast<std::size_t>(align);
    void* p = fails() ? nullptr : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (p == nullptr) {
        throw std::bad_alloc{};
    }
    return p;
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
    std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept {
    std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept {
    std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
    std::free(p);
}

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct fixture {
    virtual_clock clock;
    asio::io_context io;
    std::optional<zone> z{std::in_place, io, "test", zone_options{.clock = &clock}};
    std::optional<rate_limiter> limiter;

    void make() {
        rate_limiter_options o;
        o.tiers = {{"default", {quota::per(10, 1min).value()}}, {"other", {quota::per(5, 1h).value()}}};
        o.busiest = 4;
        limiter = rate_limiter::create(*z, "limiter", o).value();
    }
};

/// Runs `scenario` with the n-th allocation failing, for n = 1 until it needs fewer. Each time in a limiter of its own,
/// which is then asked whether it is as it was. Gives how many allocations there are.
int each_fails(const std::function<void(fixture&)>& prepare, const std::function<bool(fixture&)>& scenario,
               const std::function<void(fixture&)>& check) {
    for (int n = 1;; ++n) {
        REQUIRE(n < 10'000);
        fixture f;
        f.make();
        prepare(f);
        bool done = false;
        until_failure = n;
        try {
            done = scenario(f);
        } catch (const std::bad_alloc&) {
        }
        const bool failed = until_failure <= 0;
        until_failure = 0;
        CAPTURE(n);
        check(f);
        f.clock.run_for(f.io, 2h);
        CHECK(f.limiter->snapshot()["waiting"] == 0);
        f.z->close();
        f.clock.run(f.io);
        if (!failed) {
            CHECK(done);
            return n - 1;
        }
    }
}

const auto nothing = [](fixture&) {};

TEST_CASE("memory: a limiter that can't be made is not there") {
    fixture whole;
    for (int n = 1;; ++n) {
        fixture f;
        until_failure = n;
        try {
            f.make();
        } catch (const std::bad_alloc&) {
        }
        const bool failed = until_failure <= 0;
        until_failure = 0;
        CHECK(f.limiter.has_value() == rate_limiter::find(*f.z, "limiter").has_value());
        if (!failed) {
            CHECK(n > 5);
            return;
        }
        if (!f.limiter) {
            f.make();
        }
        CHECK(f.limiter->try_acquire("k"));
    }
}

TEST_CASE("memory: decisions in place") {
    each_fails(
        nothing,
        [](fixture& f) {
            bool all = f.limiter->try_acquire("k", {.cost = 10}).has_value();
            all &= f.limiter->try_acquire("k").error() == errc::rate_limited;
            all &= f.limiter->try_acquire("k", {.cost = 0}).error() == errc::invalid_argument;
            all &= f.limiter->try_acquire("k", {.tier = "none"}).error() == errc::invalid_argument;
            return all;
        },
        [](fixture& f) { CHECK(f.limiter->try_acquire("fresh", {.cost = 10})); });
}

TEST_CASE("memory: who can't be queued is told so, and those who wait are served") {
    int told = 0;
    const int allocations = each_fails(
        [](fixture& f) {
            CHECK(f.limiter->try_acquire("k", {.cost = 10}));
            CHECK(f.limiter->try_acquire("l", {.cost = 10}));
            f.limiter->acquire("l", {.max_wait = 1h}, [](result<grant> r) { CHECK(r); });
        },
        [&](fixture& f) {
            int served = 0;
            const auto count = [&](result<grant> r) {
                served += r.has_value();
                told += r.has_error() && r.error() == errc::out_of_memory;
            };
            f.limiter->acquire("k", {.max_wait = 1h}, count);
            f.limiter->acquire("l", {.max_wait = 1h}, count);
            until_failure = until_failure > 0 ? 1'000'000 : 0;  // what follows is the io_context's
            const bool failed = until_failure == 0;
            until_failure = 0;
            f.clock.run_for(f.io, 1h);
            until_failure = failed ? 0 : 1'000'000;
            return served == 2;
        },
        [](fixture& f) { CHECK(f.limiter->try_acquire("fresh", {.cost = 10})); });
    CHECK(allocations > 0);
    CHECK(told > 0);
}

TEST_CASE("memory: a change, a save and a load are whole, or have not been") {
    each_fails(
        [](fixture& f) { CHECK(f.limiter->try_acquire("k", {.cost = 4})); },
        [](fixture& f) {
            return f.limiter->reconfigure({{"default", {quota::per(20, 1min).value()}}, {"third", {quota::none()}}})
                .has_value();
        },
        [](fixture& f) {
            const bool changed = f.limiter->try_acquire("x", {.cost = 20}).has_value();
            CHECK(f.limiter->inspect("k").tightest.remaining == (changed ? 16 : 6));
            CHECK((f.limiter->try_acquire("x", {.tier = "third"}).error() == errc::cost_exceeds_limit) == changed);
            CHECK((f.limiter->try_acquire("y", {.tier = "other"}).has_value()) == !changed);
        });
    const std::string path = std::filesystem::temp_directory_path() / ("headgate-memory-" + std::to_string(::getpid()));
    each_fails([](fixture& f) { CHECK(f.limiter->try_acquire("k", {.cost = 4})); },
               [&](fixture& f) { return f.limiter->save(path).has_value(); },
               [](fixture& f) { CHECK(f.limiter->inspect("k").tightest.remaining == 6); });
    each_fails(
        nothing, [&](fixture& f) { return f.limiter->load(path).has_value(); },
        [](fixture& f) {
            const auto left = f.limiter->inspect("k").tightest.remaining;
            CHECK((left == 6 || left == 10));
            CHECK(f.limiter->try_acquire("k", {.cost = 6}));
        });
    std::filesystem::remove(path);
}

TEST_CASE("memory: looking") {
    each_fails([](fixture& f) { CHECK(f.limiter->try_acquire("k", {.cost = 4})); },
               [](fixture& f) {
                   return f.limiter->inspect("k").known && f.limiter->snapshot()["granted"] == 1 &&
                          f.limiter->busiest_keys().size() == 1 && f.limiter->reset("k");
               },
               [](fixture& f) { CHECK(f.limiter->try_acquire("k", {.cost = 6})); });
}

}  // namespace
}  // namespace headgate
