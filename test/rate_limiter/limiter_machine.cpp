// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "rate_limiter/limiter_machine.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include <headgate/key.hpp>

#include "rate_limiter/busiest_keys.hpp"

using namespace headgate;
using namespace headgate::detail;
using namespace std::chrono_literals;

namespace {

constexpr time_point epoch{};

quota per(std::uint64_t n, duration period, std::optional<std::uint64_t> burst = {}) {
    return quota::per(n, period, burst).value();
}

quota window(std::uint64_t n, duration period) {
    return quota::fixed_window(n, period).value();
}

std::unique_ptr<limiter_machine> make(std::vector<headgate::tier> tiers, limiter_settings settings = {}) {
    settings.seed = settings.seed == 0 ? 42 : settings.seed;
    return std::move(limiter_machine::make(settings, std::move(tiers))).value();
}

std::unique_ptr<limiter_machine> make(const quota& q, limiter_settings settings = {}) {
    return make({{"default", {q}}}, settings);
}

/// A limiter that takes keys, as its users pass them.
struct asked {
    std::unique_ptr<limiter_machine> machine;

    decision ask(const key& k, time_point now, std::uint64_t cost = 1, std::uint32_t tier = 0) const {
        return machine->try_acquire(k.hash(machine->seed()), tier, cost, now);
    }
    bool passes(const key& k, time_point now, std::uint64_t cost = 1, std::uint32_t tier = 0) const {
        return ask(k, now, cost, tier).what == verdict::granted;
    }
    int burst(const key& k, time_point now, std::uint32_t tier = 0) const {
        int n = 0;
        while (passes(k, now, 1, tier)) {
            ++n;
        }
        return n;
    }
    key_info inspect(const key& k, time_point now, std::optional<std::uint32_t> tier = {}) const {
        return machine->inspect(k.hash(machine->seed()), tier, now);
    }
    bool forget(const key& k, time_point now) const { return machine->forget(k.hash(machine->seed()), now); }
};

std::string detail_of(const result<void>& r) {
    return r.has_error() && r.error().detail ? *r.error().detail : std::string{};
}

}  // namespace

TEST_CASE("key: key(\"a_b\", \"c\") and key(\"a\", \"b_c\") are different keys") {
    const hash_seed seed{7};
    CHECK(key("a_b", "c").hash(seed) != key("a", "b_c").hash(seed));
    CHECK(key("a", "b").hash(seed) != key("a_b").hash(seed));
    CHECK(key("a", "b").hash(seed) != key("b", "a").hash(seed));
    CHECK(key("a").hash(seed) != key("a", "").hash(seed));
    CHECK(key("", "a").hash(seed) != key("a", "").hash(seed));
    CHECK(key("a").hash(seed) != key("a").hash(hash_seed{8}));
    CHECK(key("user", 1).text() == "user:1");
    CHECK(key(-1, 2U).text() == "-1:2");
}

TEST_CASE("key: any text or integer, empty and binary included") {
    const hash_seed seed{7};
    const std::string binary("\0\xff\0x", 4);
    std::set<std::uint64_t> seen;
    for (const auto& k : {key(""), key("\0"), key(std::string_view("\0", 1)), key(std::string_view("\0\0", 2)),
                          key(binary), key(0), key(1), key("1"), key(-1), key(~0ULL), key("0")}) {
        seen.insert(k.hash(seed));
    }
    CHECK(seen.size() == 10);  // "" and "\0" as C strings are both empty
    CHECK(key(std::int8_t{5}).hash(seed) == key(5ULL).hash(seed));
    CHECK(key(std::string("abc")).hash(seed) == key("abc").hash(seed));
    static_assert(std::is_trivially_destructible_v<key>);
}

TEST_CASE("key: lengths from 0 to 64 that differ in one byte have different hashes") {
    const hash_seed seed{99};
    std::set<std::uint64_t> seen;
    std::size_t made = 0;
    for (std::size_t n = 0; n <= 64; ++n) {
        std::string text(n, 'x');
        seen.insert(key(text).hash(seed));
        ++made;
        for (std::size_t i = 0; i < n; ++i, ++made) {
            text[i] = 'y';
            seen.insert(key(text).hash(seed));
            text[i] = 'x';
        }
    }
    CHECK(seen.size() == made);
}

