// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_RETRY_OPTIONS_HPP
#define HEADGATE_RETRY_OPTIONS_HPP

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include <headgate/config_problem.hpp>
#include <headgate/export.hpp>
#include <headgate/result.hpp>
#include <headgate/time.hpp>

namespace headgate {

/// How often a `retry` tries, after which pauses, and how many further attempts all of its calls may make together.
///
/// **Pauses** have decorrelated jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015): the next one is drawn
/// evenly between `backoff_min` and three times the last one (the first: three times `backoff_min`), and is at most
/// `backoff_max`.
///
/// **The budget** (Finagle's RetryBudget) covers a window of 10 s that rolls in ten slots. Each call deposits
/// `budget_ratio` and each further attempt takes 1; `10 * budget_floor` are there without deposits. A further attempt
/// is made only when the window holds 1.
struct retry_options {
    /// Attempts of a call, the first one included; 1 to 1,000. 1: no call is tried again.
    std::uint32_t max_attempts = 3;
    /// The time that each attempt has, empty for no limit but that of the call.
    std::optional<duration> attempt_timeout{};
    /// The shortest pause before a further attempt, above 0.
    duration backoff_min = std::chrono::milliseconds{100};
    /// The longest pause that grows by itself, at least `backoff_min`. A `retry_after` may ask for a longer one.
    duration backoff_max = std::chrono::seconds{5};
    /// Further attempts for each call, in the long run; 0 to 1.
    double budget_ratio = 0.2;
    /// Further attempts a second that are always allowed, so that a caller with few calls can try again; at most
    /// 1,000,000.
    std::uint32_t budget_floor = 10;

    friend bool operator==(const retry_options&, const retry_options&) = default;
};

/// What is wrong with `options`: each mistake by itself, none when all is right. `create` and `reconfigure` refuse what
/// has one.
[[nodiscard]] HEADGATE_DECL std::vector<config_problem> check(const retry_options& options);

/// Whether a call is tried again: no, yes, or yes after a time. A judge may return a `bool` or a duration in its place.
struct retry_verdict {
    bool again = false;           ///< Whether there shall be another attempt.
    duration after = duration{};  ///< No sooner than after this time; the usual pause comes on top.

    /// No or yes.
    constexpr retry_verdict(bool yes) noexcept : again(yes) {}
    /// Yes, no sooner than after `earliest`; a negative time is no. Too long a time for a `duration` is the longest.
    template <class Rep, class Period>
    constexpr retry_verdict(std::chrono::duration<Rep, Period> earliest) noexcept
        : again(earliest >= earliest.zero()), after(held(earliest)) {}

private:
    template <class Any>
    static constexpr duration held(Any d) noexcept {
        const double ns = std::chrono::duration<double, std::nano>(d).count();
        return ns >= 9.2e18 ? duration::max() : ns <= 0 ? duration{} : std::chrono::duration_cast<duration>(d);
    }
};

/// Whether a call that ended with `e` is tried again, unless the call has a judge of its own.
///
/// Yes for what surely did not run: `connect_failed`; `circuit_open` with a known `retry_after`; and `operation_failed`
/// or an error of another library whose `retry_after` is above 0: with it the operation says that nothing was done and
/// when to come back.
/// When the call is `idempotent`, yes for everything that `outcome_of` calls a failure, too: `timed_out`,
/// `operation_failed` and errors of other libraries. The attempt is no sooner than `retry_after`.
///
/// No for a negative `retry_after`, such as `do_not_retry`, as a server may say it (gRPC A6); for headgate's own
/// refusals for load (`rate_limited`, `queue_full`, `exhausted`, `wait_timed_out`), for cancellation by whatever name,
/// and for everything else that another attempt would not change.
[[nodiscard]] HEADGATE_DECL retry_verdict verdict_of(const error& e, bool idempotent) noexcept;

/// An error's `retry_after` with which an operation says: do not try this again.
inline constexpr duration do_not_retry = duration::min();

/// The default of `retry_call_options::judge`: no for a value, `verdict_of` for an error.
struct default_retry_judge {};

/// How one call of a `retry` differs from the others.
template <class Judge = default_retry_judge>
struct retry_call_options {
    /// The time for all attempts and pauses together, `duration::max()` for no limit. Zero and less is no time left:
    /// the operation does not run, and the call is `wait_timed_out`.
    duration timeout = duration::max();
    /// Says that the operation may run twice without harm, so that failures and time-outs are tried again.
    bool idempotent = false;
    /// Called with the `const result<T>&` of each attempt, in place of `verdict_of`; returns a `retry_verdict`, a
    /// `bool` or a duration. An exception of it is one of the operation. A cancelled call is never tried again.
    Judge judge{};
};

/// What a `retry` is doing and has done since it was made. Every call that has ended is in one of: those that succeeded
/// at once, `recovered`, `not_retried`, `out_of_attempts`, `out_of_budget`, `out_of_time`, `canceled`.
struct retry_snapshot {
    std::uint64_t calls = 0;            ///< Calls that have ended, or whose first attempt has failed.
    std::uint64_t retries = 0;          ///< Attempts after the first one.
    std::uint64_t recovered = 0;        ///< Calls that succeeded after more than one attempt.
    std::uint64_t not_retried = 0;      ///< Calls that ended with an error that is not tried again.
    std::uint64_t out_of_attempts = 0;  ///< Calls that ended because `max_attempts` were made.
    std::uint64_t out_of_budget = 0;    ///< Calls that ended because the budget was exhausted.
    std::uint64_t out_of_time = 0;      ///< Calls that ended because a pause would have been longer than their time.
    std::uint64_t canceled = 0;         ///< Calls that were cancelled or destroyed, or whose pause was cut short.

    std::uint64_t waiting = 0;  ///< Calls that pause before an attempt.
    double budget = 0;          ///< Further attempts that the budget allows now.
};

}  // namespace headgate

#endif
