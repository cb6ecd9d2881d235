// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/guard.hpp>
#include <headgate/retry.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include <array>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/start.hpp"
#include "support/zone_fixture.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

const error io_error = error(boost::system::errc::make_error_code(boost::system::errc::io_error));

/// What an operation gives at its attempts; the last entry for all further ones. An empty one is success.
struct script {
    std::vector<std::optional<error>> ends;
    zone* z = nullptr;
    duration takes{};
    std::vector<time_point> began{};

    std::optional<error> next() {
        began.push_back(z->now());
        return ends[std::min(began.size(), ends.size()) - 1];
    }
};

asio::awaitable<result<int>> play(script* s) {
    const std::optional<error> end = s->next();
    const result<void> slept = co_await s->z->sleep_for(s->takes);
    if (!slept) {
        co_return slept.error();
    }
    if (end) {
        co_return *end;
    }
    co_return static_cast<int>(s->began.size());
}
asio::awaitable<result<int>> play_in(call_context context, script* s) {
    const std::optional<error> end = s->next();
    const result<void> slept =
        co_await s->z->sleep_for(s->takes, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable_t<>{}));
    if (!slept) {
        co_return slept.error();
    }
    if (end) {
        co_return *end;
    }
    co_return static_cast<int>(s->began.size());
}

struct fixture : headgate::test::zone_fixture {
    retry make(const retry_options& options = {}, std::string name = "again") {
        return retry::create(*z, std::move(name), options).value();
    }
    script of(std::vector<std::optional<error>> ends, duration takes = {}) {
        return {.ends = std::move(ends), .z = &*z, .takes = takes};
    }
    template <class Call>
    auto finish(Call call) {
        return test::finish(clock, io, std::move(call));
    }
    template <class Call>
    auto start_call(Call call) {
        auto out = test::start(io, std::move(call));
        io.restart();
        io.poll();
        return out;
    }
};

constexpr retry_options steady{.max_attempts = 3, .backoff_min = 1s, .backoff_max = 1s};

TEST_CASE_FIXTURE(fixture, "retry: create and find; a name taken, a name unknown, options that are wrong") {
    auto again = make();
    CHECK(again.name() == "again");
    CHECK(retry::create(*z, "again").error() == errc::name_taken);
    CHECK(retry::create(*z, "").error() == errc::invalid_argument);
    CHECK(retry::create(*z, "x", {.max_attempts = 0}).error().message().find("max_attempts") != std::string::npos);
    CHECK(retry::find(*z, "x").error() == errc::unknown_name);
    CHECK(retry::find(*z, "again").value().core() == again.core());
    CHECK(again.reconfigure({.budget_ratio = 2}).error() == errc::invalid_argument);
    const auto all = z->snapshot().primitives;
    REQUIRE(all.size() == 1);
    CHECK(to_string(all[0].kind) == "retry");
    CHECK(all[0]["budget"] == 100);
}

TEST_CASE_FIXTURE(fixture, "retry: a call whose first attempt succeeds makes no other") {
    auto again = make();
    script s = of({{}});
    CHECK(finish(again.run(play, &s)).value() == 1);
    const retry_snapshot now = again.snapshot();
    CHECK(now.calls == 1);
    CHECK(now.retries == 0);
    CHECK(now.recovered == 0);
    CHECK(now.budget == doctest::Approx(100.2));
    CHECK(elapsed() == 0s);
}

TEST_CASE_FIXTURE(fixture, "retry: what did not run is tried again after a pause, until it succeeds") {
    auto again = make(steady);
    script s = of({errc::connect_failed, errc::connect_failed, {}});
    CHECK(finish(again.run(play, &s)).value() == 3);
    CHECK(s.began == std::vector{start, start + 1s, start + 2s});
    CHECK(again.snapshot().retries == 2);
    CHECK(again.snapshot().recovered == 1);
}

TEST_CASE_FIXTURE(fixture, "retry: the last error comes back when all attempts were made") {
    auto again = make(steady);
    script s = of({error(errc::connect_failed, "first"), error(errc::connect_failed, "last")});
    const auto r = finish(again.run(play, &s));
    CHECK(r.error() == errc::connect_failed);
    CHECK(*r.error().detail == "last");
    CHECK(s.began.size() == 3);
    CHECK(again.snapshot().out_of_attempts == 1);
}