TEST_CASE("limiter: first access of a key is granted with count 1, the fourth in the limit with 4") {
    const asked l{make(window(10, 1s))};
    for (std::uint64_t i = 1; i <= 4; ++i) {
        CHECK(l.ask("k", epoch).granted.remaining() == 10 - i);
        CHECK(l.inspect("k", epoch).tightest.used == i);
    }
}

TEST_CASE("limiter: inspect of a key never seen says used 0 and remaining = limit, and changes nothing") {
    for (const auto& q : {per(10, 1min), window(10, 1min)}) {
        const asked l{make(q)};
        const auto unseen = l.inspect("k", epoch + 59s);
        CHECK_FALSE(unseen.known);
        CHECK(unseen.tightest.used == 0);
        CHECK(unseen.tightest.remaining == 10);
        CHECK(unseen.tightest.limit == 10);
        CHECK(l.machine->counts().keys == 0);
        CHECK(l.passes("k", epoch + 30s, 3));
        for (int i = 0; i < 5; ++i) {
            const auto seen = l.inspect("k", epoch + 30s);
            CHECK(seen.known);
            CHECK(seen.tightest.used == 3);
            CHECK(seen.tightest.remaining == 7);
            CHECK(seen.tightest.reset_after > 0s);
            CHECK(seen.tightest.reset_after <= 1min);
            CHECK_FALSE(seen.created);
        }
    }
}

TEST_CASE("limiter: with track_keys inspect tells created, last update, and refusals counted apart") {
    const asked l{make(per(2, 1min), {.track_keys = true})};
    CHECK(l.burst("k", epoch + 1s) == 2);
    CHECK_FALSE(l.passes("k", epoch + 2s));
    CHECK(l.passes("k", epoch + 31s));
    const auto seen = l.inspect("k", epoch + 31s);
    REQUIRE(seen.created);
    CHECK(seen.created == epoch + 1s);
    CHECK(seen.updated == epoch + 31s);
    CHECK(seen.refused == 2);
    CHECK(seen.tightest.used == 2);
}

TEST_CASE("limiter: reset makes the next call the first, says so of an unknown key, leaves others untouched") {
    const asked l{make(window(2, 1min))};
    CHECK(l.burst("a", epoch) == 2);
    CHECK(l.burst("b", epoch) == 2);
    CHECK(l.forget("a", epoch));
    CHECK_FALSE(l.forget("a", epoch));
    CHECK_FALSE(l.forget("never", epoch));
    CHECK(l.burst("a", epoch) == 2);
    CHECK(l.burst("b", epoch) == 0);
    // A key with nothing used is not known either.
    CHECK_FALSE(l.forget("b", epoch + 1h));
}

TEST_CASE("limiter: quota::none() refuses always and remembers nobody") {
    const asked l{make(quota::none())};
    CHECK(l.ask("k", epoch).what == verdict::cost_exceeds_limit);
    CHECK(l.ask("k", epoch + 1h).retry_after == 0s);
    CHECK(l.machine->counts().keys == 0);
}

TEST_CASE("limiter: 15 updates of one user give 10 grants and 5 refusals, another user is untouched") {
    const asked l{make(per(10, 1min))};
    int granted = 0;
    for (int i = 0; i < 15; ++i) {
        const auto d = l.ask(key("user", 1), epoch);
        granted += d.what == verdict::granted ? 1 : 0;
        if (d.what != verdict::granted) {
            CHECK(d.what == verdict::rate_limited);
            CHECK(d.retry_after > 0s);
        }
    }
    CHECK(granted == 10);
    CHECK(l.burst(key("user", 2), epoch) == 10);
    CHECK(l.machine->counts().granted == 20);
    CHECK(l.machine->counts().refused == 6);
}

TEST_CASE("limiter: waiting exactly retry_after is granted, a nanosecond earlier refused") {
    for (const bool several : {false, true}) {
        const asked l{several ? make({{"default", {per(7, 1s), per(20, 1min)}}}) : make(per(7, 1s))};
        l.burst("k", epoch);
        const auto d = l.ask("k", epoch + 3ns, 2);
        REQUIRE(d.what == verdict::rate_limited);
        CHECK_FALSE(l.passes("k", epoch + 3ns + d.retry_after - 1ns, 2));
        CHECK(l.passes("k", epoch + 3ns + d.retry_after, 2));
    }
}

