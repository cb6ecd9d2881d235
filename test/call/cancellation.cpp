// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_state.hpp>

#include <vector>

#include "fixture.hpp"

namespace headgate::test {
namespace {

using task = asio::awaitable<result<void>>;
using asio::cancellation_type;

const cancellation_type types[] = {cancellation_type::terminal, cancellation_type::partial, cancellation_type::total};

/// An operation that ends when it is cancelled, and remembers the type of the cancellation.
struct probe {
    cancellation_type got = cancellation_type::none;
    int times = 0;
    bool begun = false;

    /// Waits until a signal reaches the slot of its token, and for nothing else.
    template <class Token>
    auto wait(Token&& token) {
        return asio::async_initiate<Token, void(result<void>)>(
            [this](auto handler) {
                auto slot = asio::get_associated_cancellation_slot(handler);
                REQUIRE(slot.is_connected());
                const auto executor = asio::get_associated_executor(handler);
                auto kept = std::make_shared<decltype(handler)>(std::move(handler));
                slot.assign([this, kept, executor](cancellation_type type) {
                    got = got | type;
                    if (times++ == 0) {
                        asio::post(executor, [kept] { std::move (*kept)(result<void>(error(errc::canceled))); });
                    }
                });
            },
            token);
    }
};

struct backend {
    asio::awaitable<int> connect() { co_return 1; }
};

/// A caller, and each way in which it may call an operation.
struct caller : call_fixture {
    explicit caller(int threads = -1) : call_fixture(threads) { clock.run_for(io, 1s); }

    circuit_breaker breaker = circuit_breaker::create(z, "b").value();
    resource_pool<int> pool = resource_pool<int>::create(z, "p", {.size = 1}, backend{}).value();
    guard<> plain_guard{breaker};
    guard<int> pool_guard{breaker, pool};
    asio::cancellation_signal signal;
    std::optional<result<void>> ended;

    auto token() {
        return asio::bind_cancellation_slot(signal.slot(), [this](result<void> r) { ended = std::move(r); });
    }

    template <class Call>
    static task listen(Call call, bool throws) {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        co_await asio::this_coro::throw_if_cancelled(throws);
        result<void> r = co_await std::move(call);
        co_return r;
    }

    /// Calls in way number `form`. `op(context)` and `plain()` are the operation in its two forms.
    template <class Context, class Plain>
    void call(int form, bool throws, Context op, Plain plain) {
        auto on_int = [op](call_context c, int&) { return op(c); };
        auto plain_on_int = [plain](int&) { return plain(); };
        const call_options<> limit{.timeout = 2h};
        const auto await = [&](auto call) { spawn(io, listen(std::move(call), throws), token()); };
        switch (form) {
            case 0: return await(with_timeout(z, 2h, op));
            case 1: return await(with_timeout(z, 2h, plain));
            case 2: return await(with_timeout(z, duration::max(), op));
            case 3: return await(with_timeout(z, duration::max(), plain));
            case 4: return await(breaker.run(op));
            case 5: return await(breaker.run(plain));
            case 6: return await(breaker.run(limit, op));
            case 7: return await(breaker.run(limit, plain));
            case 8: return await(pool.with(on_int));
            case 9: return await(pool.with(plain_on_int));
            case 10: return await(pool.with(with_options{.timeout = 2h}, on_int));
            case 11: return await(pool.with(with_options{.timeout = 2h}, plain_on_int));
            case 12: return await(plain_guard.run("k", op));
            case 13: return await(plain_guard.run("k", plain));
            case 14: return await(pool_guard.run("k", {.timeout = 2h}, on_int));
            case 15: return await(pool_guard.run("k", {.timeout = 2h}, plain_on_int));
            case 16: breaker.async_run(token(), op); return;
            case 17: breaker.async_run(token(), plain); return;
            case 18: breaker.async_run(token(), limit, op); return;
            case 19: breaker.async_run(token(), limit, plain); return;
            case 20: pool.async_with(token(), {}, on_int); return;
            case 21: pool.async_with(token(), {}, plain_on_int); return;
            case 22: plain_guard.async_run(token(), "k", {.timeout = 2h}, op); return;
            default: plain_guard.async_run(token(), "k", {.timeout = 2h}, plain); return;
        }
    }
    static constexpr int forms = 24;

