// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/breaker_machine.hpp>

#include <doctest/doctest.h>

#include <vector>

using namespace headgate;
using namespace headgate::detail;
using namespace std::chrono_literals;

namespace {

constexpr auto good = call_outcome::success;
constexpr auto bad = call_outcome::failure;
constexpr auto neutral = call_outcome::neutral;
constexpr auto closed = breaker_state::closed;
constexpr auto open = breaker_state::open;
constexpr auto half_open = breaker_state::half_open;

// A machine with its clock and everything that it reported.
struct bench {
    template <class F>
    auto note(F f) {
        breaker_transitions out;
        auto r = f(out);
        log.insert(log.end(), out.begin(), out.end());
        return r;
    }

    explicit bench(const breaker_options& options = {}) : machine(options, now, 1) { REQUIRE(check(options).empty()); }

    breaker_admission begin() {
        return note([&](auto& out) { return machine.begin([&] { return now; }, out); });
    }
    call_record end(const breaker_admission& a, call_outcome o, duration trip_for = {}) {
        return note([&](auto& out) { return machine.end(a.ticket, o, now, trip_for, out); });
    }
    breaker_snapshot snapshot() {
        return note([&](auto& out) { return machine.snapshot(now, out); });
    }
    void expire() {
        note([&](auto& out) { return machine.expire(now, out), 0; });
    }
    void reset() {
        note([&](auto& out) { return machine.reset(now, out), 0; });
    }
    bool trip(duration d = {}) {
        return note([&](auto& out) { return machine.trip(d, now, out); });
    }
    void set_mode(breaker_mode m) {
        note([&](auto& out) { return machine.set_mode(m, now, out), 0; });
    }
    // Makes calls that begin and end at once. True when all were admitted.
    bool calls(int n, call_outcome o, duration takes = {}) {
        for (int i = 0; i < n; ++i) {
            const auto a = begin();
            if (!a.admitted) {
                return false;
            }
            now += takes;
            end(a, o);
        }
        return true;
    }

    time_point now{1000h};
    breaker_machine machine;
    std::vector<breaker_transition> log;
};

}  // namespace

TEST_CASE("breaker: closed passes all; five consecutive failures open; a success in between starts again") {
    bench b;
    CHECK(b.calls(100, good));
    CHECK(b.calls(4, bad));
    CHECK(b.calls(1, good));
    CHECK(b.calls(4, bad));
    CHECK(b.machine.state() == closed);
    CHECK(b.calls(1, neutral));  // a neutral call neither ends nor continues the row of failures
    CHECK(b.calls(1, bad));
    CHECK(b.machine.state() == open);
    REQUIRE(b.log.size() == 1);
    CHECK(b.log[0].reason == breaker_reason::consecutive_failures);
    CHECK(b.log[0].until == b.now + 30s);
}

TEST_CASE("breaker: open refuses with the time left as retry_after") {
    bench b;
    b.calls(5, bad);
    CHECK(b.begin().retry_after == 30s);
    b.now += 29s;
    const auto refused = b.begin();
    CHECK_FALSE(refused.admitted);
    CHECK(refused.retry_after == 1s);
    CHECK(b.snapshot().refused == 2);
    CHECK(b.snapshot().next_probe == 1s);
}

TEST_CASE("breaker: after reset_timeout the next call runs as a probe, a nanosecond earlier it does not") {
    bench b;
    b.calls(5, bad);
    b.now += 30s - 1ns;
    CHECK(b.begin().retry_after == 1ns);
    b.now += 1ns;
    CHECK(b.snapshot().next_probe == 0s);
    CHECK(b.snapshot().state == open);
    const auto probe = b.begin();
    CHECK(probe.admitted);
    CHECK(b.machine.state() == half_open);
    CHECK(b.end(probe, good) == call_record::recorded);
    CHECK(b.machine.state() == closed);
}

