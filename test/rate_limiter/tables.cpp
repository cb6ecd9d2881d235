// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// Full tables, the bucket that keys then share, the queues for both, and the files that keep saved tables.

#include <headgate/rate_limiter.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/detached.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "rate_limiter/busiest_keys.hpp"
#include "rate_limiter/limiter_machine.hpp"
#include "support/zone_fixture.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

struct fixture : headgate::test::zone_fixture {
    std::vector<event_kind> events;
    subscription listening = z->on_event([this](const event& e) { events.push_back(e.kind); });

    rate_limiter make(const quota& q, std::uint64_t max_keys) {
        rate_limiter_options o;
        o.tiers = {{"default", {q}}};
        o.max_keys = max_keys;
        return rate_limiter::create(*z, "limiter", o).value();
    }
    long count(event_kind kind) const { return std::count(events.begin(), events.end(), kind); }
};

struct directory {
    directory() {
        char name[] = "/tmp/headgate-test-XXXXXX";
        REQUIRE(::mkdtemp(name) != nullptr);
        path = name;
    }
    directory(const directory&) = delete;
    directory& operator=(const directory&) = delete;
    ~directory() { fs::remove_all(path); }
    std::string operator/(const char* name) const { return path / name; }
    fs::path path;
};

quota per(std::uint64_t n, duration period) {
    return quota::per(n, period).value();
}

TEST_CASE_FIXTURE(fixture, "overflow: who waits in the shared bucket is served there, and no newcomer passes") {
    auto limiter = make(per(1, 10s), 2);
    CHECK(limiter.try_acquire("a"));
    CHECK(limiter.try_acquire("b"));
    CHECK(limiter.try_acquire("c"));  // uses the shared bucket
    std::vector<std::string> order;
    for (const char* who : {"d", "c", "e"}) {
        limiter.acquire(who, {.max_wait = 10min}, [&, who](result<grant> r) {
            CHECK(r);
            order.emplace_back(who);
        });
    }
    clock.run_for(io, 1ms);
    // The table has room again, but no newcomer passes the waiters.
    CHECK(limiter.forget("a"));
    CHECK(limiter.forget("b"));
    CHECK(limiter.try_acquire("f").error().retry_after == 40s - 1ms);
    CHECK(limiter.try_acquire("d").error().retry_after == 40s - 1ms);
    CHECK(limiter.inspect("d").tightest.remaining == 0);
    limiter.acquire("g", {.max_wait = 10min}, [&](result<grant> r) {
        CHECK(r);
        order.emplace_back("g");
    });
    CHECK(limiter.snapshot().waiting == 4);
    clock.run_for(io, 25s);
    CHECK(order == std::vector<std::string>{"d", "c"});
    clock.run_for(io, 20s);
    CHECK(order == std::vector<std::string>{"d", "c", "e", "g"});
    CHECK(limiter.snapshot().waiting == 0);
    CHECK(limiter.try_acquire("f"));  // with a bucket of its own
    CHECK(limiter.inspect("f").tightest.used == 1);
}

TEST_CASE_FIXTURE(fixture, "overflow: who waits for a bucket of its own keeps it while the table fills") {
    auto limiter = make(per(1, 10s), 2);
    CHECK(limiter.try_acquire("a"));
    std::vector<int> order;
    for (int i = 0; i < 3; ++i) {
        limiter.acquire("a", {.max_wait = 10min}, [&, i](result<grant> r) {
            CHECK(r);
            order.push_back(i);
        });
    }
    // Key "a" loses its slot, other keys fill the table, and the shared bucket is in use.
    auto& machine = limiter.core()->machine();
    CHECK(machine.forget(key("a").hash(machine.seed()), clock.now()));
    CHECK(limiter.try_acquire("b"));
    CHECK(limiter.try_acquire("c"));
    CHECK(limiter.try_acquire("d"));
    CHECK(limiter.try_acquire("a").error() == errc::rate_limited);
    clock.run_for(io, 35s);
    CHECK(order == std::vector<int>{0, 1, 2});
    CHECK(limiter.snapshot().waiting == 0);
}

