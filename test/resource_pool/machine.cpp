// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>
#include <headgate/impl/pool_machine.hpp>

#include <algorithm>
#include <set>
#include <vector>

using namespace headgate;
using namespace headgate::detail;
using namespace std::chrono_literals;

namespace {

constexpr time_point t0{1000h};

/// A machine, and the actions that its last polls asked for.
struct pool {
    explicit pool(const pool_options& o) : machine(o, 7) { poll(); }

    /// Polls until nothing is left to do. Returns the actions of these polls.
    std::vector<pool_action> poll() {
        std::vector<pool_action> done;
        pool_action buffer[3];
        std::size_t n = 0;
        do {
            n = machine.poll(now, buffer);
            done.insert(done.end(), buffer, buffer + n);
        } while (n == std::size(buffer));
        for (const auto& a : done) {
            if (a.task == pool_task::connect) {
                connecting.push_back(a.slot);
            }
        }
        return done;
    }
    /// All connects in flight succeed, and those that follow. Returns the actions that result.
    std::vector<pool_action> connect_all() {
        std::vector<pool_action> done;
        while (!connecting.empty()) {
            const auto i = connecting.front();
            connecting.erase(connecting.begin());
            machine.on_connected(i, now);
            const auto some = poll();
            done.insert(done.end(), some.begin(), some.end());
        }
        return done;
    }
    slot_index fail_one() {
        const auto i = connecting.front();
        connecting.erase(connecting.begin());
        failure = machine.on_connect_failed(i, now);
        poll();
        return i;
    }
    /// Lets time pass up to `until`, and polls at the machine's deadlines.
    std::vector<pool_action> run_until(time_point until) {
        std::vector<pool_action> done;
        while (machine.next_deadline() <= until) {
            CHECK(machine.next_deadline() > now);
            now = machine.next_deadline();
            const auto some = poll();
            done.insert(done.end(), some.begin(), some.end());
        }
        now = until;
        return done;
    }
    slot_index take() { return machine.take(now); }
    pool_fate give(slot_index i, bool usable = true) { return machine.on_return(i, usable, now).fate; }
    pool_verdict join() { return machine.join(now).verdict; }
    pool_snapshot look() const { return machine.look(); }

    time_point now = t0;
    pool_machine machine;
    std::vector<slot_index> connecting;
    pool_connect_failure failure{};
};

std::size_t count(const std::vector<pool_action>& actions, pool_task task) {
    return static_cast<std::size_t>(
        std::count_if(actions.begin(), actions.end(), [task](const auto& a) { return a.task == task; }));
}

}  // namespace

TEST_CASE("pool machine: starts size resources; checkout takes one, return gives it back; counts are right") {
    pool p{{.size = 3, .max_connecting = 10}};
    CHECK(p.connecting.size() == 3);
    CHECK(p.look().connecting == 3);
    p.connect_all();
    CHECK(p.look().idle == 3);
    CHECK(p.look().connecting == 0);
    const auto a = p.take();
    const auto b = p.take();
    CHECK(a != b);
    CHECK(p.look().idle == 1);
    CHECK(p.look().leased == 2);
    CHECK(p.give(a) == pool_fate::idle);
    CHECK(p.give(b) == pool_fate::idle);
    CHECK(p.look().idle == 3);
    CHECK(p.look().leased == 0);
    CHECK_FALSE(p.machine.claim_poll());
}

TEST_CASE("pool machine: overflow is made on demand up to max_overflow, and dismissed on return") {
    pool p{{.size = 1, .max_overflow = 2}};
    p.connect_all();
    CHECK(p.look().overflow == 0);
    const auto a = p.take();
    for (int i = 0; i < 4; ++i) {
        CHECK(p.join() == pool_verdict::wait);
    }
    CHECK(p.machine.claim_poll());
    p.poll();
    CHECK(p.connecting.size() == 2);
    CHECK(p.machine.on_connected(p.connecting[0], p.now).fate == pool_fate::hand_over);
    CHECK(p.machine.on_connected(p.connecting[1], p.now).fate == pool_fate::hand_over);
    CHECK(p.look().overflow == 2);
    CHECK(p.look().leased == 3);
    CHECK(p.look().waiting == 2);
    CHECK(p.give(a) == pool_fate::hand_over);
    CHECK(p.give(a) == pool_fate::hand_over);
    CHECK(p.give(a) == pool_fate::close);
    CHECK(p.give(p.connecting[0]) == pool_fate::close);
    CHECK(p.give(p.connecting[1]) == pool_fate::idle);
    CHECK(p.look().overflow == 0);
    CHECK(count(p.poll(), pool_task::connect) == 0);
}

