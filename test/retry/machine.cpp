// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/retry_machine.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

using namespace headgate;
using namespace headgate::detail;
using namespace std::chrono_literals;

namespace {

constexpr time_point start{1'000'000s};

// A slow and simple budget: every deposit and every attempt with its second.
class reference_budget {
public:
    explicit reference_budget(const retry_options& o) : options(o) {}

    void deposit(time_point now) { enter(now, std::llround(options.budget_ratio * 1e6)); }
    bool withdraw(time_point now) {
        if (millionths(now) < 1'000'000) {
            return false;
        }
        enter(now, -1'000'000);
        return true;
    }
    double left(time_point now) { return static_cast<double>(std::max<std::int64_t>(0, millionths(now))) / 1e6; }

    retry_options options;

private:
    std::int64_t second(time_point now) {
        latest_ = std::max(latest_, now);
        return (latest_ - start) / 1s;
    }
    void enter(time_point now, std::int64_t amount) { book_[second(now)] += amount; }
    std::int64_t millionths(time_point now) {
        std::int64_t sum = std::int64_t{10} * options.budget_floor * 1'000'000;
        for (const auto& [at, amount] : book_) {
            sum += second(now) - at < 10 ? amount : 0;
        }
        return sum;
    }

    time_point latest_ = start;
    std::map<std::int64_t, std::int64_t> book_;
};

/// A machine in which every call is the first that fails, as often as wanted.
struct failing {
    explicit failing(const retry_options& o) : machine(o, start, 1) {}

    retry_decision fail(retry_progress& call, retry_verdict verdict = true, time_point now = start,
                        time_point until = time_point::max()) {
        return machine.next(call, verdict, now, until);
    }

    retry_machine machine;
};

}  // namespace

TEST_CASE("retry budget: the floor alone allows ten seconds of it at once, and again when they have passed") {
    retry_budget budget({.budget_ratio = 0.2, .budget_floor = 2}, start);
    CHECK(budget.left(start) == 20);
    for (int i = 0; i < 20; ++i) {
        CHECK(budget.withdraw(start + 500ms));
    }
    CHECK_FALSE(budget.withdraw(start + 500ms));
    CHECK_FALSE(budget.withdraw(start + 10s - 1ns));
    CHECK(budget.withdraw(start + 10s));
    CHECK(budget.left(start + 10s) == 19);
}

TEST_CASE("retry budget: five calls pay for one attempt at a ratio of a fifth; without a floor the first is not paid") {
    retry_budget budget({.budget_ratio = 0.2, .budget_floor = 0}, start);
    for (int i = 0; i < 4; ++i) {
        budget.deposit(start);
        CHECK_FALSE(budget.withdraw(start));
    }
    budget.deposit(start);
    CHECK(budget.withdraw(start));
    CHECK_FALSE(budget.withdraw(start));
}

TEST_CASE("retry budget: a ratio of zero leaves the floor, a floor and a ratio of zero leave nothing") {
    retry_budget budget({.budget_ratio = 0, .budget_floor = 0}, start);
    for (int i = 0; i < 1000; ++i) {
        budget.deposit(start);
    }
    CHECK_FALSE(budget.withdraw(start));
}

