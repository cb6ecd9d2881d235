// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/breaker_machine.hpp>

#include <limits>
#include <utility>

#include <headgate/impl/random.hpp>

namespace headgate::detail {
namespace {

// The bound for counts that are compared by multiplication. It is a tiny amount below the ratio, so that 7 of 100 reach
// 0.07, whose product with 100 is slightly above 7 in floating point.
double bound(const std::optional<double>& ratio) {
    return ratio ? *ratio * (1.0 - 1e-12) : std::numeric_limits<double>::infinity();
}

double share(std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

void breaker_window::clear(time_point now) noexcept {
    ring_ = {};
    total_ = {};
    current_ = 0;
    slice_end_ = saturating_add(now, slice_);
}

void breaker_window::resize(duration window, time_point now) noexcept {
    roll(now);
    const counts kept = total_;
    slice_ = window / slices;
    clear(now);
    ring_[current_] = total_ = kept;
}

void breaker_window::advance(time_point now) noexcept {
    if (slice_end_ == time_point::max()) {
        return;  // at the end of time nothing expires any more
    }
    const auto steps = saturating_sub(now, slice_end_) / slice_ + 1;
    for (auto left = std::min<duration::rep>(steps, slices); left > 0; --left) {
        current_ = current_ + 1 == slices ? 0 : current_ + 1;
        counts& oldest = ring_[current_];
        total_.calls -= oldest.calls;
        total_.failures -= oldest.failures;
        total_.slow -= oldest.slow;
        oldest = {};
    }
    duration::rep forward{};
    const bool beyond = __builtin_mul_overflow(slice_.count(), steps, &forward);
    slice_end_ = beyond ? time_point::max() : saturating_add(slice_end_, duration(forward));
}

breaker_machine::breaker_machine(const breaker_options& options, time_point now, std::uint64_t seed)
    : mode_(options.mode),
      times_calls_(options.slow_after.has_value()),
      windowed_(options.failure_ratio || options.slow_ratio),
      consecutive_limit_(options.consecutive_failures.value_or(UINT32_MAX)),
      latest_(now),
      window_(options.window, now),
      options_(options),
      failure_bound_(bound(options.failure_ratio)),
      slow_bound_(bound(options.slow_ratio)),
      reset_time_(options.reset_timeout),
      random_(seed),
      probes_(options.probes, vacant) {
    if (mode_ == breaker_mode::forced_open) {
        state_ = breaker_state::open;
        open_until_ = time_point::max();
    }
}

breaker_admission breaker_machine::begin_not_closed(time_point now, breaker_transitions& out) {
    judge_probes(now, out);
    if (state_ == breaker_state::open && mode_ != breaker_mode::forced_open && now >= open_until_) {
        change(breaker_state::half_open, breaker_reason::reset_timeout, now, out);
    }
    if (state_ == breaker_state::half_open && probes_running_ + probes_succeeded_ < options_.probes) {
        ++counts_.admitted;
        return {true, {}, {generation_, now, take_place(saturating_add(now, options_.probe_deadline))}};
    }
    if (mode_ == breaker_mode::observe) {
        ++counts_.admitted;
        ++counts_.would_refuse;
        return {true, {}, {generation_, now, breaker_ticket::no_probe}};
    }
    ++counts_.refused;
    if (mode_ == breaker_mode::forced_open) {
        return {};
    }
    const time_point then = state_ == breaker_state::open ? open_until_ : first_deadline_;
    return {false, saturating_sub(then, now), {}};
}

call_record breaker_machine::end_not_closed(const breaker_ticket& ticket, call_outcome outcome, time_point now,
                                            duration trip_for, breaker_transitions& out) {
    judge_probes(now, out);
    if (ticket.generation != generation_) {
        ++counts_.stale;
        return call_record::stale;
    }
    const bool slow = count(ticket, outcome, now);
    if (ticket.probe != breaker_ticket::no_probe) {
        end_probe(ticket, outcome, slow, now, trip_for, out);
    } else if (outcome == call_outcome::failure && trip_for.count() > 0) {
        // Only the mode `observe` lets such calls run.
        if (state_ == breaker_state::open) {
            open_until_ = std::max(open_until_, saturating_add(now, trip_for));
        } else {
            open(breaker_reason::failed_for, now, trip_for, out);
        }
    }
    return call_record::recorded;
}

void breaker_machine::end_probe(const breaker_ticket& ticket, call_outcome outcome, bool slow, time_point now,
                                duration trip_for, breaker_transitions& out) {
    leave_place(ticket.probe);
    if (outcome == call_outcome::neutral) {
        return;
    }
    const bool failed = outcome == call_outcome::failure;
    if (failed || (slow && options_.slow_ratio)) {
        const duration usual = longer_reset_time();
        const bool told = failed && trip_for.count() > 0;
        open(told ? breaker_reason::failed_for : breaker_reason::probe_failed, now, told ? trip_for : usual, out);
    } else {
        ++probes_succeeded_;
        close_after_probes(now, out);
    }
}

void breaker_machine::close_after_probes(time_point now, breaker_transitions& out) {
    if (probes_succeeded_ >= options_.probes) {
        close(breaker_reason::probes_succeeded, now, out);
    }
}

void breaker_machine::judge_closed_slowly(duration trip_for, time_point now, breaker_transitions& out) {
    if (forced()) {
        return;
    }
    if (trip_for.count() > 0) {
        open(breaker_reason::failed_for, now, trip_for, out);
        return;
    }
    const auto& total = window_.total();
    const auto calls = static_cast<double>(total.calls);
    const bool enough = total.calls >= options_.min_calls;
    if (options_.consecutive_failures && consecutive_ >= consecutive_limit_) {
        open(breaker_reason::consecutive_failures, now, reset_time_, out);
    } else if (enough && static_cast<double>(total.failures) >= failure_bound_ * calls) {
        open(breaker_reason::failure_ratio, now, reset_time_, out);
    } else if (enough && static_cast<double>(total.slow) >= slow_bound_ * calls) {
        open(breaker_reason::slow_ratio, now, reset_time_, out);
    }
}

void breaker_machine::judge_probes(time_point now, breaker_transitions& out) {
    if (first_deadline_ > now || probes_running_ == 0) {
        return;
    }
    ++counts_.failures;
    const time_point then = first_deadline_;
    open(breaker_reason::probe_expired, then, longer_reset_time(), out);
}

std::uint32_t breaker_machine::take_place(time_point deadline) noexcept {
    // A deadline at the end of time must not look vacant.
    deadline = std::min(deadline, vacant - duration(1));
    const auto place = std::find(probes_.begin(), probes_.end(), vacant);
    *place = deadline;
    first_deadline_ = std::min(first_deadline_, deadline);
    ++probes_running_;
    return static_cast<std::uint32_t>(place - probes_.begin());
}

void breaker_machine::leave_place(std::uint32_t place) noexcept {
    probes_[place] = vacant;
    --probes_running_;
    first_deadline_ = *std::min_element(probes_.begin(), probes_.end());
}

// The time to stay open after a probe failed: twice the last one, up to the maximum, within 10 % of that.
duration breaker_machine::longer_reset_time() noexcept {
    const duration most = options_.max_reset_timeout;
    reset_time_ = reset_time_ > most / 2 ? most : reset_time_ * 2;
    const double jittered = static_cast<double>(reset_time_.count()) * (0.9 + 0.2 * random_share(random_));
    return std::clamp(duration(static_cast<duration::rep>(jittered)), duration(1), most);
}

bool breaker_machine::trip(duration how_long, time_point now, breaker_transitions& out) {
    now = hold(now);
    judge_probes(now, out);
    if (forced()) {
        return false;
    }
    const duration time = how_long.count() > 0 ? how_long : reset_time_;
    if (state_ == breaker_state::open) {
        open_until_ = saturating_add(now, time);
    } else {
        open(breaker_reason::tripped, now, time, out);
    }
    return true;
}

void breaker_machine::reset(time_point now, breaker_transitions& out) {
    now = hold(now);
    judge_probes(now, out);
    reset_time_ = options_.reset_timeout;
    if (mode_ != breaker_mode::forced_open) {
        close(breaker_reason::reset, now, out);
    }
}

void breaker_machine::set_mode(breaker_mode mode, time_point now, breaker_transitions& out) {
    now = hold(now);
    judge_probes(now, out);
    if (mode == mode_) {
        return;
    }
    const bool was_forced = forced();
    mode_ = mode;
    if (mode == breaker_mode::forced_open) {
        open(breaker_reason::mode, now, duration::max(), out);
    } else if (was_forced || mode == breaker_mode::forced_closed) {
        close(breaker_reason::mode, now, out);
    }
}

void breaker_machine::reconfigure(const breaker_options& options, time_point now, breaker_transitions& out) {
    probes_.reserve(options.probes);  // what can fail comes first
    now = hold(now);
    judge_probes(now, out);
    const breaker_options before = std::exchange(options_, options);
    adopt(before.window, now);
    if (state_ == breaker_state::half_open) {
        close_after_probes(now, out);  // as many as are needed now may have succeeded already
    }
    if (options.mode != before.mode) {
        set_mode(options.mode, now, out);
    }
}

// Computes the values that are derived from the options.
void breaker_machine::adopt(duration window_before, time_point now) {
    times_calls_ = options_.slow_after.has_value();
    windowed_ = options_.failure_ratio || options_.slow_ratio;
    consecutive_limit_ = options_.consecutive_failures.value_or(UINT32_MAX);
    failure_bound_ = bound(options_.failure_ratio);
    slow_bound_ = bound(options_.slow_ratio);
    reset_time_ = state_ == breaker_state::closed
                      ? options_.reset_timeout
                      : std::clamp(reset_time_, options_.reset_timeout, options_.max_reset_timeout);
    if (options_.window != window_before) {
        window_.resize(options_.window, now);
    }
    if (options_.probes > probes_.size()) {
        probes_.resize(options_.probes, vacant);
    }
}

void breaker_machine::open(breaker_reason reason, time_point at, duration how_long, breaker_transitions& out) {
    open_until_ = how_long == duration::max() ? time_point::max() : saturating_add(at, how_long);
    change(breaker_state::open, reason, at, out);
}

void breaker_machine::close(breaker_reason reason, time_point at, breaker_transitions& out) {
    reset_time_ = options_.reset_timeout;
    consecutive_ = 0;
    window_.clear(at);
    change(breaker_state::closed, reason, at, out);
}

void breaker_machine::change(breaker_state to, breaker_reason reason, time_point at, breaker_transitions& out) {
    const bool opens = to == breaker_state::open;
    if (state_ != to) {
        out.push({state_, to, reason, at, opens ? open_until_ : time_point{}});
        counts_.opened += opens;
    }
    state_ = to;
    ++generation_;
    std::fill(probes_.begin(), probes_.end(), vacant);
    first_deadline_ = vacant;
    probes_running_ = 0;
    probes_succeeded_ = 0;
}

breaker_snapshot breaker_machine::snapshot(time_point now, breaker_transitions& out) {
    now = hold(now);
    judge_probes(now, out);
    window_.roll(now);
    breaker_snapshot s = counts_;
    s.state = state_;
    s.mode = mode_;
    s.window_calls = window_.total().calls;
    s.failure_ratio = share(window_.total().failures, s.window_calls);
    s.slow_ratio = share(window_.total().slow, s.window_calls);
    s.consecutive_failures = consecutive_;
    s.probes_running = probes_running_;
    if (state_ == breaker_state::open) {
        s.next_probe =
            open_until_ == time_point::max() ? duration::max() : std::max(duration{}, saturating_sub(open_until_, now));
    } else if (probes_running_ + probes_succeeded_ >= options_.probes) {
        s.next_probe = saturating_sub(first_deadline_, now);
    }
    return s;
}

}  // namespace headgate::detail