TEST_CASE("pool machine: overflow is dismissed after overflow_ttl") {
    pool p{{.size = 1, .max_overflow = 1, .overflow_ttl = 2s}};
    p.connect_all();
    const auto a = p.take();
    CHECK(p.join() == pool_verdict::wait);
    p.poll();
    const auto b = p.connecting[0];
    p.connect_all();
    CHECK(p.give(a) == pool_fate::idle);
    CHECK(p.machine.claim_poll());
    p.poll();
    p.now += 1s;
    CHECK(p.give(b) == pool_fate::idle);
    CHECK(p.look().overflow == 1);
    CHECK(count(p.run_until(t0 + 2s - 1ns), pool_task::retire) == 0);
    const auto done = p.run_until(t0 + 2s);
    CHECK(count(done, pool_task::retire) == 1);
    CHECK(done[0].slot == a);
    CHECK(p.look().overflow == 0);
    CHECK(count(p.run_until(t0 + 1h), pool_task::retire) == 0);
}

TEST_CASE("pool machine: non-blocking is exhausted at once, with and without overflow") {
    for (const std::uint32_t overflow : {0u, 3u}) {
        pool p{{.size = 1, .max_overflow = overflow}};
        p.connect_all();
        p.take();
        CHECK(p.take() == no_slot);
        CHECK(p.machine.explain(p.now).verdict == pool_verdict::exhausted);
        CHECK(p.look().waiting == 0);
    }
}

TEST_CASE("pool machine: one that dies while leased is replaced on return") {
    pool p{{.size = 2}};
    p.connect_all();
    const auto a = p.take();
    CHECK(p.give(a, false) == pool_fate::close);
    CHECK(p.machine.claim_poll());
    CHECK(count(p.poll(), pool_task::connect) == 1);
    p.connect_all();
    CHECK(p.look().idle == 2);
}

TEST_CASE("pool machine: while the pool is full and waiters wait, a replacement goes to the first waiter") {
    pool p{{.size = 1}};
    p.connect_all();
    const auto a = p.take();
    CHECK(p.join() == pool_verdict::wait);
    CHECK(p.give(a, false) == pool_fate::close);
    CHECK(p.look().waiting == 1);
    p.poll();
    CHECK(p.machine.on_connected(p.connecting.at(0), p.now).fate == pool_fate::hand_over);
    CHECK(p.look().waiting == 0);
    CHECK(p.look().leased == 1);
}

TEST_CASE("pool machine: one that dies idle is replaced: a ping failure replaces") {
    pool p{{.size = 2, .ping_interval = 10s}};
    p.connect_all();
    const auto done = p.run_until(t0 + 10s);
    CHECK(count(done, pool_task::ping) == 2);
    CHECK(p.look().idle == 2);
    CHECK(p.take() == no_slot);
    CHECK(p.machine.on_ping_done(done[0].slot, true, p.now).fate == pool_fate::idle);
    CHECK(p.machine.on_ping_done(done[1].slot, false, p.now).fate == pool_fate::close);
    CHECK(count(p.poll(), pool_task::connect) == 1);
    p.connect_all();
    CHECK(p.look().idle == 2);
}

TEST_CASE("pool machine: a ping interval pings again, idle resources only, and never more at once than connects") {
    pool p{{.size = 5, .max_connecting = 2, .ping_interval = 10s}};
    p.connect_all();
    const auto held = p.take();
    auto done = p.run_until(t0 + 10s);
    CHECK(count(done, pool_task::ping) == 2);
    std::set<slot_index> pinged;
    while (!done.empty()) {
        CHECK(pinged.insert(done[0].slot).second);
        CHECK(done[0].slot != held);
        CHECK(p.machine.on_ping_done(done[0].slot, true, p.now).fate == pool_fate::idle);
        done.erase(done.begin());
        const auto more = p.poll();
        done.insert(done.end(), more.begin(), more.end());
    }
    CHECK(pinged.size() == 4);
    CHECK(count(p.run_until(t0 + 20s - 1ns), pool_task::ping) == 0);
    CHECK(count(p.run_until(t0 + 20s), pool_task::ping) == 2);
}

