// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// Each allocation of a call fails once: the call ends as `out_of_memory`, or succeeds all the same, and the zone
// closes.

#include <boost/asio/recycling_allocator.hpp>

#include <cstddef>
#include <new>
#include <vector>

#include <headgate/coalescer.hpp>
#include <headgate/hedge.hpp>

#include "../allocation/failing.hpp"
#include "fixture.hpp"

namespace headgate::test {
namespace {

using allocation::every_allocation;
using allocation::failing;
using task = asio::awaitable<result<void>>;

struct backend {
    asio::awaitable<int> connect() { co_return 1; }
};

asio::awaitable<void> nothing() {
    co_return;
}

/// Takes all blocks out of this thread's caches, so that the next allocations are real ones.
class empty_caches {
public:
    empty_caches() {
        for (int i = 0; i < 8; ++i) {
            frames_.push_back(nothing());
            blocks_.push_back(asio::recycling_allocator<char>().allocate(1));
        }
    }
    empty_caches(const empty_caches&) = delete;
    empty_caches& operator=(const empty_caches&) = delete;
    ~empty_caches() {
        for (char* const block : blocks_) {
            asio::recycling_allocator<char>().deallocate(block, 1);
        }
    }

private:
    std::vector<asio::awaitable<void>> frames_;
    std::vector<char*> blocks_;
};

/// One coroutine that makes one call. Allocations fail from the call until its end. The io_context is for one thread:
/// with more threads it would need Asio's strand, which does not survive a failed allocation.
struct world : call_fixture {
    world() : call_fixture(1) {
        clock.run_for(io, 1s);
        running = &io;
        allocation::fail_only([] { return running->get_executor().running_in_this_thread(); });
    }
    ~world() { allocation::fail_only(nullptr); }
    world(const world&) = delete;
    world& operator=(const world&) = delete;

    inline static asio::io_context* running = nullptr;  // the test's clock may always allocate

    circuit_breaker breaker = circuit_breaker::create(z, "b").value();
    rate_limiter limiter = rate_limiter::create(z, "l", quota::per(1, 1s).value()).value();
    resource_pool<int> pool = resource_pool<int>::create(z, "p", {.size = 1}, backend{}).value();
    bulkhead places = bulkhead::create(z, "places", {.max_concurrent = 1}).value();
    retry again = retry::create(z, "again").value();
    hedge twice = hedge::create(z, "twice", {.retry = "again", .delay = 1s}).value();
    coalescer<void> reads = coalescer<void>::create(z, "reads").value();
    guard<int> all{breaker, limiter, pool, guard_options{.timeout = 1h}};
    asio::cancellation_signal signal;
    std::optional<failing> scope;
    int ended = 0;
    int attempts = 0;
    bool threw = false;
    std::optional<error> why;

    template <class T>
    void end(const result<T>& r) {
        scope.reset();
        ++ended;
        if (!r) {
            why = r.error();
        }
    }

    template <class Call>
    static asio::awaitable<void> caller(world* w, Call call) {
        co_await asio::this_coro::throw_if_cancelled(false);
        const empty_caches held;
        try {
            w->scope.emplace();
            w->end(co_await call(*w));
        } catch (const std::bad_alloc&) {
            w->scope.reset();
            ++w->ended;
            w->threw = true;
        }
    }

