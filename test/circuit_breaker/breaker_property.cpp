// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/breaker_machine.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

using namespace headgate;
using namespace headgate::detail;
using namespace std::chrono_literals;

namespace {

// A slow and simple breaker after semantics.md: it keeps every call and computes every ratio anew. It takes only the
// jitter from the machine, after a check of its bounds.
class reference {
public:
    struct call {
        std::uint64_t generation;
        time_point began;
        bool probe;
    };
    struct answer {
        bool admitted;
        call c;
    };

    reference(const breaker_options& o, time_point now)
        : o_(o), mode(o.mode), epoch_(now), now_(now), reset_(o.reset_timeout) {
        if (mode == breaker_mode::forced_open) {
            state = breaker_state::open;
            until = time_point::max();
        }
    }

    answer begin(time_point t) {
        if (state != breaker_state::closed || o_.slow_after) {
            judge(t);
        }
        if (state == breaker_state::closed) {
            return {true, {generation, now_, false}};
        }
        if (mode != breaker_mode::forced_open && state == breaker_state::open && now_ >= until) {
            enter(breaker_state::half_open);
        }
        if (state == breaker_state::half_open && running.size() + successes_ < o_.probes) {
            running.push_back(now_);
            return {true, {generation, now_, true}};
        }
        return {mode == breaker_mode::observe, {generation, now_, false}};
    }

    bool end(const call& c, call_outcome outcome, time_point t, duration trip_for) {
        judge(t);
        if (c.generation != generation) {
            return false;
        }
        const bool slow = o_.slow_after && now_ - c.began >= *o_.slow_after;
        const bool failed = outcome == call_outcome::failure;
        if (c.probe) {
            running.erase(std::find(running.begin(), running.end(), c.began));
        }
        if (outcome == call_outcome::neutral) {
            return true;
        }
        if (c.probe) {
            if (failed || (slow && o_.slow_ratio)) {
                reset_ = std::min(reset_ * 2, o_.max_reset_timeout);
                failed&& trip_for > 0ns ? open_at(now_, trip_for) : open_jittered(now_);
            } else if (++successes_ == o_.probes) {
                close();
            }
            return true;
        }
        if (state == breaker_state::open || state == breaker_state::half_open) {  // observed only
            if (failed && trip_for > 0ns) {
                state == breaker_state::open ? void(until = std::max(until, now_ + trip_for)) : open_at(now_, trip_for);
            }
            return true;
        }
        history_.push_back({(now_ - epoch_) / (o_.window / 10), failed, slow});
        row_ = failed ? row_ + 1 : 0;
        if (mode == breaker_mode::forced_closed) {
            return true;
        }
        if (failed && trip_for > 0ns) {
            open_at(now_, trip_for);
        } else if (closed_must_open()) {
            open_at(now_, o_.reset_timeout);
        }
        return true;
    }

    void judge(time_point t) {
        now_ = std::max(now_, t);
        if (running.empty()) {
            return;
        }
        const time_point first = *std::min_element(running.begin(), running.end()) + o_.probe_deadline;
        if (first <= now_) {
            reset_ = std::min(reset_ * 2, o_.max_reset_timeout);
            open_jittered(first);
        }
    }

    void trip(duration d, time_point t) {
        judge(t);
        if (mode != breaker_mode::automatic && mode != breaker_mode::observe) {
            return;
        }
        const duration time = d > 0ns ? d : reset_;
        if (state == breaker_state::open) {
            until = now_ + time;
        } else {
            open_at(now_, time);
        }
    }

    void reset(time_point t) {
        judge(t);
        reset_ = o_.reset_timeout;
        if (mode != breaker_mode::forced_open) {
            close();
        }
    }

    void set_mode(breaker_mode m, time_point t) {
        judge(t);
        const auto was = mode;
        mode = m;
        if (m == was) {
            return;
        }
        if (m == breaker_mode::forced_open) {
            enter(breaker_state::open);
            until = time_point::max();
        } else if (m == breaker_mode::forced_closed || was == breaker_mode::forced_open ||
                   was == breaker_mode::forced_closed) {
            close();
        }
    }

    // Takes the random time that the machine drew for staying open. It must be within the jitter.
    bool accept(time_point drawn) {
        if (!jittered_) {
            return drawn == until;
        }
        jittered_ = false;
        const duration d = drawn - opened_at_;
        until = drawn;
        return d >= reset_ * 9 / 10 - 1ns && d <= std::min(reset_ * 11 / 10 + 1ns, o_.max_reset_timeout);
    }

private:
    breaker_options o_;

public:
    breaker_state state = breaker_state::closed;
    breaker_mode mode;
    std::uint64_t generation = 0;
    std::vector<time_point> running;
    time_point until{};

private:
    struct past {
        duration::rep slice;
        bool failed;
        bool slow;
    };