TEST_CASE("pool machine: ping never delays a checkout of a fresh resource") {
    pool p{{.size = 2, .ping_interval = 10s}};
    p.connect_all();
    p.now += 9s;
    const auto fresh = p.take();
    p.give(fresh);
    p.poll();
    const auto done = p.run_until(t0 + 10s);
    CHECK(count(done, pool_task::ping) == 1);
    CHECK(done[0].slot != fresh);
    CHECK(p.take() == fresh);
}

TEST_CASE("pool machine: a waiter gets what a ping found alive") {
    pool p{{.size = 1, .ping_interval = 10s}};
    p.connect_all();
    const auto done = p.run_until(t0 + 10s);
    CHECK(p.join() == pool_verdict::wait);
    CHECK(p.machine.on_ping_done(done.at(0).slot, true, p.now).fate == pool_fate::hand_over);
}

TEST_CASE("pool machine: a waiter that gave up is gone; status shows no ghost") {
    pool p{{.size = 1}};
    p.connect_all();
    const auto a = p.take();
    CHECK(p.join() == pool_verdict::wait);
    CHECK(p.join() == pool_verdict::wait);
    p.machine.leave();
    CHECK(p.look().waiting == 1);
    CHECK(p.give(a) == pool_fate::hand_over);
    CHECK(p.look().waiting == 0);
    CHECK(p.give(a) == pool_fate::idle);
}

TEST_CASE("pool machine: LIFO is the default; LIFO and FIFO orders") {
    CHECK(pool_options{}.strategy == pool_strategy::lifo);
    for (const auto strategy : {pool_strategy::lifo, pool_strategy::fifo}) {
        pool p{{.size = 3, .strategy = strategy}};
        p.connect_all();
        const slot_index taken[] = {p.take(), p.take(), p.take()};
        for (const auto i : taken) {
            p.give(i);
        }
        const bool lifo = strategy == pool_strategy::lifo;
        CHECK(p.take() == taken[lifo ? 2 : 0]);
        CHECK(p.take() == taken[1]);
        CHECK(p.take() == taken[lifo ? 0 : 2]);
    }
}

TEST_CASE("pool machine: strict hand-off: with waiters queued, a newcomer never takes a returning resource") {
    pool p{{.size = 1}};
    p.connect_all();
    const auto a = p.take();
    CHECK(p.join() == pool_verdict::wait);
    p.machine.pause();
    CHECK(p.give(a) == pool_fate::idle);
    p.machine.resume();
    // The resource is idle, but promised to the waiter.
    CHECK(p.take() == no_slot);
    CHECK(p.join() == pool_verdict::wait);
    CHECK(count(p.poll(), pool_task::hand_over) == 1);
    CHECK(p.look().waiting == 1);
}

TEST_CASE("pool machine: the queue of waiters is bounded") {
    pool p{{.size = 1, .max_waiters = 2}};
    p.connect_all();
    p.take();
    CHECK(p.join() == pool_verdict::wait);
    CHECK(p.join() == pool_verdict::wait);
    CHECK(p.join() == pool_verdict::queue_full);
    p.machine.leave();
    CHECK(p.join() == pool_verdict::wait);
}

TEST_CASE("pool machine: a waiter cancelled during a connect does not cancel the connect, its result feeds the next") {
    pool p{{.size = 0, .max_overflow = 1}};
    CHECK(p.join() == pool_verdict::wait);
    p.poll();
    CHECK(p.connecting.size() == 1);
    p.machine.leave();
    CHECK(p.look().connecting == 1);
    CHECK(p.join() == pool_verdict::wait);
    CHECK(p.poll().empty());
    CHECK(p.machine.on_connected(p.connecting[0], p.now).fate == pool_fate::hand_over);
}