TEST_CASE("limiter: a cost of zero is an error, a cost above the burst can never pass") {
    const asked l{make(per(10, 1min))};
    for (int known = 0; known < 2; ++known) {
        CHECK(l.ask("k", epoch, 0).what == verdict::zero_cost);
        CHECK(l.ask("k", epoch, 11).what == verdict::cost_exceeds_limit);
        CHECK(l.ask("k", epoch, ~0ULL).what == verdict::cost_exceeds_limit);
        CHECK(l.passes("k", epoch));
    }
    CHECK(l.ask("k", epoch, 1, 5).what == verdict::unknown_tier);
    CHECK(l.ask("k", epoch, 1, ~0U).what == verdict::unknown_tier);
}

TEST_CASE("limiter: several quotas are charged all or none") {
    const asked l{make({{"default", {per(2, 1s), window(3, 1h)}}})};
    CHECK(l.burst("k", epoch) == 2);
    CHECK(l.burst("k", epoch + 1s) == 1);
    CHECK(l.ask("k", epoch + 2s).retry_after == 1h - 2s);
    const auto seen = l.inspect("k", epoch + 2s);
    CHECK(seen.quotas.size() == 2);
    CHECK(seen.quotas[0].remaining == 2);
    CHECK(seen.tightest.limit == 3);
    CHECK(seen.tightest.remaining == 0);
}

TEST_CASE("limiter: a call may name its tier, and the state converts") {
    const asked l{
        make({{"free", {per(10, 1min)}}, {"pro", {per(100, 1min), per(50, 10s)}}, {"banned", {quota::none()}}})};
    const auto pro = l.machine->find_tier("pro").value();
    const auto banned = l.machine->find_tier("banned").value();
    CHECK_FALSE(l.machine->find_tier("gold"));
    CHECK(l.burst("k", epoch) == 10);
    CHECK(l.inspect("k", epoch, pro).tightest.used == 10);
    CHECK(l.inspect("k", epoch).tier == l.machine->tier_name(0));
    // A refused call converts nothing.
    CHECK(l.ask("k", epoch, 1, banned).what == verdict::cost_exceeds_limit);
    CHECK(l.inspect("k", epoch).tightest.used == 10);
    CHECK(l.burst("k", epoch, pro) == 40);
    CHECK(l.inspect("k", epoch).tier == l.machine->tier_name(pro));
    // 50 of 10 permits are used: 41 must come back first. They do so at the rate of "pro", the key's tier until then.
    CHECK(l.ask("k", epoch).retry_after == 41 * 600ms);
    CHECK_FALSE(l.passes("k", epoch + 41 * 600ms - 1ns));
    CHECK(l.passes("k", epoch + 41 * 600ms));
}

TEST_CASE("limiter: time going backwards gives nothing for a key that was dropped meanwhile") {
    const asked l{make(per(5, 1s))};
    CHECK(l.burst("k", epoch + 10s) == 5);
    (void)l.machine->sweep(l.machine->shards(), epoch + 11s);
    CHECK(l.machine->counts().keys == 0);
    // The bucket was last known to be full at 11 s. The first call is granted and counts as of 11 s; the others must
    // wait until then.
    CHECK(l.burst("k", epoch + 1s) == 1);
    CHECK(l.burst("k", epoch + 11s) == 4);
    CHECK(l.burst("k", epoch + 11s) == 0);
    CHECK(l.burst("k", epoch + 12s) == 5);
}

TEST_CASE("limiter: a live change of a quota keeps what was used") {
    for (const bool swept : {false, true}) {
        const asked l{make(per(10, 1min))};
        CHECK(l.passes("k", epoch, 8));
        REQUIRE(l.machine->change({{"default", {per(20, 1min)}}}, epoch));
        if (swept) {
            (void)l.machine->sweep(l.machine->shards(), epoch);
        }
        CHECK(l.burst("k", epoch) == 12);
        REQUIRE(l.machine->change({{"default", {per(5, 1h)}}}, epoch));
        if (swept) {
            (void)l.machine->sweep(l.machine->shards(), epoch + 10min);
        }
        // 20 of 5 permits are used: 16 must come back first, at 5 an hour, counted from the change.
        CHECK(l.ask("k", epoch + 30min).retry_after == 16 * 12min - 30min);
    }
}