    template <class Call>
    void begin(Call call, bool cancellable) {
        if (cancellable) {
            asio::co_spawn(io, caller(this, call), asio::bind_cancellation_slot(signal.slot(), asio::detached));
        } else {
            asio::co_spawn(io, caller(this, call), asio::detached);
        }
    }
    void finish() {
        CHECK(ended == 1);
        CHECK(pool.snapshot().leased == 0);
        CHECK(pool.snapshot().waiting == 0);
        CHECK(places.snapshot().running == 0);
        CHECK((z.core()->refusing() || breaker.try_begin().has_value()));
        bool closed = false;
        z.close([&](const result<void>&) { closed = true; });
        clock.run_for(io, 1min);
        CHECK(closed);
        CHECK(z.snapshot().operations == 0);
    }
};

task sleep_with_context(call_context context, zone* z) {
    co_return co_await z->sleep_for(1s, bound(context.slot()));
}
task sleep_without(zone* z) {
    co_return co_await z->sleep_for(1s);
}
task sleep_with_resource(call_context context, int&, zone* z) {
    return sleep_with_context(context, z);
}
task sleep_with_resource_only(int&, zone* z) {
    return sleep_without(z);
}
task at_once() {
    co_return success();
}

/// Fails each allocation of one call once. `may_throw`: the expression that makes the call allocates, too.
template <class Call>
void fail_each(Call call, bool may_throw = false) {
    for (const bool cancellable : {false, true}) {
        CAPTURE(cancellable);
        every_allocation([&] {
            world w;
            auto resource = w.pool.try_checkout();
            REQUIRE(resource);
            auto place = w.places.try_enter();
            REQUIRE(place);
            w.begin(call, cancellable);
            CHECK_NOTHROW(w.clock.run_for(w.io, 1s));
            resource.value().give_back();
            place.value().give_back();
            CHECK_NOTHROW(w.clock.run_for(w.io, 1min));
            CHECK((!w.why || *w.why == errc::out_of_memory));
            CHECK((may_throw || !w.threw));
            w.finish();
        });
    }
}

/// The same, and cancels the call midway.
template <class Call>
void fail_each_and_cancel(Call call) {
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total}) {
        CAPTURE(static_cast<int>(type));
        every_allocation([&] {
            world w;
            w.begin(
                [call](world& inner) -> task {
                    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
                    co_return co_await call(inner);
                },
                true);
            CHECK_NOTHROW(w.clock.run_for(w.io, 500ms));
            try {
                w.signal.emit(type);
            } catch (const std::bad_alloc&) {
                w.signal.emit(type);  // the exception said that the signal has not arrived
            }
            const time_point before = w.clock.now();
            CHECK_NOTHROW(w.clock.run_for(w.io, 100ms));
            CHECK(w.ended == 1);
            CHECK((w.threw || (w.why && (*w.why == errc::canceled || *w.why == errc::out_of_memory))));
            CHECK(w.clock.now() == before + 100ms);
            w.finish();
        });
    }
}

asio::awaitable<result<void>> fail_once(int* attempts) {
    if (++*attempts == 1) {
        co_return errc::connect_failed;
    }
    co_return success();
}

asio::awaitable<result<void>> slow_first(zone* z, int* attempts) {
    co_await asio::this_coro::throw_if_cancelled(false);
    co_return co_await z->sleep_for(++*attempts == 1 ? 10s : 1ms);
}
asio::awaitable<result<void>> sleep_long(zone* z) {
    co_return co_await z->sleep_for(1h);
}

TEST_CASE("memory: every allocation of a call that is tried again, awaited plainly") {
    fail_each(
        [](world& w) -> task {
            auto again = retry::find(w.z, "again").value();
            int attempts = 0;
            const result<void> r = co_await again.run(fail_once, &attempts);
            CHECK(again.snapshot().waiting == 0);
            co_return r;
        },
        true);
    fail_each_and_cancel([](world& w) -> task {
        const headgate::error later(errc::connect_failed, 1min);
        auto refuse = [&later]() -> task { co_return later; };
        co_return co_await retry::find(w.z, "again").value().run(refuse);
    });
}

TEST_CASE("memory: every allocation of a call that is hedged, awaited plainly") {
    fail_each(
        [](world& w) -> task {
            auto twice = hedge::find(w.z, "twice").value();
            int attempts = 0;
            const result<void> r = co_await twice.run({.idempotent = true}, fail_once, &attempts);
            if (!r && r.error() == errc::connect_failed) {
                co_return success();  // there was no memory for the second attempt
            }
            co_return r;
        },
        true);
    fail_each(
        [](world& w) -> task {
            auto twice = hedge::find(w.z, "twice").value();
            co_return co_await twice.run({.timeout = 1h, .idempotent = true}, slow_first, &w.z, &w.attempts);
        },
        true);
    fail_each_and_cancel([](world& w) -> task {
        co_return co_await hedge::find(w.z, "twice").value().run({.idempotent = true}, sleep_long, &w.z);
    });
}

