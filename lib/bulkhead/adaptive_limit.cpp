// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/adaptive_limit.hpp>

#include <chrono>
#include <cmath>

namespace headgate::detail {

namespace {

using namespace std::chrono_literals;

// Latencies are logarithms, in octaves: the mean of them is that of a typical call, which one slow call in a hundred
// does not move, and a factor is a difference.
constexpr double too_slow = 1.2;     // 2.3 times the base: a cut,
constexpr double cut_to = 0.75;      // to 1.7 times the base
constexpr double unhindered = 0.25;  // a fifth above the base
constexpr double noise = 0.2;        // of the mean of a window

// A dropped call weighs as much as eight octaves, so that one in eight is too many, however fast it was dropped.
constexpr double dropped_octaves = 8;

constexpr duration window_time = 100ms;
constexpr std::uint32_t window_calls = 64;
constexpr std::uint32_t cohort_calls = 64;
constexpr duration measuring_period = 8s;

double octaves_of(duration d) noexcept {
    return std::log2(static_cast<double>(std::max<duration::rep>(d.count(), 1)));
}

/// At most an hour.
duration duration_of(double octaves) noexcept {
    return duration{static_cast<duration::rep>(std::exp2(std::min(octaves, 41.7)))};
}

duration between(time_point earlier, time_point later) noexcept {
    return std::max(duration::zero(), saturating_sub(later, earlier));
}

}  // namespace

adaptive_limit::adaptive_limit(const adaptive& bounds) noexcept
    : bounds_(bounds), exact_(bounds.initial), limit_(bounds.initial), knee_(bounds.max) {}

void adaptive_limit::change(const adaptive& bounds) noexcept {
    bounds_ = bounds;
    set(exact_);
}

void adaptive_limit::set(double limit) noexcept {
    exact_ = std::clamp(limit, static_cast<double>(bounds_.min), static_cast<double>(bounds_.max));
    limit_ = static_cast<std::uint32_t>(exact_);
}

// What is seen --------------------------------------------------------------------------------------------------------

void adaptive_limit::began(time_point now, std::uint32_t running) noexcept {
    const duration gap = between(last_sample_, now);
    last_sample_ = now;
    if (gap < 100us) {
        sampling_ = std::min(63u, sampling_ * 2 + 1);
    } else if (gap > 1ms) {
        sampling_ = gap > 64ms ? 0 : sampling_ / 2;
    }
    seen_.most_running = std::max(seen_.most_running, running);
    if (stage_ == stage::measuring && cohort_.begun < cohort_calls && now >= since_) {
        ++cohort_.begun;
        cohort_.last_began = now;
    }
}

bool adaptive_limit::ended(time_point now, duration took, adaptive_outcome how) noexcept {
    const std::uint32_t before = limit_;
    took = std::max(took, duration::zero());
    if (saturating_sub(seen_.opened, now) > 1s) {
        start_over(now);
    }
    if (due(now)) {
        begin_measurement(now);
        return limit_ != before;
    }
    if (counts(saturating_add(now, -took))) {
        if (how == adaptive_outcome::success) {
            ++seen_.successes;
            seen_.octaves += octaves_of(took);
        } else if (how == adaptive_outcome::dropped) {
            ++seen_.dropped;
        }
    }
    if (complete(now)) {
        decide(now);
        begin_window(now);
    }
    return limit_ != before;
}

/// Whether a call tells of the limit that holds now.
bool adaptive_limit::counts(time_point began) noexcept {
    if (stage_ != stage::measuring) {
        return began >= since_;
    }
    const bool member = cohort_.begun != 0 && began >= since_ && began <= cohort_.last_began;
    cohort_.ended += member ? 1 : 0;
    return member;
}

bool adaptive_limit::complete(time_point now) const noexcept {
    if (stage_ == stage::measuring) {
        return (cohort_.begun == cohort_calls && cohort_.ended >= cohort_calls * 7 / 8) || now >= cohort_.deadline;
    }
    // A few calls are enough where callers wait for an answer.
    const duration open = between(seen_.opened, now);
    return (open >= window_time && seen_.count() >= window_calls) ||
           (open >= 10 * window_time && seen_.count() >= window_calls / 4 && refused_);
}

void adaptive_limit::begin_window(time_point now) noexcept {
    hindered_ = refused_;
    refused_ = false;
    seen_ = {};
    seen_.opened = now;
}

/// Time went back: else nothing would count until it is where it was.
void adaptive_limit::start_over(time_point now) noexcept {
    if (stage_ == stage::measuring) {
        stage_ = stage::following;
        set(cohort_.limit);
    }
    since_ = now;
    begin_window(now);
}

// What follows from it ------------------------------------------------------------------------------------------------

void adaptive_limit::decide(time_point now) noexcept {
    if (stage_ == stage::measuring) {
        end_measurement(now);
        return;
    }
    if (seen_.successes != 0) {
        recent_ = seen_.latency();
        base_ = known_ ? base_ : recent_;
        known_ = true;
    }
    if (recent_ < base_ - noise) {
        base_ += (recent_ - base_) * seen_.count() / (seen_.count() + 256.0);
    }
    const double excess = recent_ - base_ + dropped_octaves * seen_.dropped / seen_.count();
    if (excess > too_slow) {
        cut(recent_, excess, now);
        return;
    }
    stage_ = stage::following;
    if (refused_) {
        grow(recent_);
    }
}

// Additive increase and multiplicative decrease make clients that share a backend equal: Chiu, Jain, "Analysis of the
// increase and decrease algorithms for congestion avoidance in computer networks", 1989.
void adaptive_limit::cut(double latency, double excess, time_point now) noexcept {
    if (!refused_ && seen_.most_running < limit_) {
        set(seen_.most_running);  // it has not been our limit that let too many in; from now on it will
        return;
    }
    const bool by_latency = latency - base_ > too_slow;
    if (by_latency && stage_ != stage::following && !cutting_helps(latency)) {
        if (stage_ == stage::cutting) {
            set(cut_limit_);
        }
        stage_ = stage::holding;
        return;
    }
    if (stage_ == stage::following) {
        knee_ = exact_ / 2;
    }
    stage_ = stage::cutting;
    cut_limit_ = exact_;
    cut_latency_ = latency;
    set(exact_ * std::exp2(std::max(-1.0, cut_to - excess)));
    since_ = now;
}

// With a queue, latency falls with the limit: by Little's law they are proportional while the backend is busy. If it
// does not fall by half of that, it is the backend that is slower, or others fill its queue.
bool adaptive_limit::cutting_helps(double latency) const noexcept {
    if (stage_ == stage::holding) {
        return latency > cut_latency_ + 0.5;
    }
    return cut_latency_ - latency >= 0.5 * std::log2(cut_limit_ / exact_) || latency > cut_latency_ + 0.5;
}

void adaptive_limit::grow(double latency) noexcept {
    if (exact_ < knee_ && latency < base_ + unhindered) {
        set(exact_ * 1.25);
    } else {
        set(exact_ + std::max(std::min(1.5, exact_ / 8), exact_ / 64));
    }
}

// How long a call takes unhindered ------------------------------------------------------------------------------------

// As BBR's ProbeRTT (Cardwell and others, "BBR: congestion-based congestion control", 2016), but at full eight seconds
// of the clock, so that all clients empty the queue of a backend at once: one alone would measure the queue of the
// others.
bool adaptive_limit::due(time_point now) noexcept {
    const duration left = saturating_sub(next_measurement_, now);
    if (left > duration::zero() && left <= measuring_period) {
        return false;
    }
    const duration phase = (now.time_since_epoch() % measuring_period + measuring_period) % measuring_period;
    next_measurement_ = saturating_add(now, measuring_period - phase);
    return known_ && stage_ != stage::measuring && (refused_ || hindered_ || stage_ == stage::holding);
}

void adaptive_limit::begin_measurement(time_point now) noexcept {
    const duration usual = duration_of(std::max(recent_, base_));
    const double uncut = stage_ == stage::following ? exact_ : std::max(exact_, 2 * knee_);
    stage_ = stage::measuring;
    since_ = saturating_add(now, usual);  // what is in the queue now has left it then
    cohort_ = {.deadline = saturating_add(since_, std::max<duration>(1s, 4 * usual)), .limit = exact_, .uncut = uncut};
    set(exact_ / 3);
    begin_window(now);
}

void adaptive_limit::end_measurement(time_point now) noexcept {
    stage_ = stage::following;
    set(cohort_.limit);
    if (seen_.successes < cohort_calls / 4) {
        return;
    }
    // Not to wait for the slowest: they count as long as they have taken. To leave them out would be to count only the
    // fast ones. Those that have just begun may be as all.
    const double rest = cohort_.begun - std::min(cohort_.begun, cohort_.ended);
    const double of_rest = std::max(seen_.latency(), octaves_of(between(cohort_.last_began, now)));
    const double found = (seen_.octaves + rest * of_rest) / (seen_.successes + rest);
    if (found > base_ + 2 * unhindered) {
        set(cohort_.uncut);  // it was not for a queue that it was cut
    }
    base_ = std::abs(found - base_) > noise ? found : (base_ + found) / 2;
}

}  // namespace headgate::detail
