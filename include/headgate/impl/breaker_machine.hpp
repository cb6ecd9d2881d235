// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_BREAKER_MACHINE_HPP
#define HEADGATE_IMPL_BREAKER_MACHINE_HPP

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <headgate/breaker_options.hpp>
#include <headgate/export.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

/// What a call carries from its beginning to its end.
struct breaker_ticket {
    static constexpr std::uint32_t no_probe = UINT32_MAX;

    std::uint64_t generation{};
    time_point began{};
    std::uint32_t probe = no_probe;
};

struct breaker_admission {
    bool admitted{};
    /// Of a refusal: when to ask again makes sense; zero when nobody knows.
    duration retry_after{};
    breaker_ticket ticket{};
};

/// The changes of state that one event caused, in order.
class breaker_transitions {
public:
    breaker_transitions() noexcept {}  // most calls change nothing: the items stay uninitialised

    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] const breaker_transition* begin() const noexcept { return items_.data(); }
    [[nodiscard]] const breaker_transition* end() const noexcept { return items_.data() + size_; }

    void push(const breaker_transition& t) noexcept {
        assert(size_ < items_.size());
        items_[size_++] = t;
    }

private:
    // The most: a probe has expired, and the event itself changes the state.
    union {
        std::array<breaker_transition, 2> items_;
    };
    std::size_t size_ = 0;
};

/// Calls, failures and slow calls of the last ten slices of time.
///
/// Slices are aligned to the time of the last `clear`. Recording neither divides nor loops, except once a slice.
class HEADGATE_DECL breaker_window {
public:
    struct counts {
        std::uint64_t calls{};
        std::uint64_t failures{};
        std::uint64_t slow{};
    };

    breaker_window(duration window, time_point now) noexcept : slice_(window / slices) { clear(now); }

    void clear(time_point now) noexcept;

    /// Looks back for another time from now on; what was counted so far expires together, as if it were of this slice.
    void resize(duration window, time_point now) noexcept;

    /// Drops the slices that have expired.
    void roll(time_point now) noexcept {
        if (now >= slice_end_) [[unlikely]] {
            advance(now);
        }
    }

    void record(time_point now, bool failed, bool slow) noexcept {
        roll(now);
        for (counts* c : {&ring_[current_], &total_}) {
            ++c->calls;
            c->failures += failed;
            c->slow += slow;
        }
    }

    [[nodiscard]] const counts& total() const noexcept { return total_; }
    [[nodiscard]] duration slice() const noexcept { return slice_; }

private:
    static constexpr std::size_t slices = 10;

    void advance(time_point now) noexcept;

    duration slice_;
    time_point slice_end_{};
    counts total_{};
    std::size_t current_ = 0;
    std::array<counts, slices> ring_{};
};

/// The circuit breaker as a state machine: no lock, no clock, no executor, no allocation after construction.
///
/// Every change of state starts a new generation. A result counts only in the generation in which its call began. Time
/// that goes backwards is held. Probes that are past their deadline have failed at that deadline: this is judged before
/// every other event, so that what the machine does never depends on whether somebody called `expire` in time.
class HEADGATE_DECL breaker_machine {
public:
    /// `options` are valid. `seed` is for the jitter.
    breaker_machine(const breaker_options& options, time_point now, std::uint64_t seed);

    /// Whether every `begin` asks for the time; else only a breaker that is not closed does.
    [[nodiscard]] bool times_calls() const noexcept { return times_calls_; }

    /// Whether the end of every call needs the exact time; else a success in the closed state does with one that is
    /// `coarse_error` behind.
    [[nodiscard]] bool exact_ends() const noexcept { return times_calls_ || window_.slice() < coarse_error; }

    /// Whether the breaker refuses for certain, when all that is known is that it is no later than `coarse_error` after
    /// `about`. Then `refuse` does it, with the time left from `about`.
    [[nodiscard]] bool stays_open(time_point about) const noexcept {
        return state_ == breaker_state::open && mode_ == breaker_mode::automatic &&
               saturating_add(about, coarse_error) < open_until_;
    }
    breaker_admission refuse(time_point about) noexcept {
        ++counts_.refused;
        return {false, saturating_sub(open_until_, std::max(latest_, about)), {}};
    }

    /// A call wants to run. `clock` is called at most once, and only when the time matters.
    template <class Clock>
    [[nodiscard]] breaker_admission begin(Clock&& clock, breaker_transitions& out) {
        if (state_ == breaker_state::closed) [[likely]] {
            ++counts_.admitted;
            return {true, {}, {generation_, times_calls_ ? hold(clock()) : time_point{}, breaker_ticket::no_probe}};
        }
        return begin_not_closed(hold(clock()), out);
    }

    /// What `begin` does in the closed state, where every call is admitted; `now` is not looked at when it is the
    /// origin.
    void admit_closed(breaker_ticket& ticket, time_point now) noexcept {
        ++counts_.admitted;
        ticket.generation = generation_;
        ticket.began = now == time_point{} ? now : hold(now);
        ticket.probe = breaker_ticket::no_probe;
    }

