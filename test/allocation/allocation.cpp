// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <optional>
#include <string>
#include <utility>

#include <headgate/headgate.hpp>

#include "failing.hpp"

namespace headgate::allocation {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

/// How an operation ended. Either the call that started it threw `bad_alloc`, or it completed once.
template <class T>
struct ending {
    int completed = 0;
    bool threw = false;
    std::optional<result<T>> value;

    /// Calls `start(handler)` while allocations fail.
    template <class Start>
    void begin(const Start& start) {
        const failing scope;
        try {
            start([this](result<T> r) {
                ++completed;
                value.emplace(std::move(r));
            });
        } catch (const std::bad_alloc&) {
            threw = true;
        }
    }
    [[nodiscard]] bool once() const { return completed + (threw ? 1 : 0) == 1; }
    [[nodiscard]] bool well() const { return value && value->has_value(); }
    void forget() { value.reset(); }
};

struct world {
    asio::io_context io{1};
    virtual_clock clock;
    headgate::zone zone{io, "zone", {.clock = &clock}};

    void pass(duration span) { clock.run_for(io, span); }
    /// The same while allocations fail. Exceptions of user code leave through the io_context.
    void pass_failing(duration span) {
        const failing scope;
        try {
            clock.run_for(io, span);
        } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): the loop goes on below
        }
    }
    void finish() {
        pass(1min);
        ending<void> closed;
        zone.close([&](result<void> r) {
            ++closed.completed;
            closed.value.emplace(std::move(r));
        });
        pass(1min);
        CHECK(closed.completed == 1);
        CHECK(zone.snapshot().operations == 0);
    }
};

quota rate(std::uint64_t permits, duration period) {
    return quota::per(permits, period).value();
}

TEST_CASE("every allocation of making primitives") {
    every_allocation([] {
        world w;
        int made = 0;
        {
            const failing scope;
            const auto count = [&](const auto& make) {
                try {
                    made += make().has_value() ? 1 : 0;
                } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): it is tried again below
                }
            };
            count([&] { return rate_limiter::create(w.zone, "limiter", rate(1, 1s)); });
            count([&] { return circuit_breaker::create(w.zone, "breaker"); });
            count([&] { return bulkhead::create(w.zone, "places"); });
            count([&] { return retry::create(w.zone, "again"); });
            count([&] { return hedge::create(w.zone, "twice", {.retry = "again"}); });
            count([&] { return coalescer<int>::create(w.zone, "reads"); });
        }
        CHECK(made >= 4);  // without the retry there is no hedge either
        // When `create` failed, its name is free.
        CHECK((rate_limiter::find(w.zone, "limiter") || rate_limiter::create(w.zone, "limiter", rate(1, 1s))));
        CHECK((circuit_breaker::find(w.zone, "breaker") || circuit_breaker::create(w.zone, "breaker")));
        CHECK((bulkhead::find(w.zone, "places") || bulkhead::create(w.zone, "places")));
        CHECK((retry::find(w.zone, "again") || retry::create(w.zone, "again")));
        CHECK((hedge::find(w.zone, "twice") || hedge::create(w.zone, "twice", {.retry = "again"})));
        CHECK((coalescer<int>::find(w.zone, "reads") || coalescer<int>::create(w.zone, "reads")));
        CHECK(w.zone.snapshot().primitives.size() == 6);
        w.finish();
    });
}

TEST_CASE("every allocation of deciding and waiting for a limiter") {
    every_allocation([] {
        world w;
        auto limiter = rate_limiter::create(w.zone, "limiter", rate(1, 1s)).value();
        {
            const failing scope;
            (void)limiter.try_acquire("k");
            (void)limiter.try_acquire("another");
        }
        ending<grant> first, second;
        first.begin([&](auto handler) { limiter.acquire("k", {.max_wait = 10s}, handler); });
        second.begin([&](auto handler) { limiter.acquire("k", {.max_wait = 10s}, handler); });
        w.pass_failing(10s);
        w.pass(1min);
        CHECK(first.once());
        CHECK(second.once());
        CHECK(limiter.try_acquire("k").has_value());
        w.finish();
    });
}