TEST_CASE("breaker: as many successes as probes close; probes at once, no more; others are refused meanwhile") {
    bench b({.probes = 3, .probe_deadline = 10s});
    b.calls(5, bad);
    b.now += 30s;
    const auto one = b.begin();
    b.now += 1s;
    const auto two = b.begin();
    const auto three = b.begin();
    CHECK((one.admitted && two.admitted && three.admitted));
    const auto refused = b.begin();
    CHECK_FALSE(refused.admitted);
    CHECK(refused.retry_after == 9s);  // the deadline of the first probe
    CHECK(b.snapshot().probes_running == 3);
    CHECK(b.snapshot().next_probe == 9s);
    b.end(two, good);
    CHECK_FALSE(b.begin().admitted);  // the success counts, so there is no place for another probe
    b.end(one, good);
    CHECK(b.machine.state() == half_open);
    b.end(three, good);
    CHECK(b.machine.state() == closed);
    CHECK(b.machine.next_deadline() == time_point::max());
}

TEST_CASE(
    "breaker: a failed probe reopens for longer, doubling with jitter up to the maximum, and starts over once closed") {
    bench b({.reset_timeout = 30s, .max_reset_timeout = 200s});
    b.calls(5, bad);
    duration expected = 30s;
    for (int i = 0; i < 6; ++i) {
        b.now = b.log.back().until;
        REQUIRE(b.calls(1, bad));
        expected = std::min<duration>(expected * 2, 200s);
        const duration got = b.log.back().until - b.now;
        CHECK(b.log.back().reason == breaker_reason::probe_failed);
        CHECK(got >= expected * 9 / 10);
        CHECK(got <= std::min<duration>(expected * 11 / 10, 200s));
        CHECK(got != expected - 1ns);
    }
    b.now = b.log.back().until;
    REQUIRE(b.calls(1, good));
    REQUIRE(b.calls(5, bad));
    CHECK(b.log.back().until - b.now == 30s);
}

TEST_CASE("breaker: the jitter differs from seed to seed") {
    std::vector<duration> seen;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        breaker_machine m({.consecutive_failures = 1}, {}, seed);
        breaker_transitions out;
        const auto first = m.begin([] { return time_point{}; }, out);
        m.end(first.ticket, bad, {}, {}, out);
        const auto probe = m.begin([] { return time_point{30s}; }, out);
        breaker_transitions last;
        m.end(probe.ticket, bad, time_point{30s}, {}, last);
        seen.push_back(last.begin()->until - time_point{30s});
    }
    std::sort(seen.begin(), seen.end());
    CHECK(seen.front() < 58s);
    CHECK(seen.back() > 62s);
    CHECK(std::unique(seen.begin(), seen.end()) == seen.end());
}

TEST_CASE("breaker: the ratio opens never before min_calls, and also on the success that completes them") {
    bench b({.consecutive_failures = {}, .failure_ratio = 0.5, .min_calls = 10});
    CHECK(b.calls(9, bad));
    CHECK(b.machine.state() == closed);
    CHECK(b.calls(1, good));
    CHECK(b.machine.state() == open);
    CHECK(b.log[0].reason == breaker_reason::failure_ratio);
}

TEST_CASE("breaker: a ratio is reached exactly, whatever its last binary digit") {
    for (std::uint32_t percent = 1; percent <= 100; ++percent) {
        CAPTURE(percent);
        bench b({.consecutive_failures = {}, .failure_ratio = percent / 100.0, .min_calls = 100});
        CHECK(b.calls(static_cast<int>(100 - percent), good));
        CHECK(b.calls(static_cast<int>(percent - 1), bad));
        CHECK(b.machine.state() == closed);
        CHECK(b.calls(1, bad));
        CHECK(b.machine.state() == open);
    }
}

TEST_CASE("breaker: the slices of the window expire one by one") {
    bench b({.consecutive_failures = {}, .failure_ratio = 1.0, .min_calls = 1000, .window = 10s});
    for (int slice = 0; slice < 10; ++slice) {
        b.calls(slice + 1, bad);
        b.calls(1, good);
        b.now += 1s;
    }
    std::uint64_t left = 55 + 10;
    for (int slice = 0; slice < 10; ++slice) {
        left -= static_cast<std::uint64_t>(slice) + 2;
        const auto s = b.snapshot();
        CHECK(s.window_calls == left);
        b.now += 1s - 1ns;
        CHECK(b.snapshot().window_calls == left);
        b.now += 1ns;
    }
    CHECK(b.snapshot().failure_ratio == 0.0);
    CHECK(b.snapshot().failures == 55);
}