TEST_CASE("limiter: a live change counts from its own time even when the key is touched later") {
    const asked l{make(per(10, 1s))};
    CHECK(l.burst("k", epoch) == 10);
    REQUIRE(l.machine->change({{"default", {per(10, 24h)}}}, epoch));
    // Under the old quota all permits would be back after a second.
    CHECK(l.burst("k", epoch + 2s) == 0);
    (void)l.machine->sweep(l.machine->shards(), epoch + 2s);
    CHECK(l.machine->counts().keys == 1);
}

TEST_CASE("limiter: a live change adds quotas and tiers, and takes tiers away") {
    for (const bool tracked : {false, true}) {
        const asked l{make({{"default", {per(10, 1min)}}, {"old", {per(4, 1min)}}}, {.track_keys = tracked})};
        const auto old = l.machine->find_tier("old").value();
        for (int i = 0; i < 3000; ++i) {
            CHECK(l.passes(key("k", i), epoch, 3, i % 2 == 0 ? old : 0));
        }
        REQUIRE(l.machine->change({{"default", {per(10, 1min), per(5, 1h), window(7, 1min)}}, {"new", {per(100, 1s)}}},
                                  epoch));
        CHECK_FALSE(l.machine->find_tier("old"));
        CHECK(l.machine->find_tier("new"));
        CHECK(l.ask(key("k", 0), epoch, 1, old).what == verdict::unknown_tier);
        for (int i = 0; i < 3000; i += 3) {
            CHECK(l.inspect(key("k", i), epoch).quotas.size() == 3);
            CHECK(l.burst(key("k", i), epoch) == 2);
            CHECK(l.inspect(key("k", i), epoch).created.has_value() == tracked);
        }
        (void)l.machine->sweep(l.machine->shards(), epoch);
        for (int i = 0; i < 3000; ++i) {
            CHECK(l.burst(key("k", i), epoch) == (i % 3 == 0 ? 0 : 2));
        }
    }
}

TEST_CASE("limiter: hundreds of live changes in a row lose nothing") {
    const asked l{make(per(1000, 24h))};
    CHECK(l.passes("k", epoch, 500));
    for (int i = 0; i < 600; ++i) {
        REQUIRE(l.machine->change({{"default", {per(static_cast<std::uint64_t>(1000 + i % 7), 24h)}}}, epoch));
    }
    CHECK(l.inspect("k", epoch).tightest.used >= 500);
    CHECK(l.inspect("k", epoch).tightest.used <= 501);
}

TEST_CASE("limiter: impossible tiers are errors that say what would be right") {
    CHECK(limiter_machine::make({}, {}).error() == errc::invalid_argument);
    CHECK(limiter_machine::make({}, {{"", {per(1, 1s)}}}).error() == errc::invalid_argument);
    CHECK(limiter_machine::make({}, {{"a", {}}}).error() == errc::invalid_argument);
    CHECK(limiter_machine::make({}, {{"a", {per(1, 1s)}}, {"a", {per(1, 1s)}}}).error() == errc::invalid_argument);
    CHECK(limiter_machine::make({}, {{"a", std::vector(9, per(1, 1s))}}).error() == errc::invalid_argument);
    CHECK(check(rate_limiter_options{.tiers = {{"a", {per(1, 1s)}}}, .max_keys = 0}).size() == 1);
    const auto l = make(per(1, 1s));
    CHECK(detail_of(l->change({{"other", {per(1, 1s)}}}, epoch)).find("must stay \"default\"") != std::string::npos);
    CHECK(l->change({}, epoch).error() == errc::invalid_argument);
}