TEST_CASE_FIXTURE(fixture, "overflow: a small table takes new keys when the old ones are dead, and says so") {
    for (const std::uint64_t max_keys : std::initializer_list<std::uint64_t>{1, 7, 64, 100, 1000, 1023, 1024, 2048}) {
        CAPTURE(max_keys);
        events.clear();
        rate_limiter_options o;
        o.tiers = {{"default", {per(1, 1min)}}};
        o.max_keys = max_keys;
        auto limiter = rate_limiter::create(*z, "limiter" + std::to_string(max_keys), o).value();
        for (std::uint64_t i = 0; i < max_keys; ++i) {
            CHECK(limiter.try_acquire(i));
        }
        clock.run_for(io, 24h);
        CHECK(count(event_kind::keys_overflowed) == 0);
        for (std::uint64_t i = 0; i < max_keys; ++i) {
            CHECK(limiter.try_acquire(key("second", i)));
        }
        clock.run_for(io, 0s);
        CHECK(count(event_kind::keys_overflowed) == 0);
        // Both ways to ask report the overflow only once together, and it ends by itself.
        (void)limiter.try_acquire("one more");
        limiter.acquire("and another", asio::detached);
        clock.run_for(io, 0s);
        CHECK(count(event_kind::keys_overflowed) == 1);
        CHECK(count(event_kind::keys_recovered) == 0);
        clock.run_for(io, 1h);
        CHECK(count(event_kind::keys_recovered) == 1);
        CHECK(limiter.snapshot().overflowing == 0);
        CHECK(limiter.snapshot().keys == 0);
    }
    // No key is left to sweep, so no timer keeps the io_context running.
    const auto now = clock.now();
    clock.run(io);
    CHECK(clock.now() == now);
}

TEST_CASE_FIXTURE(fixture, "overflow: the form with a token tells of it and arms the sweep too") {
    auto limiter = make(per(1, 1min), 2000);
    for (int i = 0; i < 3000; ++i) {
        limiter.acquire(i, asio::detached);
    }
    clock.run_for(io, 0s);
    CHECK(count(event_kind::keys_overflowed) == 1);
    clock.run(io);
    CHECK(count(event_kind::keys_recovered) == 1);
    CHECK(limiter.snapshot().keys == 0);
}

TEST_CASE_FIXTURE(fixture, "counters: a call that waits and is granted was never refused, one that is refused once") {
    auto limiter = make(per(1, 1s), 100);
    CHECK(limiter.try_acquire("k"));
    int granted = 0;
    for (int i = 0; i < 3; ++i) {
        limiter.acquire("k", {.max_wait = 1min}, [&](result<grant> r) { granted += r.has_value(); });
        CHECK(limiter.snapshot().refused == 0);
    }
    limiter.acquire("k", {.max_wait = 1ms}, asio::detached);
    CHECK(limiter.snapshot().refused == 1);
    (void)limiter.try_acquire("k");
    CHECK(limiter.snapshot().refused == 2);
    clock.run(io);
    CHECK(granted == 3);
    CHECK(limiter.snapshot().granted == 4);
    CHECK(limiter.snapshot().refused == 2);
}

TEST_CASE_FIXTURE(fixture,
                  "max_wait: duration::max() is none, one that is not positive tries once, neither is an error") {
    auto limiter = make(per(1, 24h * 365), 100);
    CHECK(limiter.try_acquire("k"));
    for (const duration wait : {duration{0}, duration{-1ms}, duration::min()}) {
        std::optional<result<grant>> refused, granted;
        limiter.acquire("k", {.max_wait = wait}, [&](result<grant> r) { refused = r; });
        limiter.acquire(key("fresh", wait.count()), {.max_wait = wait}, [&](result<grant> r) { granted = r; });
        clock.run_for(io, 0s);
        CHECK(refused->error() == errc::rate_limited);
        CHECK(granted->has_value());
    }
    std::optional<result<grant>> got;
    limiter.acquire("k", {.max_wait = duration::max()}, [&](result<grant> r) { got = r; });
    clock.run_for(io, 24h * 364);
    CHECK_FALSE(got);
    clock.run(io);
    REQUIRE(got);
    CHECK(got->has_value());
    CHECK(elapsed() == 24h * 365);
}

