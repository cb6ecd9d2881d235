// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/coalescer.hpp>

#include <doctest/doctest.h>

#include "world.hpp"

namespace headgate::explore {
namespace {

struct coalescer_world : world {
    explicit coalescer_world(const coalescer_options& options = {})
        : reads(coalescer<int>::create(zone, "reads", options).value()) {}

    coalescer<int> reads;
    int runs = 0;
    asio::strand<asio::io_context::executor_type> other = asio::make_strand(io);

    void finish_coalescer() {
        finish();
        const coalescer_snapshot s = reads.snapshot();
        require(s.running == 0 && s.waiting == 0, "somebody waits for ever");
        require(s.led == static_cast<std::uint64_t>(runs), "a run is not counted");
    }
};

asio::awaitable<result<int>> ask(coalescer_world* w) {
    const int mine = ++w->runs;
    co_await asio::this_coro::throw_if_cancelled(false);
    const auto slept = co_await w->zone.sleep_for(1s);
    co_return slept ? result<int>(mine) : result<int>(slept.error());
}

// Each goes once through `board` and, when it leads, through `lead`, as a call does.
detail::boarding enter(coalescer_world& w, std::shared_ptr<detail::flight>& f) {
    detail::coalescer_core& core = *w.reads.core();
    detail::whole_key key("k", core.seed());
    const detail::boarding what = core.board(key, false, f);
    if (what != detail::boarding::leads) {
        return what;
    }
    f = std::make_shared<detail::flight_of<int>>(std::move(key), true);
    return core.lead(f);
}

TEST_CASE("coalescer: two callers come at once") {
    every_schedule("coalescer: two callers come at once", [](together& threads) {
        coalescer_world w;
        std::shared_ptr<detail::flight> one, two;
        detail::boarding first{}, second{};
        threads.run({[&] { first = enter(w, one); }, [&] { second = enter(w, two); }});
        require((first == detail::boarding::leads) != (second == detail::boarding::leads), "not one of them leads");
        require(one == two, "they are in two flights");
        auto& f = static_cast<detail::flight_of<int>&>(*one);
        f.land(*w.reads.core(), result<int>(1));
        require(f.value().value() == 1, "the one who joined finds no result");
        w.runs = 1;
        w.finish_coalescer();
    });
}

TEST_CASE("coalescer: a caller comes beside the result") {
    every_schedule("coalescer: a caller comes beside the result", [](together& threads) {
        coalescer_world w({.keep_for = 1h});
        std::shared_ptr<detail::flight> one, two;
        require(enter(w, one) == detail::boarding::leads, "nobody was there");
        detail::boarding second{};
        threads.run({[&] { static_cast<detail::flight_of<int>&>(*one).land(*w.reads.core(), result<int>(1)); },
                     [&] {
                         second = enter(w, two);
                         if (second == detail::boarding::kept) {
                             require(static_cast<detail::flight_of<int>&>(*two).value().value() == 1,
                                     "what is kept is not there yet");
                         }
                     }});
        require(second == detail::boarding::joined || second == detail::boarding::kept, "it leads another flight");
        require(static_cast<detail::flight_of<int>&>(*two).value().value() == 1, "it has another result");
        w.runs = 1;
        w.finish_coalescer();
    });
}

TEST_CASE("coalescer: the last caller leaves beside the result") {
    every_schedule("coalescer: the last caller leaves beside the result", [](together& threads) {
        coalescer_world w;
        ending<int> e;
        w.reads.async_run(w.cancellable_into(e), "k", ask, &w);
        w.settle();
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
        w.finish_coalescer();
    });
}

TEST_CASE("coalescer: a caller joins beside the last one who leaves") {
    every_schedule("coalescer: a caller joins beside the last one who leaves", [](together& threads) {
        coalescer_world w;
        ending<int> e, joined;
        w.reads.async_run(w.cancellable_into(e), "k", ask, &w);
        w.settle();
        threads.run({[&] {
                         w.post_cancel();
                         w.poll();
                     },
                     [&] {
                         w.reads.async_run(asio::bind_executor(w.other,
                                                               [&](result<int> r) {
                                                                   ++joined.times;
                                                                   joined.value.emplace(std::move(r));
                                                               }),
                                           "k", ask, &w);
                         w.poll();
                     }});
        w.clock.run_for(w.io, 10s);
        require(e.times == 1 && e.with(errc::canceled), "the one who leaves is not cancelled");
        require(joined.times == 1 && joined.well(), "the other one has no result");
        require(joined.value->value() == w.runs, "it has the result of an operation that was given up");
        w.finish_coalescer();
    });
}

TEST_CASE("coalescer: a result comes beside the end of the zone") {
    every_schedule("coalescer: a result comes beside the end of the zone", [](together& threads) {
        coalescer_world w({.keep_for = 1h});
        ending<int> e;
        w.reads.async_run(w.cancellable_into(e), "k", ask, &w);
        w.settle();
        threads.run({[&] {
                         w.pass(1s);
                         w.poll();
                     },
                     [&] { w.zone.close(); }});
        w.clock.run_for(w.io, 10s);
        require(e.times == 1, "it ends more or less often than once");
        require(e.well() || e.with(errc::shut_down), "it ends in another way");
        w.finish_coalescer();
    });
}

}  // namespace
}  // namespace headgate::explore