TEST_CASE("every allocation of changing a limiter") {
    every_allocation([] {
        world w;
        auto limiter = rate_limiter::create(w.zone, "limiter", rate(2, 1s)).value();
        CHECK(limiter.try_acquire("k").has_value());
        {
            const failing scope;
            try {
                (void)limiter.reconfigure(
                    {.tiers = {{"default", {rate(3, 1s), rate(10, 1min)}}, {"other", {rate(1, 1s)}}}});
                (void)limiter.inspect("k");
                (void)limiter.forget("k");
            } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): it works on, below
            }
        }
        CHECK(limiter.try_acquire("k").has_value());
        CHECK(limiter.reconfigure({.tiers = {{"default", {rate(3, 1s)}}}}).has_value());
        CHECK(limiter.try_acquire("k").has_value());
        w.finish();
    });
}

/// A connection that closes in its destructor: without memory a pool only destroys it.
class connection {
public:
    explicit connection(int& open) noexcept : open_(&open) { ++open; }
    connection(connection&& other) noexcept : open_(std::exchange(other.open_, nullptr)) {}
    connection& operator=(connection&&) = delete;
    ~connection() {
        if (open_ != nullptr) {
            --*open_;
        }
    }

private:
    int* open_;
};

struct backend {
    int* open;
    asio::awaitable<connection> connect() { co_return connection(*open); }
    void close(connection) {}
};

TEST_CASE("every allocation of a pool's life") {
    every_allocation([] {
        world w;
        int open = 0;
        std::optional<resource_pool<connection>> pool;
        {
            const failing scope;
            try {
                if (auto made = resource_pool<connection>::create(w.zone, "pool", {.size = 1, .max_overflow = 1},
                                                                  backend{&open})) {
                    pool.emplace(std::move(made).value());
                }
            } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): it is made below
            }
        }
        if (!pool) {
            pool.emplace(
                resource_pool<connection>::create(w.zone, "pool", {.size = 1, .max_overflow = 1}, backend{&open})
                    .value());
        }
        w.pass_failing(10s);
        w.pass(1min);  // the pool retries a failed connect
        ending<lease<connection>> first, second, third;
        first.begin([&](auto handler) { pool->checkout({.max_wait = 1h}, handler); });
        second.begin([&](auto handler) { pool->checkout({.max_wait = 1h}, handler); });
        third.begin([&](auto handler) { pool->checkout({.max_wait = 5s}, handler); });
        w.pass_failing(10s);
        first.forget();
        second.forget();
        third.forget();
        w.pass(2h);
        CHECK(first.once());
        CHECK(second.once());
        CHECK(third.once());
        first.forget();
        second.forget();
        third.forget();
        w.pass(1min);
        CHECK(pool->snapshot().leased == 0);
        CHECK(pool->snapshot().waiting == 0);
        CHECK(pool->try_checkout().has_value());
        w.finish();
        CHECK(open == 0);
    });
}

TEST_CASE("every allocation of a bulkhead") {
    every_allocation([] {
        world w;
        auto places = bulkhead::create(w.zone, "places", {.max_concurrent = 1}).value();
        w.pass(1s);
        ending<bulkhead_permit> first, second;
        first.begin([&](auto handler) { places.enter({.max_wait = 5s}, handler); });
        second.begin([&](auto handler) { places.enter({.max_wait = 5s}, handler); });
        w.pass_failing(1s);
        first.forget();
        w.pass_failing(10s);
        second.forget();
        w.pass(10s);
        first.forget();
        second.forget();
        CHECK(first.once());
        CHECK(second.once());
        CHECK(places.try_enter().has_value());
        w.finish();
    });
}

TEST_CASE("every allocation of a breaker and of its events") {
    every_allocation([] {
        world w;
        int heard = 0;
        subscription listening;
        auto breaker = circuit_breaker::create(w.zone, "breaker", {.consecutive_failures = 1}).value();
        {
            const failing scope;
            try {
                listening = w.zone.on_event([&heard](const event&) { ++heard; });
            } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): nobody listens then
            }
            if (auto permit = breaker.try_begin()) {
                permit.value().failure();
            }
            try {
                (void)breaker.reconfigure({.consecutive_failures = 2});
            } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): it works on, below
            }
        }
        w.pass_failing(1s);
        CHECK(breaker.state() == breaker_state::open);
        breaker.reset();
        CHECK(breaker.try_begin().has_value());
        w.finish();
    });
}

