// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/retry_machine.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include <headgate/impl/int128.hpp>
#include <headgate/impl/random.hpp>

namespace headgate::detail {

// The budget ----------------------------------------------------------------------------------------------------------

void retry_budget::change(const retry_options& options) noexcept {
    deposit_ = std::llround(options.budget_ratio * static_cast<double>(attempt));
    floor_ = static_cast<std::int64_t>(slots_.size()) * options.budget_floor * attempt;
}

bool retry_budget::withdraw(time_point now) noexcept {
    roll(now);
    if (sum_ + floor_ < attempt) {
        return false;
    }
    slots_[current_] -= attempt;
    sum_ -= attempt;
    return true;
}

double retry_budget::left(time_point now) noexcept {
    roll(now);
    return static_cast<double>(std::max<std::int64_t>(0, sum_ + floor_)) / static_cast<double>(attempt);
}

// The slots that have expired are forgotten.
void retry_budget::advance(time_point now) noexcept {
    if (slot_end_ == time_point::max()) {
        return;
    }
    const duration late = saturating_sub(now, slot_end_);
    if (late >= slot * slots_.size()) {
        slots_.fill(0);
        sum_ = 0;
        slot_end_ = saturating_add(now, slot - late % slot);
        return;
    }
    for (; now >= slot_end_ && slot_end_ != time_point::max(); slot_end_ = saturating_add(slot_end_, slot)) {
        current_ = (current_ + 1) % slots_.size();
        sum_ -= slots_[current_];
        slots_[current_] = 0;
    }
}

// Calls ---------------------------------------------------------------------------------------------------------------

// Evenly between the shortest pause and three times the last one. What is longer than the longest pause is that.
duration retry_machine::draw_pause(duration last) noexcept {
    const std::int64_t least = options_.backoff_min.count();
    const int128 width = int128{std::max(last.count(), least)} * 3 - least;
    const auto share = static_cast<std::int64_t>(random_bits(random_) >> 32);  // in parts of 2^32
    const duration drawn = to_duration(least + ((width * share) >> 32));
    return std::min(options_.backoff_max, drawn);
}

retry_step retry_machine::judge(const retry_progress& call, const retry_verdict& verdict, duration pause,
                                time_point now, time_point until) noexcept {
    if (!verdict.again) {
        return retry_step::not_retried;
    }
    if (call.attempts >= options_.max_attempts) {
        return retry_step::out_of_attempts;
    }
    if (saturating_add(now, pause) >= until) {
        return retry_step::out_of_time;
    }
    return budget_.withdraw(now) ? retry_step::again : retry_step::out_of_budget;
}

retry_decision retry_machine::next(retry_progress& call, const retry_verdict& verdict, time_point now,
                                   time_point until) noexcept {
    count(call, now);
    const duration drawn = draw_pause(call.pause);
    const duration earliest = std::max(duration::zero(), verdict.after);
    const duration pause = to_duration(int128{earliest.count()} + drawn.count());
    retry_decision out{judge(call, verdict, pause, now, until), pause, false};
    out.budget_changed = budget_changes(out.step, now);
    if (out.step == retry_step::again) {
        call.pause = drawn;
        call.pausing = true;
        ++counts_.waiting;
    } else {
        stop(call, out.step);
    }
    return out;
}

// It is exhausted from the first suppressed attempt on, until it pays for one after a whole window without another: in
// a long outage single attempts are paid for all the time.
bool retry_machine::budget_changes(retry_step step, time_point now) noexcept {
    if (step == retry_step::out_of_budget) {
        suppressed_at_ = now;
        return !std::exchange(exhausted_, true);
    }
    const bool pays = step == retry_step::again && saturating_sub(now, suppressed_at_) >= retry_budget::window;
    return pays && std::exchange(exhausted_, false);
}

retry_decision retry_machine::pay(time_point now) noexcept {
    const retry_step step = budget_.withdraw(now) ? retry_step::again : retry_step::out_of_budget;
    return {step, {}, budget_changes(step, now)};
}

void retry_machine::resume(retry_progress& call, retry_step step) noexcept {
    call.pausing = false;
    --counts_.waiting;
    if (step == retry_step::again) {
        ++call.attempts;
        ++counts_.retries;
    } else {
        stop(call, step);
    }
}

void retry_machine::end_slowly(const retry_progress& call, bool succeeded) noexcept {
    counts_.waiting -= call.pausing ? 1 : 0;
    if (succeeded) {
        counts_.recovered += call.attempts > 1 ? 1 : 0;
    } else {
        counts_.canceled += call.stopped ? 0 : 1;
    }
}

void retry_machine::stop(retry_progress& call, retry_step why) noexcept {
    call.stopped = true;
    switch (why) {
        case retry_step::again: break;
        case retry_step::not_retried: ++counts_.not_retried; break;
        case retry_step::out_of_attempts: ++counts_.out_of_attempts; break;
        case retry_step::out_of_budget: ++counts_.out_of_budget; break;
        case retry_step::out_of_time: ++counts_.out_of_time; break;
    }
}

retry_snapshot retry_machine::snapshot(time_point now) noexcept {
    retry_snapshot out = counts_;
    out.budget = budget_.left(now);
    return out;
}

}  // namespace headgate::detail
