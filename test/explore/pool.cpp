// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/resource_pool.hpp>

#include <doctest/doctest.h>

#include "world.hpp"

namespace headgate::explore {
namespace {

struct counts {
    int open = 0;
};

/// A resource. The backend counts those that are open.
using thing = int;

struct backend {
    counts* count;

    asio::awaitable<thing> connect() {
        ++count->open;
        co_return 1;
    }
    void close(thing) { --count->open; }
};

using lent = ending<lease<thing>>;

struct pool_world : world {
    explicit pool_world(pool_options options = {.size = 1})
        : pool(resource_pool<thing>::create(zone, "pool", options, backend{&count}).value()) {
        clock.run_for(io, 1s);
    }

    lease<thing> hold() { return pool.try_checkout().value(); }
    void checkout(lent& e, duration limit = 1s) { pool.checkout({.max_wait = limit}, into(e)); }

    /// All leases are back, and each resource is closed once.
    void finish_pool() {
        clock.run_for(io, 1min);
        const pool_snapshot s = pool.snapshot();
        require(s.leased == 0 && s.waiting == 0, "a lease or a waiter is left");
        finish();
        require(count.open == 0, "a resource is not closed once");
    }

    counts count;
    resource_pool<thing> pool;
};

TEST_CASE("pool: a return, a newcomer, and one that queues") {
    every_schedule("pool: a return, a newcomer, and one that queues", [](together& threads) {
        pool_world w;
        auto held = w.hold();
        lent waits;
        std::optional<lease<thing>> newcomer;
        threads.run({[&] { held.give_back(); }, [&] { w.checkout(waits); },
                     [&] {
                         if (auto got = w.pool.try_checkout()) {
                             newcomer = std::move(got).value();
                         }
                     }});
        w.settle();
        require(newcomer || (waits.times == 1 && waits.well()), "nobody got the resource that came back");
        require(!(newcomer && waits.well()), "two have one resource");
        newcomer.reset();
        w.settle();
        require(waits.times == 1 && waits.well(), "the waiter was forgotten");
        waits.forget();
        w.finish_pool();
    });
}

TEST_CASE("pool: a return, a deadline, and two threads that poll") {
    every_schedule("pool: a return, a deadline, and two threads that poll", [](together& threads) {
        pool_world w;
        auto held = w.hold();
        lent waits;
        w.checkout(waits, 1s);
        w.pass(1s);
        threads.run({[&] { w.poll(); }, [&] { held.give_back(); }, [&] { w.poll(); }});
        w.settle();
        require(waits.times == 1, "the waiter does not end once");
        require(waits.well() || waits.with(errc::wait_timed_out), "the waiter ends in another way");
        require(waits.well() || w.pool.snapshot().idle == 1, "the resource went to nobody");
        waits.forget();
        w.finish_pool();
    });
}

TEST_CASE("pool: a return, a cancellation, and one behind") {
    every_schedule("pool: a return, a cancellation, and one behind", [](together& threads) {
        pool_world w;
        auto held = w.hold();
        lent first, behind;
        w.pool.checkout({.max_wait = 1h}, w.cancellable_into(first));
        w.checkout(behind, 1h);
        w.post_cancel();
        threads.run({[&] { w.poll(); }, [&] { held.give_back(); }, [&] { w.poll(); }});
        w.settle();
        require(first.times == 1, "the cancelled one does not end once");
        require(first.well() || first.with(errc::canceled), "the cancelled one ends in another way");
        first.forget();
        w.settle();
        require(behind.times == 1 && behind.well(), "the one behind did not get what came back");
        behind.forget();
        w.finish_pool();
    });
}

TEST_CASE("pool: a close, a return, and a checkout") {
    every_schedule("pool: a close, a return, and a checkout", [](together& threads) {
        pool_world w;
        auto held = w.hold();
        lent waits;
        threads.run({[&] { w.zone.close(); }, [&] { held.give_back(); }, [&] { w.checkout(waits); }});
        w.settle();
        require(waits.times == 1, "the checkout does not end once");
        require(waits.well() || waits.with(errc::shut_down), "the checkout ends in another way");
        waits.forget();
        w.finish_pool();
    });
}

TEST_CASE("pool: a resize and a reconfiguration") {
    every_schedule(
        "pool: a resize and a reconfiguration",
        [](together& threads) {
            pool_world w;
            threads.run({[&] { require(w.pool.resize(3, 0).has_value(), "resize fails"); },
                         [&] { require(w.pool.reconfigure({.size = 2, .max_waiters = 7}).has_value(), "refused"); },
                         [&] { w.poll(); }});
            require(w.pool.core()->options().max_waiters == 7, "the resize undid the reconfiguration");
            const auto size = w.pool.snapshot().size;
            require(size == 2 || size == 3, "the size is nobody's");
            w.settle();
            require(w.pool.snapshot().idle == size, "the pool does not have its size");
            w.finish_pool();
        },
        3);
}

TEST_CASE("pool: a drain, a return, and a checkout") {
    every_schedule("pool: a drain, a return, and a checkout", [](together& threads) {
        pool_world w;
        auto held = w.hold();
        lent waits;
        ending<void> drained;
        threads.run(
            {[&] { w.pool.drain(1h, w.into(drained)); }, [&] { held.give_back(); }, [&] { w.checkout(waits); }});
        w.settle();
        require(waits.times == 1, "the checkout does not end once");
        require(waits.well() || waits.with(errc::shut_down), "the checkout ends in another way");
        waits.forget();
        w.settle();
        require(drained.times == 1 && drained.well(), "the drain does not end when all is back");
        w.finish_pool();
    });
}

TEST_CASE("pool: pause, resume, and a checkout") {
    every_schedule("pool: pause, resume, and a checkout", [](together& threads) {
        pool_world w;
        lent waits;
        threads.run({[&] { w.pool.pause(); }, [&] { w.pool.resume(); }, [&] { w.checkout(waits, 1h); }});
        w.pool.resume();
        w.settle();
        require(waits.times == 1 && waits.well(), "the checkout is not served after the resume");
        waits.forget();
        w.finish_pool();
    });
}

TEST_CASE("pool: its zone is destroyed beside a return and a checkout") {
    every_schedule("pool: its zone is destroyed beside a return and a checkout", [](together& threads) {
        pool_world w;
        auto held = w.hold();
        lent waits;
        threads.run({[&] { w.owner.reset(); }, [&] { held.give_back(); }, [&] { w.checkout(waits); }});
        w.io.restart();
        w.io.poll();
        require(waits.times == 1, "the checkout does not end once");
        require(waits.well() || waits.with(errc::shut_down), "the checkout ends in another way");
        waits.forget();
        w.io.restart();
        w.io.poll();
        require(w.count.open == 0, "a resource is not closed once");
    });
}

TEST_CASE("pool: two checkouts that cause connects, polled by two threads") {
    every_schedule("pool: two checkouts that cause connects, polled by two threads", [](together& threads) {
        pool_world w({.size = 0, .max_overflow = 1});
        lent first, second;
        threads.run({[&] {
                         w.checkout(first, 1h);
                         w.poll();
                     },
                     [&] { w.checkout(second, 1h); }, [&] { w.poll(); }});
        w.settle();
        require(first.times + second.times == 1, "one resource was lent to none or to two");
        (first.times == 1 ? first : second).forget();
        w.settle();
        require(first.times == 1 && second.times == 1, "the second one was not served");
        first.forget();
        second.forget();
        w.finish_pool();
    });
}

TEST_CASE("pool: an idle resource is too old, and is asked for") {
    every_schedule("pool: an idle resource is too old, and is asked for", [](together& threads) {
        pool_world w({.size = 1, .max_lifetime = 1min, .lifetime_jitter = 0});
        lent waits;
        w.pass(1min);
        threads.run({[&] { w.poll(); }, [&] { w.poll(); }, [&] { w.checkout(waits, 1h); }});
        w.settle();
        require(waits.times == 1 && waits.well(), "the checkout is not served");
        waits.forget();
        w.finish_pool();
    });
}

TEST_CASE("pool: a resource is discarded beside two that wait") {
    every_schedule("pool: a resource is discarded beside two that wait", [](together& threads) {
        pool_world w;
        auto held = w.hold();
        lent first, second;
        w.checkout(first, 1h);
        threads.run({[&] { held.discard(); }, [&] { w.checkout(second, 1h); }, [&] { w.poll(); }});
        w.settle();
        require(first.times == 1 && first.well() && second.times == 0, "the first is not served first");
        first.forget();
        w.settle();
        require(second.times == 1 && second.well(), "the second is not served");
        second.forget();
        w.finish_pool();
    });
}

}  // namespace
}  // namespace headgate::explore