TEST_CASE_FIXTURE(fixture, "retry: a failure is tried again only when the call says that it is idempotent") {
    auto again = make(steady);
    script s = of({io_error, {}});
    CHECK(finish(again.run(play, &s)).error().code == io_error.code);
    CHECK(again.snapshot().not_retried == 1);
    s = of({io_error, {}});
    CHECK(finish(again.run({.idempotent = true}, play, &s)).value() == 2);
}

TEST_CASE_FIXTURE(fixture, "retry: an exception is a failure, and the last one is the cause") {
    auto again = make(steady);
    int attempts = 0;
    auto op = [&]() -> asio::awaitable<void> {
        throw std::runtime_error("attempt " + std::to_string(++attempts));
        co_return;
    };
    CHECK(finish(again.run(op)).error().message().find("attempt 1") != std::string::npos);
    CHECK(finish(again.run({.idempotent = true}, op)).error().message().find("attempt 4") != std::string::npos);
    auto before_it_is_a_coroutine = [&](int) -> asio::awaitable<void> { throw std::runtime_error("no coroutine"); };
    CHECK(finish(again.run(before_it_is_a_coroutine, 1)).error() == errc::operation_failed);
}

TEST_CASE_FIXTURE(fixture, "retry: an operation says when to come back, or not to") {
    auto again = make(steady);
    script s = of({error(errc::operation_failed, 10s), {}});
    CHECK(finish(again.run(play, &s)).value() == 2);
    CHECK(s.began == std::vector{start, start + 11s});
    s = of({error(errc::connect_failed, do_not_retry), {}});
    CHECK(finish(again.run({.idempotent = true}, play, &s)).error() == errc::connect_failed);
    CHECK(s.began.size() == 1);
}

TEST_CASE_FIXTURE(fixture, "retry: a judge decides otherwise: for a value, for an error, after a time; or throws") {
    auto again = make(steady);
    script s = of({{}});
    auto more = [](const result<int>& r) { return r && r.value() < 2; };
    const retry_call_options<decltype(more)> wants_two{.judge = more};
    CHECK(finish(again.run(wants_two, play, &s)).value() == 2);

    s = of({errc::connect_failed});
    auto never = [](const result<int>&) { return false; };
    const retry_call_options<decltype(never)> once{.judge = never};
    CHECK(finish(again.run(once, play, &s)).error() == errc::connect_failed);
    CHECK(s.began.size() == 1);

    const time_point began = clock.now();
    s = of({errc::rate_limited, {}});
    auto later = [](const result<int>& r) { return r ? retry_verdict(false) : retry_verdict(30s); };
    const retry_call_options<decltype(later)> in_half_a_minute{.judge = later};
    CHECK(finish(again.run(in_half_a_minute, play, &s)).value() == 2);
    CHECK(clock.now() - began == 31s);

    s = of({errc::connect_failed});
    auto broken = [](const result<int>&) -> bool { throw std::runtime_error("the judge"); };
    const retry_call_options<decltype(broken)> with_fault{.judge = broken};
    CHECK(finish(again.run(with_fault, play, &s)).error().message().find("the judge") != std::string::npos);
    CHECK(again.snapshot().not_retried == 2);
    CHECK(again.snapshot().canceled == 0);
}

TEST_CASE_FIXTURE(fixture,
                  "retry: a pause that would reach the deadline does not begin: the last error comes at once") {
    auto again = make(steady);
    script s = of({errc::connect_failed});
    CHECK(finish(again.run({.timeout = 1500ms}, play, &s)).error() == errc::connect_failed);
    CHECK(s.began.size() == 2);
    CHECK(elapsed() == 1s);
    CHECK(again.snapshot().out_of_time == 1);
}

TEST_CASE_FIXTURE(fixture, "retry: the deadline ends the attempt that runs, with and without a context, and the call") {
    auto again = make(steady);
    for (const bool with_context : {false, true}) {
        const time_point began = clock.now();
        script s = of({errc::connect_failed, {}}, 700ms);
        const retry_call_options<> options{.timeout = 2s, .idempotent = true};
        const auto r = with_context ? finish(again.run(options, play_in, &s)) : finish(again.run(options, play, &s));
        CHECK(r.error() == errc::timed_out);
        CHECK(s.began.size() == 2);
        CHECK(clock.now() - began == 2s);
    }
}

