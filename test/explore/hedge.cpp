// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/hedge.hpp>
#include <headgate/retry.hpp>

#include <doctest/doctest.h>

#include "world.hpp"

namespace headgate::explore {
namespace {

struct hedge_world : world {
    retry budget = retry::create(zone, "budget", {}).value();
    hedge twice = hedge::create(zone, "twice", {.retry = "budget", .delay = 1s}).value();
    int attempts = 0;

    void finish_hedge() {
        finish();
        require(twice.snapshot().waiting == 0, "a call waits for ever");
    }
};

asio::awaitable<result<int>> ask(hedge_world* w) {
    const int mine = ++w->attempts;
    co_await asio::this_coro::throw_if_cancelled(false);
    const auto slept = co_await w->zone.sleep_for(mine == 1 ? 2s : 10s);
    co_return slept ? result<int>(mine) : result<int>(slept.error());
}

TEST_CASE("hedge: a delay ends beside the end of its call") {
    every_schedule("hedge: a delay ends beside the end of its call", [](together& threads) {
        hedge_world w;
        ending<int> e;
        w.twice.async_run(w.into(e), hedge_call_options{.idempotent = true}, ask, &w);
        w.settle();
        w.pass(1s);
        threads.run({[&] { w.poll(); },
                     [&] {
                         w.pass(1s);
                         w.poll();
                     }});
        w.clock.run_for(w.io, 10s);
        require(e.times == 1 && e.well(), "it ends more or less often than once");
        require(w.attempts <= 2 && w.twice.snapshot().hedges + 1 == static_cast<std::uint64_t>(w.attempts),
                "an attempt is not counted");
        w.finish_hedge();
    });
}

TEST_CASE("hedge: a delay ends beside a cancellation") {
    every_schedule("hedge: a delay ends beside a cancellation", [](together& threads) {
        hedge_world w;
        ending<int> e;
        w.twice.async_run(w.cancellable_into(e), hedge_call_options{.idempotent = true}, ask, &w);
        w.settle();
        threads.run({[&] {
                         w.pass(1s);
                         w.poll();
                     },
                     [&] {
                         w.post_cancel();
                         w.poll();
                     }});
        w.clock.run_for(w.io, 20s);
        require(e.times == 1 && e.with(errc::canceled), "it ends in another way");
        w.finish_hedge();
    });
}

TEST_CASE("hedge: a delay ends beside the end of its zone") {
    every_schedule("hedge: a delay ends beside the end of its zone", [](together& threads) {
        hedge_world w;
        ending<int> e;
        w.twice.async_run(w.into(e), hedge_call_options{.idempotent = true}, ask, &w);
        w.settle();
        threads.run({[&] {
                         w.pass(1s);
                         w.poll();
                     },
                     [&] { w.zone.close(); }});
        w.clock.run_for(w.io, 20s);
        require(e.times == 1, "it ends more or less often than once");
        w.finish_hedge();
    });
}

}  // namespace
}  // namespace headgate::explore
