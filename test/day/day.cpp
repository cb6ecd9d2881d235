// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// Random operations over all public calls of a few zones at once, by actors that know nothing of each other: a day on
// the virtual clock with one thread, and some seconds with threads. HEADGATE_SEED=... repeats a day.

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <headgate/headgate.hpp>

#if defined(__GNUC__) && !defined(__clang__)
// A false positive of g++ 12 at -O1: it believes that Asio's operator new did not allocate the coroutine frame.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

namespace headgate::day {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using asio::awaitable;

std::uint64_t seed() {
    static const std::uint64_t chosen = [] {
        const char* given = std::getenv("HEADGATE_SEED");
        return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    }();
    return chosen;
}

class dice {
public:
    explicit dice(std::uint64_t s) : random_(s) {}

    std::uint64_t below(std::uint64_t n) { return random_() % n; }
    bool one_in(std::uint64_t n) { return below(n) == 0; }
    /// A random duration of any order of magnitude up to `most`. Sometimes it is zero or negative.
    duration span(duration most) {
        if (one_in(16)) {
            return one_in(2) ? duration::zero() : duration{-1};
        }
        const auto bits = std::bit_width(static_cast<std::uint64_t>(most.count()));
        return duration{static_cast<duration::rep>(random_() >> (64 - below(static_cast<std::uint64_t>(bits)) - 1))};
    }
    std::string key() { return std::string(1, static_cast<char>('a' + below(26))) + std::to_string(below(20)); }

private:
    std::mt19937_64 random_;
};

/// Counts open connections, and connections that two users had at once.
struct backend_counts {
    std::atomic<int> open{0};
    std::atomic<int> shared{0};
    std::atomic<std::uint64_t> connects{0};
};

struct connection {
    std::unique_ptr<std::atomic<int>> users = std::make_unique<std::atomic<int>>(0);
};

struct backend {
    backend_counts* count;

    awaitable<connection> connect() {
        if (++count->connects % 17 == 0) {
            throw std::runtime_error("refused");
        }
        ++count->open;
        co_return connection();
    }
    awaitable<bool> ping(connection& c) { co_return c.users->load() == 0 && count->connects % 13 != 0; }
    bool reset(connection& c) { return c.users->load() == 0; }
    void close(connection) { --count->open; }
};

/// What all actors share.
struct town {
    town(asio::io_context& context, virtual_clock* virtual_time, duration between_steps)
        : io(context), clock(virtual_time), pause(between_steps), owner(io, "day", {.clock = clock}) {
        limiter.emplace(rate_limiter::create(owner, "limiter", limiter_options()).value());
        pool.emplace(resource_pool<connection>::create(owner, "pool", pool_settings(4), backend{&counts}).value());
        breaker.emplace(circuit_breaker::create(owner, "breaker", {.reset_timeout = pause * 4}).value());
        places.emplace(bulkhead::create(owner, "places", {.max_concurrent = 3, .max_wait = pause}).value());
    }

    [[nodiscard]] std::vector<tier> tiers(std::uint64_t permits) const {
        return {{"default", {quota::per(permits, pause).value(), quota::per(permits * 100, pause * 500).value()}},
                {"other", {quota::fixed_window(permits, pause * 2).value()}}};
    }
    [[nodiscard]] rate_limiter_options limiter_options() const {
        return {.tiers = tiers(5), .max_keys = 64, .max_waiters = 50, .busiest = 5};
    }
    [[nodiscard]] pool_options pool_settings(std::uint32_t size) const {
        return {.size = size,
                .max_overflow = 2,
                .overflow_ttl = pause * 3,
                .max_waiters = 20,
                .max_wait = pause * 2,
                .max_lifetime = pause * 100,
                .idle_timeout = pause * 50,
                .ping_interval = pause * 10,
                .leak_threshold = pause * 20};
    }