TEST_CASE_FIXTURE(fixture,
                  "queue: a refusal behind those who wait counts those who are there, also after some have left") {
    rate_limiter_options o;
    o.tiers = {{"default", {per(1, 1s)}}};
    o.max_waiters = 2000;
    auto limiter = rate_limiter::create(*z, "limiter", o).value();
    CHECK(limiter.try_acquire("k"));
    std::vector<asio::cancellation_signal> signals(2000);
    for (auto& s : signals) {
        limiter.acquire("k", {.max_wait = 10h}, asio::bind_cancellation_slot(s.slot(), [](result<grant>) {}));
    }
    CHECK(limiter.try_acquire("k").error().retry_after == 2001s);
    for (std::size_t i = 0; i < signals.size(); i += 2) {
        signals[i].emit(asio::cancellation_type::terminal);
    }
    for (int i = 0; i < 10; ++i) {
        (void)limiter.try_acquire("k");
    }
    CHECK(limiter.try_acquire("k").error().retry_after == 1001s);
    CHECK(limiter.reconfigure({.tiers = {{"default", {per(2, 1s)}}}}));
    clock.run_for(io, 0s);
    // One permit of now two is used, so the other one is free at once.
    CHECK(limiter.try_acquire("k").error().retry_after == 500s);
    clock.run_for(io, 100s);
    CHECK(limiter.try_acquire("k").error().retry_after == 400s);
    clock.run(io);
    CHECK(limiter.snapshot().waiting == 0);
}