TEST_CASE_FIXTURE(fixture, "retry: each attempt has its own timeout; a time-out is tried again when that is harmless") {
    auto again = make({.attempt_timeout = 500ms, .backoff_min = 1s, .backoff_max = 1s});
    for (const bool with_context : {false, true}) {
        const time_point began = clock.now();
        script s = of({{}}, 1h);
        const retry_call_options<> harmless{.idempotent = true};
        CHECK((with_context ? finish(again.run(play_in, &s)) : finish(again.run(play, &s))).error() == errc::timed_out);
        CHECK(s.began.size() == 1);
        s.began.clear();
        const auto r = with_context ? finish(again.run(harmless, play_in, &s)) : finish(again.run(harmless, play, &s));
        CHECK(r.error() == errc::timed_out);
        CHECK(s.began.size() == 3);
        CHECK(clock.now() - began == 500ms + 3 * 500ms + 2s);
    }
}

TEST_CASE_FIXTURE(fixture, "retry: an attempt after one that timed out has all of its time") {
    auto again = make({.attempt_timeout = 500ms, .backoff_min = 1s, .backoff_max = 1s});
    script s = of({{}}, 1h);
    auto op = [](call_context context, script* of) -> asio::awaitable<result<int>> {
        CHECK(context.time_left() == 500ms);
        of->takes = of->began.empty() ? duration(1h) : duration(499ms);
        return play_in(context, of);
    };
    CHECK(finish(again.run({.idempotent = true}, op, &s)).value() == 2);
}

TEST_CASE_FIXTURE(fixture, "retry: no time left is no attempt") {
    auto again = make();
    script s = of({{}});
    for (const duration none : {duration(0), duration(-1h)}) {
        CHECK(finish(again.run({.timeout = none}, play, &s)).error() == errc::wait_timed_out);
    }
    CHECK(s.began.empty());
    CHECK(again.snapshot().calls == 0);
}

TEST_CASE_FIXTURE(fixture, "retry: cancelling ends the pause, or the attempt, and there is no further one") {
    auto again = make(steady);
    for (const bool pausing : {false, true}) {
        for (const auto type :
             {asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total}) {
            asio::cancellation_signal signal;
            std::optional<result<int>> r;
            script s = of({pausing ? error(errc::connect_failed) : io_error}, pausing ? duration() : duration(1h));
            again.async_run(asio::bind_cancellation_slot(signal.slot(), [&](result<int> end) { r = std::move(end); }),
                            {.idempotent = true}, play, &s);
            clock.run_for(io, 500ms);
            CHECK(again.snapshot().waiting == (pausing ? 1 : 0));
            signal.emit(type);
            clock.run_for(io, 0s);
            REQUIRE(r);
            CHECK(is_canceled(r->error()) == true);
            CHECK(s.began.size() == 1);
        }
    }
    CHECK(again.snapshot().waiting == 0);
    CHECK(again.snapshot().canceled + again.snapshot().not_retried == 6);
}

TEST_CASE_FIXTURE(fixture, "retry: a cancellation when the pause is over and the call has not gone on yet is heeded") {
    auto again = make(steady);
    asio::cancellation_signal signal;
    std::optional<result<int>> r;
    script s = of({errc::connect_failed, {}});
    auto caller = [](retry with, script* of, std::optional<result<int>>* out) -> asio::awaitable<void> {
        co_await asio::this_coro::throw_if_cancelled(false);
        out->emplace(co_await with.run(play, of));
    };
    asio::co_spawn(io, caller(again, &s, &r), asio::bind_cancellation_slot(signal.slot(), asio::detached));
    clock.run_for(io, 500ms);
    REQUIRE(again.snapshot().waiting == 1);
    clock.set(clock.now() + 1s);
    z->core()->wake();
    asio::post(io, [&] { signal.emit(asio::cancellation_type::terminal); });
    clock.run(io);
    REQUIRE(r);
    CHECK(r->error() == errc::canceled);
    CHECK(s.began.size() == 1);
}

TEST_CASE_FIXTURE(fixture, "retry: a pause that ends after the deadline gives the last error") {
    auto again = make(steady);
    script s = of({errc::connect_failed, {}});
    auto r = start_call(again.run({.timeout = 1500ms}, play, &s));
    clock.set(clock.now() + 2s);
    clock.run(io);
    CHECK(r->value().error() == errc::connect_failed);
    CHECK(s.began.size() == 1);
    CHECK(again.snapshot().out_of_time == 1);
}