    asio::io_context& io;
    virtual_clock* clock;
    duration pause;
    backend_counts counts;
    headgate::zone owner;
    std::optional<rate_limiter> limiter;
    std::optional<resource_pool<connection>> pool;
    std::optional<circuit_breaker> breaker;
    std::optional<bulkhead> places;
    std::atomic<std::uint64_t> steps{0};
    std::atomic<std::uint64_t> answers{0};
    std::atomic<int> left{0};    // actors that still run
    std::atomic<int> closed{0};  // how often the last actor closed the zone
};

void use(town& t, connection& c) {
    if (c.users->fetch_add(1) != 0) {
        ++t.counts.shared;
    }
    ++t.answers;
    c.users->fetch_sub(1);
}

awaitable<void> rest(town& t, duration span) {
    (void)co_await t.owner.sleep_for(span);
}

/// An operation that takes its time, and ends well, with an error, or by throwing.
awaitable<result<int>> work(town* t, call_context context, duration span, std::uint64_t how) {
    const auto slept =
        co_await t->owner.sleep_for(span, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable));
    if (!slept) {
        co_return slept.error();
    }
    if (how == 0) {
        throw std::runtime_error("work");
    }
    if (how == 1) {
        co_return error(errc::operation_failed);
    }
    ++t->answers;
    co_return 1;
}

awaitable<result<int>> work_with(call_context context, connection& c, town* t, duration span, std::uint64_t how) {
    use(*t, c);
    return work(t, context, span, how);
}

awaitable<void> limit(town& t, dice& d) {
    const std::string key = d.key();
    const std::string_view tier = d.one_in(3) ? "other" : d.one_in(20) ? "unknown" : "";
    switch (d.below(8)) {
        case 0: (void)t.limiter->inspect(key); break;
        case 1: (void)t.limiter->forget(key); break;
        case 2: (void)t.limiter->snapshot().busiest; break;
        case 3: {
            // Removes and adds tiers, and reorders their quotas.
            rate_limiter_options options = t.limiter_options();
            options.tiers = t.tiers(1 + d.below(10));
            if (d.one_in(2)) {
                options.tiers.pop_back();
            }
            if (d.one_in(2)) {
                std::swap(options.tiers.front().quotas.front(), options.tiers.front().quotas.back());
            }
            options.max_waiters += static_cast<std::uint32_t>(d.below(10));
            CHECK(t.limiter->reconfigure(options).has_value());
            break;
        }
        case 4:
        case 5: (void)t.limiter->try_acquire(key, {.cost = d.below(8), .tier = tier}); break;
        default: {
            const acquire_options options{.cost = d.below(4), .max_wait = d.span(t.pause * 3), .tier = tier};
            t.answers += (co_await t.limiter->acquire(key, options)).has_value() ? 1 : 0;
        }
    }
}

awaitable<void> lend(town& t, dice& d) {
    switch (d.below(8)) {
        case 0: (void)t.pool->resize(static_cast<std::uint32_t>(d.below(6)), 2); break;
        case 1: t.pool->pause(); break;
        case 2: t.pool->resume(); break;
        case 3: (void)t.pool->reconfigure(t.pool_settings(static_cast<std::uint32_t>(1 + d.below(5)))); break;
        case 4:
        case 5: {
            // In two steps: g++ 12 destroys a temporary of a conditional expression with co_await twice.
            auto lent = t.pool->try_checkout();
            if (!lent) {
                lent = co_await t.pool->checkout({.max_wait = d.span(t.pause)});
            }
            if (lent) {
                use(t, *lent.value());
                co_await rest(t, d.span(t.pause));
                if (d.one_in(5)) {
                    lent.value().discard();
                }
            }
            break;
        }
        default: {
            const with_options options{.max_wait = d.span(t.pause), .timeout = d.span(t.pause * 2)};
            const duration span = d.span(t.pause);
            const std::uint64_t how = d.below(6);
            town* const where = &t;
            (void)co_await t.pool->with(options, &work_with, where, span, how);
        }
    }
    t.pool->resume();
}