TEST_CASE("limiter: keys expire while traffic runs, memory falls back, no call looks at more than a bounded number") {
    const asked l{make(per(10, 1s), {.max_keys = 1 << 17})};
    const auto empty = l.machine->counts().bytes;
    constexpr int n = 100'000;
    for (int i = 0; i < n; ++i) {
        CHECK(l.passes(key("user", i), epoch));
    }
    const auto full = l.machine->counts();
    CHECK(full.keys == n);
    CHECK(full.bytes - empty <= 48 * n);
    std::uint64_t looked = 0;
    for (std::size_t i = 0; i < l.machine->shards(); i += 4) {
        const auto report = l.machine->sweep(4, epoch + 1min);
        looked = std::max(looked, report.looked);
        CHECK(l.passes(key("busy"), epoch + 1min + duration{static_cast<std::int64_t>(i) * 1'000'000'000}));
    }
    const auto after = l.machine->counts();
    CHECK(after.keys <= 1);
    CHECK(after.bytes < empty + 4096);
    CHECK(after.most_looked <= 768);
    CHECK(looked <= 4 * 768);
}

TEST_CASE("limiter: memory a key while it grows stays under 72 bytes") {
    const asked l{make(per(10, 24h), {.max_keys = 1 << 17})};
    const auto empty = l.machine->counts().bytes;
    std::uint64_t worst = 0;
    for (std::uint64_t i = 0; i < 120'000; ++i) {
        (void)l.ask(key("user", i), epoch);
        if (i > 20'000 && i % 1000 == 0) {
            worst = std::max(worst, (l.machine->counts().bytes - empty) / (i + 1));
        }
    }
    CHECK(worst <= 72);
}

TEST_CASE("limiter: a flood of distinct keys is held at max_keys, and each transition is told once") {
    const asked l{make(per(10, 1s), {.max_keys = 1000})};
    int began = 0;
    int granted = 0;
    for (int i = 0; i < 5000; ++i) {
        const auto d = l.ask(key("flood", i), epoch);
        began += d.overflow_began ? 1 : 0;
        granted += d.what == verdict::granted ? 1 : 0;
    }
    CHECK(l.machine->counts().keys == 1000);
    CHECK(l.machine->counts().overflowing);
    CHECK(began == 1);
    CHECK(granted == 1010);
    // Known keys keep their own buckets.
    CHECK(l.burst(key("flood", 0), epoch) == 9);
    CHECK(l.inspect(key("flood", 4999), epoch).tightest.used == 10);
    CHECK_FALSE(l.machine->sweep(l.machine->shards(), epoch).overflow_ended);
    CHECK(l.machine->sweep(l.machine->shards(), epoch + 1s).overflow_ended);
    CHECK_FALSE(l.machine->sweep(l.machine->shards(), epoch + 1s).overflow_ended);
    CHECK(l.machine->counts().keys == 0);
    CHECK(l.burst(key("flood", 4999), epoch + 1s) == 10);
}

TEST_CASE("limiter: a full table takes new keys as old ones expire, without a sweep") {
    const asked l{make(per(10, 1s), {.max_keys = 1000})};
    for (int i = 0; i < 1000; ++i) {
        (void)l.ask(key("old", i), epoch);
    }
    for (int i = 0; i < 20'000; ++i) {
        (void)l.ask(key("new", i), epoch + 10s + duration{i} * 1'000'000);
        CHECK(l.machine->counts().keys <= 1000);
    }
    CHECK(l.machine->counts().most_looked <= 768);
}

TEST_CASE("limiter: against a plain map of buckets, with random keys, resets and sweeps") {
    const auto seed = std::getenv("HEADGATE_SEED") != nullptr ? std::strtoull(std::getenv("HEADGATE_SEED"), nullptr, 10)
                                                              : std::random_device{}();
    MESSAGE("HEADGATE_SEED=" << seed);
    std::mt19937_64 random{seed};
    const quota q = per(5, 100ns, 7);
    const asked l{make({{"default", {q}}, {"pair", {q, q}}}, {.seed = seed | 1})};
    const gcra model{q};
    std::unordered_map<std::uint64_t, quota_state> buckets;
    time_point now = epoch;
    for (int i = 0; i < 200'000; ++i) {
        now += duration{static_cast<std::int64_t>(random() % 3)};
        const std::uint64_t k = random() % 500;
        const auto roll = random() % 100;
        if (roll < 2) {
            const bool known = buckets.contains(k) && !model.is_absent(buckets.at(k), now);
            REQUIRE(l.forget(k, now) == known);
            buckets.erase(k);
        } else if (roll < 5) {
            (void)l.machine->sweep(1 + random() % 100, now);
        } else {
            auto& s = buckets.try_emplace(k, model.fresh(now)).first->second;
            const auto cost = static_cast<std::int64_t>(1 + random() % 7);
            const bool expected = model.passes(s, cost, now);
            // Both tiers have the same quota, so converting between them changes nothing.
            const auto d = l.ask(k, now, static_cast<std::uint64_t>(cost), static_cast<std::uint32_t>(random() % 2));
            REQUIRE((d.what == verdict::granted) == expected);
            if (expected) {
                model.charge(s, cost, now);
            } else {
                REQUIRE(d.retry_after == to_duration(model.wait_ns(s, cost, now)));
            }
        }
    }
}

TEST_CASE("limiter: while a key has waiters try_acquire says so, and tells the shell to look for others of its shard") {
    const asked l{make(per(10, 1s))};
    const std::uint64_t hash = key("k").hash(l.machine->seed());
    CHECK(l.burst("k", epoch) == 10);
    bucket_ref waiting{};
    {
        auto bucket = l.machine->open(hash, epoch);
        waiting = bucket.ref();
        bucket.mark_waiting();
        CHECK(bucket.next_time(0, 1, epoch) == epoch + 100ms);
        CHECK(bucket.next_time(0, 10, epoch) == epoch + 1s);
        CHECK_FALSE(bucket.next_time(0, 11, epoch));
        CHECK_FALSE(bucket.next_time(9, 1, epoch));
        CHECK(bucket.largest_cost(0) == 10);
        // One waiter of 3, then one of 10, then ours: each is served after the waiters before it.
        auto line = bucket.project(0, epoch);
        CHECK(line.add(0, 3) == epoch + 300ms);
        CHECK(line.add(0, 10) == epoch + 1300ms);
        CHECK(line.add(0, 1) == epoch + 1400ms);
    }
    CHECK(l.ask("k", epoch + 1h).what == verdict::queued);
    CHECK(l.machine->try_acquire(hash ^ 1, 0, 1, epoch).what == verdict::queued);
    CHECK(l.machine->open(hash ^ 1, epoch).try_charge(0, 1, epoch).what == verdict::granted);
    {
        auto bucket = l.machine->open(waiting, epoch + 1h);
        CHECK(bucket.try_charge(0, 3, epoch + 1h).what == verdict::granted);
    }
    l.machine->unmark_waiting(waiting);
    CHECK(l.burst("k", epoch + 1h) == 7);
}

TEST_CASE("limiter: two threads on a fresh key lose no hit") {
    for (int round = 0; round < 20; ++round) {
        const asked l{make(per(1'000'000, 24h), {.max_keys = 100'000})};
        const auto work = [&](int salt) {
            for (int i = 0; i < 2000; ++i) {
                (void)l.ask("shared", epoch);
                (void)l.ask(key("own", salt, i), epoch);
            }
        };
        std::thread other{work, 1};
        work(2);
        other.join();
        CHECK(l.inspect("shared", epoch).tightest.used == 4000);
        CHECK(l.machine->counts().keys == 4001);
    }
}

TEST_CASE("limiter: sweeps, live changes and inspection run beside traffic") {
    const asked l{make({{"default", {per(10, 100us)}}}, {.max_keys = 2000})};
    std::atomic<bool> stop{false};
    std::thread admin{[&] {
        for (int i = 0; i < 50; ++i) {
            (void)l.machine->sweep(64, epoch + duration{i * 1'000'000});
            (void)l.machine->change({{"default", std::vector(static_cast<std::size_t>(1 + i % 3),
                                                             per(static_cast<std::uint64_t>(5 + i), 100us))}},
                                    epoch + duration{i * 1'000'000});
            (void)l.inspect(key(i), epoch);
            (void)l.machine->save(epoch);
            (void)l.machine->counts();
        }
        stop = true;
    }};
    for (std::int64_t i = 0; !stop; ++i) {
        const auto h = key(i % 5000).hash(l.machine->seed());
        l.machine->prefetch(h);
        (void)l.machine->try_acquire(h, 0, 1, epoch + duration{i * 100});
    }
    admin.join();
    CHECK(l.machine->counts().keys <= 2000);
}

TEST_CASE("limiter: state saved at stop and loaded at start gives the same answers") {
    for (const bool tracked : {false, true}) {
        limiter_settings before{.seed = 77, .track_keys = tracked, .unix_offset = 1000h};
        const asked a{make({{"default", {per(10, 1min), window(8, 1h)}}, {"pro", {per(100, 1min)}}}, before)};
        CHECK(a.passes("x", epoch, 7));
        CHECK(a.passes("y", epoch, 60, 1));
        const auto bytes = a.machine->save(epoch + 6s);

        // Another process, ten seconds later, with another steady time and another seed.
        const time_point start = epoch + 5h;
        limiter_settings after{.seed = 5, .track_keys = tracked, .unix_offset = 1000h + 16s - 5h};
        const asked b{make({{"default", {per(10, 1min), window(8, 1h)}}, {"pro", {per(100, 1min)}}}, after)};
        REQUIRE(b.machine->load(bytes, start));
        for (const duration later : {0s, 1s, 60s}) {
            for (const char* k : {"x", "y", "z"}) {
                const auto was = a.inspect(k, epoch + 16s + later);
                const auto is = b.inspect(k, start + later);
                CHECK(was.tier == is.tier);
                REQUIRE(was.quotas.size() == is.quotas.size());
                for (std::size_t i = 0; i < was.quotas.size(); ++i) {
                    CHECK(was.quotas[i].used == is.quotas[i].used);
                    CHECK(was.quotas[i].reset_after == is.quotas[i].reset_after);
                }
            }
        }
        if (tracked) {
            CHECK(b.inspect("x", start).created == start - 16s);
        }
        CHECK(b.machine->load(bytes, start).error() == errc::invalid_argument);
        CHECK(a.ask("x", epoch + 16s).what == b.ask("x", start).what);
    }
}

TEST_CASE("limiter: what is loaded under other quotas converts, and keys of a tier that is no more keep their use") {
    const asked a{make({{"default", {per(10, 1min)}}, {"gone", {per(10, 1min)}}})};
    CHECK(a.passes("x", epoch, 6));
    CHECK(a.passes("y", epoch, 6, 1));
    const asked b{make(per(20, 1min))};
    REQUIRE(b.machine->load(a.machine->save(epoch), epoch));
    CHECK(b.inspect("x", epoch).tightest.remaining == 14);
    CHECK(b.inspect("y", epoch).tightest.remaining == 14);
}

TEST_CASE("limiter: the overflow bucket and a clock set back are no way around a restart") {
    const asked a{make(per(10, 24h), {.max_keys = 1, .unix_offset = 100h})};
    CHECK(a.burst("x", epoch) == 10);
    CHECK(a.burst("y", epoch) == 10);
    const auto bytes = a.machine->save(epoch);
    const asked b{make(per(10, 24h), {.max_keys = 1, .unix_offset = 50h})};
    REQUIRE(b.machine->load(bytes, epoch));
    CHECK(b.burst("x", epoch) == 0);
    CHECK(b.burst("y", epoch) == 0);
}

TEST_CASE("limiter: a truncated, foreign, newer or damaged snapshot is an error, and the limiter starts as before") {
    const asked a{make({{"default", {per(10, 24h), window(10, 24h)}}}, {.track_keys = true})};
    for (int i = 0; i < 20; ++i) {
        CHECK(a.passes(key(i), epoch));
    }
    const auto good = a.machine->save(epoch);
    const asked b{make(per(10, 24h))};
    const auto refuses = [&](const std::vector<char>& bytes, const char* why) {
        const auto r = b.machine->load(bytes, epoch);
        const bool refused = r.has_error() && r.error() == errc::invalid_snapshot &&
                             detail_of(r).find(why) != std::string::npos && b.machine->counts().keys == 0;
        if (!refused) {
            MESSAGE(detail_of(r));
        }
        return refused;
    };
    for (std::size_t n = 1; n < good.size(); ++n) {
        REQUIRE(refuses({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n)}, "truncated"));
    }
    CHECK(refuses({}, "no saved rate limiter"));
    const std::string text = "PNG or anything else that is long enough to hold a header, or so one might think";
    CHECK(refuses({text.begin(), text.end()}, "no saved rate limiter"));
    auto newer = good;
    newer[8] = 2;
    CHECK(refuses(newer, "version is 2"));
    for (std::size_t i = 0; i < good.size(); ++i) {
        auto flipped = good;
        flipped[i] = static_cast<char>(flipped[i] ^ 1 << i % 8);
        REQUIRE(refuses(flipped, ""));
    }
    auto longer = good;
    longer.push_back(0);
    CHECK(refuses(longer, "damaged"));
    const asked small{make(per(10, 24h), {.max_keys = 5})};
    CHECK(detail_of(small.machine->load(good, epoch)).find("max_keys is 5") != std::string::npos);
    CHECK(small.machine->counts().keys == 0);
    CHECK(b.burst(key(1), epoch) == 10);
}

TEST_CASE(
    "limiter: the file of a snapshot is a secret of mode 0600, replaced in one step; without save nothing is written") {
    char directory[] = "/tmp/headgate-test-XXXXXX";
    REQUIRE(::mkdtemp(directory) != nullptr);
    const std::string path = std::string{directory} + "/limits";
    struct stat info{};
    {
        const asked a{make(per(10, 24h))};
        CHECK(a.burst("x", epoch) == 10);
        CHECK(::stat(path.c_str(), &info) != 0);
        REQUIRE(a.machine->save_file(path, epoch));
        REQUIRE(a.machine->save_file(path, epoch));
    }
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    const asked b{make(per(10, 24h), {.seed = 9})};
    REQUIRE(b.machine->load_file(path, epoch));
    CHECK(b.burst("x", epoch) == 0);

    std::ofstream{path} << "nonsense";
    const asked c{make(per(10, 24h))};
    const auto r = c.machine->load_file(path, epoch);
    REQUIRE(r.has_error());
    CHECK(r.error() == errc::invalid_snapshot);
    CHECK(detail_of(r).find(path) != std::string::npos);
    CHECK(c.machine->load_file(path + "-no", epoch).error().code == boost::system::errc::no_such_file_or_directory);
    CHECK(c.machine->save_file(path + "-no/way", epoch).has_error());
    CHECK(c.machine->load_file(directory, epoch).has_error());
    ::unlink(path.c_str());
    // The directory has no other file.
    CHECK(::rmdir(directory) == 0);
}

TEST_CASE("limiter: the busiest keys keep their text in bounded memory") {
    busiest_keys busy{3};
    const auto hit = [&](const char* text, int times) {
        for (int i = 0; i < times; ++i) {
            busy.hit(key(text).hash(hash_seed{1}), [&] { return std::string{text}; });
        }
    };
    hit("a", 100);
    hit("b", 50);
    hit("c", 1);
    hit("d", 20);
    const auto list = busy.list();
    REQUIRE(list.size() == 3);
    CHECK(list[0].text == "a");
    CHECK(list[0].count == 100);
    CHECK(list[1].text == "b");
    CHECK(list[2].text == "d");
    CHECK(list[2].count == 21);
    CHECK(list[2].error == 1);
}

TEST_CASE("limiter: the straight path answers as the general one does, at every size of quota and time") {
    const std::uint64_t seed = 20260101;
    MESSAGE("seed " << seed);
    std::mt19937_64 random(seed);
    const auto one_of = [&](std::initializer_list<std::int64_t> values) {
        return values.begin()[random() % values.size()];
    };
    for (int round = 0; round < 400; ++round) {
        const auto permits = static_cast<std::uint64_t>(one_of({1, 3, 10, 1'000'000, 0xffff'ffff}));
        const auto burst = static_cast<std::uint64_t>(one_of({1, 2, 1000, 0xffff'ffff}));
        const duration period{one_of({1, 999, 1'000'000'007, 86'400'000'000'000, 9'000'000'000'000'000'000})};
        const auto q = quota::per(permits, period, burst).value();
        const auto straight = limiter_machine::make({.seed = 1}, {{"default", {q}}}).value();
        const auto general = limiter_machine::make({.seed = 1}, {{"default", {q}}}).value();
        time_point now{duration{one_of({0, 1'000'000'000, 4'000'000'000'000'000'000})}};
        for (int i = 0; i < 300; ++i) {
            now = saturating_add(now, duration{one_of({0, 1, -5, 1000, 100'000'000, 3'600'000'000'000})});
            const auto cost = static_cast<std::uint64_t>(one_of({1, 1, 1, 2, 1000, 0xffff'ffff, 0x1'0000'0000}));
            const decision a = straight->try_acquire(42, 0, cost, now);
            const decision b = general->try_acquire_generally(42, 0, cost, now);
            REQUIRE(a.what == b.what);
            REQUIRE(a.retry_after == b.retry_after);
            if (a.what == verdict::granted) {
                REQUIRE(a.granted.remaining() == b.granted.remaining());
                REQUIRE(a.granted.reset_after() == b.granted.reset_after());
                REQUIRE(a.granted.limit() == b.granted.limit());
            }
        }
        REQUIRE(straight->counts().granted == general->counts().granted);
        REQUIRE(straight->counts().refused == general->counts().refused);
    }
}