    void check_ended_at(duration when) {
        clock.run_for(io, 0s);
        REQUIRE(ended);
        CHECK(is_canceled(ended->error()));
        CHECK(elapsed() == when);
        CHECK(breaker.snapshot().failures == 0);
        ended.reset();
        clock.run_for(io, 3h);
        CHECK_FALSE(ended);
        CHECK(pool.try_checkout().has_value());
        CHECK(pool.snapshot().waiting == 0);
        CHECK(z.snapshot().operations == 0);
    }
};

// Forms 1, 3, 5, ... take no context.
bool takes_context(int form) {
    return form % 2 == 0;
}

task wait_bound(probe* p, call_context context) {
    p->begun = true;
    co_return co_await p->wait(bound(context.slot()));
}

task wait_unbound(probe* p) {
    p->begun = true;
    co_return co_await p->wait(asio::use_awaitable);
}

// Sleeps for two seconds. No cancellation reaches the sleep.
asio::awaitable<void> deaf(zone& z) {
    (void)co_await z.sleep_for(2s, bound(asio::cancellation_slot()));
}

/// For each kind of io_context, form and type.
template <class F>
void in_every_form(const F& f) {
    for (const int threads : {-1, 1}) {
        for (int form = 0; form < caller::forms; ++form) {
            for (const auto type : types) {
                CAPTURE(threads);
                CAPTURE(form);
                CAPTURE(static_cast<int>(type));
                f(threads, form, type);
            }
        }
    }
}

TEST_CASE("cancellation: each type arrives as what it is, whatever the operation waits for") {
    in_every_form([](int threads, int form, cancellation_type type) {
        for (const bool throws : {true, false}) {
            for (const bool binds : {true, false}) {
                caller c(threads);
                probe p;
                c.call(
                    form, throws,
                    [&](call_context context) { return binds ? wait_bound(&p, context) : wait_unbound(&p); },
                    [&] { return wait_unbound(&p); });
                c.clock.run_for(c.io, 1s);
                CHECK_FALSE(c.ended);
                c.signal.emit(type);
                c.check_ended_at(2s);
                CHECK(p.got == type);
            }
        }
    });
}

TEST_CASE("cancellation: an operation that sleeps ends at once") {
    in_every_form([](int threads, int form, cancellation_type type) {
        caller c(threads);
        c.call(
            form, true,
            [&](call_context context) -> task { co_return co_await c.z.sleep_for(1h, bound(context.slot())); },
            [&]() -> task { co_return co_await c.z.sleep_for(1h); });
        c.clock.run_for(c.io, 1s);
        c.signal.emit(type);
        c.check_ended_at(2s);
    });
}

TEST_CASE("cancellation: between two waits it ends the next one") {
    in_every_form([](int threads, int form, cancellation_type type) {
        for (const bool throws : {true, false}) {
            if (!throws && !takes_context(form)) {
                continue;  // Asio reports a cancellation only once then, and such a coroutine checks its own state
            }
            for (const bool kept : {true, false}) {
                caller c(threads);
                probe p;
                c.call(
                    form, throws,
                    [&](call_context context) -> task {
                        const auto slot = context.slot();
                        co_await asio::this_coro::throw_if_cancelled(throws);
                        co_await deaf(c.z);
                        co_return co_await p.wait(bound(kept ? slot : context.slot()));
                    },
                    [&]() -> task {
                        co_await deaf(c.z);
                        co_return co_await p.wait(asio::use_awaitable);
                    });
                c.clock.run_for(c.io, 1s);
                c.signal.emit(type);
                c.clock.run_for(c.io, 1s - 1ns);
                CHECK_FALSE(c.ended);
                c.clock.run_for(c.io, 1ns);
                c.check_ended_at(3s);
                CHECK(p.got == (throws ? cancellation_type::none : type));
            }
        }
    });
}

TEST_CASE("cancellation: what has not begun does not begin") {
    in_every_form([](int threads, int form, cancellation_type type) {
        for (const bool queued : {true, false}) {
            if (!queued && form < 16) {
                continue;
            }
            caller c(threads);
            probe p;
            auto held = c.pool.try_checkout();
            REQUIRE(held);
            const bool waits_for_pool = form == 8 || form == 9 || form == 10 || form == 11 || form == 14 ||
                                        form == 15 || form == 20 || form == 21;
            if (queued && !waits_for_pool) {
                continue;
            }
            c.call(
                form, true, [&](call_context context) { return wait_bound(&p, context); },
                [&] { return wait_unbound(&p); });
            if (queued) {
                c.clock.run_for(c.io, 1s);
            }
            CHECK_FALSE(c.ended);
            c.signal.emit(type);
            c.clock.run_for(c.io, 0s);
            held.value().give_back();
            c.check_ended_at(queued ? 2s : 1s);
            CHECK_FALSE(p.begun);
        }
    });
}

TEST_CASE("cancellation: one that comes while the operation is made ends its first wait") {
    in_every_form([](int threads, int form, cancellation_type type) {
        caller c(threads);
        probe p;
        c.call(
            form, true,
            [&](call_context context) {
                c.signal.emit(type);
                return wait_bound(&p, context);
            },
            [&] {
                c.signal.emit(type);
                return wait_unbound(&p);
            });
        c.check_ended_at(1s);
        CHECK(p.times == 0);
    });
}

TEST_CASE("cancellation: from a terminal one on, whatever is bound to the slot ends; the others are for one wait") {
    for (const auto type : types) {
        for (const duration limit : {duration(1h), duration::max()}) {
            for (const bool kept : {true, false}) {
                caller c;
                int waits = 0;
                duration slept{};
                const auto op = [&](call_context context) -> task {
                    const auto slot = context.slot();
                    CHECK_FALSE(co_await c.z.sleep_for(10min, bound(slot)));
                    const time_point before = c.z.now();
                    for (; waits < 50; ++waits) {
                        (void)co_await c.z.sleep_for(1s, bound(kept ? slot : context.slot()));
                    }
                    slept = c.z.now() - before;
                    co_return error(errc::canceled);
                };
                spawn(c.io, caller::listen(with_timeout(c.z, limit, op), false), c.token());
                c.clock.run_for(c.io, 1s);
                c.signal.emit(type);
                c.clock.run_for(c.io, 2min);
                REQUIRE(c.ended);
                CHECK(c.ended->error() == errc::canceled);
                CHECK(waits == 50);
                if (type == cancellation_type::terminal) {
                    CHECK(slept <= (kept ? 1s : 0s));
                } else {
                    CHECK(slept == 50s);
                }
            }
        }
    }
}

TEST_CASE("cancellation: a deadline that comes later is terminal, and makes the call timed_out") {
    for (const auto type : {cancellation_type::partial, cancellation_type::total, cancellation_type::terminal}) {
        for (const bool deadline_first : {true, false}) {
            caller c;
            std::vector<cancellation_type> got;
            const auto op = [&](call_context context) -> task {
                for (int i = 0; i < 2; ++i) {
                    probe p;
                    (void)co_await p.wait(bound(context.slot()));
                    got.push_back(p.got);
                    if (i == 0) {
                        co_await deaf(c.z);
                    }
                }
                co_return error(errc::canceled);
            };
            spawn(c.io, caller::listen(with_timeout(c.z, deadline_first ? 1s : 4s, op), false), c.token());
            c.clock.run_for(c.io, deadline_first ? 2s : 1s);
            c.signal.emit(type);
            c.clock.run_for(c.io, 5s);
            REQUIRE(c.ended);
            const bool ended_by_caller = !deadline_first && type == cancellation_type::terminal;
            CHECK(c.ended->error() == (ended_by_caller ? errc::canceled : errc::timed_out));
            REQUIRE(got.size() == 2);
            CHECK(got[0] == (deadline_first ? cancellation_type::terminal : type));
            CHECK(got[1] == cancellation_type::terminal);
        }
    }
}

TEST_CASE("cancellation: a caller that nobody can cancel keeps its operation inside of its own coroutine") {
    for (const bool cancellable : {true, false}) {
        for (const duration limit : {duration(1h), duration::max()}) {
            call_fixture f(1);
            bool connected = false, state = false;
            const auto op = [&](call_context context) -> task {
                connected = context.slot().is_connected();
                const asio::cancellation_state s = co_await asio::this_coro::cancellation_state;
                state = s.slot().is_connected();
                CHECK((context.time_left() == duration::max()) == (limit == duration::max()));
                co_return success();
            };
            asio::cancellation_signal signal;
            bool done = false;
            const auto end = [&](const result<void>& r) { done = r.has_value(); };
            if (cancellable) {
                spawn(f.io, call_fixture::body(f.z, limit, op), asio::bind_cancellation_slot(signal.slot(), end));
            } else {
                spawn(f.io, call_fixture::body(f.z, limit, op), end);
            }
            f.clock.run(f.io);
            CHECK(done);
            CHECK(connected == (cancellable || limit != duration::max()));
            CHECK(state == cancellable);
        }
    }
}

TEST_CASE("cancellation: an operation behaves towards its own cancellation as its caller does, wherever it runs") {
    for (const bool throws : {true, false}) {
        for (const bool cancellable : {true, false}) {
            call_fixture f;
            bool seen = !throws;
            const auto op = [&](call_context) -> task {
                seen = co_await asio::this_coro::throw_if_cancelled();
                co_return success();
            };
            asio::cancellation_signal signal;
            const auto end = [](const result<void>&) {};
            auto body = caller::listen(with_timeout(f.z, 1h, op), throws);
            if (cancellable) {
                spawn(f.io, std::move(body), asio::bind_cancellation_slot(signal.slot(), end));
            } else {
                spawn(f.io, std::move(body), end);
            }
            f.clock.run(f.io);
            CHECK(seen == throws);
        }
    }
}

TEST_CASE("cancellation: of a call within a call it reaches the inner one") {
    for (const auto type : types) {
        for (const bool outer_plain : {true, false}) {
            for (const bool inner_plain : {true, false}) {
                caller c;
                probe p;
                const auto bound_inside = [&](call_context context) { return wait_bound(&p, context); };
                const auto plain_inside = [&] { return wait_unbound(&p); };
                const auto inner = [&]() -> task {
                    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
                    if (inner_plain) {
                        co_return co_await c.breaker.run({.timeout = 1h}, plain_inside);
                    }
                    co_return co_await c.breaker.run({.timeout = 1h}, bound_inside);
                };
                const auto outer = [&](call_context) { return inner(); };
                if (outer_plain) {
                    spawn(c.io, caller::listen(with_timeout(c.z, 2h, inner), true), c.token());
                } else {
                    spawn(c.io, caller::listen(with_timeout(c.z, 2h, outer), true), c.token());
                }
                c.clock.run_for(c.io, 1s);
                c.signal.emit(type);
                c.check_ended_at(2s);
                CHECK(p.got == type);
            }
        }
    }
}

}  // namespace
}  // namespace headgate::test
