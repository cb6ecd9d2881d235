// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>
#include <headgate/impl/pool_machine.hpp>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace headgate;
using namespace headgate::detail;
using namespace std::chrono_literals;

namespace {

/// The slow, obvious model: every resource is a record, every waiter a number, every rule a loop.
struct model {
    enum class where { connecting, idle, leased, pinging };
    struct resource {
        where at;
        int holder = 0;  // the waiter that has it
    };

    std::uint32_t live() const { return count(where::idle) + count(where::leased) + count(where::pinging); }
    std::uint32_t count(where w) const {
        std::uint32_t n = 0;
        for (const auto& [slot, r] : resources) {
            n += r.at == w ? 1 : 0;
        }
        return n;
    }
    std::vector<slot_index> in(where w) const {
        std::vector<slot_index> found;
        for (const auto& [slot, r] : resources) {
            if (r.at == w) {
                found.push_back(slot);
            }
        }
        return found;
    }
    bool down() const { return failing && live() == 0 && count(where::connecting) == 0; }

    std::map<slot_index, resource> resources;
    std::deque<slot_index> idle;  // the front is lent next
    std::deque<int> queue;
    pool_state state = pool_state::active;
    std::uint32_t size = 0;
    std::uint32_t overflow = 0;
    bool failing = false;
};

struct run {
    run(const pool_options& o, std::uint64_t seed, bool asks_) : options(o), asks(asks_), machine(o, seed), rng(seed) {
        if (asks) {
            machine.ask_after(150ms);
        }
        m.size = o.size;
        m.overflow = o.max_overflow;
    }

    // Checks the machine's decision about a resource that nobody holds. `outdated` is the value before the decision.
    void settled(slot_index i, pool_settled s, bool usable, bool returned, std::uint32_t outdated) {
        auto& r = m.resources.at(i);
        const std::uint32_t most = m.size + m.overflow + (outdated != 0 ? 1 : 0);
        const bool must_close = !usable || m.state == pool_state::closed || m.live() > most;
        const bool serves = !m.queue.empty() && m.state != pool_state::paused;
        const bool overflows = m.live() - outdated > m.size && m.queue.empty() && options.overflow_ttl == 0s;
        switch (s.fate) {
            case pool_fate::hand_over:
                REQUIRE_FALSE(must_close);
                REQUIRE(serves);
                lend_to_first(i);
                break;
            case pool_fate::idle:
                REQUIRE_FALSE(must_close);
                REQUIRE_FALSE(serves);
                REQUIRE(m.state <= pool_state::paused);
                REQUIRE((!overflows || outdated != 0));
                r.at = model::where::idle;
                if ((options.strategy == pool_strategy::lifo) == returned) {
                    m.idle.push_front(i);
                } else {
                    m.idle.push_back(i);
                }
                break;
            case pool_fate::close:
                m.resources.erase(i);
                ++closed;
                lost(s.loss, must_close || (!serves && (m.state == pool_state::draining || overflows)));
                REQUIRE((s.loss == pool_loss::unusable) == !usable);
                break;
        }
        if (s.fail_waiters) {
            fail_all();
        } else {
            REQUIRE((m.queue.empty() || !m.down()));
        }
    }
    /// The pool closed a resource. For age or idleness it may do so only while `size` live ones are left: a pool whose
    /// backend refuses keeps its resources.
    void lost(pool_loss why, bool surplus) {
        if (why == pool_loss::aged || why == pool_loss::idled) {
            REQUIRE(m.live() >= m.size);
            REQUIRE((m.size != 0 || m.queue.empty() || m.live() != 0));
            ++outlived;
        } else if (why == pool_loss::surplus) {
            REQUIRE(surplus);
        }
    }
    void lend_to_first(slot_index i) {
        REQUIRE_FALSE(m.queue.empty());
        auto& r = m.resources.at(i);
        REQUIRE(r.at != model::where::connecting);
        r.at = model::where::leased;
        r.holder = m.queue.front();
        REQUIRE(r.holder > last_served);  // FIFO
        last_served = r.holder;
        m.queue.pop_front();
        ++served;
    }
    void fail_all() {
        REQUIRE(m.down());
        REQUIRE_FALSE(m.queue.empty());
        failed += m.queue.size();
        m.queue.clear();
    }

