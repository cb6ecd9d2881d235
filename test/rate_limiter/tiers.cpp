// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// How a key's state changes when calls name other tiers, and when tiers change.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <random>
#include <vector>

#include <headgate/key.hpp>

#include "rate_limiter/limiter_machine.hpp"

using namespace headgate;
using namespace headgate::detail;
using namespace std::chrono_literals;

namespace {

constexpr time_point epoch{};
constexpr std::uint64_t ann = 0x0123'4567'89ab'cdef;

quota per(std::uint64_t n, duration period, std::optional<std::uint64_t> burst = {}) {
    return quota::per(n, period, burst).value();
}

quota window(std::uint64_t n, duration period) {
    return quota::fixed_window(n, period).value();
}

struct limits {
    explicit limits(std::vector<headgate::tier> tiers, limiter_settings settings = {})
        : machine(std::move(limiter_machine::make(settings, std::move(tiers))).value()) {}

    decision ask(time_point now, std::uint64_t cost = 1, std::uint32_t tier = 0) const {
        return machine->try_acquire(ann, tier, cost, now);
    }
    bool passes(time_point now, std::uint64_t cost = 1, std::uint32_t tier = 0) const {
        return ask(now, cost, tier).what == verdict::granted;
    }
    std::uint64_t used(std::size_t quota, time_point now, std::optional<std::uint32_t> tier = {}) const {
        return machine->inspect(ann, tier, now).quotas.at(quota).used;
    }

