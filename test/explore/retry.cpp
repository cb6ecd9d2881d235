// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/retry.hpp>

#include <doctest/doctest.h>

#include "world.hpp"

namespace headgate::explore {
namespace {

asio::awaitable<result<int>> ask(int* attempts) {
    if (++*attempts < 2) {
        co_return errc::connect_failed;
    }
    co_return *attempts;
}

struct retry_world : world {
    explicit retry_world(retry_options options = {.backoff_min = 1s, .backoff_max = 1s})
        : again(retry::create(zone, "again", options).value()) {}

    void finish_retry() {
        finish();
        require(again.snapshot().waiting == 0, "a call pauses for ever");
    }

    retry again;
};

TEST_CASE("retry: a pause ends beside its cancellation") {
    every_schedule("retry: a pause ends beside its cancellation", [](together& threads) {
        retry_world w;
        ending<int> e;
        int attempts = 0;
        w.again.async_run(w.cancellable_into(e), ask, &attempts);
        w.settle();
        require(w.again.snapshot().waiting == 1, "it does not pause");
        threads.run({[&] {
                         w.pass(1s);
                         w.poll();
                     },
                     [&] {
                         w.post_cancel();
                         w.poll();
                     }});
        w.clock.run_for(w.io, 10s);
        require(e.times == 1, "it ends more or less often than once");
        require(e.well() || e.with(errc::canceled), "it ends in another way");
        require(!e.well() || attempts == 2, "it succeeds without a second attempt");
        w.finish_retry();
    });
}

TEST_CASE("retry: a pause ends beside the end of its zone") {
    every_schedule("retry: a pause ends beside the end of its zone", [](together& threads) {
        retry_world w;
        ending<int> e;
        int attempts = 0;
        w.again.async_run(w.into(e), ask, &attempts);
        w.settle();
        threads.run({[&] {
                         w.pass(1s);
                         w.poll();
                     },
                     [&] { w.zone.close(); }});
        w.clock.run_for(w.io, 10s);
        require(e.times == 1, "it ends more or less often than once");
        require(e.well() || e.with(errc::shut_down) || e.with(errc::connect_failed), "it ends in another way");
        w.finish_retry();
    });
}

TEST_CASE("retry: three failures beside a change of options share a budget of two") {
    every_schedule("retry: three failures beside a change of options share a budget of two", [](together& threads) {
        retry_world w({.backoff_min = 1s, .backoff_max = 1s, .budget_ratio = 0, .budget_floor = 1});
        detail::retry_core& core = *w.again.core();
        const auto spend = [&] {
            detail::retry_progress call;
            const bool paid = core.next(call, true, time_point::max()).step == detail::retry_step::again;
            core.end(call, false);
            return paid;
        };
        for (int i = 0; i < 8; ++i) {
            require(spend(), "the floor does not pay");
        }
        int paid = 0;
        bool first = false, second = false;
        threads.run({[&] { first = spend(); }, [&] { second = spend(); },
                     [&] {
                         w.again.reconfigure({.max_attempts = 4, .budget_ratio = 0, .budget_floor = 1}).value();
                         paid += spend() ? 1 : 0;
                     }});
        paid += int{first} + int{second};
        require(paid == 2, "the budget pays more or less often than twice");
        const retry_snapshot s = w.again.snapshot();
        require(s.calls == 11 && s.out_of_budget == 1 && s.canceled == 10, "a call is counted twice or not at all");
        w.finish_retry();
    });
}

}  // namespace
}  // namespace headgate::explore