TEST_CASE("pool machine: never more than max_connecting at once") {
    pool p{{.size = 20, .max_connecting = 3}};
    CHECK(p.connecting.size() == 3);
    for (int i = 0; i < 100; ++i) {
        p.join();
    }
    CHECK(p.poll().empty());
    while (!p.connecting.empty()) {
        CHECK(p.connecting.size() <= 3);
        p.machine.on_connected(p.connecting.back(), p.now);
        p.connecting.pop_back();
        p.poll();
    }
    CHECK(p.look().leased == 20);
    CHECK(p.look().waiting == 80);
}

TEST_CASE("pool machine: back-off doubles with jitter from 100 ms to 5 s") {
    pool p{{.size = 1}};
    duration base = 100ms;
    for (int i = 0; i < 12; ++i) {
        p.fail_one();
        CHECK(p.failure.retry_after <= base);
        CHECK(p.failure.retry_after >= base * 8 / 10);
        CHECK(p.connecting.empty());
        CHECK(p.machine.next_deadline() == p.now + p.failure.retry_after);
        p.run_until(p.machine.next_deadline());
        CHECK(p.connecting.size() == 1);
        base = std::min<duration>(base * 2, 5s);
    }
    p.connect_all();
    // The back-off starts over.
    CHECK(p.give(p.take(), false) == pool_fate::close);
    p.poll();
    p.fail_one();
    CHECK(p.failure.retry_after <= 100ms);
}

TEST_CASE("pool machine: connects that fail together count as one failure") {
    pool p{{.size = 4}};
    CHECK(p.connecting.size() == 4);
    for (int i = 0; i < 4; ++i) {
        p.fail_one();
        CHECK(p.failure.retry_after <= 100ms);
    }
    CHECK(p.connecting.empty());
}

TEST_CASE("pool machine: all waiters learn of a dead backend at once, and so does a checkout during back-off") {
    pool p{{.size = 2}};
    for (int i = 0; i < 5; ++i) {
        CHECK(p.join() == pool_verdict::wait);
    }
    p.fail_one();
    CHECK_FALSE(p.failure.fail_waiters);  // another connect is in flight
    p.fail_one();
    CHECK(p.failure.fail_waiters);
    CHECK(p.look().waiting == 0);
    const auto retry = p.failure.retry_after;
    CHECK(retry > 0ns);
    const auto refused = p.machine.join(p.now + 1ms);
    CHECK(refused.verdict == pool_verdict::connect_failed);
    CHECK(refused.retry_after == retry - 1ms);
    CHECK(p.machine.explain(p.now).verdict == pool_verdict::connect_failed);
    CHECK(p.machine.explain(p.now).retry_after == retry);
    // Exactly then the pool makes the next attempt, a single connect, and a caller waits for it.
    p.run_until(p.now + retry);
    CHECK(p.connecting.size() == 1);
    CHECK(p.join() == pool_verdict::wait);
    CHECK(p.poll().empty());
}

TEST_CASE("pool machine: after it recovers the first checkout succeeds within one back-off step, connects bounded") {
    pool p{{.size = 10, .max_connecting = 3}};
    for (int i = 0; i < 3; ++i) {
        p.fail_one();
    }
    p.run_until(p.now + p.failure.retry_after);
    CHECK(p.connecting.size() == 1);
    CHECK(p.join() == pool_verdict::wait);
    CHECK(p.machine.on_connected(p.connecting[0], p.now).fate == pool_fate::hand_over);
    p.connecting.clear();
    p.poll();
    CHECK(p.connecting.size() == 3);
}

TEST_CASE("pool machine: while live resources exist, waiters go on waiting through failed connects") {
    pool p{{.size = 1, .max_overflow = 1}};
    p.connect_all();
    const auto a = p.take();
    CHECK(p.join() == pool_verdict::wait);
    p.poll();
    p.fail_one();
    CHECK_FALSE(p.failure.fail_waiters);
    CHECK(p.join() == pool_verdict::wait);
    CHECK_FALSE(p.machine.claim_poll());
    CHECK(p.look().waiting == 2);
    // The last live resource dies: now the waiters learn of the failure.
    const auto settled = p.machine.on_return(a, false, p.now);
    CHECK(settled.fate == pool_fate::close);
    CHECK(settled.fail_waiters);
    CHECK(p.look().waiting == 0);
}