awaitable<void> enter(town& t, dice& d) {
    if (d.one_in(6)) {
        (void)t.places->reconfigure(
            {.max_concurrent = static_cast<std::uint32_t>(1 + d.below(5)), .max_wait = d.span(t.pause)});
    }
    auto permit = t.places->try_enter();
    if (!permit) {
        permit = co_await t.places->enter({.max_wait = d.span(t.pause)});
    }
    if (permit) {
        ++t.answers;
        co_await rest(t, d.span(t.pause));
    }
}

awaitable<void> break_circuit(town& t, dice& d) {
    switch (d.below(10)) {
        case 0: t.breaker->trip(d.span(t.pause)); break;
        case 1: t.breaker->reset(); break;
        case 2: (void)t.breaker->set_mode(static_cast<breaker_mode>(d.below(4))); break;
        case 3:
            (void)t.breaker->reconfigure({.failure_ratio = 0.5, .min_calls = 5, .reset_timeout = t.pause * 2});
            break;
        default: {
            const call_options<> options{.timeout = d.span(t.pause * 2)};
            const duration span = d.span(t.pause);
            const std::uint64_t how = d.below(4);
            town* const where = &t;
            const auto op = [](call_context c, town* to, duration s, std::uint64_t h) { return work(to, c, s, h); };
            (void)co_await t.breaker->run(options, op, where, span, how);
        }
    }
}

awaitable<void> protect(town& t, dice& d) {
    const guard protection(*t.limiter, *t.breaker, *t.pool);
    const std::string key = d.key();
    const guard_call_options<> options{.timeout = d.span(t.pause * 3)};
    const duration span = d.span(t.pause);
    const std::uint64_t how = d.below(10);
    town* const where = &t;
    (void)co_await protection.run(key, options, &work_with, where, span, how);
}

/// Begins an operation, and later cancels it, on the same executor.
awaitable<void> cancel(town& t, dice& d) {
    const auto executor = co_await asio::this_coro::executor;
    asio::cancellation_signal signal;
    bool ended = false;
    const auto token = [&] {
        const auto note = [&ended](const auto&) { ended = true; };
        return asio::bind_cancellation_slot(signal.slot(), asio::bind_executor(executor, note));
    };
    const std::string key = d.key();
    switch (d.below(4)) {
        case 0: t.limiter->acquire(key, {.max_wait = t.pause * 5}, token()); break;
        case 1: t.pool->checkout({.max_wait = t.pause * 5}, token()); break;
        case 2: t.places->enter({.max_wait = t.pause * 5}, token()); break;
        default: t.owner.sleep_for(t.pause * 5, token());
    }
    co_await rest(t, d.span(t.pause));
    constexpr std::array types{asio::cancellation_type::terminal, asio::cancellation_type::partial,
                               asio::cancellation_type::total};
    if (!ended) {
        signal.emit(types[d.below(3)]);
    }
    while (!ended) {
        co_await rest(t, t.pause);
    }
}

constexpr std::array documents{
    R"({"zones": {"a": {"rate_limiters": {"l": {"quota": "3/1s"}}, "bulkheads": {"b": {"max_concurrent": 1}}}}})",
    R"({"zones": {"a": {"rate_limiters": {"l": {"quota": "1/2s"}}, "circuit_breakers": {"c": {}}}, "b": {}}})",
    R"({"zones": {"b": {"rate_limiters": {"l": {"quota": "2/1m"}}, "circuit_breakers": {"c": {"probes": 2}}}}})",
    R"({"zones": {}})"};

/// Zones that come, change and go, by configuration and by hand.
awaitable<void> govern(town& t, dice& d) {
    auto zones = zone_set::create(t.io, config::parse(documents[0]).value(), t.clock).value();
    for (int i = 0; i < 5; ++i) {
        if (auto found = zones->find(d.one_in(2) ? "a" : "b")) {
            zone& z = *found.value();
            if (auto limiter = rate_limiter::find(z, "l")) {
                (void)limiter.value().try_acquire(d.key());
            }
            if (auto places = bulkhead::find(z, "b")) {
                auto permit = places.value().try_enter();
                co_await rest(t, d.span(t.pause));
            }
        }
        const auto next = config::parse(documents[d.below(documents.size())]).value();
        CHECK(zones->reload(next).has_value());
        CHECK(zones->current() == next);
        (void)zones->snapshot();
    }
    headgate::zone own(t.io, "own", {.clock = t.clock});
    auto made = rate_limiter::create(own, "l", quota::per(1, t.pause).value()).value();
    (void)co_await made.acquire("k", {.max_wait = t.pause * 3});
    if (d.one_in(2)) {
        (void)co_await own.drain(d.span(t.pause));
    }
    if (d.one_in(2)) {
        (void)co_await own.close(asio::use_awaitable);
    }
}