TEST_CASE("breaker: failures that left the window do not open it") {
    bench b({.consecutive_failures = {}, .failure_ratio = 0.5, .min_calls = 4, .window = 10s});
    b.calls(3, bad);
    b.now += 10s;
    b.calls(3, good);
    b.calls(2, bad);
    CHECK(b.machine.state() == closed);
    CHECK(b.snapshot().failure_ratio == doctest::Approx(0.4));
    b.calls(1, bad);
    CHECK(b.machine.state() == open);
}

TEST_CASE("breaker: slow calls count by duration even when they succeed") {
    bench b({.consecutive_failures = {}, .slow_ratio = 0.5, .slow_after = 100ms, .min_calls = 4});
    CHECK(b.machine.times_calls());
    b.calls(2, good, 99ms);
    b.calls(1, good, 100ms);
    CHECK(b.snapshot().slow == 1);
    CHECK(b.snapshot().slow_ratio == doctest::Approx(1.0 / 3));
    b.calls(1, good, 1s);
    CHECK(b.machine.state() == open);
    CHECK(b.log[0].reason == breaker_reason::slow_ratio);
    b.now += 30s;
    SUBCASE("and a slow probe is a failed one") {
        b.calls(1, good, 100ms);
        CHECK(b.machine.state() == open);
    }
    SUBCASE("and a quick probe closes") {
        b.calls(1, good, 99ms);
        CHECK(b.machine.state() == closed);
    }
}

TEST_CASE("breaker: slow_after without a ratio only counts") {
    bench b({.slow_after = 100ms});
    b.calls(10, good, 1s);
    b.calls(1, neutral, 1s);
    CHECK(b.snapshot().slow == 10);
    CHECK(b.machine.state() == closed);
}

TEST_CASE("breaker: a closed breaker that does not time calls never asks for the time to begin one") {
    breaker_machine m({.failure_ratio = 0.5}, {}, 1);
    breaker_transitions out;
    CHECK_FALSE(m.times_calls());
    int asked = 0;
    const auto a = m.begin([&] { return ++asked, time_point{}; }, out);
    CHECK(a.admitted);
    CHECK(asked == 0);
}

TEST_CASE("breaker: a result of an earlier generation counts for nothing: neither closes nor reopens, mints no probe") {
    bench b({.probes = 2});
    const auto old_good = b.begin();
    const auto old_bad = b.begin();
    const auto old_bad_2 = b.begin();
    const auto old_neutral = b.begin();
    b.calls(5, bad);
    b.now += 30s;
    const auto probe = b.begin();
    const auto probe_2 = b.begin();
    CHECK(b.end(old_good, good) == call_record::stale);
    CHECK(b.end(old_bad, bad) == call_record::stale);
    CHECK(b.end(old_bad_2, bad, 1h) == call_record::stale);
    CHECK(b.end(old_neutral, neutral) == call_record::stale);
    CHECK(b.machine.state() == half_open);
    CHECK_FALSE(b.begin().admitted);
    b.end(probe, good);
    b.end(probe_2, good);
    CHECK(b.machine.state() == closed);
    const auto s = b.snapshot();
    CHECK(s.stale == 4);
    CHECK(s.successes == 2);
    CHECK(s.failures == 5);
    CHECK(s.neutral == 0);
    CHECK(b.machine.running() == 0);
}

TEST_CASE("breaker: the other probes are stale when one has failed") {
    bench b({.probes = 2});
    b.calls(5, bad);
    b.now += 30s;
    const auto one = b.begin();
    const auto two = b.begin();
    b.end(one, bad);
    CHECK(b.end(two, good) == call_record::stale);
    CHECK(b.machine.state() == open);
    CHECK(b.snapshot().probes_running == 0);
}