    std::unique_ptr<limiter_machine> machine;
};

std::uint64_t random_seed() {
    const char* given = std::getenv("HEADGATE_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

/// Random tiers. Periods and bursts come from a short list, so that some quotas are equal.
class any_tiers {
public:
    explicit any_tiers(std::mt19937_64& random) : random_(random) {}

    std::vector<headgate::tier> make() {
        std::vector<headgate::tier> out;
        for (std::size_t i = 0, n = 1 + random_() % 4; i < n; ++i) {
            tier t{i == 0 ? "first" : std::string(1, static_cast<char>('a' + random_() % 3)), {}};
            if (std::any_of(out.begin(), out.end(), [&](const auto& o) { return o.name == t.name; })) {
                continue;
            }
            for (std::size_t q = 0, m = 1 + random_() % 3; q < m; ++q) {
                t.quotas.push_back(one());
            }
            out.push_back(std::move(t));
        }
        return out;
    }

private:
    quota one() {
        static constexpr std::int64_t periods[] = {1, 7, 1000, 1'000'000'007, 86'400'000'000'000, 3'000'000'000};
        const duration period{periods[random_() % std::size(periods)]};
        const std::uint64_t permits = 1 + random_() % (random_() % 2 == 0 ? 5 : 10'000);
        switch (random_() % 8) {
            case 0: return quota::none();
            case 1:
            case 2: return window(permits, period);
            case 3: return permits > 1 ? quota::at_most(permits, period, 1 + permits / 3).value() : per(1, period);
            default: return per(permits, period, 1 + random_() % (random_() % 2 == 0 ? 5 : 4'000'000'000));
        }
    }

    std::mt19937_64& random_;
};

}  // namespace

TEST_CASE("tiers: the same quotas in another order keep what was used") {
    const auto second = per(100, 1s), day = per(1000, 24h), minute = window(500, 1min);
    limits l({{"default", {second, day, minute}}});
    CHECK(l.passes(epoch, 100));
    CHECK(l.passes(epoch + 1s, 100));
    REQUIRE(l.machine->change({{"default", {minute, second, day}}}, epoch + 1s));
    CHECK(l.used(0, epoch + 1s) == 200);
    CHECK(l.used(1, epoch + 1s) == 100);
    CHECK(l.used(2, epoch + 1s) == 200);
}

TEST_CASE("tiers: two quotas of one period keep what was used, in any order and alone") {
    const auto small = per(10, 1min, 10), large = per(10, 1min, 100);
    limits l({{"default", {small, large}}});
    CHECK(l.passes(epoch, 10));
    CHECK(l.passes(epoch + 1min, 10));
    CHECK(l.used(0, epoch + 1min) == 10);
    REQUIRE(l.machine->change({{"default", {large, small}}}, epoch + 1min));
    CHECK(l.used(0, epoch + 1min) == 10);
    CHECK(l.used(1, epoch + 1min) == 10);
    REQUIRE(l.machine->change({{"default", {large}}}, epoch + 1min));
    CHECK(l.used(0, epoch + 1min) == 10);
    REQUIRE(l.machine->change({{"default", {small, large}}}, epoch + 1min));
    CHECK(l.used(0, epoch + 1min) == 10);
    CHECK(l.used(1, epoch + 1min) == 10);
}

TEST_CASE("tiers: what a tier does not mention is kept, and ages by its own law") {
    const auto second = per(100, 1s), day = per(1000, 24h);
    limits l({{"free", {second, day}}, {"paid", {per(1000, 1s)}}});
    for (int i = 0; i < 10; ++i) {
        CHECK(l.passes(epoch + i * 1s, 100));
    }
    const time_point now = epoch + 10s;
    CHECK_FALSE(l.passes(now, 100));
    CHECK(l.passes(now, 1, 1));
    CHECK(l.machine->inspect(ann, {}, now).tier == l.machine->tier_name(1));
    // The call as "paid" does not change how much of the day's quota is used.
    CHECK(l.used(1, now, 0) == 1000);
    CHECK(l.used(1, now + 12h, 0) == 500);
    CHECK(l.passes(now + 12h, 100, 1));
    CHECK(l.used(1, now + 12h, 0) == 500);
    CHECK_FALSE(l.machine->try_acquire(ann, 0, 100, now + 1min).what == verdict::granted);
    // The sweep drops the key when its state has aged, and not before.
    (void)l.machine->sweep(l.machine->shards(), now + 23h);
    CHECK(l.machine->keys() == 1);
    (void)l.machine->sweep(l.machine->shards(), now + 25h);
    CHECK(l.machine->keys() == 0);
}

TEST_CASE("tiers: a quota that a live change takes away and gives back has kept what was used") {
    const auto second = per(100, 1s), day = per(1000, 24h);
    for (const bool swept : {false, true}) {
        limits l({{"default", {second, day}}});
        for (int i = 0; i < 10; ++i) {
            CHECK(l.passes(epoch + i * 1s, 100));
        }
        REQUIRE(l.machine->change({{"default", {second}}}, epoch + 9s));
        if (swept) {
            (void)l.machine->sweep(l.machine->shards(), epoch + 9s);
        }
        CHECK(l.passes(epoch + 10s, 100));
        REQUIRE(l.machine->change({{"default", {per(50, 7s)}}}, epoch + 11s));
        REQUIRE(l.machine->change({{"default", {second, per(2000, 24h)}}}, epoch + 12h + 9s));
        CHECK(l.used(1, epoch + 12h + 9s) == 500);
    }
}

TEST_CASE("tiers: a longer period goes to a shorter one by the share that is used, if that is less") {
    limits l({{"hour", {per(100, 1h)}}, {"minute", {per(10, 1min)}}, {"second", {per(1000, 1s)}}});
    CHECK(l.passes(epoch, 50));
    CHECK(l.used(0, epoch, 1) == 5);   // the same share: half
    CHECK(l.used(0, epoch, 2) == 50);  // the same number, which is less
    CHECK(l.passes(epoch, 5, 1));
    CHECK_FALSE(l.passes(epoch, 1, 1));
    CHECK(l.used(0, epoch, 0) == 50);
}

TEST_CASE("tiers: retry_after is exact for every sequence of tiers, costs and changes before it") {
    const auto seed = random_seed();
    MESSAGE("HEADGATE_SEED=" << seed);
    std::mt19937_64 random(seed);
    any_tiers tiers(random);
    std::uint64_t checked = 0;
    for (int round = 0; round < 3000; ++round) {
        const duration offset{static_cast<std::int64_t>(random() >> 3)};
        auto specs = tiers.make();
        limits l(specs, {.track_keys = random() % 4 == 0, .unix_offset = offset});
        time_point now{duration{static_cast<std::int64_t>(random() >> 4) - (std::int64_t{1} << 58)}};
        for (int step = 0; step < 40; ++step) {
            if (random() % 10 == 0) {
                specs = tiers.make();
                specs[0].name = "first";
                REQUIRE(l.machine->change(specs, now));
                if (random() % 2 == 0) {
                    (void)l.machine->sweep(l.machine->shards(), now);
                }
            }
            const auto& spec = specs[random() % specs.size()];
            const auto tier = l.machine->find_tier(spec.name).value();
            std::uint64_t largest = quota::max_permits;
            for (const auto& q : spec.quotas) {
                largest = std::min(largest, q.burst());
            }
            const std::uint64_t cost = 1 + random() % std::max<std::uint64_t>(largest, 1);
            const auto d = l.ask(now, cost, tier);
            if (d.what == verdict::rate_limited) {
                REQUIRE(d.retry_after > 0ns);
                const time_point then = saturating_add(now, d.retry_after);
                if (then > time_point{duration{std::int64_t{1} << 61}}) {
                    break;
                }
                INFO("seed " << seed << ", round " << round << ", step " << step);
                REQUIRE(l.ask(then - 1ns, cost, tier).what == verdict::rate_limited);
                REQUIRE(l.ask(then - 1ns, cost, tier).retry_after == 1ns);
                REQUIRE(l.ask(then, cost, tier).what == verdict::granted);
                now = then;
                ++checked;
            } else {
                REQUIRE(d.what == (largest == 0 ? verdict::cost_exceeds_limit : verdict::granted));
            }
            const auto ahead = static_cast<std::int64_t>(random() & ((std::uint64_t{1} << random() % 45) - 1));
            now += random() % 3 == 0 ? duration{ahead} : 0ns;
        }
    }
    CHECK(checked > 10'000);
}

TEST_CASE("tiers: time that goes backwards, stands, or jumps by years gives nothing, and takes nothing for good") {
    const auto seed = random_seed();
    MESSAGE("HEADGATE_SEED=" << seed);
    std::mt19937_64 random(seed);
    constexpr duration period = 1s;
    for (int round = 0; round < 300; ++round) {
        const quota q = round % 2 == 0 ? window(5, period) : per(5, period);
        limits l({{"default", {q}}, {"other", {q, per(1'000'000, period)}}}, {.max_keys = 16});
        std::int64_t granted = 0;
        time_point latest = epoch;
        for (int step = 0; step < 200; ++step) {
            static constexpr duration jumps[] = {0s, 1ns, 10ms, 300ms, 2s, 24h * 365 * 3};
            const duration jump = jumps[random() % (round % 3 == 0 ? 6 : 4)];
            const time_point now = random() % 3 == 0 ? std::max(latest - jump, epoch) : (latest += jump);
            if (random() % 20 == 0) {
                (void)l.machine->sweep(l.machine->shards(), random() % 2 == 0 ? now : latest);
            }
            granted += l.passes(now, 1, static_cast<std::uint32_t>(random() % 2)) ? 1 : 0;
        }
        INFO("seed " << seed << ", round " << round);
        REQUIRE(granted <= 5 * ((latest - epoch) / period + (round % 2 == 0 ? 2 : 1)) + 5);
        REQUIRE(l.passes(latest + 2 * period, 5));
    }
}

TEST_CASE("tiers: a thousand renames, each with a key that was in it, take no room and lose no use") {
    limits l({{"first", {per(1000, 24h)}}, {"t", {per(1000, 24h)}}});
    std::uint32_t last = l.machine->find_tier("t").value();
    const auto bytes = l.machine->counts().bytes;
    CHECK(l.passes(epoch, 1, last));
    for (unsigned i = 0; i < 990; ++i) {
        const std::string name = "tier-" + std::to_string(i);
        REQUIRE(l.machine->change({{"first", {per(1000, 24h)}}, {name, {per(1000 + i % 3, 24h)}}}, epoch));
        const auto tier = l.machine->find_tier(name).value();
        REQUIRE(tier != last);
        // A call that still names the old tier does not get the new one.
        REQUIRE(l.ask(epoch, 1, last).what == verdict::unknown_tier);
        REQUIRE(l.machine->tier_name(last).empty());
        REQUIRE(l.machine->tier_name(tier) == name);
        REQUIRE(l.passes(epoch, 1, tier));
        last = tier;
    }
    CHECK(l.used(0, epoch) >= 991);
    CHECK(l.used(0, epoch) <= 992);
    CHECK(l.machine->counts().bytes < bytes + 4096);
}

TEST_CASE("tiers: a change that names an impossible tier changes nothing") {
    limits l({{"first", {per(10, 1min)}}, {"b", {per(10, 1min)}}});
    CHECK(l.passes(epoch, 4));
    const auto b = l.machine->find_tier("b").value();
    CHECK(l.machine->change({{"first", {per(5, 1min)}}, {"x", {}}}, epoch).error() == errc::invalid_argument);
    CHECK(l.machine->change({{"other", {per(5, 1min)}}}, epoch).error() == errc::invalid_argument);
    CHECK(l.machine->change(std::vector<headgate::tier>(65, {"first", {per(5, 1min)}}), epoch).has_error());
    CHECK(l.machine->find_tier("b") == b);
    CHECK(l.machine->inspect(ann, {}, epoch).tightest.remaining == 6);
}