awaitable<void> watch(town& t, dice& d) {
    // The handler owns what it uses: it may still run on the strand when this thread ends the subscription.
    const auto listening = t.owner.on_event([last = std::uint64_t{0}](const event& e) mutable {
        CHECK(e.sequence > last);
        last = e.sequence;
    });
    co_await rest(t, d.span(t.pause));
    for (const auto& p : t.owner.snapshot().primitives) {
        for (const auto& m : p.metrics) {
            CHECK(m.value >= 0);
            CHECK(m.value < 1e12);
        }
    }
}

awaitable<void> act(town& t, std::uint64_t own_seed, std::uint64_t steps) {
    dice d(own_seed);
    for (std::uint64_t i = 0; i < steps; ++i) {
        ++t.steps;
        switch (d.below(16)) {
            case 0:
            case 1:
            case 2:
            case 3: co_await limit(t, d); break;
            case 4:
            case 5:
            case 6: co_await lend(t, d); break;
            case 7:
            case 8: co_await enter(t, d); break;
            case 9:
            case 10: co_await break_circuit(t, d); break;
            case 11:
            case 12: co_await protect(t, d); break;
            case 13: co_await cancel(t, d); break;
            case 14: co_await watch(t, d); break;
            default:
                if (d.one_in(8)) {
                    co_await govern(t, d);
                }
        }
        co_await rest(t, d.span(t.pause));
    }
    if (--t.left == 0) {
        // A pool that pings keeps the io_context running until its zone closes.
        t.owner.close([&t](const result<void>& r) { t.closed += r.has_value() ? 1 : 0; });
    }
}

void start_actors(town& t, int actors, std::uint64_t steps) {
    for (int i = 0; i < actors; ++i) {
        ++t.left;
        asio::co_spawn(asio::make_strand(t.io), act(t, seed() + static_cast<std::uint64_t>(i), steps),
                       [](std::exception_ptr e) {
                           if (e) {
                               std::rethrow_exception(e);
                           }
                       });
    }
}

void check_the_end(town& t) {
    CHECK(t.left == 0);
    CHECK(t.closed == 1);
    CHECK(t.counts.open == 0);
    CHECK(t.counts.shared == 0);
    CHECK(t.pool->snapshot().leased == 0);
    CHECK(t.pool->snapshot().waiting == 0);
    CHECK(t.places->snapshot().running == 0);
    CHECK(t.answers > 0);
}

TEST_CASE("a day of everything at once, in virtual time") {
    CAPTURE(seed());
    MESSAGE("HEADGATE_SEED=" << seed());
    asio::io_context io(1);
    virtual_clock clock;
    town t(io, &clock, 10s);
    start_actors(t, 20, 4000);
    clock.run_for(io, 24h);
    for (int extra = 0; t.left > 0 && extra < 200; ++extra) {
        clock.run_for(io, 1h);
    }
    MESSAGE(t.steps.load() << " steps, " << t.answers.load() << " answers, " << t.counts.connects.load()
                           << " connects");
    check_the_end(t);
}

TEST_CASE("everything at once, with threads") {
    CAPTURE(seed());
    MESSAGE("HEADGATE_SEED=" << seed());
    asio::io_context io(3);
    town t(io, nullptr, 2ms);
    start_actors(t, 12, 300);
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&io] { io.run(); });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    MESSAGE(t.steps.load() << " steps, " << t.answers.load() << " answers, " << t.counts.connects.load()
                           << " connects");
    check_the_end(t);
}

}  // namespace
}  // namespace headgate::day
