// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>

#include <array>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include <headgate/headgate.hpp>

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

// Cancelled before the queue ------------------------------------------------------------------------------------------

/// A waiter that counts how often it completes.
template <class Waiter>
class counted final : public Waiter {
public:
    using Waiter::Waiter;

    void complete() noexcept override { ++completed; }
    void abandon() noexcept override {}
    [[nodiscard]] errc why() {
        if constexpr (requires { this->refusal(); }) {
            return this->refusal() == errc::canceled ? errc::canceled : errc{};
        } else {
            const auto r = this->take();
            return !r && r.error() == errc::canceled ? errc::canceled : errc{};
        }
    }

    int completed = 0;
};

struct fixture {
    virtual_clock clock;
    asio::io_context io;
    zone z{io, "z", {.clock = &clock}};

    template <class Core>
    std::shared_ptr<Core> core_of(primitive_kind kind, const char* name) {
        return std::static_pointer_cast<Core>(z.core()->find(kind, name).value());
    }
    /// Cancels `w`, and then puts it into the queue.
    template <class Waiter, class... Args>
    void check(counted<Waiter>& w, auto& queue, Args... args) {
        w.on_cancel();
        w.on_cancel();
        CHECK(w.completed == 0);
        queue.enqueue(w, args...);
        CHECK(w.completed == 1);
        CHECK(w.why() == errc::canceled);
        w.on_cancel();
        CHECK(w.completed == 1);
    }
};

struct no_backend {
    asio::awaitable<int> connect() { co_return 1; }
};

TEST_CASE_FIXTURE(fixture, "a cancellation that is faster than the queue decides, and nothing was taken") {
    auto limiter = rate_limiter::create(z, "limiter", quota::per(1, 1h).value()).value();
    auto gate = bulkhead::create(z, "gate", {.max_concurrent = 1}).value();
    auto pool = resource_pool<int>::create(z, "pool", {.size = 1}, no_backend{}).value();
    clock.run_for(io, 0s);
    {
        counted<detail::sleep_waiter> w(*z.core());
        check(w, *z.core(), duration(1h));
    }
    {
        const auto core = core_of<detail::limiter_core>(primitive_kind::rate_limiter, "limiter");
        const key k("k");
        counted<detail::acquire_waiter> w(core, detail::limiter_request{.hash = 7});
        check(w, *core, z.now(), duration(1h));
        CHECK(core->decide({.hash = 7}, z.now(), {}).what == detail::verdict::granted);
    }
    {
        const auto core = core_of<detail::bulkhead_core>(primitive_kind::bulkhead, "gate");
        counted<detail::bulkhead_waiter> w(core);
        check(w, *core, duration(1h), z.now());
        CHECK(gate.snapshot().running == 0);
        CHECK(gate.try_enter());
    }
    {
        const auto core = core_of<detail::pool_core>(primitive_kind::resource_pool, "pool");
        counted<detail::checkout_waiter> w(core, detail::lease_place{});
        check(w, *core, duration(1h), z.now());
        CHECK(pool.snapshot().leased == 0);
        CHECK(pool.try_checkout());
        const auto held = pool.try_checkout();
        counted<detail::pool_drain_waiter> drain(core);
        check(drain, *core, duration(1h));
    }
    {
        counted<detail::idle_waiter> w(*z.core());
        check(w, *z.core(), detail::idle_wait::drain, duration(1h));
        CHECK(z.core()->refusing());  // the drain itself goes on
    }
}

/// Its is_alive cancels the checkout that calls it.
struct cancels_who_asks {
    asio::cancellation_signal* signal;
    bool alive;
    int made = 0;

    asio::awaitable<int> connect() { co_return ++made; }
    bool is_alive(int&) const {
        signal->emit(asio::cancellation_type::terminal);
        return alive;
    }
};

TEST_CASE_FIXTURE(fixture, "a checkout may be cancelled while the pool asks its backend") {
    for (const bool alive : {true, false}) {
        CAPTURE(alive);
        asio::cancellation_signal signal;
        auto pool =
            resource_pool<int>::create(z, alive ? "a" : "b", {.size = 1}, cancels_who_asks{&signal, alive}).value();
        clock.run_for(io, 1s);
        std::optional<result<lease<int>>> got;
        pool.checkout({.max_wait = 1h}, asio::bind_cancellation_slot(
                                            signal.slot(), [&](result<lease<int>> r) { got.emplace(std::move(r)); }));
        clock.run_for(io, 1s);
        REQUIRE(got);
        CHECK(got->has_value() == alive);  // too late when the resource is alive
        CHECK((alive || got->error() == errc::canceled));
        got.reset();
        clock.run_for(io, 1s);
        CHECK(pool.snapshot().leased == 0);
        CHECK(pool.snapshot().waiting == 0);
    }
}

// During the end of an io_context -------------------------------------------------------------------------------------

asio::awaitable<void> sleep_in_a_coroutine(zone& z, std::promise<bool>& ended) {
    const auto slept = co_await z.sleep_for(1h);
    ended.set_value(!slept && slept.error() == errc::shut_down);
}

TEST_CASE("what completes on another io_context ends there when the zone's goes, beside its own cancellation") {
    asio::io_context theirs;
    auto work = asio::make_work_guard(theirs);
    std::thread runs([&] { theirs.run(); });
    const auto there = [&](auto f) { asio::post(theirs, asio::use_future(std::move(f))).get(); };
    for (int round = 0; round < 200; ++round) {
        std::optional<asio::io_context> io(std::in_place);
        std::optional<zone> z(std::in_place, *io, "z");
        auto limiter = rate_limiter::create(*z, "limiter", quota::per(1, 1h).value()).value();
        auto gate = bulkhead::create(*z, "gate", {.max_concurrent = 1}).value();
        auto pool = resource_pool<int>::create(*z, "pool", {.size = 1}, no_backend{}).value();
        CHECK(limiter.try_acquire("k"));
        const auto place = gate.try_enter();
        io->poll();
        const auto lent = pool.try_checkout();
        REQUIRE(lent);
        std::array<asio::cancellation_signal, 6> signals;
        std::array<std::promise<bool>, 6> ended;
        std::promise<bool> resumed;
        const auto token = [&](std::size_t i) {
            return asio::bind_cancellation_slot(
                signals[i].slot(), asio::bind_executor(theirs, [&, i](const auto& r) {
                    const bool right = !r && (r.error() == errc::canceled || r.error() == errc::shut_down);
                    ended[i].set_value(right && std::this_thread::get_id() == runs.get_id());
                }));
        };
        asio::co_spawn(theirs, sleep_in_a_coroutine(*z, resumed), asio::detached);
        there([&] {
            z->sleep_for(1h, token(0));
            limiter.acquire("k", {.max_wait = 2h}, token(1));
            gate.enter({.max_wait = 1h}, token(2));
            pool.checkout({.max_wait = 1h}, token(3));
            pool.drain(1h, token(4));
            z->drain(1h, token(5));
        });
        asio::post(theirs, [&] {
            for (auto& signal : signals) {
                signal.emit(asio::cancellation_type::terminal);
            }
        });
        io.reset();
        for (auto& one : ended) {
            CHECK(one.get_future().get());
        }
        CHECK(resumed.get_future().get());
        there([] {});  // waits until no handler holds a signal
        z.reset();
    }
    work.reset();
    runs.join();
}

}  // namespace
}  // namespace headgate
