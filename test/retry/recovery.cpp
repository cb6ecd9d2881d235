// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// Clients that try again, behind one guard with every part, and a backend that fails and becomes slow again and again.

#include <headgate/guard.hpp>
#include <headgate/retry.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "support/zone_fixture.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

constexpr int clients = 100;      // each calls about once a second
constexpr duration cycle = 1min;  // well for half of it, failing for a quarter, slow for a quarter
constexpr duration length = 4min;

struct connection {};
struct connections {
    asio::awaitable<connection> connect() { co_return connection{}; }
};

struct backend {
    zone* where;
    time_point start;
    std::vector<int> attempts = std::vector<int>(static_cast<std::size_t>(length / 1s) + 60);

    [[nodiscard]] duration in_cycle() const { return (where->now() - start) % cycle; }
    [[nodiscard]] bool failing() const { return in_cycle() >= 30s && in_cycle() < 45s; }
    [[nodiscard]] bool slow() const { return in_cycle() >= 45s; }
};

asio::awaitable<result<void>> ask(call_context context, connection&, backend* b) {
    ++b->attempts[static_cast<std::size_t>((b->where->now() - b->start) / 1s)];
    const duration takes = b->slow() ? duration(2s) : duration(5ms);
    const result<void> slept =
        co_await b->where->sleep_for(takes, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable_t<>{}));
    if (!slept || b->failing()) {
        co_return error(boost::system::errc::make_error_code(boost::system::errc::io_error));
    }
    co_return success();
}

struct counts {
    std::uint64_t calls = 0, good = 0;
};

asio::awaitable<void> client(guard<connection> g, backend* b, counts* c, duration first) {
    (void)co_await b->where->sleep_for(first);
    while (b->where->now() - b->start < length) {
        ++c->calls;
        const result<void> r = co_await g.run("all", {.idempotent = true}, ask, b);
        c->good += r ? 1 : 0;
        (void)co_await b->where->sleep_for(1s - 5ms);
    }
}

struct seen {
    int steady = 0;       ///< Attempts in a second of a service that runs well, at most.
    int most = 0;         ///< The same at any time.
    int most_in_ten = 0;  ///< The same in ten seconds.
    counts of{};
};

struct fixture : test::zone_fixture {
    resource_pool<connection> pool =
        resource_pool<connection>::create(*z, "backend", {.size = 1000, .max_wait = 200ms}, connections{}).value();

    seen run(const guard<connection>& g) {
        backend b{&*z, clock.now()};
        seen out;
        for (int i = 0; i < clients; ++i) {
            asio::co_spawn(io, client(g, &b, &out.of, i * 1s / clients), asio::detached);
        }
        clock.run_for(io, length + 1min);
        for (std::size_t s = 10; s < static_cast<std::size_t>(length / 1s); ++s) {
            const auto in_cycle = s % static_cast<std::size_t>(cycle / 1s);
            out.steady = in_cycle > 15 && in_cycle < 29 ? std::max(out.steady, b.attempts[s]) : out.steady;
            out.most = std::max(out.most, b.attempts[s]);
            const auto end = b.attempts.begin() + static_cast<std::ptrdiff_t>(s);
            out.most_in_ten = std::max(out.most_in_ten, std::accumulate(end - 10, end, 0));
        }
        MESSAGE("calls " << out.of.calls << ", good " << out.of.good << ", attempts a second: steady " << out.steady
                         << ", most " << out.most << ", in ten seconds " << out.most_in_ten);
        return out;
    }
};

TEST_CASE_FIXTURE(fixture, "retry: a backend that recovers sees at most 1.2 times the attempts of a steady service") {
    auto again = retry::create(*z, "again", {.attempt_timeout = 500ms}).value();
    const seen all =
        run(guard(again, rate_limiter::create(*z, "calls", quota::per(1000, 1s).value()).value(),
                  circuit_breaker::create(*z, "backend", {.reset_timeout = 2s, .max_reset_timeout = 4s}).value(), pool,
                  guard_options{.timeout = 5s}));
    CHECK(all.steady >= clients * 95 / 100);
    CHECK(all.steady <= clients * 105 / 100);
    CHECK(all.most <= all.steady * 12 / 10);
    CHECK(again.snapshot().retries > 100);
    CHECK(again.snapshot().recovered > 10);
    CHECK(all.of.good > all.of.calls / 2);
}

TEST_CASE_FIXTURE(fixture,
                  "retry: without a breaker the budget bounds the attempts of ten seconds; without both they double") {
    auto budget = retry::create(*z, "budget", {.attempt_timeout = 500ms, .budget_floor = 5}).value();
    const seen bounded = run(guard(budget, pool, guard_options{.timeout = 5s}));
    // What ten seconds have deposited, and what came in meanwhile: a fifth and the floor, twice.
    CHECK(bounded.most_in_ten <= bounded.steady * 15);
    CHECK(bounded.most_in_ten > bounded.steady * 11);
    auto none = retry::create(*z, "none", {.attempt_timeout = 500ms, .budget_ratio = 1, .budget_floor = 1000}).value();
    const seen unbounded = run(guard(none, pool, guard_options{.timeout = 5s}));
    CHECK(unbounded.most_in_ten > unbounded.steady * 18);
}

}  // namespace
}  // namespace headgate
