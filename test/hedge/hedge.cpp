// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/circuit_breaker.hpp>
#include <headgate/guard.hpp>
#include <headgate/hedge.hpp>
#include <headgate/retry.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/strand.hpp>

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

/// How long each attempt takes and how it ends; the last entry for all further ones.
struct attempt_plan {
    duration takes{};
    std::optional<error> fails{};
};
struct script {
    zone* z = nullptr;
    std::vector<attempt_plan> plan;
    std::vector<time_point> began{};
    int ended = 0;
    int cancelled = 0;
};

asio::awaitable<result<int>> in_context(call_context context, script* s) {
    s->began.push_back(s->z->now());
    const int mine = static_cast<int>(s->began.size());
    const attempt_plan plan = s->plan[std::min(s->began.size(), s->plan.size()) - 1];
    const auto slept =
        co_await s->z->sleep_for(plan.takes, asio::bind_cancellation_slot(context.slot(), asio::use_awaitable_t<>{}));
    ++s->ended;
    if (!slept) {
        ++s->cancelled;
        co_return slept.error();
    }
    if (plan.fails) {
        co_return *plan.fails;
    }
    co_return mine;
}
asio::awaitable<result<int>> without_context(script* s) {
    s->began.push_back(s->z->now());
    const int mine = static_cast<int>(s->began.size());
    const attempt_plan plan = s->plan[std::min(s->began.size(), s->plan.size()) - 1];
    co_await asio::this_coro::throw_if_cancelled(false);
    const auto slept = co_await s->z->sleep_for(plan.takes);
    ++s->ended;
    if (!slept) {
        ++s->cancelled;
        co_return slept.error();
    }
    if (plan.fails) {
        co_return *plan.fails;
    }
    co_return mine;
}

struct fixture : headgate::test::zone_fixture {
    retry budget = retry::create(*z, "budget", {.budget_ratio = 0.2, .budget_floor = 10}).value();

    hedge make(hedge_options options = {.delay = 1s}, std::string name = "twice") {
        options.retry = "budget";
        return hedge::create(*z, std::move(name), options).value();
    }
    script of(std::vector<attempt_plan> plan) { return {.z = &*z, .plan = std::move(plan)}; }
    template <class Call>
    auto finish(Call call) {
        auto out = test::finish(clock, io, std::move(call));
        CHECK(z->snapshot().operations == 0);
        return out;
    }
    template <class Call>
    auto begin(Call call) {
        auto out = test::start(io, std::move(call));
        poll();
        return out;
    }
    void poll() {
        io.restart();
        io.poll();
    }
    void pass(duration span) { clock.run_for(io, span); }
};

constexpr hedge_call_options harmless{.idempotent = true};

TEST_CASE_FIXTURE(fixture, "hedge: create and find; a name taken, a name unknown, options that are wrong") {
    auto twice = make();
    CHECK(twice.name() == "twice");
    CHECK(hedge::create(*z, "twice", {.retry = "budget"}).error() == errc::name_taken);
    CHECK(hedge::create(*z, "", {.retry = "budget"}).error() == errc::invalid_argument);
    CHECK(hedge::create(*z, "x", {}).error().message().find("retry") != std::string::npos);
    const auto unknown = hedge::create(*z, "x", {.retry = "bugdet"}).error();
    CHECK(unknown == errc::unknown_name);
    CHECK(unknown.message().find("bugdet") != std::string::npos);
    CHECK(hedge::create(*z, "x", {.retry = "budget", .max_hedges = 11}).error() == errc::invalid_argument);
    CHECK(hedge::create(*z, "x", {.retry = "budget", .delay = 0s}).error() == errc::invalid_argument);
    CHECK(hedge::find(*z, "x").error() == errc::unknown_name);
    CHECK(hedge::find(*z, "twice").value().core() == twice.core());
    CHECK(twice.reconfigure({.retry = "other"}).error() == errc::unknown_name);
    CHECK(twice.reconfigure({.retry = "budget", .min_samples = 0}).error() == errc::invalid_argument);
    CHECK(twice.reconfigure({.retry = "budget", .delay = 2s}));
    CHECK(twice.snapshot().delay == duration(2s));
    z->close();
    CHECK(hedge::create(*z, "y", {.retry = "budget"}).error() == errc::shut_down);
}