    void poll() {
        pool_action buffer[4];
        std::size_t n = 0;
        do {
            n = machine.poll(now, buffer);
            seen = std::max(seen, now);
            for (std::size_t k = 0; k < n; ++k) {
                act(buffer[k]);
            }
        } while (n == std::size(buffer));
    }
    void act(pool_action a) {
        switch (a.task) {
            case pool_task::connect:
                REQUIRE(m.resources.count(a.slot) == 0);
                REQUIRE(m.state != pool_state::closed);
                REQUIRE((!m.failing || latest >= retry_at));
                m.resources[a.slot] = {model::where::connecting};
                ++made;
                REQUIRE(m.count(model::where::connecting) <= (m.failing ? 1 : options.max_connecting));
                REQUIRE(m.resources.size() <= m.size + m.overflow + (machine.outdated() != 0 ? 1 : 0));
                REQUIRE((m.resources.size() <= m.size + machine.outdated() ||
                         m.queue.size() >= m.count(model::where::connecting)));
                break;
            case pool_task::ping:
                take_from_idle(a.slot);
                m.resources.at(a.slot).at = model::where::pinging;
                REQUIRE(m.state <= pool_state::paused);
                REQUIRE(m.count(model::where::pinging) - asking.size() <= options.max_connecting);
                break;
            case pool_task::ask:
                REQUIRE(asks);
                REQUIRE_FALSE(m.queue.empty());
                take_from_idle(a.slot);
                m.resources.at(a.slot).at = model::where::pinging;
                asking.insert(a.slot);
                break;
            case pool_task::retire:
                take_from_idle(a.slot);
                m.resources.erase(a.slot);
                ++closed;
                lost(a.loss, true);
                break;
            case pool_task::leak: REQUIRE(m.resources.at(a.slot).at == model::where::leased); break;
            case pool_task::hand_over:
                REQUIRE(m.state != pool_state::paused);
                REQUIRE(m.idle.front() == a.slot);
                take_from_idle(a.slot);
                lend_to_first(a.slot);
                break;
            case pool_task::fail_waiters: fail_all(); break;
            case pool_task::no_memory: FAIL("there is enough"); break;
        }
    }
    void take_from_idle(slot_index i) {
        REQUIRE(m.resources.at(i).at == model::where::idle);
        const auto found = std::find(m.idle.begin(), m.idle.end(), i);
        REQUIRE(found != m.idle.end());
        m.idle.erase(found);
    }
    void check() {
        const auto s = machine.look();
        REQUIRE(s.idle == m.count(model::where::idle) + m.count(model::where::pinging));
        REQUIRE(m.idle.size() == m.count(model::where::idle));
        REQUIRE(s.leased == m.count(model::where::leased));
        REQUIRE(s.connecting == m.count(model::where::connecting));
        REQUIRE(s.waiting == m.queue.size());
        REQUIRE(s.state == m.state);
        REQUIRE(s.overflow == (m.live() > m.size ? m.live() - m.size : 0));
        REQUIRE(made == failed_connects + closed + m.resources.size());
        REQUIRE(asked == served + failed + given_up + m.queue.size());
        if (m.state == pool_state::active) {
            REQUIRE((m.queue.empty() || m.idle.empty() || m.queue.size() <= asking.size()));
        }
        // No waiter is forgotten: something will happen that can serve it.
        if (!m.queue.empty() && m.state != pool_state::paused) {
            const bool full = m.resources.size() >= m.size + m.overflow;
            const bool connecting = m.count(model::where::connecting) != 0;
            const bool timer = machine.next_deadline() != time_point::max();
            REQUIRE((full || connecting || timer || !asking.empty()));
        }
    }