    bool closed_must_open() const {
        std::uint64_t calls = 0;
        std::uint64_t failures = 0;
        std::uint64_t slow = 0;
        for (const past& p : history_) {
            if (p.slice > (now_ - epoch_) / (o_.window / 10) - 10) {
                ++calls;
                failures += p.failed;
                slow += p.slow;
            }
        }
        const auto share = [&](std::uint64_t n) { return static_cast<double>(n) / static_cast<double>(calls); };
        return (o_.consecutive_failures && row_ >= *o_.consecutive_failures) ||
               (calls >= o_.min_calls && o_.failure_ratio && share(failures) >= *o_.failure_ratio) ||
               (calls >= o_.min_calls && o_.slow_ratio && share(slow) >= *o_.slow_ratio);
    }
    void enter(breaker_state s) {
        state = s;
        ++generation;
        running.clear();
        successes_ = 0;
        jittered_ = false;
    }
    void close() {
        enter(breaker_state::closed);
        history_.clear();
        row_ = 0;
        reset_ = o_.reset_timeout;
        epoch_ = now_;
    }
    void open_at(time_point at, duration d) {
        enter(breaker_state::open);
        until = at + d;
    }
    void open_jittered(time_point at) {
        enter(breaker_state::open);
        opened_at_ = at;
        jittered_ = true;
    }

    time_point epoch_;
    time_point now_;
    duration reset_;
    std::vector<past> history_;
    std::uint32_t row_ = 0;
    std::uint32_t successes_ = 0;
    bool jittered_ = false;
    time_point opened_at_{};
};

std::uint64_t seed_of_this_run() {
    const char* given = std::getenv("HEADGATE_SEED");
    const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
    std::printf("breaker property test: HEADGATE_SEED=%llu\n", static_cast<unsigned long long>(seed));
    return seed;
}

breaker_options random_options(std::mt19937_64& random) {
    const auto one_in = [&](unsigned n) { return random() % n == 0; };
    breaker_options o;
    o.consecutive_failures = static_cast<std::uint32_t>(1 + random() % 6);
    if (one_in(3)) {
        o.consecutive_failures.reset();
    }
    if (one_in(2) || !o.consecutive_failures) {
        o.failure_ratio = static_cast<double>(1 + random() % 10) / 10.0;
    }
    if (one_in(2)) {
        o.slow_after = std::chrono::milliseconds(1 + random() % 50);
        if (one_in(2)) {
            o.slow_ratio = static_cast<double>(1 + random() % 10) / 10.0;
        }
    }
    o.min_calls = static_cast<std::uint32_t>(1 + random() % 30);
    o.window = std::chrono::milliseconds(10 * (1 + random() % 30));
    o.reset_timeout = std::chrono::milliseconds(1 + random() % 50);
    o.max_reset_timeout = o.reset_timeout * static_cast<int>(1 + random() % 10);
    o.probes = static_cast<std::uint32_t>(1 + random() % 4);
    o.probe_deadline = std::chrono::milliseconds(1 + random() % 40);
    o.mode = static_cast<breaker_mode>(one_in(4) ? random() % 4 : 0);
    return o;
}

// From every state the breaker closes when time passes and calls succeed at once.
void must_be_able_to_close(breaker_machine machine, time_point now, const breaker_options& options) {
    breaker_transitions out;
    if (machine.mode() == breaker_mode::forced_open) {
        machine.set_mode(breaker_mode::automatic, now, out);
    }
    for (int round = 0; round < 3 && machine.state() != breaker_state::closed; ++round) {
        const duration wait = machine.snapshot(now, out = {}).next_probe;
        REQUIRE(wait < 24h);
        now += wait;
        for (std::uint32_t i = 0; i < options.probes && machine.state() != breaker_state::closed; ++i) {
            const auto a = machine.begin([now] { return now; }, out = {});
            if (!a.admitted) {
                break;  // earlier probes have the places; they end or expire
            }
            machine.end(a.ticket, call_outcome::success, now, {}, out = {});
        }
    }
    REQUIRE(machine.state() == breaker_state::closed);
}

class random_run {
public:
    using tally = std::array<int, static_cast<std::size_t>(breaker_reason::mode) + 1>;

    random_run(std::uint64_t seed, int events, tally& seen)
        : seen_(seen),
          random_(seed),
          options_(random_options(random_)),
          machine_(options_, now_, seed),
          reference_(options_, now_) {
        REQUIRE(check(options_).empty());
        for (int i = 0; i < events; ++i) {
            pass_time();
            newest_ = std::max(newest_, now_);
            step();
            compare();
            if (i % 16 == 0) {
                must_be_able_to_close(machine_, newest_, options_);
            }
        }
    }

private:
    struct pending {
        breaker_ticket ticket;
        reference::call call;
    };