TEST_CASE("pool machine: waiters of a paused pool learn of a dead backend too") {
    pool p{{.size = 1, .ping_interval = 50ms}};
    p.machine.pause();
    p.connect_all();
    CHECK(p.join() == pool_verdict::wait);
    p.machine.resize(2, 0);
    p.poll();
    p.fail_one();
    CHECK_FALSE(p.failure.fail_waiters);
    const auto done = p.run_until(t0 + 50ms);
    REQUIRE(count(done, pool_task::ping) == 1);
    const auto settled = p.machine.on_ping_done(done[0].slot, false, p.now);
    CHECK(settled.fate == pool_fate::close);
    CHECK(settled.fail_waiters);
    CHECK(p.look().waiting == 0);
}

TEST_CASE("pool machine: a thousand resources made together are not replaced together") {
    pool p{{.size = 1000, .max_connecting = 1000, .max_lifetime = 1h, .lifetime_jitter = 0.1}};
    p.connect_all();
    CHECK(p.run_until(t0 + 54min - 1ns).empty());
    std::size_t retired = 0;
    while (p.now < t0 + 1h) {
        const auto done = p.run_until(p.now + 6s);
        const auto now_retired = count(done, pool_task::retire) + count(p.connect_all(), pool_task::retire);
        CHECK(now_retired <= 40);  // about 17 in each 6 s of the 6 minutes
        retired += now_retired;
        CHECK(p.look().idle == 1000);
    }
    CHECK(retired == 1000);
}

TEST_CASE("pool machine: a resource past its lifetime while lent is closed on return, once another has its place") {
    pool p{{.size = 1, .max_lifetime = 1s, .lifetime_jitter = 0}};
    p.connect_all();
    const auto a = p.take();
    CHECK(p.join() == pool_verdict::wait);
    CHECK(count(p.run_until(t0 + 1s), pool_task::connect) == 1);
    CHECK(p.machine.outdated() == 1);
    // No replacement has connected yet, so the old resource is lent again.
    CHECK(p.give(a) == pool_fate::hand_over);
    CHECK(p.join() == pool_verdict::wait);
    CHECK(p.machine.on_connected(p.connecting.at(0), p.now).fate == pool_fate::hand_over);
    const auto settled = p.machine.on_return(a, true, p.now);
    CHECK(settled.fate == pool_fate::close);
    CHECK(settled.loss == pool_loss::aged);
    CHECK(p.machine.outdated() == 0);
    CHECK(p.look().leased == 1);
}

TEST_CASE("pool machine: idle timeout closes, and replaces within size: the replacement first") {
    pool p{{.size = 2, .idle_timeout = 10s}};
    p.connect_all();
    p.now += 4s;
    const auto a = p.take();
    p.give(a);
    p.poll();
    const auto done = p.run_until(t0 + 10s);
    CHECK(count(done, pool_task::retire) == 0);
    CHECK(count(done, pool_task::connect) == 1);
    CHECK(p.look().idle == 2);
    const auto then = p.connect_all();
    REQUIRE(count(then, pool_task::retire) == 1);
    CHECK(then[0].slot != a);
    CHECK(then[0].loss == pool_loss::idled);
    CHECK(p.look().idle == 2);
    CHECK(count(p.run_until(t0 + 14s), pool_task::connect) == 1);
    CHECK(count(p.connect_all(), pool_task::retire) == 1);
}

TEST_CASE("pool machine: while the backend refuses, neither age nor idleness takes a resource away") {
    for (const bool by_age : {true, false}) {
        pool_options o{.size = 3, .lifetime_jitter = 0};
        (by_age ? o.max_lifetime : o.idle_timeout) = 10s;
        pool p{o};
        p.connect_all();
        const auto lent = p.take();
        for (const time_point until = p.now + 1h; p.now < until;) {
            for (const auto& a : p.run_until(p.now + 1s)) {
                CHECK(a.task == pool_task::connect);
            }
            while (!p.connecting.empty()) {
                p.fail_one();
            }
            CHECK(p.look().idle + p.look().leased == 3);
        }
        CHECK(p.give(lent) == pool_fate::idle);
        CHECK(p.take() != no_slot);
        // The backend answers again: the pool replaces all resources, one after the other.
        p.run_until(p.now + 6s);
        std::size_t retired = 0;
        for (int i = 0; i < 10; ++i) {
            retired += count(p.connect_all(), pool_task::retire);
        }
        CHECK(retired >= 1);
        CHECK(p.look().idle + p.look().leased + p.look().connecting >= 3);
    }
}