TEST_CASE("breaker: a probe that ends neutral gives its place back, as often as it likes") {
    bench b;
    b.calls(5, bad);
    b.now += 30s;
    for (int i = 0; i < 100; ++i) {
        const auto probe = b.begin();
        REQUIRE(probe.admitted);
        REQUIRE_FALSE(b.begin().admitted);
        CHECK(b.end(probe, neutral) == call_record::recorded);
        CHECK(b.machine.next_deadline() == time_point::max());
    }
    CHECK(b.machine.state() == half_open);
    CHECK(b.calls(1, good));
    CHECK(b.machine.state() == closed);
}

TEST_CASE("breaker: a probe that never ends is a failure at probe_deadline, and its late result is stale") {
    bench b({.probes = 2, .probe_deadline = 10s});
    b.calls(5, bad);
    b.now += 30s;
    const auto one = b.begin();
    b.now += 1s;
    const auto two = b.begin();
    const time_point deadline = b.machine.next_deadline();
    CHECK(deadline == b.now + 9s);
    b.now = deadline - 1ns;
    b.expire();
    CHECK(b.machine.state() == half_open);
    b.now = deadline;
    SUBCASE("noticed by expire") {
        b.expire();
        CHECK(b.machine.state() == open);
    }
    SUBCASE("noticed by the next call") {
        CHECK_FALSE(b.begin().admitted);
    }
    SUBCASE("noticed by its own late success") {
        CHECK(b.end(one, good) == call_record::stale);
    }
    SUBCASE("noticed by another probe's success") {
        CHECK(b.end(two, good) == call_record::stale);
    }
    SUBCASE("noticed by a snapshot") {
        CHECK(b.snapshot().state == open);
    }
    SUBCASE("noticed much later, it has failed at its deadline all the same") {
        b.now += 20s;
        CHECK_FALSE(b.begin().admitted);
    }
    REQUIRE(b.log.size() == 3);
    CHECK(b.log[2].reason == breaker_reason::probe_expired);
    CHECK(b.log[2].at == deadline);
    CHECK(b.log[2].until >= deadline + 54s);
    CHECK(b.log[2].until <= deadline + 66s);
    CHECK(b.snapshot().failures == 6);
    CHECK(b.end(two, good) == call_record::stale);
    b.now = b.log[2].until;
    CHECK(b.begin().admitted);
}

TEST_CASE("breaker: a breaker whose probe expired long ago probes again with the first call") {
    bench b({.probe_deadline = 10s});
    b.calls(5, bad);
    b.now += 30s;
    CHECK(b.begin().admitted);
    b.now += 24h;
    CHECK(b.begin().admitted);
    REQUIRE(b.log.size() == 4);
    CHECK(b.log[2].to == open);
    CHECK(b.log[3].to == half_open);
}

TEST_CASE("breaker: when a probe ends, the deadline of the next one stands") {
    bench b({.probes = 3, .probe_deadline = 10s});
    b.calls(5, bad);
    b.now += 30s;
    const auto one = b.begin();
    b.now += 1s;
    b.begin();
    b.end(one, neutral);
    CHECK(b.machine.next_deadline() == b.now + 10s);
}

TEST_CASE("breaker: failure(trip_for) opens at once for that long, closed or probing") {
    bench b;
    CHECK(b.end(b.begin(), bad, 5s) == call_record::recorded);
    CHECK(b.machine.state() == open);
    CHECK(b.log.back().reason == breaker_reason::failed_for);
    CHECK(b.begin().retry_after == 5s);
    b.now += 5s;
    b.end(b.begin(), bad, 7s);
    CHECK(b.begin().retry_after == 7s);
    CHECK(b.log.back().reason == breaker_reason::failed_for);
    b.now += 7s;
    SUBCASE("zero and negative are no time") {
        b.end(b.begin(), bad, -1s);
        CHECK(b.begin().retry_after >= 108s);  // the second failed probe in a row
    }
    SUBCASE("a success carries none") {
        b.end(b.begin(), good, 1h);
        CHECK(b.machine.state() == closed);
        b.end(b.begin(), good, 1h);
        b.end(b.begin(), neutral, 1h);
        CHECK(b.machine.state() == closed);
    }
}