TEST_CASE_FIXTURE(fixture, "hedge: a call that is fast, or may not run twice, has one attempt") {
    auto twice = make();
    script fast = of({{500ms}});
    CHECK(finish(twice.run(harmless, in_context, &fast)).value() == 1);
    script slow = of({{5s}});
    CHECK(finish(twice.run(in_context, &slow)).value() == 1);
    CHECK(finish(twice.run(without_context, &slow)).value() == 2);
    CHECK(slow.began.size() == 2);
    CHECK(twice.snapshot().calls == 3);
    CHECK(twice.snapshot().hedges == 0);
    CHECK(twice.snapshot().waiting == 0);
}

TEST_CASE_FIXTURE(fixture, "hedge: a slow call has a second attempt, the first success wins, the other is cancelled") {
    auto twice = make();
    bool context = false;
    SUBCASE("with a context") {
        context = true;
    }
    SUBCASE("without one") {}
    script s = of({{5s}, {1s}});
    const auto r =
        context ? begin(twice.run(harmless, in_context, &s)) : begin(twice.run(harmless, without_context, &s));
    CHECK(twice.snapshot().waiting == 1);
    pass(2s);
    REQUIRE(r->has_value());
    CHECK(r->value().value() == 2);
    CHECK(s.began == std::vector{start, start + 1s});
    CHECK(s.cancelled == 1);
    CHECK(twice.snapshot().won == 1);

    script other = of({{2s}, {5s}});
    const auto first =
        context ? begin(twice.run(harmless, in_context, &other)) : begin(twice.run(harmless, without_context, &other));
    pass(2s);
    REQUIRE(first->has_value());
    CHECK(first->value().value() == 1);
    CHECK(other.cancelled == 1);
    CHECK(twice.snapshot().won == 1);
    CHECK(twice.snapshot().hedges == 2);
    CHECK(z->snapshot().operations == 0);
}

// Ignores its cancellation.
asio::awaitable<result<int>> stubborn(script* s) {
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    co_return co_await without_context(s);
}

TEST_CASE_FIXTURE(fixture, "hedge: a call does not wait for the attempt that lost, the zone does") {
    auto twice = make();
    script s = of({{1h}, {1s}});
    const auto r = begin(twice.run(harmless, stubborn, &s));
    pass(2s);
    REQUIRE(r->has_value());
    CHECK(r->value().value() == 2);
    CHECK(s.ended == 1);
    CHECK(z->snapshot().operations == 2);  // the call's rest, and its sleep
    const auto closed = begin(z->drain(2h, asio::use_awaitable));
    pass(59min);
    CHECK_FALSE(closed->has_value());
    pass(1min);
    CHECK(closed->value());
    CHECK(s.ended == 2);
}

TEST_CASE_FIXTURE(fixture, "hedge: each attempt follows the last one by the delay, up to the limit") {
    auto many = make({.max_hedges = 3, .delay = 1s});
    script s = of({{100s}, {100s}, {100s}, {100s}, {100s}});
    CHECK(finish(many.run(harmless, in_context, &s)).value() == 1);
    CHECK(s.began == std::vector{start, start + 1s, start + 2s, start + 3s});
    CHECK(s.cancelled == 3);
}

TEST_CASE_FIXTURE(fixture, "hedge: an attempt that fails has the next one begin at once") {
    auto many = make({.max_hedges = 2, .delay = 10s});
    SUBCASE("and its success is that of the call") {
        script s = of({{1s, io_error}, {2s}});
        CHECK(finish(many.run(harmless, in_context, &s)).value() == 2);
        CHECK(s.began == std::vector{start, start + 1s});
        CHECK(many.snapshot().won == 1);
    }
    SUBCASE("until the limit; the last error is that of the call") {
        script s = of({{1s, io_error}, {1s, io_error}, {1s, error(errc::connect_failed)}});
        CHECK(finish(many.run(harmless, in_context, &s)).error() == errc::connect_failed);
        CHECK(s.began == std::vector{start, start + 1s, start + 2s});
    }
    SUBCASE("but not when it may not run twice") {
        script s = of({{1s, io_error}});
        CHECK(finish(many.run(in_context, &s)).error().code == io_error.code);
        CHECK(s.began.size() == 1);
    }
    SUBCASE("but not after a refusal, nor when the error says to stay away or to come back later") {
        for (const error& e : {error(errc::rate_limited, duration(1s)), error(errc::operation_failed, do_not_retry),
                               error(errc::connect_failed, duration(5s)), error(errc::canceled)}) {
            script s = of({{1s, e}});
            CHECK(finish(many.run(harmless, in_context, &s)).error().code == e.code);
            CHECK(s.began.size() == 1);
        }
    }
    SUBCASE("and a failure leaves the call to the attempt that still runs") {
        auto quick = make({.delay = 1s}, "quick");
        script s = of({{5s}, {1s, io_error}});
        CHECK(finish(quick.run(harmless, in_context, &s)).value() == 1);
        CHECK(s.began.size() == 2);
        script both = of({{5s, error(errc::connect_failed)}, {1s, io_error}});
        CHECK(finish(quick.run(harmless, in_context, &both)).error() == errc::connect_failed);
    }
    SUBCASE("a second attempt that begins early restarts the delay for the third") {
        script s = of({{9s, io_error}, {100s}, {1s}});
        CHECK(finish(many.run(harmless, in_context, &s)).value() == 3);
        CHECK(s.began == std::vector{start, start + 9s, start + 19s});
    }
}