TEST_CASE("every allocation of sleeping, draining and closing") {
    every_allocation([] {
        world w;
        ending<void> sleeps, drained, closed;
        sleeps.begin([&](auto handler) { w.zone.sleep_for(1s, handler); });
        w.pass_failing(2s);
        w.pass(1min);
        CHECK(sleeps.once());
        drained.begin([&](auto handler) { w.zone.drain(1s, handler); });
        w.pass_failing(2s);
        w.pass(1min);
        CHECK(drained.once());
        closed.begin([&](auto handler) { w.zone.close(handler); });
        w.pass_failing(2s);
        w.pass(1min);
        CHECK(closed.once());
        w.finish();
    });
}

asio::awaitable<result<int>> answer() {
    co_return 42;
}

TEST_CASE("every allocation of a guarded call") {
    every_allocation([] {
        world w;
        auto breaker = circuit_breaker::create(w.zone, "breaker", {.consecutive_failures = 1}).value();
        auto limiter = rate_limiter::create(w.zone, "limiter", rate(1, 1h)).value();
        auto places = bulkhead::create(w.zone, "places", {.max_concurrent = 1, .max_wait = 5s}).value();
        w.pass(1s);
        const guard protection(breaker, limiter, places);
        ending<int> e;
        {
            auto held = places.try_enter();
            e.begin([&](auto handler) { protection.async_run(handler, "k", {.timeout = 10s}, &answer); });
            w.pass_failing(1s);
        }
        w.pass_failing(1s);
        w.pass(1min);
        CHECK(e.once());
        CHECK(places.snapshot().running == 0);
        // A refused call costs no permit. A call that could not begin because memory was out does cost one.
        if (e.value && e.value->has_error() && e.value->error() == errc::wait_timed_out) {
            CHECK(limiter.try_acquire("k").has_value());
        }
        CHECK(breaker.try_begin().has_value());
        w.finish();
    });
}

asio::awaitable<result<int>> answer_later(int* attempts) {
    if (++*attempts < 3) {
        co_return errc::connect_failed;
    }
    co_return 42;
}

TEST_CASE("every allocation of a call that is tried again, and of its events") {
    every_allocation([] {
        world w;
        const auto listening = w.zone.on_event([](const event&) {});
        auto again = retry::create(w.zone, "again", {.budget_ratio = 0, .budget_floor = 1}).value();
        const guard protection(again, circuit_breaker::create(w.zone, "breaker").value());
        ending<int> e;
        int attempts = 0;
        e.begin([&](auto handler) { protection.async_run(handler, "k", {.timeout = 10s}, answer_later, &attempts); });
        w.pass_failing(20s);
        w.pass(1min);
        CHECK(e.once());
        CHECK((!e.value || e.value->has_value() || e.value->error() == errc::out_of_memory));
        {
            const failing scope;
            try {
                (void)again.reconfigure({.max_attempts = 5});
            } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): it works on, below
            }
        }
        CHECK(again.snapshot().waiting == 0);
        CHECK(again.snapshot().calls <= 1);
        w.finish();
    });
}

constexpr const char* document =
    R"({"zones": {"z": {"rate_limiters": {"l": {"quota": "1/1s"}}, "bulkheads": {"b": {"max_concurrent": 1}},
        "circuit_breakers": {"c": {}}}}})";
constexpr const char* other_document =
    R"({"zones": {"z": {"rate_limiters": {"l": {"quota": "2/1s"}}, "circuit_breakers": {"d": {}}}, "y": {}}})";

TEST_CASE("every allocation of a reload: all of it, or nothing") {
    every_allocation([] {
        asio::io_context io{1};
        virtual_clock clock;
        auto zones = zone_set::create(io, config::parse(document).value(), &clock).value();
        const config next = config::parse(other_document).value();
        const std::string before = zones->dump();
        bool applied = false;
        {
            const failing scope;
            try {
                applied = zones->reload(next).has_value();
            } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): nothing was applied then
            }
        }
        CHECK((zones->dump() == before) == !applied);
        CHECK(zones->find("y").has_value() == applied);
        const zone& z = *zones->find("z").value();
        CHECK(circuit_breaker::find(z, "d").has_value() == applied);
        CHECK(circuit_breaker::find(z, "c").has_value() == !applied);
        CHECK(zones->reload(next).has_value());
        CHECK(zones->find("y").has_value());
        clock.run_for(io, 1s);
        zones.reset();
        clock.run_for(io, 1s);
    });
}

TEST_CASE("every allocation of reading a configuration") {
    every_allocation([] {
        const failing scope;
        try {
            const auto parsed = config::parse(document);
            if (parsed) {
                (void)parsed.value().to_json();
            }
        } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): that is all that may happen
        }
    });
}

}  // namespace
}  // namespace headgate::allocation