TEST_CASE("breaker: forced open refuses everything and knows no retry_after") {
    bench b({.mode = breaker_mode::forced_open});
    CHECK(b.machine.state() == open);
    b.now += 24h;
    const auto refused = b.begin();
    CHECK_FALSE(refused.admitted);
    CHECK(refused.retry_after == 0s);
    CHECK(b.snapshot().next_probe == duration::max());
    CHECK_FALSE(b.trip());
    b.reset();
    CHECK(b.machine.state() == open);
    b.set_mode(breaker_mode::automatic);
    CHECK(b.calls(1, good));
    REQUIRE(b.log.size() == 1);
    CHECK(b.log[0].reason == breaker_reason::mode);
    const auto before = b.begin();
    b.set_mode(breaker_mode::forced_open);
    CHECK(b.end(before, good) == call_record::stale);
    CHECK(b.log.size() == 2);
    CHECK(b.log[1].until == time_point::max());
}

TEST_CASE("breaker: forced closed refuses nothing, counts, and opens for nothing") {
    bench b({.failure_ratio = 0.1, .min_calls = 1, .mode = breaker_mode::forced_closed});
    CHECK(b.calls(100, bad));
    CHECK(b.end(b.begin(), bad, 1h) == call_record::recorded);
    CHECK_FALSE(b.trip());
    CHECK(b.machine.state() == closed);
    CHECK(b.snapshot().failures == 101);
    CHECK(b.log.empty());
    b.set_mode(breaker_mode::automatic);
    CHECK(b.machine.state() == closed);
    CHECK(b.snapshot().consecutive_failures == 0);
    b.calls(5, bad);
    CHECK(b.machine.state() == open);
    b.set_mode(breaker_mode::forced_closed);
    CHECK(b.calls(1, bad));
    CHECK(b.log.back().reason == breaker_reason::mode);
}

TEST_CASE("breaker: observe counts, changes its state, and never refuses") {
    bench b({.probe_deadline = 10s, .mode = breaker_mode::observe});
    CHECK(b.calls(6, bad));
    CHECK(b.machine.state() == open);
    CHECK(b.snapshot().would_refuse == 1);
    CHECK(b.snapshot().failures == 6);
    b.now += 30s;
    const auto probe = b.begin();
    CHECK(b.machine.state() == half_open);
    const auto beside = b.begin();
    CHECK(beside.admitted);
    CHECK(b.end(beside, bad) == call_record::recorded);
    CHECK(b.machine.state() == half_open);
    SUBCASE("a probe closes") {
        b.end(probe, good);
        CHECK(b.machine.state() == closed);
    }
    SUBCASE("a call beside the probe may say for how long to open, and another for how much longer") {
        b.end(b.begin(), bad, 5s);
        CHECK(b.machine.state() == open);
        b.end(b.begin(), bad, 9s);
        b.end(b.begin(), bad, 3s);
        CHECK(b.snapshot().next_probe == 9s);
        CHECK(b.log.back().reason == breaker_reason::failed_for);
    }
    SUBCASE("switched to automatic it keeps its state") {
        b.set_mode(breaker_mode::automatic);
        CHECK(b.machine.state() == half_open);
        CHECK_FALSE(b.begin().admitted);
        b.end(probe, bad);
        CHECK(b.machine.state() == open);
    }
    CHECK(b.snapshot().refused == (b.machine.mode() == breaker_mode::automatic ? 1 : 0));
}

TEST_CASE("breaker: setting the mode that it has changes nothing") {
    bench b;
    b.calls(4, bad);
    b.set_mode(breaker_mode::automatic);
    b.calls(1, bad);
    CHECK(b.machine.state() == open);
}

TEST_CASE("breaker: reset closes and forgets; calls that run meanwhile count for nothing") {
    bench b;
    b.calls(4, bad);
    const auto before = b.begin();
    b.reset();
    CHECK(b.log.empty());
    CHECK(b.end(before, bad) == call_record::stale);
    CHECK(b.calls(4, bad));
    CHECK(b.machine.state() == closed);
    b.calls(1, bad);
    b.now += 30s;
    b.calls(1, bad);
    b.reset();
    CHECK(b.log.back().reason == breaker_reason::reset);
    b.calls(5, bad);
    CHECK(b.begin().retry_after == 30s);
}