    /// The call of `ticket`, which `begin` admitted, has ended. A failure with a positive `trip_for` opens the breaker
    /// at once for that long.
    call_record end(const breaker_ticket& ticket, call_outcome outcome, time_point now, duration trip_for,
                    breaker_transitions& out) {
        now = hold(now);
        ++ended_;
        if (state_ != breaker_state::closed || ticket.generation != generation_) [[unlikely]] {
            return end_not_closed(ticket, outcome, now, trip_for, out);
        }
        const bool failed = outcome == call_outcome::failure;
        const bool slow = count(ticket, outcome, now);
        if (outcome != call_outcome::neutral) {
            consecutive_ = failed ? consecutive_ + (consecutive_ != UINT32_MAX) : 0;
            if (windowed_) {
                window_.record(now, failed, slow);
            }
            if (failed || windowed_) {
                judge_closed(failed ? trip_for : duration{}, now, out);
            }
        }
        return call_record::recorded;
    }

    /// When `expire` should be called; `time_point::max()` for not before something else happens.
    [[nodiscard]] time_point next_deadline() const noexcept { return first_deadline_; }

    /// Lets the probes fail whose deadline has passed.
    void expire(time_point now, breaker_transitions& out) { judge_probes(hold(now), out); }

    /// Opens for `duration`, or as long as it would open by itself when that is not positive. False in a forced mode,
    /// where it does nothing.
    bool trip(duration how_long, time_point now, breaker_transitions& out);

    /// Closes and forgets failures, the window and the doubled reset time; calls that run now count for nothing. In
    /// `forced_open` it stays open.
    void reset(time_point now, breaker_transitions& out);

    /// A forced mode starts a new generation, and leaving one closes; between `automatic` and `observe` the state is
    /// kept.
    void set_mode(breaker_mode mode, time_point now, breaker_transitions& out);

    /// Takes other options, and keeps what it knows: state, generation, counts, how long it is open. The mode changes
    /// when it is another than in the options before.
    void reconfigure(const breaker_options& options, time_point now, breaker_transitions& out);

    /// Calls that have begun and not ended, expired probes included.
    [[nodiscard]] std::uint64_t running() const noexcept { return counts_.admitted - ended_; }
    [[nodiscard]] breaker_state state() const noexcept { return state_; }
    [[nodiscard]] breaker_mode mode() const noexcept { return mode_; }
    [[nodiscard]] breaker_snapshot snapshot(time_point now, breaker_transitions& out);

private:
    // How far the kernel's coarse clock is behind, with a margin: a tick is 1 to 10 ms.
    static constexpr duration coarse_error = std::chrono::milliseconds(40);
    // A place in `probes_` that no probe holds.
    static constexpr time_point vacant = time_point::max();

    time_point hold(time_point now) noexcept { return latest_ = std::max(latest_, now); }
    [[nodiscard]] bool forced() const noexcept {
        return mode_ == breaker_mode::forced_open || mode_ == breaker_mode::forced_closed;
    }

    // Counts a result that is not stale; says whether the call was slow.
    bool count(const breaker_ticket& ticket, call_outcome outcome, time_point now) noexcept {
        if (outcome == call_outcome::neutral) {
            ++counts_.neutral;
            return false;
        }
        const bool failed = outcome == call_outcome::failure;
        counts_.failures += failed;
        counts_.successes += !failed;
        // A call that began before calls were timed has no beginning.
        const bool slow =
            times_calls_ && ticket.began != time_point{} && saturating_sub(now, ticket.began) >= *options_.slow_after;
        counts_.slow += slow;
        return slow;
    }

    breaker_admission begin_not_closed(time_point now, breaker_transitions& out);
    call_record end_not_closed(const breaker_ticket& ticket, call_outcome outcome, time_point now, duration trip_for,
                               breaker_transitions& out);

    void judge_closed(duration trip_for, time_point now, breaker_transitions& out) {
        if (consecutive_ >= consecutive_limit_ || trip_for.count() > 0 || total_failures_or_slow()) [[unlikely]] {
            judge_closed_slowly(trip_for, now, out);
        }
    }
    [[nodiscard]] bool total_failures_or_slow() const noexcept {
        return (window_.total().failures | window_.total().slow) != 0;
    }
    void judge_closed_slowly(duration trip_for, time_point now, breaker_transitions& out);
    void judge_probes(time_point now, breaker_transitions& out);
    void end_probe(const breaker_ticket& ticket, call_outcome outcome, bool slow, time_point now, duration trip_for,
                   breaker_transitions& out);

    void adopt(duration window_before, time_point now);
    void close_after_probes(time_point now, breaker_transitions& out);
    std::uint32_t take_place(time_point deadline) noexcept;
    void leave_place(std::uint32_t place) noexcept;
    duration longer_reset_time() noexcept;

    void open(breaker_reason reason, time_point at, duration how_long, breaker_transitions& out);
    void close(breaker_reason reason, time_point at, breaker_transitions& out);
    void change(breaker_state to, breaker_reason reason, time_point at, breaker_transitions& out);

    // What a call touches stands first and together: two threads hand it to each other with every call.
    breaker_state state_ = breaker_state::closed;
    breaker_mode mode_;
    bool times_calls_;
    bool windowed_;
    std::uint32_t consecutive_ = 0;
    std::uint32_t consecutive_limit_;
    std::uint64_t generation_ = 1;
    time_point latest_;
    time_point first_deadline_ = vacant;
    std::uint64_t ended_ = 0;
    breaker_snapshot counts_{};  // only its counters are kept up
    breaker_window window_;

    breaker_options options_;
    double failure_bound_;
    double slow_bound_;
    time_point open_until_{};
    duration reset_time_;
    std::uint64_t random_;
    std::vector<time_point> probes_;  // the deadline of each probe that runs
    std::uint32_t probes_running_ = 0;
    std::uint32_t probes_succeeded_ = 0;
};

}  // namespace headgate::detail

#endif