TEST_CASE("memory: every allocation of a call that is coalesced, awaited plainly") {
    fail_each(
        [](world& w) -> task {
            auto reads = coalescer<void>::find(w.z, "reads").value();
            int attempts = 1;
            const std::string key = "a key that is longer than a string object";
            co_return co_await reads.run(key, fail_once, &attempts);
        },
        true);
    fail_each(
        [](world& w) -> task {
            auto reads = coalescer<void>::find(w.z, "reads").value();
            const result<void> r = co_await reads.run("k", {.timeout = 1h}, sleep_without, &w.z);
            CHECK(reads.snapshot().waiting == 0);
            co_return r;
        },
        true);
    fail_each_and_cancel([](world& w) -> task {
        co_return co_await coalescer<void>::find(w.z, "reads").value().run("k", sleep_long, &w.z);
    });
}

TEST_CASE("memory: every allocation of an operation that waits, awaited plainly") {
    fail_each([](world& w) { return w.pool.checkout(); });
    fail_each([](world& w) { return w.places.enter(); });
    fail_each([](world& w) {
        (void)w.limiter.try_acquire("k");
        return w.limiter.acquire("k", {.max_wait = 10s});
    });
}

TEST_CASE("memory: every allocation of an operation that is awaited with a token") {
    fail_each([](world& w) { return w.pool.checkout(asio::use_awaitable); }, true);
    fail_each([](world& w) { return w.places.enter({}, asio::use_awaitable); }, true);
    fail_each([](world& w) { return w.limiter.acquire("k", {.max_wait = 10s}, asio::use_awaitable); }, true);
    fail_each([](world& w) { return w.z.sleep_for(1s); }, true);
    fail_each([](world& w) { return w.z.drain(10s); }, true);
    fail_each([](world& w) { return w.z.close(asio::use_awaitable); }, true);
    fail_each([](world& w) { return w.pool.drain(10s); }, true);
}

TEST_CASE("memory: every allocation of a call with a timeout") {
    for (const duration limit : {duration(1h), duration::max()}) {
        fail_each([limit](world& w) { return with_timeout(w.z, limit, &sleep_with_context, &w.z); });
        fail_each([limit](world& w) { return with_timeout(w.z, limit, &sleep_without, &w.z); });
        fail_each([limit](world& w) { return with_timeout(w.z, limit, &at_once); });
        fail_each_and_cancel([limit](world& w) { return with_timeout(w.z, limit, &sleep_with_context, &w.z); });
        fail_each_and_cancel([limit](world& w) { return with_timeout(w.z, limit, &sleep_without, &w.z); });
    }
}

TEST_CASE("memory: every allocation of a call of a breaker, a pool, a bulkhead and a guard") {
    fail_each([](world& w) { return w.breaker.run(&sleep_with_context, &w.z); });
    fail_each([](world& w) { return w.breaker.run(&sleep_without, &w.z); });
    fail_each([](world& w) { return w.pool.with(&sleep_with_resource, &w.z); });
    fail_each([](world& w) { return w.pool.with(with_options{.timeout = 1h}, &sleep_with_resource_only, &w.z); });
    fail_each([](world& w) { return w.places.with(&sleep_with_context, &w.z); });
    fail_each([](world& w) { return w.all.run("k", &sleep_with_resource, &w.z); });
    fail_each([](world& w) { return w.all.run("k", &sleep_with_resource_only, &w.z); });
    fail_each_and_cancel([](world& w) { return w.breaker.run(&sleep_with_context, &w.z); });
    fail_each_and_cancel([](world& w) { return w.pool.with(&sleep_with_resource, &w.z); });
    fail_each_and_cancel([](world& w) { return w.all.run("k", &sleep_with_resource, &w.z); });
    fail_each_and_cancel([](world& w) { return w.all.run("k", &sleep_with_resource_only, &w.z); });
}

TEST_CASE("memory: every allocation of a call with a token, and of spawn") {
    fail_each([](world& w) { return w.breaker.async_run(asio::use_awaitable, &sleep_with_context, &w.z); }, true);
    fail_each([](world& w) { return w.pool.async_with(asio::use_awaitable, {}, &sleep_with_resource, &w.z); }, true);
    fail_each([](world& w) { return w.all.async_run(asio::use_awaitable, "k", &sleep_with_resource_only, &w.z); },
              true);
    fail_each([](world& w) { return spawn(w.io, sleep_without(&w.z), asio::use_awaitable); }, true);
    fail_each([](world& w) { return spawn(w.io, at_once(), asio::use_awaitable); }, true);
}

}  // namespace
}  // namespace headgate::test