TEST_CASE("breaker: trip opens for a given time, or for the reset time") {
    bench b;
    CHECK(b.trip(3s));
    CHECK(b.begin().retry_after == 3s);
    CHECK(b.trip());
    CHECK(b.begin().retry_after == 30s);
    CHECK(b.log.size() == 1);
    CHECK(b.log[0].reason == breaker_reason::tripped);
    CHECK(b.trip(duration::max()));
    CHECK(b.snapshot().next_probe == duration::max());
    b.reset();
    CHECK(b.calls(1, good));
    CHECK(b.snapshot().opened == 1);
}

TEST_CASE("breaker: state changes are reported in order, each once") {
    bench b;
    b.calls(5, bad);
    b.now += 30s;
    b.calls(1, bad);
    b.now = b.log.back().until;
    b.calls(1, good);
    b.calls(10, good);
    REQUIRE(b.log.size() == 5);
    const breaker_state states[] = {closed, open, half_open, open, half_open, closed};
    for (std::size_t i = 0; i < b.log.size(); ++i) {
        CHECK(b.log[i].from == states[i]);
        CHECK(b.log[i].to == states[i + 1]);
        CHECK((i == 0 || b.log[i].at >= b.log[i - 1].at));
    }
}

TEST_CASE("breaker: time that goes backwards is held") {
    bench b({.failure_ratio = 0.5, .slow_after = 1s});
    const auto a = b.begin();
    b.now -= 500h;
    CHECK(b.end(a, bad) == call_record::recorded);
    b.calls(4, bad);
    CHECK(b.machine.state() == open);
    CHECK(b.begin().retry_after == 30s);
    b.now -= 100h;
    CHECK(b.begin().retry_after == 30s);
    b.now += 600h + 30s;
    CHECK(b.begin().admitted);
    b.now -= 24h;
    b.expire();
    CHECK(b.machine.state() == half_open);
}

TEST_CASE("breaker: near the end of time nothing overflows") {
    breaker_machine m({.consecutive_failures = 2, .failure_ratio = 0.9, .min_calls = 1000}, time_point::max() - 1s, 1);
    breaker_transitions out;
    const auto clock = [] { return time_point::max(); };
    for (int i = 0; i < 2; ++i) {
        const auto a = m.begin(clock, out);
        CHECK(m.end(a.ticket, bad, time_point::max() - 500ms, {}, out) == call_record::recorded);
    }
    CHECK(m.state() == open);
    CHECK(out.begin()->until == time_point::max());
    const auto probe = m.begin(clock, out);
    CHECK(probe.admitted);  // the clock is at the end of time
    CHECK(m.next_deadline() == time_point::max() - 1ns);

    breaker_machine young({.failure_ratio = 0.9}, time_point::min(), 1);
    breaker_transitions none;
    const auto a = young.begin(clock, none);
    CHECK(young.end(a.ticket, good, time_point::max(), {}, none) == call_record::recorded);
    CHECK(young.snapshot(time_point::max(), none).window_calls == 1);
}

TEST_CASE("breaker: other options keep the state, the failures in a row and the window") {
    bench b({.consecutive_failures = 5, .failure_ratio = 0.5, .min_calls = 20, .window = 10s});
    const auto change = [&](const breaker_options& o) {
        REQUIRE(check(o).empty());
        b.note([&](auto& out) { return b.machine.reconfigure(o, b.now, out), 0; });
    };
    CHECK(b.calls(3, bad));
    change({.consecutive_failures = 10, .failure_ratio = 0.5, .min_calls = 20, .window = 20s});
    CHECK(b.snapshot().consecutive_failures == 3);
    CHECK(b.snapshot().window_calls == 3);
    CHECK(b.calls(3, bad));
    CHECK(b.machine.state() == closed);
    // A new limit below the counted failures opens the breaker at the next failure, not at the change.
    change({.consecutive_failures = 2});
    CHECK(b.machine.state() == closed);
    CHECK(b.calls(1, good));
    CHECK(b.calls(1, bad));
    CHECK(b.machine.state() == closed);
    CHECK(b.calls(1, bad));
    CHECK(b.machine.state() == open);
    // An open breaker stays open for its old reset time.
    const duration left = b.snapshot().next_probe;
    change({.consecutive_failures = 2, .reset_timeout = 1s});
    CHECK(b.machine.state() == open);
    CHECK(b.snapshot().next_probe == left);
}