TEST_CASE("retry budget: agrees with a slow model in every sequence, with time that goes back and jumps far ahead") {
    std::mt19937_64 random(5);
    for (int run = 0; run < 300; ++run) {
        retry_options options{.budget_ratio = static_cast<double>(random() % 101) / 100,
                              .budget_floor = static_cast<std::uint32_t>(random() % 4)};
        retry_budget budget(options, start);
        reference_budget reference(options);
        time_point now = start;
        for (int step = 0; step < 200; ++step) {
            const auto kind = random() % 40;
            now += kind == 0   ? -duration(random() % 5'000'000'000)
                   : kind == 1 ? duration(random() % 60'000'000'000)
                               : duration(random() % 400'000'000);
            now = std::max(now, start);
            switch (random() % 4) {
                case 0: CHECK(budget.withdraw(now) == reference.withdraw(now)); break;
                case 1:
                    if (random() % 20 == 0) {
                        options.budget_ratio = 1 - options.budget_ratio;
                        options.budget_floor = static_cast<std::uint32_t>(random() % 4);
                        budget.change(options);
                        reference.options = options;
                    }
                    break;
                default: budget.deposit(now); reference.deposit(now);
            }
            CHECK(budget.left(now) == doctest::Approx(reference.left(now)));
        }
    }
}

TEST_CASE("retry budget: the end of time is one slot") {
    retry_budget budget({.budget_floor = 1}, time_point::max() - 100ms);
    budget.deposit(time_point::max());
    CHECK(budget.withdraw(time_point::max()));
    CHECK(budget.left(time_point::max()) == doctest::Approx(9.2));
}

TEST_CASE("retry: a pause is between the shortest and three times the last one, and never above the longest") {
    failing f({.max_attempts = 1000, .backoff_min = 100ms, .backoff_max = 5s, .budget_floor = 1'000'000});
    std::vector<duration> longest(12);
    bool reached = false;
    for (int run = 0; run < 1000; ++run) {
        retry_progress call = {};
        duration last = 100ms;
        for (duration& most : longest) {
            const retry_decision d = f.fail(call);
            REQUIRE(d.step == retry_step::again);
            CHECK(d.pause >= 100ms);
            CHECK(d.pause <= std::min<duration>(5s, 3 * last));
            reached |= d.pause == 5s;
            most = std::max(most, d.pause);
            last = d.pause;
            f.machine.resume(call, retry_step::again);
        }
        f.machine.end(call, true, start);
    }
    CHECK(reached);
    CHECK(longest[0] > 280ms);  // of 300
    CHECK(longest[1] > 750ms);  // of 900
}

TEST_CASE("retry: the longest durations and a thousand attempts do not overflow") {
    failing f({.max_attempts = 1000,
               .backoff_min = duration::max() / 8,
               .backoff_max = duration::max() / 2,
               .budget_floor = 1'000'000});
    retry_progress call = {};
    for (int i = 1; i < 1000; ++i) {
        const retry_decision d = f.fail(call);
        REQUIRE(d.step == retry_step::again);
        CHECK(d.pause >= duration::max() / 8);
        CHECK(d.pause <= duration::max() / 2);
        f.machine.resume(call, retry_step::again);
    }
    CHECK(f.fail(call).step == retry_step::out_of_attempts);
}

TEST_CASE("retry: nobody pauses until the end of time, with or without a deadline") {
    failing f({});
    retry_progress call = {};
    CHECK(f.fail(call, duration::max()).step == retry_step::out_of_time);
}

TEST_CASE("retry: no attempt is sooner than its retry_after, and those who come together are spread") {
    failing f({.backoff_min = 100ms, .backoff_max = 5s, .budget_floor = 1000});
    std::vector<duration> pauses;
    for (int i = 0; i < 100; ++i) {
        retry_progress call = {};
        pauses.push_back(f.fail(call, 30s).pause);
    }
    std::sort(pauses.begin(), pauses.end());
    CHECK(pauses.front() >= 30s + 100ms);
    CHECK(pauses.back() <= 30s + 300ms);
    CHECK(pauses.back() - pauses.front() > 150ms);
}

TEST_CASE("retry: why there is no further attempt, first things first, and each is counted") {
    failing f({.max_attempts = 2, .backoff_min = 100ms, .backoff_max = 100ms, .budget_ratio = 0, .budget_floor = 0});
    retry_progress call = {};
    CHECK(f.fail(call, false).step == retry_step::not_retried);
    call = {};
    CHECK(f.fail(call, true, start, start + 100ms).step == retry_step::out_of_time);
    call = {};
    CHECK(f.fail(call, true, start, start + 101ms).step == retry_step::out_of_budget);
    call.attempts = 2;
    CHECK(f.fail(call, true, start, start).step == retry_step::out_of_attempts);
    const retry_snapshot s = f.machine.snapshot(start);
    CHECK(s.not_retried == 1);
    CHECK(s.out_of_time == 1);
    CHECK(s.out_of_budget == 1);
    CHECK(s.out_of_attempts == 1);
}

TEST_CASE("retry: an attempt that has no time does not pay") {
    failing f({.backoff_min = 1s, .backoff_max = 1s, .budget_ratio = 0, .budget_floor = 1});
    retry_progress call = {};
    CHECK(f.fail(call, true, start, start + 1s).step == retry_step::out_of_time);
    CHECK(f.machine.snapshot(start).budget == 10);
}

TEST_CASE(
    "retry: the budget is told once when it is exhausted, and once when it pays after ten seconds without a suppressed "
    "attempt") {
    failing f({.max_attempts = 100, .backoff_min = 1ms, .backoff_max = 1ms, .budget_ratio = 0, .budget_floor = 1});
    std::string told;
    for (const duration after : {0s, 0s, 9s, 10s, 18s, 29s, 29s}) {
        for (int i = 0; i < 11; ++i) {
            retry_progress call = {};
            const retry_decision d = f.fail(call, true, start + after);
            if (d.budget_changed) {
                told += d.step == retry_step::again ? "recovered " : "exhausted ";
            }
        }
    }
    CHECK(told == "exhausted recovered exhausted ");
}

TEST_CASE("retry: a pause that ended late begins no attempt") {
    failing f({.backoff_min = 1s, .backoff_max = 1s});
    retry_progress call = {};
    CHECK(f.fail(call, true, start, start + 2s).step == retry_step::again);
    CHECK(f.machine.snapshot(start).waiting == 1);
    f.machine.resume(call, retry_step::out_of_time);
    f.machine.end(call, false, start);
    const retry_snapshot s = f.machine.snapshot(start);
    CHECK(s.out_of_time == 1);
    CHECK(s.canceled == 0);
    CHECK(s.retries == 0);
    CHECK(s.waiting == 0);
}

TEST_CASE("retry: in every sequence each call that ended is counted in one place, and attempts keep to the budget") {
    std::mt19937_64 random(11);
    for (int run = 0; run < 200; ++run) {
        const retry_options options{.max_attempts = static_cast<std::uint32_t>(1 + random() % 4),
                                    .backoff_min = 1ms,
                                    .backoff_max = 1s,
                                    .budget_ratio = static_cast<double>(random() % 5) / 10,
                                    .budget_floor = static_cast<std::uint32_t>(random() % 3)};
        retry_machine machine(options, start, random());
        std::vector<retry_progress> calls;
        std::uint64_t at_once = 0, paid = 0;
        time_point now = start;
        for (int step = 0; step < 2000; ++step) {
            now += duration(random() % 2'000'000);
            if (calls.empty() || random() % 3 == 0) {
                calls.emplace_back();
                continue;
            }
            const std::size_t which = random() % calls.size();
            retry_progress& call = calls[which];
            bool over = true;
            const time_point until =
                random() % 4 == 0 ? now + duration(random() % 900'000'000) - 100ms : time_point::max();
            if (call.pausing && random() % 8 == 0) {
                machine.end(call, false, now);  // cancelled
            } else if (call.pausing) {
                over = now >= until;
                machine.resume(call, over ? retry_step::out_of_time : retry_step::again);
                if (over) {
                    machine.end(call, false, now);
                }
            } else if (random() % 3 == 0) {
                at_once += call.attempts == 1 ? 1 : 0;
                machine.end(call, true, now);
            } else if (random() % 10 == 0) {
                machine.end(call, false, now);  // destroyed
            } else {
                over = machine.next(call, random() % 5 != 0, now, until).step != retry_step::again;
                paid += over ? 0 : 1;
                if (over) {
                    machine.end(call, false, now);
                }
            }
            if (over) {
                calls.erase(calls.begin() + static_cast<std::ptrdiff_t>(which));
            }
        }
        const retry_snapshot s = machine.snapshot(now);
        CHECK(s.waiting == static_cast<std::uint64_t>(
                               std::count_if(calls.begin(), calls.end(), [](const auto& c) { return c.pausing; })));
        const auto unfinished = static_cast<std::uint64_t>(
            std::count_if(calls.begin(), calls.end(), [](const auto& c) { return c.counted; }));
        CHECK(s.calls == unfinished + at_once + s.recovered + s.not_retried + s.out_of_attempts + s.out_of_budget +
                             s.out_of_time + s.canceled);
        CHECK(s.retries <= paid);
        // The run takes two seconds: one window.
        CHECK(static_cast<double>(paid) <=
              options.budget_ratio * static_cast<double>(s.calls) + 10 * options.budget_floor);
    }
}

TEST_CASE("retry options: what is wrong is told, all at once") {
    CHECK(check(retry_options{}).empty());
    const auto problems = check(retry_options{.max_attempts = 0,
                                              .attempt_timeout = 0s,
                                              .backoff_min = 0s,
                                              .backoff_max = -1s,
                                              .budget_ratio = 1.5,
                                              .budget_floor = 1'000'001});
    std::string places;
    for (const config_problem& p : problems) {
        places += p.pointer;
    }
    CHECK(places == "/max_attempts/attempt_timeout/backoff_min/backoff_max/budget_ratio/budget_floor");
    const auto order = check(retry_options{.backoff_min = 2s, .backoff_max = 1s});
    REQUIRE(order.size() == 1);
    CHECK(order[0] == config_problem{"/backoff_max", "1 s", "at least backoff_min, 2 s"});
}

TEST_CASE("retry: a verdict of a time that is negative, or longer than any duration") {
    CHECK_FALSE(retry_verdict(-1s).again);
    CHECK_FALSE(retry_verdict(do_not_retry).again);
    CHECK(retry_verdict(0s).again);
    CHECK(retry_verdict(std::chrono::seconds(20'000'000'000)).again);
    CHECK(retry_verdict(std::chrono::seconds(20'000'000'000)).after == duration::max());
    CHECK(retry_verdict(std::chrono::hours(24)).after == 24h);
}

TEST_CASE("retry: which errors are tried again") {
    const auto io_error = boost::system::errc::make_error_code(boost::system::errc::io_error);
    const auto marked = [](error e, duration after) {
        e.retry_after = after;
        return e;
    };
    struct row {
        error e;
        bool plain;
        bool idempotent;
    };
    const row rows[] = {
        {errc::connect_failed, true, true},
        {error(errc::connect_failed, 2s), true, true},
        {error(errc::circuit_open, 2s), true, true},
        {errc::circuit_open, false, false},  // forced open: nobody knows for how long
        {errc::operation_failed, false, true},
        {error(errc::operation_failed, 2s), true, true},
        {errc::timed_out, false, true},
        {error(io_error), false, true},
        {marked(io_error, 1s), true, true},
        {marked(io_error, do_not_retry), false, false},
        {error(errc::connect_failed, do_not_retry), false, false},
        {error(errc::operation_failed, -1ns), false, false},
        {error(errc::rate_limited, 1s), false, false},
        {error(errc::queue_full, 1s), false, false},
        {error(errc::exhausted, 1s), false, false},
        {errc::wait_timed_out, false, false},
        {errc::cost_exceeds_limit, false, false},
        {errc::canceled, false, false},
        {error(boost::system::errc::make_error_code(boost::system::errc::operation_canceled)), false, false},
        {errc::shut_down, false, false},
        {errc::invalid_argument, false, false},
        {errc::unknown_name, false, false},
        {errc::out_of_memory, false, false},
        {errc::would_block, false, false},
    };
    for (const row& r : rows) {
        CAPTURE(r.e.message());
        CHECK(verdict_of(r.e, false).again == r.plain);
        CHECK(verdict_of(r.e, true).again == r.idempotent);
        if (r.plain) {
            CHECK(verdict_of(r.e, false).after == r.e.retry_after);
        }
    }
}