TEST_CASE_FIXTURE(fixture, "retry: an operation may put another cancellation state in the place of its caller's") {
    auto again = make(steady);
    script s = of({errc::connect_failed, errc::connect_failed, {}});
    auto resets = [](script* of) -> asio::awaitable<result<int>> {
        struct filter {
            std::array<char, 500> large{};
            asio::cancellation_type operator()(asio::cancellation_type type) const { return type; }
        };
        co_await asio::this_coro::reset_cancellation_state(filter{});
        co_return co_await play(of);
    };
    asio::cancellation_signal signal;
    std::optional<result<int>> r;
    auto caller = [&](retry with) -> asio::awaitable<void> { r.emplace(co_await with.run(resets, &s)); };
    asio::co_spawn(io, caller(again), asio::bind_cancellation_slot(signal.slot(), asio::detached));
    clock.run(io);
    CHECK(r->value() == 3);
}

TEST_CASE_FIXTURE(fixture, "retry: what an operation says of another attempt holds when it was late, too") {
    auto again = make({.attempt_timeout = 500ms, .backoff_min = 1s, .backoff_max = 1s});
    auto late = [](zone* where, duration after) -> asio::awaitable<result<int>> {
        co_await asio::this_coro::throw_if_cancelled(false);
        (void)co_await where->sleep_for(1h);
        co_return error(errc::operation_failed, after);
    };
    CHECK(finish(again.run({.idempotent = true}, late, &*z, do_not_retry)).error() == errc::timed_out);
    CHECK(elapsed() == 500ms);
    CHECK(finish(again.run({.idempotent = true}, late, &*z, duration(10s))).error() == errc::timed_out);
    CHECK(elapsed() == 500ms + 3 * 500ms + 2 * 11s);
}

TEST_CASE_FIXTURE(fixture, "retry: no judge has a cancelled attempt tried again") {
    auto again = make(steady);
    script s = of({errc::canceled});
    auto always = [](const result<int>&) { return true; };
    const retry_call_options<decltype(always)> how{.judge = always};
    CHECK(finish(again.run(how, play, &s)).error() == errc::canceled);
    CHECK(s.began.size() == 1);
}

TEST_CASE_FIXTURE(fixture, "retry: an attempt that succeeds although it was cancelled is a success") {
    auto again = make(steady);
    asio::cancellation_signal signal;
    std::optional<result<int>> r;
    auto stubborn = [](zone* where) -> asio::awaitable<result<int>> {
        co_await asio::this_coro::throw_if_cancelled(false);
        (void)co_await where->sleep_for(1h);
        co_return 1;
    };
    again.async_run(asio::bind_cancellation_slot(signal.slot(), [&](result<int> end) { r = std::move(end); }), stubborn,
                    &*z);
    clock.run_for(io, 500ms);
    signal.emit(asio::cancellation_type::terminal);
    clock.run_for(io, 0s);
    REQUIRE(r);
    CHECK(r->value() == 1);
    CHECK(again.snapshot().calls == 1);
    CHECK(again.snapshot().canceled == 0);
}

TEST_CASE_FIXTURE(fixture, "retry: a call that is destroyed in its pause leaves nothing behind") {
    std::optional<asio::io_context> context(std::in_place);
    zone other(*context, "other", {.clock = &clock});
    auto again = retry::create(other, "again", steady).value();
    script s{.ends = {errc::connect_failed}, .z = &other};
    auto out = test::start(*context, again.run(play, &s));
    context->poll();
    CHECK(again.snapshot().waiting == 1);
    context.reset();
    CHECK(again.snapshot().waiting == 0);
    CHECK(again.snapshot().canceled == 1);
}

TEST_CASE_FIXTURE(fixture, "retry: a zone that closes ends the pause; one that drains waits for the call") {
    auto again = make(steady);
    script s = of({errc::connect_failed});
    auto pausing = start_call(again.run(play, &s));
    CHECK(again.snapshot().waiting == 1);
    z->close();
    clock.run(io);
    CHECK(pausing->value().error() == errc::shut_down);

    zone other(io, "other", {.clock = &clock});
    auto draining = retry::create(other, "draining", steady).value();
    script slow{.ends = {errc::connect_failed}, .z = &other, .takes = 5s};
    script quick{.ends = {errc::connect_failed}, .z = &other};
    auto running = start_call(draining.run(play, &slow));
    auto waiting = start_call(draining.run(play, &quick));
    CHECK(draining.snapshot().waiting == 1);
    auto drained = start_call(other.drain(1min, asio::use_awaitable_t<>{}));
    CHECK(start_call(draining.run(play, &quick))->value().error() == errc::shut_down);
    clock.run(io);
    CHECK(drained->value().has_value());
    CHECK(running->value().error() == errc::connect_failed);  // a zone that drains begins no further attempt
    CHECK(waiting->value().error() == errc::connect_failed);
    CHECK(slow.began.size() == 1);
    CHECK(quick.began.size() == 1);
}