    template <class T>
    T pick(const std::vector<T>& from) {
        return from[rng() % from.size()];
    }
    void step() {
        latest = std::max(latest, now);
        const auto leased = m.in(model::where::leased);
        const auto connecting = m.in(model::where::connecting);
        const auto pinging = m.in(model::where::pinging);
        const auto dice = rng() % 1000;
        if (dice < 200) {
            checkout();
        } else if (dice < 400) {
            if (const auto i = machine.take(now); i != no_slot) {
                REQUIRE(m.state == pool_state::active);
                REQUIRE(m.queue.empty());
                REQUIRE(m.idle.front() == i);
                take_from_idle(i);
                m.resources.at(i).at = model::where::leased;
                ask(i);
            } else {
                REQUIRE((m.state != pool_state::active || !m.queue.empty() || m.idle.empty()));
            }
        } else if (dice < 700) {
            if (!leased.empty()) {
                const auto i = pick(leased);
                const bool usable = rng() % 16 != 0;
                if (rng() % 4 == 0) {
                    machine.begin_reset(i);
                }
                const auto outdated = machine.outdated();
                settled(i, machine.on_return(i, usable, now), usable, true, outdated);
            }
        } else if (dice < 820) {
            if (!connecting.empty()) {
                end_connect(pick(connecting), rng() % 100 >= (bad_weather ? 95u : 5u));
            }
        } else if (dice < 860) {
            if (!pinging.empty()) {
                const auto i = pick(pinging);
                const bool alive = rng() % 4 != 0;
                end_ping(i, alive);
            }
        } else if (dice < 900) {
            if (!m.queue.empty()) {
                m.queue.erase(m.queue.begin() + static_cast<std::ptrdiff_t>(rng() % m.queue.size()));
                machine.leave();
                ++given_up;
            }
        } else if (dice < 975) {
            pass_time();
            if (rng() % 8 == 0 && machine.next_deadline() != time_point::max()) {
                now = std::max(now, machine.next_deadline());
            }
        } else if (dice < 980) {
            m.size = static_cast<std::uint32_t>(rng() % 8);
            m.overflow = static_cast<std::uint32_t>(rng() % 5) + (m.size == 0 ? 1 : 0);
            machine.resize(m.size, m.overflow);
        } else if (dice < 985) {
            machine.pause();
            m.state = m.state == pool_state::active ? pool_state::paused : m.state;
        } else if (dice < 995) {
            machine.resume();
            m.state = m.state == pool_state::paused ? pool_state::active : m.state;
        } else {
            bad_weather = !bad_weather;
        }
        // The shell may poll late.
        latest = std::max(latest, now);
        if (machine.claim_poll() || rng() % 8 == 0 || machine.next_deadline() <= now) {
            poll();
            check();
        }
    }
    /// Time mostly goes forward. It may also stand still, go back, or jump by years.
    void pass_time() {
        const auto dice = rng() % 64;
        if (dice == 0) {
            now -= duration{static_cast<std::int64_t>(rng() % 100'000'000'000)};
        } else if (dice == 1) {
            now += std::chrono::hours(24 * 365) * static_cast<int>(rng() % 3);
        } else if (dice > 8) {
            now += duration{static_cast<std::int64_t>(rng() % 200'000'000)};
        }
    }
    /// At a loan the pool asks the backend about a resource that was idle for long. It may be dead.
    void ask(slot_index i) {
        if (machine.must_ask(i)) {
            REQUIRE(asks);
            if (rng() % 3 == 0) {
                const auto outdated = machine.outdated();
                settled(i, machine.on_return(i, false, now), false, true, outdated);
            }
        }
    }
    void end_ping(slot_index i, bool alive) {
        const auto outdated = machine.outdated();
        const auto s = machine.on_ping_done(i, alive, now);
        seen = std::max(seen, now);
        asking.erase(i);
        settled(i, s, alive, false, outdated);
    }
    void checkout() {
        const auto d = machine.join(now);
        switch (d.verdict) {
            case pool_verdict::granted:
                REQUIRE(m.queue.empty());
                REQUIRE(m.idle.front() == d.slot);
                take_from_idle(d.slot);
                m.resources.at(d.slot).at = model::where::leased;
                ask(d.slot);
                break;
            case pool_verdict::wait:
                REQUIRE(m.queue.size() < options.max_waiters);
                m.queue.push_back(++next_waiter);
                ++asked;
                break;
            case pool_verdict::queue_full: REQUIRE(m.queue.size() == options.max_waiters); break;
            case pool_verdict::connect_failed:
                REQUIRE(m.down());
                REQUIRE(d.retry_after > 0s);
                REQUIRE(d.retry_after <= options.backoff_max);
                break;
            case pool_verdict::shut_down: REQUIRE(m.state >= pool_state::draining); break;
            case pool_verdict::exhausted: FAIL("join never says that"); break;
        }
    }
    void end_connect(slot_index i, bool good) {
        if (good) {
            m.failing = false;
            m.resources.at(i).at = model::where::idle;  // live; `settled` decides next
            const auto outdated = machine.outdated();
            const auto s = machine.on_connected(i, now);
            seen = std::max(seen, now);
            settled(i, s, true, true, outdated);
            return;
        }
        ++failed_connects;
        const bool others = m.count(model::where::connecting) > 1 || m.live() != 0;
        m.resources.erase(i);
        const auto f = machine.on_connect_failed(i, now);
        seen = std::max(seen, now);
        REQUIRE(f.retry_after >= 0s);
        REQUIRE(f.retry_after <= options.backoff_max);
        if (f.retry_after > 0s) {
            m.failing = true;
            retry_at = seen + f.retry_after;
        }
        if (f.fail_waiters) {
            REQUIRE_FALSE(others);
            fail_all();
        } else {
            REQUIRE((m.queue.empty() || !m.down()));
        }
    }
    /// After every run, draining ends with no resource left.
    void finish() {
        now = std::max(now, latest);
        machine.resume();
        m.state = m.state == pool_state::paused ? pool_state::active : m.state;
        machine.drain();
        m.state = pool_state::draining;
        for (int rounds = 0; !(machine.drained() && machine.empty()); ++rounds) {
            latest = std::max(latest, now);
            REQUIRE(rounds < 10'000);
            if (machine.claim_poll() || machine.next_deadline() <= now) {
                poll();
            }
            for (const auto i : m.in(model::where::leased)) {
                const auto outdated = machine.outdated();
                settled(i, machine.on_return(i, true, now), true, true, outdated);
            }
            for (const auto i : m.in(model::where::pinging)) {
                end_ping(i, true);
            }
            for (const auto i : m.in(model::where::connecting)) {
                end_connect(i, true);
            }
            now += 50ms;
        }
        poll();
        check();
        REQUIRE(m.resources.empty());
        REQUIRE(m.queue.empty());
    }

    pool_options options;
    bool asks;
    pool_machine machine;
    model m;
    std::mt19937_64 rng;
    time_point now{100h};
    time_point seen{};    // the machine's time, which does not go back
    time_point latest{};  // the latest time that the machine may have seen
    time_point retry_at{};
    std::set<slot_index> asking;
    bool bad_weather = false;
    int next_waiter = 0;
    int last_served = 0;
    std::size_t made = 0, closed = 0, outlived = 0, failed_connects = 0;
    std::size_t asked = 0, served = 0, failed = 0, given_up = 0;
};

}  // namespace

TEST_CASE("pool machine, property: resources are conserved, waiters are served in order, nothing is lost") {
    std::uint64_t seed = std::random_device{}();
    if (const char* given = std::getenv("HEADGATE_SEED")) {
        seed = std::stoull(given);
    }
    std::cout << "HEADGATE_SEED=" << seed << " (pool machine)\n";
    CAPTURE(seed);
    std::size_t served = 0;
    std::size_t failed = 0;
    std::size_t outlived = 0;
    for (std::uint64_t round = 0; round < 64; ++round) {
        CAPTURE(round);
        std::mt19937_64 rng{seed + round};
        const auto now_and_then = [&](duration d) { return rng() % 2 == 0 ? d : duration::zero(); };
        pool_options o;
        o.size = static_cast<std::uint32_t>(rng() % 6);
        o.max_overflow = static_cast<std::uint32_t>(rng() % 4) + (o.size == 0 ? 1 : 0);
        o.max_connecting = 1 + static_cast<std::uint32_t>(rng() % 3);
        o.max_waiters = static_cast<std::uint32_t>(rng() % 30);
        o.strategy = rng() % 2 == 0 ? pool_strategy::lifo : pool_strategy::fifo;
        o.overflow_ttl = now_and_then(300ms);
        o.max_lifetime = now_and_then(3s);
        o.idle_timeout = now_and_then(1s);
        o.ping_interval = now_and_then(400ms);
        o.leak_threshold = now_and_then(500ms);
        run r{o, seed + round, rng() % 2 == 0};
        for (int i = 0; i < 4'000; ++i) {
            r.step();
        }
        r.finish();
        served += r.served;
        failed += r.failed;
        outlived += r.outlived;
    }
    CHECK(outlived > 100);
    CHECK(served > 1'000);
    CHECK(failed > 0);
}