TEST_CASE("pool machine: at its capacity a pool replaces one at a time, with room as many as may connect") {
    for (const std::uint32_t overflow : {0u, 10u}) {
        pool p{{.size = 10, .max_overflow = overflow, .max_connecting = 4, .max_lifetime = 1s, .lifetime_jitter = 0}};
        p.connect_all();
        p.run_until(t0 + 1s);
        CHECK(p.machine.outdated() == 10);
        CHECK(p.connecting.size() == (overflow == 0 ? 1 : 4));
        CHECK(count(p.connect_all(), pool_task::retire) == 10);
        CHECK(p.machine.outdated() == 0);
        CHECK(p.look().idle == 10);
    }
}

TEST_CASE("pool machine: a replacement whose old one is still lent is no surplus") {
    pool p{{.size = 2, .max_lifetime = 1s, .lifetime_jitter = 0}};
    p.connect_all();
    const auto a = p.take();
    const auto b = p.take();
    p.run_until(t0 + 1s);
    CHECK(count(p.connect_all(), pool_task::retire) == 0);
    CHECK(p.look().idle == 1);
    CHECK(p.connecting.empty());  // the replacement is already one above the capacity
    CHECK(p.give(a) == pool_fate::close);
    CHECK(count(p.poll(), pool_task::connect) == 1);
    p.connect_all();
    CHECK(p.give(b) == pool_fate::close);
    CHECK(p.look().idle == 2);
    CHECK(p.poll().empty());
}

TEST_CASE("pool machine: what was idle for longer than it may is asked before it is lent, to whomever") {
    pool p{{.size = 3}};
    p.machine.ask_after(500ms);
    p.connect_all();
    p.now += 500ms;
    CHECK_FALSE(p.machine.must_ask(p.take()));
    p.now += 1ns;
    const auto dead = p.take();
    CHECK(p.machine.must_ask(dead));
    CHECK(p.give(dead, false) == pool_fate::close);
    // The pool asks the backend about the last idle resource, for a waiter that joined while the pool was paused.
    p.machine.pause();
    CHECK(p.join() == pool_verdict::wait);
    p.machine.resume();
    const auto done = p.poll();
    CHECK(count(done, pool_task::ask) == 1);
    CHECK(count(done, pool_task::hand_over) == 0);
    for (const auto& a : done) {
        if (a.task == pool_task::ask) {
            CHECK(p.machine.on_ping_done(a.slot, true, p.now).fate == pool_fate::hand_over);
        }
    }
}

TEST_CASE("pool machine: a pool that drains stops pinging and connecting") {
    pool p{{.size = 2, .ping_interval = 1s}};
    p.connect_all();
    const auto lent = p.take();
    p.machine.drain();
    CHECK(count(p.poll(), pool_task::retire) == 1);
    CHECK(p.run_until(t0 + 1h).empty());
    CHECK(p.give(lent) == pool_fate::close);
    CHECK(p.poll().empty());
    CHECK(p.machine.empty());
    CHECK(p.machine.next_deadline() == time_point::max());
}

TEST_CASE("pool machine: a resource returned in doubt is never lent again, and resetting is not a leak") {
    pool p{{.size = 1, .leak_threshold = 1s}};
    p.connect_all();
    const auto a = p.take();
    p.machine.begin_reset(a);
    CHECK(p.look().leased == 1);
    CHECK(p.take() == no_slot);
    p.poll();
    CHECK(p.run_until(t0 + 5s).empty());
    CHECK(p.give(a, false) == pool_fate::close);
    CHECK(p.take() == no_slot);
}

TEST_CASE("pool machine: resize up serves waiters, resize down closes what is too much") {
    pool p{{.size = 2}};
    p.connect_all();
    const auto a = p.take();
    const auto b = p.take();
    CHECK(p.join() == pool_verdict::wait);
    CHECK(p.poll().empty());
    p.machine.resize(4, 0);
    CHECK(p.machine.claim_poll());
    CHECK(count(p.poll(), pool_task::connect) == 2);
    p.connect_all();
    CHECK(p.look().waiting == 0);
    CHECK(p.look().leased == 3);
    CHECK(p.look().idle == 1);
    CHECK(p.look().size == 4);
    p.machine.resize(1, 0);
    CHECK(count(p.poll(), pool_task::retire) == 1);
    CHECK(p.give(a) == pool_fate::close);
    CHECK(p.join() == pool_verdict::wait);
    // Two resources are lent and the bound is one: the pool closes the returned one even though a waiter waits.
    CHECK(p.give(b) == pool_fate::close);
    CHECK(p.look().leased == 1);
    CHECK(p.poll().empty());
}