TEST_CASE_FIXTURE(fixture, "retry: arguments and the operation's own state are kept for every attempt") {
    auto again = make(steady);
    const std::string text = "a text that is longer than any short string";
    auto op = [attempts = 0](std::string given, const std::string* right) mutable -> asio::awaitable<result<int>> {
        const bool same = given == *right;
        given.clear();
        if (!same || ++attempts < 3) {
            co_return error(same ? errc::connect_failed : errc::invalid_argument);
        }
        co_return attempts;
    };
    CHECK(finish(again.run(op, text, &text)).value() == 3);
}

TEST_CASE_FIXTURE(fixture, "retry: an exhausted budget ends a call with its last error, and events tell when") {
    std::string told;
    const auto listening = z->on_event([&](const event& e) {
        told += e.kind == event_kind::budget_exhausted   ? "exhausted "
                : e.kind == event_kind::budget_recovered ? "recovered "
                                                         : "other ";
        CHECK(e.primitive == primitive_kind::retry);
        CHECK(e.name == "again");
    });
    auto again =
        make({.max_attempts = 2, .backoff_min = 1ms, .backoff_max = 1ms, .budget_ratio = 0, .budget_floor = 1});
    script s = of({errc::connect_failed});
    for (int i = 0; i < 13; ++i) {
        CHECK(finish(again.run(play, &s)).error() == errc::connect_failed);
    }
    CHECK(s.began.size() == 13 + 10);
    CHECK(again.snapshot().out_of_budget == 3);
    CHECK(told == "exhausted ");
    clock.run_for(io, 11s);
    CHECK(finish(again.run(play, &s)).error() == errc::connect_failed);
    CHECK(told == "exhausted recovered ");
}

TEST_CASE_FIXTURE(fixture, "retry: a change of options holds for calls that run") {
    auto again = make(steady);
    script s = of({errc::connect_failed});
    auto r = start_call(again.run(play, &s));
    retry_options fewer = steady;
    fewer.max_attempts = 2;
    REQUIRE(again.reconfigure(fewer));
    clock.run(io);
    CHECK(r->value().error() == errc::connect_failed);
    CHECK(s.began.size() == 2);
}

TEST_CASE_FIXTURE(fixture, "retry: with a token; and on an executor type of its own") {
    auto again = make(steady);
    script s = of({errc::connect_failed, {}});
    std::optional<result<int>> by_callback;
    again.async_run([&](result<int> r) { by_callback = std::move(r); }, play, &s);
    CHECK_FALSE(by_callback);
    clock.run(io);
    CHECK(by_callback->value() == 2);
    again.async_run(asio::detached, {.idempotent = true}, play, &s);
    clock.run(io);
    CHECK(s.began.size() == 3);

    using executor = asio::io_context::executor_type;
    auto op = [](int* attempts) -> asio::awaitable<result<int>, executor> {
        if (++*attempts < 2) {
            co_return errc::connect_failed;
        }
        co_return *attempts;
    };
    int attempts = 0;
    CHECK(finish(again.run(op, &attempts)).value() == 2);
}

// As a part of a guard ------------------------------------------------------------------------------------------------

struct thing {};
struct backend {
    asio::awaitable<thing> connect() { co_return thing{}; }
    void close(const thing&) {}
};

TEST_CASE_FIXTURE(fixture,
                  "retry in a guard: each attempt asks breaker, pool and quotas anew, and holds none in a pause") {
    auto again = make(steady);
    auto limits = rate_limiter::create(*z, "limits", quota::per(10, 1h).value()).value();
    auto breaker = circuit_breaker::create(*z, "breaker", {.consecutive_failures = 5}).value();
    auto pool = resource_pool<thing>::create(*z, "pool", {.size = 1}, backend{}).value();
    clock.run(io);
    const time_point began = clock.now();
    const guard g(again, limits, breaker, pool, guard_options{.timeout = 1min});
    script s = of({io_error, io_error, {}});
    auto op = [](thing&, script* of) { return play(of); };
    auto r = start_call(g.run("ann", {.idempotent = true}, op, &s));
    CHECK(again.snapshot().waiting == 1);
    CHECK(pool.snapshot().leased == 0);
    CHECK(breaker.snapshot().failures == 1);
    clock.run(io);
    CHECK(r->value().value() == 3);
    CHECK(clock.now() - began == 2s);
    CHECK(limits.inspect("ann").tightest.used == 3);
    CHECK(breaker.snapshot().failures == 2);
    CHECK(breaker.snapshot().successes == 1);
}

