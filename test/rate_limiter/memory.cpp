// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// Each allocation of a limiter fails once: the caller gets an error or `bad_alloc`, and the limiter works as before.

#include <headgate/rate_limiter.hpp>

#include <doctest/doctest.h>

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <new>
#include <optional>
#include <string>

#include "../allocation/failing.hpp"
#include "support/zone_fixture.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using allocation::every_allocation;
using allocation::failing;

struct fixture : headgate::test::zone_fixture {
    std::optional<rate_limiter> limiter;

    void make() {
        rate_limiter_options o;
        o.tiers = {{"default", {quota::per(10, 1min).value()}}, {"other", {quota::per(5, 1h).value()}}};
        o.busiest = 4;
        limiter = rate_limiter::create(*z, "limiter", o).value();
    }
};

/// Fails each allocation of `scenario` once, each time with a new limiter. Then `check` tests that the limiter is
/// unchanged. Returns the number of allocations.
std::uint64_t each_fails(const std::function<void(fixture&)>& prepare, const std::function<bool(fixture&)>& scenario,
                         const std::function<void(fixture&)>& check) {
    return every_allocation([&] {
        fixture f;
        f.make();
        prepare(f);
        bool done = false;
        {
            const failing scope;
            try {
                done = scenario(f);
            } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): at the call, as it may
            }
        }
        CHECK((done || allocation::has_failed()));
        check(f);
        f.clock.run_for(f.io, 2h);
        CHECK(f.limiter->snapshot().waiting == 0);
        f.z->close();
        f.clock.run(f.io);
    });
}

const auto nothing = [](fixture&) {};

TEST_CASE("memory: a limiter that can't be made is not there") {
    const auto allocations = every_allocation([] {
        fixture f;
        {
            const failing scope;
            try {
                f.make();
            } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): at the call, as it may
            }
        }
        CHECK(f.limiter.has_value() == rate_limiter::find(*f.z, "limiter").has_value());
        if (!f.limiter) {
            f.make();
        }
        CHECK(f.limiter->try_acquire("k"));
    });
    CHECK(allocations > 5);
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
    int served = 0, told = 0;
    const auto count = [&](result<grant> r) {
        served += r.has_value();
        told += r.has_error() && r.error() == errc::out_of_memory;
    };
    const auto allocations = each_fails(
        [&](fixture& f) {
            served = 0;
            CHECK(f.limiter->try_acquire("k", {.cost = 10}));
            CHECK(f.limiter->try_acquire("l", {.cost = 10}));
            f.limiter->acquire("l", {.max_wait = 1h}, [](result<grant> r) { CHECK(r); });
        },
        [&](fixture& f) {
            f.limiter->acquire("k", {.max_wait = 1h}, count);
            f.limiter->acquire("l", {.max_wait = 1h}, count);
            return true;
        },
        [&](fixture& f) {
            f.clock.run_for(f.io, 1h);
            CHECK((served == 2 || allocation::has_failed()));
            CHECK(f.limiter->try_acquire("fresh", {.cost = 10}));
        });
    CHECK(allocations > 0);
    CHECK(told > 0);
}

TEST_CASE("memory: a change, a save and a load are whole, or have not been") {
    each_fails(
        [](fixture& f) { CHECK(f.limiter->try_acquire("k", {.cost = 4})); },
        [](fixture& f) {
            return f.limiter
                ->reconfigure(
                    {.tiers = {{"default", {quota::per(20, 1min).value()}}, {"third", {quota::none()}}}, .busiest = 4})
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
                   return f.limiter->inspect("k").known && f.limiter->snapshot().granted == 1 &&
                          f.limiter->snapshot().busiest.size() == 1 && f.limiter->forget("k");
               },
               [](fixture& f) { CHECK(f.limiter->try_acquire("k", {.cost = 6})); });
}

}  // namespace
}  // namespace headgate