TEST_CASE("pool machine: pause and resume with waiters") {
    pool p{{.size = 2}};
    p.connect_all();
    const auto a = p.take();
    p.machine.pause();
    CHECK(p.look().state == pool_state::paused);
    CHECK(p.take() == no_slot);
    CHECK(p.machine.explain(p.now).verdict == pool_verdict::exhausted);
    for (int i = 0; i < 3; ++i) {
        CHECK(p.join() == pool_verdict::wait);
    }
    CHECK(p.give(a) == pool_fate::idle);
    CHECK(p.poll().empty());
    p.machine.resume();
    CHECK(p.machine.claim_poll());
    CHECK(count(p.poll(), pool_task::hand_over) == 2);
    CHECK(p.look().leased == 2);
    CHECK(p.look().waiting == 1);
}

TEST_CASE("pool machine: drain refuses newcomers, serves who waits, and closes what comes back") {
    pool p{{.size = 2}};
    p.connect_all();
    const auto a = p.take();
    const auto b = p.take();
    CHECK(p.join() == pool_verdict::wait);
    p.machine.drain();
    CHECK(p.join() == pool_verdict::shut_down);
    CHECK(p.machine.explain(p.now).verdict == pool_verdict::shut_down);
    CHECK(p.give(a) == pool_fate::hand_over);
    CHECK_FALSE(p.machine.drained());
    CHECK(p.give(b) == pool_fate::close);
    CHECK(p.give(a) == pool_fate::close);
    CHECK(p.machine.drained());
    CHECK(p.poll().empty());
    CHECK(p.machine.empty());
}

TEST_CASE("pool machine: a late return to a closed pool closes the resource, and so does a late connect") {
    pool p{{.size = 3}};
    const auto late = p.connecting.back();
    p.connecting.pop_back();
    p.connect_all();
    const auto a = p.take();
    p.machine.close();
    CHECK(p.machine.claim_poll());
    CHECK(count(p.poll(), pool_task::retire) == 1);
    CHECK(p.give(a) == pool_fate::close);
    CHECK_FALSE(p.machine.empty());
    CHECK(p.machine.on_connected(late, p.now).fate == pool_fate::close);
    CHECK(p.machine.empty());
    CHECK(p.poll().empty());
    CHECK(p.join() == pool_verdict::shut_down);
}

TEST_CASE("pool machine: a lease held past the threshold is told once") {
    pool p{{.size = 1, .leak_threshold = 10s}};
    CHECK(p.machine.needs_time());
    p.connect_all();
    p.now += 3s;
    const auto a = p.take();
    CHECK(p.machine.claim_poll());
    p.poll();
    CHECK(p.run_until(t0 + 13s - 1ns).empty());
    const auto done = p.run_until(t0 + 13s);
    CHECK(count(done, pool_task::leak) == 1);
    CHECK(done[0].slot == a);
    CHECK(p.run_until(t0 + 1h).empty());
    p.give(a);
    // A new lease of the same resource is a new leak.
    p.take();
    p.poll();
    CHECK(count(p.run_until(p.now + 10s), pool_task::leak) == 1);
}

TEST_CASE("pool machine: time that goes backwards does no harm") {
    pool p{{.size = 1, .max_lifetime = 10s, .lifetime_jitter = 0, .idle_timeout = 5s, .leak_threshold = 1s}};
    p.connect_all();
    p.now -= 1h;
    const auto a = p.take();
    p.poll();
    p.give(a);
    p.poll();
    p.now = time_point::min();
    p.give(p.take());
    p.poll();
    CHECK(p.look().idle == 1);
    p.now = time_point::max();
    CHECK(p.take() == a);
    p.poll();
    p.connect_all();
    CHECK(p.give(a) == pool_fate::close);
}