TEST_CASE_FIXTURE(fixture, "retry in a guard: a refusal for load is not tried again; an open circuit is when it fits") {
    auto again = make(steady);
    auto limits = rate_limiter::create(*z, "limits", quota::per(1, 10s).value()).value();
    auto breaker = circuit_breaker::create(*z, "breaker", {.reset_timeout = 30s}).value();
    script s = of({{}});
    const guard limited(again, limits);
    CHECK(finish(limited.run("ann", play, &s)).value() == 1);
    CHECK(finish(limited.run("ann", {.idempotent = true}, play, &s)).error() == errc::rate_limited);
    CHECK(elapsed() == 0s);

    breaker.trip();
    const guard broken(again, breaker, guard_options{.timeout = 20s});
    CHECK(finish(broken.run("ann", play, &s)).error() == errc::circuit_open);
    CHECK(elapsed() == 0s);
    CHECK(finish(broken.run("ann", {.timeout = 40s}, play, &s)).value() == 2);
    CHECK(elapsed() == 31s);
}

TEST_CASE_FIXTURE(fixture, "retry in a guard: a wait for the pool is within the attempt, and not tried again") {
    auto again = make({.attempt_timeout = 2s, .backoff_min = 1s, .backoff_max = 1s});
    auto places = bulkhead::create(*z, "places", {.max_concurrent = 1, .max_wait = 1min}).value();
    auto held = places.try_enter().value();
    script s = of({{}});
    const guard g(again, places);
    CHECK(finish(g.run("ann", {.idempotent = true}, play, &s)).error() == errc::wait_timed_out);
    CHECK(elapsed() == 2s);
    auto waits = start_call(g.run("ann", play, &s));
    held.give_back();
    clock.run(io);
    CHECK(waits->value().value() == 1);
}

TEST_CASE_FIXTURE(fixture, "retry in a guard: by name; an unknown one is told; alone it is a part; on one clock") {
    auto again = make(steady);
    script s = of({errc::connect_failed, {}});
    CHECK(finish(make_guard(*z, {.retry = "again"}).value().run("ann", play, &s)).value() == 2);
    CHECK(make_guard(*z, {.retry = "nobody"}).error() == errc::unknown_name);
    CHECK(finish(guard(again).run("ann", play, &s)).value() == 3);
    const zone real(io, "real");
    const auto other = circuit_breaker::create(real, "b").value();
    CHECK_THROWS_AS(guard(again, other), system_error);
}

TEST_CASE_FIXTURE(fixture,
                  "retry in a guard: an argument that cannot be copied is refused, and passes without a retry") {
    auto again = make(steady);
    auto breaker = circuit_breaker::create(*z, "breaker").value();
    auto op = [](std::unique_ptr<int> n) -> asio::awaitable<int> { co_return *n; };
    auto one = std::make_unique<int>(1);
    CHECK(finish(guard(breaker).run("ann", op, take(one))).value() == 1);
    auto two = std::make_unique<int>(2);
    const auto refused = finish(guard(again, breaker).run("ann", op, take(two)));
    auto many = [](std::vector<std::unique_ptr<int>> all) -> asio::awaitable<int> {
        co_return static_cast<int>(all.size());
    };
    std::vector<std::unique_ptr<int>> numbers(3);  // which claims that it can be copied
    CHECK(finish(guard(breaker).run("ann", many, take(numbers))).value() == 3);
    CHECK(finish(guard(again).run("ann", many, take(numbers))).error() == errc::invalid_argument);
    CHECK(refused.error() == errc::invalid_argument);
    CHECK(refused.error().message().find("copied") != std::string::npos);
    CHECK(breaker.snapshot().admitted == 2);
}

TEST_CASE_FIXTURE(fixture, "retry in a guard: a judge of its own beside the breaker's") {
    auto again = make(steady);
    auto breaker = circuit_breaker::create(*z, "breaker").value();
    script s = of({{}});
    auto failure = [](const result<int>&) { return call_outcome::failure; };
    auto twice = [](const result<int>& r) { return r.value() < 2; };
    const guard_call_options<decltype(failure), decltype(twice)> how{.judge = failure, .retry_judge = twice};
    CHECK(finish(guard(again, breaker).run("ann", how, play, &s)).value() == 2);
    CHECK(breaker.snapshot().failures == 2);
}

}  // namespace
}  // namespace headgate