TEST_CASE_FIXTURE(fixture, "hedge: exceptions are failures") {
    auto twice = make();
    int attempts = 0;
    const auto op = [](zone* on, int* made) -> asio::awaitable<int> {
        ++*made;
        (void)co_await on->sleep_for(100ms);
        throw std::runtime_error("broken");
    };
    const auto r = finish(twice.run(harmless, op, &*z, &attempts));
    CHECK(r.error() == errc::operation_failed);
    CHECK_THROWS_AS(std::rethrow_exception(r.error().cause), std::runtime_error);
    CHECK(attempts == 2);
    const auto at_once = [](int* made) {
        ++*made;
        throw std::runtime_error("at once");
        return asio::awaitable<int>();
    };
    attempts = 0;
    CHECK(finish(twice.run(harmless, at_once, &attempts)).error() == errc::operation_failed);
    CHECK(attempts == 2);
}

TEST_CASE_FIXTURE(fixture, "hedge: the budget of the retry pays, and suppresses without waiting") {
    CHECK(budget.reconfigure({.budget_ratio = 0, .budget_floor = 1}));  // ten in ten seconds
    auto twice = make({.delay = 1ms});
    int exhausted = 0;
    const auto listens = z->on_event([&](const event& e) { exhausted += e.kind == event_kind::budget_exhausted; });
    for (int i = 0; i < 15; ++i) {
        script s = of({{10ms}});
        CHECK(finish(twice.run(harmless, in_context, &s)).value() == 1);
        CHECK(s.began.size() == (i < 10 ? 2 : 1));
    }
    CHECK(twice.snapshot().hedges == 10);
    CHECK(twice.snapshot().out_of_budget == 5);
    CHECK(exhausted == 1);
    // Calls of the hedge deposit: five pay for one attempt.
    CHECK(budget.reconfigure({.budget_ratio = 0.2, .budget_floor = 0}));
    clock.run_for(io, 1min);
    for (int i = 0; i < 12; ++i) {
        script s = of({{10ms}});
        CHECK(finish(twice.run(harmless, in_context, &s)).value() == 1);
    }
    CHECK(twice.snapshot().hedges == 12);
}