TEST_CASE("breaker: what the window held when its length changed expires together, after the new length") {
    bench b({.consecutive_failures = {}, .failure_ratio = 0.5, .min_calls = 100, .window = 10s});
    CHECK(b.calls(4, good));
    b.now += 5s;
    const breaker_options longer{.consecutive_failures = {}, .failure_ratio = 0.5, .min_calls = 100, .window = 60s};
    b.note([&](auto& out) { return b.machine.reconfigure(longer, b.now, out), 0; });
    CHECK(b.calls(1, bad));
    b.now += 60s - 1ns;
    CHECK(b.snapshot().window_calls == 5);
    b.now += 1ns;
    CHECK(b.snapshot().window_calls == 0);
}

TEST_CASE("breaker: fewer probes than have succeeded already close it, and a half-open breaker never wedges") {
    bench b({.consecutive_failures = 1, .reset_timeout = 1s, .probes = 3});
    CHECK(b.calls(1, bad));
    b.now += 1s;
    CHECK(b.calls(2, good));
    CHECK(b.machine.state() == half_open);
    const auto running = b.begin();
    REQUIRE(running.admitted);
    b.note([&](auto& out) {
        return b.machine.reconfigure({.consecutive_failures = 1, .reset_timeout = 1s, .probes = 2}, b.now, out), 0;
    });
    CHECK(b.machine.state() == closed);
    CHECK(b.log.back().reason == breaker_reason::probes_succeeded);
    CHECK(b.end(running, bad) == call_record::stale);
    CHECK(b.machine.state() == closed);
}

TEST_CASE("breaker: more probes at once after a change, and the old ones keep their deadlines") {
    bench b({.consecutive_failures = 1, .reset_timeout = 1s, .probes = 1, .probe_deadline = 10s});
    CHECK(b.calls(1, bad));
    b.now += 1s;
    CHECK(b.begin().admitted);
    CHECK_FALSE(b.begin().admitted);
    b.note([&](auto& out) {
        return b.machine.reconfigure(
                   {.consecutive_failures = 1, .reset_timeout = 1s, .probes = 3, .probe_deadline = 1min}, b.now, out),
               0;
    });
    CHECK(b.begin().admitted);
    CHECK(b.begin().admitted);
    CHECK_FALSE(b.begin().admitted);
    b.now += 10s;
    b.expire();
    CHECK(b.machine.state() == open);
}

TEST_CASE("breaker: a call that began before calls were timed is not slow") {
    bench b;
    const auto untimed = b.begin();
    b.note([&](auto& out) {
        return b.machine.reconfigure({.slow_ratio = 0.1, .slow_after = 1ms, .min_calls = 1}, b.now, out), 0;
    });
    b.end(untimed, good);
    CHECK(b.snapshot().slow == 0);
    CHECK(b.machine.state() == closed);
    CHECK(b.calls(1, good, 1ms));
    CHECK(b.machine.state() == open);
}

TEST_CASE("breaker: a mode that was set by hand survives other options, a mode in them does not") {
    bench b;
    b.set_mode(breaker_mode::forced_open);
    b.note([&](auto& out) { return b.machine.reconfigure({.probes = 2}, b.now, out), 0; });
    CHECK(b.machine.mode() == breaker_mode::forced_open);
    b.note([&](auto& out) { return b.machine.reconfigure({.mode = breaker_mode::observe}, b.now, out), 0; });
    CHECK(b.machine.mode() == breaker_mode::observe);
    CHECK(b.machine.state() == closed);
}
