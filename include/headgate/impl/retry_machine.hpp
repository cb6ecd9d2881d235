// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_RETRY_MACHINE_HPP
#define HEADGATE_IMPL_RETRY_MACHINE_HPP

#include <array>
#include <cstddef>
#include <cstdint>

#include <headgate/export.hpp>
#include <headgate/retry_options.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

/// How many further attempts are allowed; `retry_options` has the formula. Time that goes back counts as now.
class HEADGATE_DECL retry_budget {
public:
    static constexpr duration slot = std::chrono::seconds{1};
    static constexpr duration window = 10 * slot;

    retry_budget(const retry_options& options, time_point now) noexcept : slot_end_(saturating_add(now, slot)) {
        change(options);
    }

    /// For calls and attempts from now on; what the window holds stays.
    void change(const retry_options& options) noexcept;

    void deposit(time_point now) noexcept {
        roll(now);
        slots_[current_] += deposit_;
        sum_ += deposit_;
    }

    /// False, and nothing has changed, when the window does not hold one attempt.
    [[nodiscard]] bool withdraw(time_point now) noexcept;

    /// Attempts that the window holds, with fractions; never negative.
    [[nodiscard]] double left(time_point now) noexcept;

private:
    static constexpr std::int64_t attempt = 1'000'000;  // amounts are millionths of an attempt

    void roll(time_point now) noexcept {
        if (now >= slot_end_) [[unlikely]] {
            advance(now);
        }
    }
    void advance(time_point now) noexcept;

    std::array<std::int64_t, window / slot> slots_{};  // deposits less withdrawals
    std::size_t current_ = 0;
    time_point slot_end_;
    std::int64_t sum_ = 0;
    std::int64_t deposit_ = 0;
    std::int64_t floor_ = 0;
};

/// How a call went on after an attempt.
enum class retry_step : std::uint8_t { again, not_retried, out_of_attempts, out_of_budget, out_of_time };

/// What a call remembers from one attempt to the next.
struct retry_progress {
    std::uint32_t attempts = 1;  ///< That have begun.
    duration pause{};            ///< The last one that was drawn; zero before the first.
    bool counted = false;        ///< The call has been counted, and has made its deposit.
    bool pausing = false;
    bool stopped = false;  ///< It is known and counted why there is no further attempt.
};

struct retry_decision {
    retry_step step{};
    duration pause{};             ///< Before the next attempt, of `again`.
    bool budget_changed = false;  ///< Between exhausted and not; to be told.
};

/// The policy of a `retry`, without I/O: its budget, pauses and counts.
class HEADGATE_DECL retry_machine {
public:
    retry_machine(const retry_options& options, time_point now, std::uint64_t seed) noexcept
        : options_(options), budget_(options, now), random_(seed) {}

    void reconfigure(const retry_options& options) noexcept {
        options_ = options;
        budget_.change(options);
    }
    [[nodiscard]] const retry_options& options() const noexcept { return options_; }

    /// An attempt of a call has failed, and may be followed by another; the call must have ended at `until`. After
    /// `again` the call pauses until `resume`.
    retry_decision next(retry_progress& call, const retry_verdict& verdict, time_point now, time_point until) noexcept;

    /// The pause of a call is over: the next attempt begins, or `step` says why there is none.
    void resume(retry_progress& call, retry_step step) noexcept;

    /// A call ends; `succeeded` when it gave a value that nobody wanted to be tried again.
    void end(retry_progress& call, bool succeeded, time_point now) noexcept {
        count(call, now);
        if (call.attempts > 1 || !succeeded) [[unlikely]] {
            end_slowly(call, succeeded);
        }
    }

    /// For calls of others that share the budget: what `next` and `end` do with it. `pay` gives `again` or
    /// `out_of_budget`.
    void deposit(time_point now) noexcept { budget_.deposit(now); }
    retry_decision pay(time_point now) noexcept;

    [[nodiscard]] retry_snapshot snapshot(time_point now) noexcept;

private:
    // Once for each call: when its first attempt has failed, or with its end. So most calls take the lock once.
    void count(retry_progress& call, time_point now) noexcept {
        if (!call.counted) {
            call.counted = true;
            budget_.deposit(now);
            ++counts_.calls;
        }
    }
    void end_slowly(const retry_progress& call, bool succeeded) noexcept;
    [[nodiscard]] duration draw_pause(duration last) noexcept;
    [[nodiscard]] retry_step judge(const retry_progress& call, const retry_verdict& verdict, duration pause,
                                   time_point now, time_point until) noexcept;
    [[nodiscard]] bool budget_changes(retry_step step, time_point now) noexcept;
    void stop(retry_progress& call, retry_step why) noexcept;

    retry_options options_;
    retry_budget budget_;
    std::uint64_t random_;
    bool exhausted_ = false;      // the budget, as was told last
    time_point suppressed_at_{};  // the last attempt for want of budget
    retry_snapshot counts_;
};

}  // namespace headgate::detail

#endif