// Of calls that fail always, with a retry around them whose budget is that of the hedge.
TEST_CASE_FIXTURE(fixture, "hedge: inside of a retry with the same budget it does not deposit") {
    CHECK(budget.reconfigure(
        {.max_attempts = 10, .backoff_min = 1ms, .backoff_max = 1ms, .budget_ratio = 0.2, .budget_floor = 0}));
    auto twice = make({.delay = 1h, .deposits = false});
    int attempts = 0;
    const auto op = [](int* made) -> asio::awaitable<result<int>> {
        ++*made;
        co_return errc::connect_failed;
    };
    const auto hedged = [&op](const hedge* by, int* made) -> asio::awaitable<result<int>> {
        co_return co_await by->run(harmless, op, made);
    };
    const auto all = [&]() -> asio::awaitable<result<int>> {
        for (int i = 0; i < 5'000; ++i) {
            (void)co_await budget.run({.idempotent = true}, hedged, &twice, &attempts);
        }
        co_return 0;
    };
    (void)finish(all());
    CHECK(attempts <= 6'000);
    CHECK(attempts > 5'900);
}

// An operation that fails before it is a coroutine, beside an exception of the caller.
TEST_CASE_FIXTURE(fixture, "hedge: an exception of the caller leaves through the io_context") {
    auto twice = make();
    const auto strand = asio::make_strand(io);
    const auto op = [](int* made) {
        if (++*made == 2) {
            throw std::runtime_error("at once");
        }
        return []() -> asio::awaitable<result<int>> { co_return errc::connect_failed; }();
    };
    const auto caller = [&]() -> asio::awaitable<void> {
        int made = 0;
        (void)co_await twice.run(harmless, op, &made);
        throw std::logic_error("of the caller");
    };
    asio::co_spawn(strand, caller, [](const std::exception_ptr& e) { std::rethrow_exception(e); });
    CHECK_THROWS_AS(clock.run(io), std::logic_error);
}

TEST_CASE_FIXTURE(fixture, "hedge: the delay is the p95 of the first attempts, once there are enough") {
    auto twice = make({.min_samples = 50});
    script steady = of({{10ms}});
    for (int i = 0; i < 49; ++i) {
        (void)finish(twice.run(harmless, in_context, &steady));
    }
    CHECK_FALSE(twice.snapshot().delay);
    script slow = of({{1s}, {1s}});
    (void)finish(twice.run(harmless, in_context, &slow));
    CHECK(slow.began.size() == 1);  // 49 were too few; this was the fiftieth
    REQUIRE(twice.snapshot().delay);
    CHECK(*twice.snapshot().delay >= 10ms);
    CHECK(*twice.snapshot().delay < 11ms);
    // Attempts that a hedge beats count as slow, so that the delay does not creep down with each of them.
    for (int i = 0; i < 500; ++i) {
        script s = i % 10 == 0 ? of({{1s}, {1ms}}) : of({{10ms}});
        (void)finish(twice.run(harmless, in_context, &s));
        clock.run_for(io, 100ms);
    }
    CHECK(twice.snapshot().won > 10);
    CHECK(*twice.snapshot().delay >= 10ms);
    // Failures are no samples.
    script fails = of({{1ns, io_error}});
    for (int i = 0; i < 600; ++i) {
        (void)finish(twice.run(harmless, in_context, &fails));
    }
    CHECK(*twice.snapshot().delay >= 10ms);
}

TEST_CASE_FIXTURE(fixture, "hedge: the timeout is for all attempts") {
    auto twice = make();
    script s = of({{5s}, {5s}});
    const auto r = finish(twice.run({.timeout = 3s, .idempotent = true}, in_context, &s));
    CHECK(r.error() == errc::timed_out);
    CHECK(s.cancelled == 2);
    CHECK(elapsed() == 3s);
    CHECK(finish(twice.run({.timeout = 0s}, in_context, &s)).error() == errc::wait_timed_out);
    CHECK(finish(twice.run({.timeout = -1s}, in_context, &s)).error() == errc::wait_timed_out);
    script short_time = of({{5s}});
    CHECK(finish(twice.run({.timeout = 500ms, .idempotent = true}, without_context, &short_time)).error() ==
          errc::timed_out);
    CHECK(short_time.began.size() == 1);
    CHECK(s.began.size() == 2);
    // The first attempt's failure at the end of the time is not followed by another.
    script late = of({{2s, io_error}});
    CHECK(finish(twice.run({.timeout = 2s, .idempotent = true}, stubborn, &late)).error() == errc::timed_out);
}

TEST_CASE_FIXTURE(fixture, "hedge: cancellation of any type reaches all attempts, and the call ends with them") {
    auto twice = make();
    for (const auto type :
         {asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total}) {
        for (const bool context : {true, false}) {
            asio::cancellation_signal signal;
            script s = of({{5s}, {5s}});
            const test::keep_result<int> end;
            auto token = asio::bind_cancellation_slot(signal.slot(), end);
            if (context) {
                twice.async_run(token, harmless, in_context, &s);
            } else {
                twice.async_run(token, harmless, without_context, &s);
            }
            pass(2s);
            CHECK(s.began.size() == 2);
            signal.emit(type);
            poll();
            REQUIRE(end.kept->has_value());
            CHECK(end.kept->value().error() == errc::canceled);
            CHECK(s.cancelled == 2);
            CHECK(z->snapshot().operations == 0);
        }
    }
}

TEST_CASE_FIXTURE(fixture, "hedge: a cancelled call has no further attempt") {
    auto twice = make();
    asio::cancellation_signal signal;
    script s = of({{5s}});
    const test::keep_result<int> end;
    twice.async_run(asio::bind_cancellation_slot(signal.slot(), end), harmless, stubborn, &s);
    poll();
    signal.emit(asio::cancellation_type::terminal);
    pass(4s);
    CHECK_FALSE(end.kept->has_value());
    pass(1s);
    CHECK(end.kept->value().value() == 1);  // it succeeded all the same
    CHECK(s.began.size() == 1);
}

TEST_CASE_FIXTURE(fixture, "hedge: a zone that drains or is closed begins no attempt") {
    auto twice = make();
    script s = of({{5s}});
    const auto r = begin(twice.run(harmless, in_context, &s));
    SUBCASE("closed") {
        z->close();
    }
    SUBCASE("draining") {
        const auto drained = begin(z->drain(1h, asio::use_awaitable));
        pass(10s);
        CHECK(r->value().value() == 1);
        CHECK(drained->value());
    }
    pass(10s);
    CHECK(r->has_value());
    CHECK(s.began.size() == 1);
    CHECK(begin(twice.run(harmless, in_context, &s))->value().error() == errc::shut_down);
}

TEST_CASE_FIXTURE(fixture, "hedge: an io_context that goes takes its attempts with it") {
    auto twice = make();
    script s = of({{5s}, {5s}});
    const auto r = begin(twice.run(harmless, in_context, &s));
    pass(2s);
    script other = of({{5s}});
    const auto q = begin(twice.run(harmless, without_context, &other));
    CHECK(s.began.size() == 2);
    z.reset();
}

TEST_CASE_FIXTURE(fixture, "hedge: each attempt takes its own place, and a breaker sees the loser as neutral") {
    auto twice = make();
    auto breaker = circuit_breaker::create(*z, "b").value();
    auto places = bulkhead::create(*z, "p", {.max_concurrent = 2}).value();
    const guard<> protect(breaker, places);
    script s = of({{5s}, {1s}});
    const auto op = [](const guard<>* by, script* of) -> asio::awaitable<result<int>> {
        co_return co_await by->run("k", in_context, of);
    };
    const auto r = begin(twice.run(harmless, op, &protect, &s));
    pass(1500ms);
    CHECK(places.snapshot().running == 2);
    pass(1s);
    CHECK(r->value().value() == 2);
    CHECK(places.snapshot().running == 0);
    const auto all = z->snapshot().primitives;
    for (const auto& p : all) {
        if (p.kind == primitive_kind::circuit_breaker) {
            CHECK(p["successes"] == 1);
            CHECK(p["failures"] == 0);
        }
    }
}

TEST_CASE_FIXTURE(fixture, "hedge: attempts get copies of the arguments") {
    auto twice = make();
    std::vector<std::string> seen;
    const auto op = [](zone* on, std::vector<std::string>* to, std::string text) -> asio::awaitable<int> {
        to->push_back(std::move(text));
        (void)co_await on->sleep_for(to->size() == 1 ? 5s : 1ms);
        co_return 1;
    };
    const std::string text = "a text that is too long for the string object itself";
    (void)finish(twice.run(harmless, op, &*z, &seen, text));
    CHECK(seen == std::vector<std::string>{text, text});
}

TEST_CASE_FIXTURE(fixture, "hedge: one deadline of the zone serves many calls") {
    auto twice = make({.delay = 1s});
    std::vector<std::shared_ptr<std::optional<result<int>>>> all;
    std::vector<script> scripts(200, of({{3s}}));
    for (auto& s : scripts) {
        all.push_back(begin(twice.run(harmless, in_context, &s)));
        pass(1ms);
    }
    CHECK(twice.snapshot().waiting == 200);
    CHECK(twice.reconfigure({.retry = "budget", .delay = 10ms}));  // later calls come first
    script quick = of({{3s}, {1ms}});
    const auto r = begin(twice.run(harmless, in_context, &quick));
    pass(11ms);
    CHECK(r->value().value() == 2);
    pass(10s);
    std::size_t hedged = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
        CHECK(all[i]->value().value() == 1);
        hedged += scripts[i].began.size() - 1;
        if (scripts[i].began.size() == 2) {
            CHECK(scripts[i].began[1] == scripts[i].began[0] + 1s);
        }
    }
    CHECK(hedged + 1 == twice.snapshot().hedges);
    CHECK(hedged > 100);
}

}  // namespace
}  // namespace headgate