TEST_CASE_FIXTURE(fixture, "queue: many queues are served after a live change, and ended by a close, each once") {
    auto limiter = make(per(1, 1h), 10'000);
    int granted = 0, ended = 0;
    for (int i = 0; i < 500; ++i) {
        CHECK(limiter.try_acquire(i));
        for (int n = 0; n < 3; ++n) {
            limiter.acquire(i, {.max_wait = 24h}, [&](result<grant> r) {
                granted += r.has_value();
                ended += r.has_error() && r.error() == errc::shut_down;
            });
        }
    }
    CHECK(limiter.reconfigure({.tiers = {{"default", {per(2, 1h)}}}, .max_keys = 10'000}));
    clock.run_for(io, 0s);
    CHECK(granted == 500);
    z->close();
    clock.run(io);
    CHECK(granted == 500);
    CHECK(ended == 1000);
}

TEST_CASE_FIXTURE(fixture, "a zone that is closed, and one whose io_context is gone, leave nothing waiting") {
    auto own = std::make_unique<asio::io_context>();
    auto other = std::make_optional<zone>(*own, "other", zone_options{.clock = &clock});
    auto limiter = rate_limiter::create(*other, "l", per(1, 1h)).value();
    CHECK(limiter.try_acquire("k"));
    bool called = false;
    limiter.acquire("k", {.max_wait = 2h}, [&](result<grant>) { called = true; });
    own.reset();
    CHECK_FALSE(called);
    CHECK(limiter.snapshot().waiting == 0);
    CHECK(limiter.try_acquire("k").error() == errc::shut_down);
    other.reset();
    CHECK(limiter.try_acquire("k").error() == errc::shut_down);
}

TEST_CASE_FIXTURE(fixture, "load: more keys than fit are an error that changes nothing") {
    const directory d;
    auto large = rate_limiter::create(*z, "large", per(1, 24h)).value();
    for (int i = 0; i < 11; ++i) {
        CHECK(large.try_acquire(i));
    }
    CHECK(large.save(d / "state"));
    for (const std::uint64_t max_keys : std::initializer_list<std::uint64_t>{1, 5, 10}) {
        rate_limiter_options o;
        o.tiers = {{"default", {per(1, 24h)}}};
        o.max_keys = max_keys;
        auto small = rate_limiter::create(*z, "small" + std::to_string(max_keys), o).value();
        const auto r = small.load(d / "state");
        REQUIRE(r.has_error());
        CHECK(r.error() == errc::invalid_snapshot);
        CHECK(small.snapshot().keys == 0);
        CHECK(small.try_acquire(0));
    }
    auto fits = make(per(1, 24h), 11);
    CHECK(fits.load(d / "state"));
    CHECK_FALSE(fits.try_acquire(10));
    // Keys that are dead by now take no room.
    clock.run_for(io, 48h);
    rate_limiter_options o;
    o.tiers = {{"default", {per(1, 24h)}}};
    o.max_keys = 1;
    CHECK(rate_limiter::create(*z, "later", o).value().load(d / "state"));
}

TEST_CASE("load: a clock that was ahead when the state was saved makes nobody wait for more than a window") {
    using namespace detail;
    const std::vector<headgate::tier> tiers{
        {"default", {quota::fixed_window(5, 1min).value(), quota::per(5, 1min).value()}}};
    const time_point now{duration{}};
    auto ahead = limiter_machine::make({.seed = 1, .unix_offset = 24h * 365 * 40}, tiers).value();
    CHECK(ahead->try_acquire(7, 0, 5, now).what == verdict::granted);
    auto loaded = limiter_machine::make({.seed = 1, .unix_offset = 24h * 365 * 30}, tiers).value();
    REQUIRE(loaded->load(ahead->save(now), now));
    const auto d = loaded->try_acquire(7, 0, 5, now);
    CHECK(d.what == verdict::rate_limited);
    CHECK(d.retry_after <= 1min);
    CHECK(loaded->try_acquire(7, 0, 5, now + d.retry_after).what == verdict::granted);
}

TEST_CASE("fixed_window: a wall clock that steps back or ahead leaves nothing for longer than a window") {
    using namespace detail;
    for (const duration step : {duration{-24h * 365}, duration{-1h}, duration{1h}, duration{24h * 365}}) {
        auto l = limiter_machine::make({.unix_offset = 24h * 365 * 40},
                                       {{"default", {quota::fixed_window(5, 1min).value()}}})
                     .value();
        const time_point now{duration{10s}};
        CHECK(l->try_acquire(7, 0, 5, now).what == verdict::granted);
        l->follow_wall_clock(24h * 365 * 40 + step + 7s);
        const auto d = l->try_acquire(7, 0, 5, now);
        CHECK(d.what == verdict::rate_limited);
        CHECK(d.retry_after <= 1min);
        CHECK(l->try_acquire(7, 0, 5, now + d.retry_after).what == verdict::granted);
        // New windows follow the present wall clock.
        CHECK(l->try_acquire(8, 0, 5, now).what == verdict::granted);
        CHECK(l->try_acquire(8, 0, 1, now).retry_after == 43s);
    }
}

TEST_CASE("save: what is kept of other tiers comes back") {
    using namespace detail;
    const std::vector<headgate::tier> tiers{{"free", {per(100, 1s), per(1000, 24h)}}, {"paid", {per(1000, 1s)}}};
    const time_point now{duration{}};
    auto a = limiter_machine::make({.seed = 1}, tiers).value();
    CHECK(a->try_acquire(7, 0, 100, now).what == verdict::granted);
    CHECK(a->try_acquire(7, 1, 1, now + 1s).what == verdict::granted);
    auto b = limiter_machine::make({.seed = 2}, tiers).value();
    REQUIRE(b->load(a->save(now + 1s), now + 1s));
    CHECK(b->inspect(7, 0, now + 1s).quotas[1].used == a->inspect(7, 0, now + 1s).quotas[1].used);
    CHECK(b->inspect(7, 0, now + 1s).quotas[1].used == 100);
    CHECK(b->inspect(7, {}, now + 1s).tier == b->tier_name(1));
}

TEST_CASE_FIXTURE(fixture, "save: a symbolic link stays one, what is no file is an error, and nothing is left behind") {
    const directory d;
    auto limiter = make(per(1, 24h), 100);
    CHECK(limiter.try_acquire("k"));
    fs::create_directory(d.path / "real");
    fs::create_symlink("real/state", d.path / "link");       // to a file that does not exist yet
    fs::create_symlink(d / "link", d.path / "real/second");  // a link to a link, by its absolute path
    for (const char* name : {"link", "real/second"}) {
        CHECK(limiter.save(d / name));
        CHECK(fs::is_symlink(d.path / "link"));
        CHECK(fs::is_symlink(d.path / "real/second"));
        CHECK(fs::is_regular_file(fs::symlink_status(d.path / "real/state")));
        CHECK(fs::status(d.path / "real/state").permissions() == (fs::perms::owner_read | fs::perms::owner_write));
    }
    auto loaded = rate_limiter::create(*z, "loaded", per(1, 24h)).value();
    CHECK(loaded.load(d / "link"));
    CHECK_FALSE(loaded.try_acquire("k"));

    REQUIRE(::mkfifo((d / "pipe").c_str(), 0600) == 0);
    fs::create_symlink("loop", d.path / "loop");
    fs::create_symlink("/dev/null", d.path / "device");
    for (const std::string& path : {d / "pipe", d / "real", d / "loop", d / "device", std::string("/dev/null")}) {
        const auto r = limiter.save(path);
        REQUIRE(r.has_error());
        CHECK(r.error().detail->find(path) != std::string::npos);
        CHECK(loaded.load(path).has_error());
    }
    CHECK(fs::is_fifo(d.path / "pipe"));
    CHECK(fs::is_directory(d.path / "real"));
    CHECK(fs::is_character_file("/dev/null"));
    CHECK(std::distance(fs::directory_iterator(d.path), fs::directory_iterator()) == 5);
    CHECK(std::distance(fs::directory_iterator(d.path / "real"), fs::directory_iterator()) == 2);
}

TEST_CASE("key: integers of 128 bits are whole, and equal to narrower ones of the same value") {
    using detail::int128;
    using detail::uint128;
    const detail::hash_seed seed{7};
    const uint128 network = static_cast<uint128>(0x20010db8'00000001) << 64;
    const auto hash = [&](const key& k) { return k.hash(seed); };
    CHECK(hash(network) != hash(network + (uint128{1} << 64)));
    CHECK(hash(network) != hash(uint128{0}));
    CHECK(hash(network | 5) != hash(uint128{5}));
    CHECK(hash(uint128{5}) == hash(5));
    CHECK(hash(int128{-5}) == hash(-5));
    CHECK(hash(static_cast<uint128>(int128{-5})) != hash(int128{-5}));
    CHECK(hash(static_cast<int128>(network)) == hash(network));
    CHECK(hash(key("net", network)) != hash(key("net", network + (uint128{1} << 64))));
    CHECK(key(uint128{1} << 64).text() == "18446744073709551616");
    CHECK(key(-(int128{1} << 64)).text() == "-18446744073709551616");
    CHECK(key(~uint128{0}).text() == "340282366920938463463374607431768211455");
    CHECK(key(static_cast<int128>(uint128{1} << 127)).text() == "-170141183460469231731687303715884105728");
    CHECK(key(std::numeric_limits<std::int64_t>::min()).text() == "-9223372036854775808");
}

TEST_CASE("key: a label is the text, cut at 128 bytes with its hash, and never within a character") {
    CHECK(key("user", 1).label().view() == "user:1");
    const std::string fits(128, 'x');
    CHECK(key(fits).label().view() == fits);
    const std::string longer(129, 'x'), other = longer + 'y';
    CHECK(key(longer).label().view().size() == 128);
    CHECK(key(longer).label().view().substr(0, 112) == std::string(111, 'x') + '~');
    CHECK(key(longer).label().view() != key(other).label().view());
    std::string umlauts;
    for (int i = 0; i < 100; ++i) {
        umlauts += "\xc3\xa4";
    }
    CHECK(key(umlauts).label().view().substr(0, 111) == umlauts.substr(0, 110) + '~');

    detail::busiest_keys busy(2);
    const std::string huge(1'000'000, 'k');
    busy.hit(1, key(huge));
    busy.hit(1, key(huge));
    REQUIRE(busy.list().size() == 1);
    CHECK(busy.list()[0].text.size() == 128);
    CHECK(busy.list()[0].count == 2);
}

}  // namespace
}  // namespace headgate