    void pass_time() {
        switch (random_() % 16) {
            case 0: now_ += std::chrono::microseconds(random_() % 100'000); break;
            case 1:
                now_ = std::max(now_, machine_.next_deadline() < now_ + 1h ? machine_.next_deadline() : now_);
                break;
            case 2: now_ = std::max(now_, reference_.until < now_ + 1h ? reference_.until : now_); break;
            case 3: now_ -= std::chrono::microseconds(random_() % 1'000); break;
            case 4:
            case 5: break;
            case 6: jump(); break;
            case 7: now_ = newest_; break;
            default: now_ += std::chrono::microseconds(random_() % 3'000);
        }
    }

    // Jumps by years, back and forth: a computer that slept, a thread that read the clock of another boot.
    void jump() {
        const duration years = 24h * 365 * static_cast<int>(1 + random_() % 10);
        switch (random_() % 64) {
            case 0: now_ += years; break;
            case 1:
            case 2: now_ -= years; break;
            default: break;
        }
    }

    void step() {
        out_ = {};
        const auto what = random_() % 1'000;
        if (what < 470) {
            begin();
        } else if (what < 970) {
            end();
        } else if (what < 980) {
            machine_.expire(now_, out_);
            accept_jitter();
        } else if (what < 985) {
            static_cast<void>(machine_.snapshot(now_, out_));
            accept_jitter();
        } else if (what < 990) {
            const duration d = std::chrono::milliseconds(static_cast<int>(random_() % 40) - 5);
            machine_.trip(d, now_, out_);
            accept_jitter();
            reference_.trip(d, now_);
        } else if (what < 993) {
            machine_.reset(now_, out_);
            accept_jitter();
            reference_.reset(now_);
        } else {
            const auto mode = random_() % 3 == 0 ? static_cast<breaker_mode>(random_() % 4) : breaker_mode::automatic;
            machine_.set_mode(mode, now_, out_);
            accept_jitter();
            reference_.set_mode(mode, now_);
        }
    }

    void begin() {
        bool asked = false;
        const auto got = machine_.begin([&] { return asked = true, now_; }, out_);
        if (asked) {
            accept_jitter();
        }
        const auto expected = reference_.begin(now_);
        REQUIRE(got.admitted == expected.admitted);
        if (got.admitted) {
            pending_.push_back({got.ticket, expected.c});
        } else if (machine_.mode() == breaker_mode::automatic) {
            REQUIRE(got.retry_after > 0ns);
        }
    }

    void end() {
        if (pending_.empty()) {
            return;
        }
        const auto which = pending_.begin() + static_cast<std::ptrdiff_t>(random_() % pending_.size());
        const auto p = *which;
        pending_.erase(which);
        if (random_() % 50 == 0) {
            return;  // this call never ends
        }
        const bool sick = now_.time_since_epoch() / 200ms % 3 == 0;
        const auto dice = random_() % 100;
        const auto outcome = dice < 8                  ? call_outcome::neutral
                             : dice < (sick ? 80 : 15) ? call_outcome::failure
                                                       : call_outcome::success;
        const duration trip_for = random_() % 40 == 0 ? std::chrono::milliseconds(random_() % 30) : 0ms;
        const auto got = machine_.end(p.ticket, outcome, now_, trip_for, out_);
        accept_jitter();
        const bool counted = reference_.end(p.call, outcome, now_, trip_for);
        REQUIRE((got == call_record::recorded) == counted);
    }

    // An event may first judge an expired probe. Then its result depends on the random time that the machine drew.
    void accept_jitter() {
        reference_.judge(now_);
        if (!out_.empty() && out_.begin()->reason == breaker_reason::probe_expired) {
            REQUIRE(reference_.accept(out_.begin()->until));
        }
    }

    void compare() {
        for (const auto& t : out_) {
            REQUIRE(t.from == last_);
            REQUIRE(t.from != t.to);
            last_ = t.to;
            ++seen_[static_cast<std::size_t>(t.reason)];
        }
        REQUIRE(last_ == machine_.state());
        REQUIRE(machine_.state() == reference_.state);
        REQUIRE(machine_.mode() == reference_.mode);
        if (!out_.empty()) {
            const auto& last = *(out_.end() - 1);
            if (last.to == breaker_state::open && last.reason != breaker_reason::probe_expired) {
                REQUIRE(reference_.accept(last.until));
            }
        }
        breaker_transitions none;
        const auto s = breaker_machine(machine_).snapshot(now_, none);
        if (none.empty()) {
            REQUIRE(s.probes_running == reference_.running.size());
        }
        REQUIRE(s.probes_running <= options_.probes);
    }

    tally& seen_;
    std::mt19937_64 random_;
    breaker_options options_;
    time_point now_{1h};
    time_point newest_{1h};
    breaker_machine machine_;
    reference reference_;
    breaker_state last_ = machine_.state();
    std::vector<pending> pending_;
    breaker_transitions out_;
};

}  // namespace

TEST_CASE("breaker: no sequence of events wedges the machine (property test over random sequences)") {
    const std::uint64_t first = seed_of_this_run();
    random_run::tally seen{};
    for (std::uint64_t run = 0; run < 400; ++run) {
        const std::string seed = std::to_string(first + run);
        CAPTURE(seed);
        random_run(first + run, 500, seen);
    }
    for (std::size_t reason = 0; reason < seen.size(); ++reason) {
        CAPTURE(to_string(static_cast<breaker_reason>(reason)));
        CHECK(seen[reason] > 10);
    }
}
