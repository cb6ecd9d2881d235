// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_BREAKER_OPTIONS_HPP
#define HEADGATE_BREAKER_OPTIONS_HPP

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <headgate/config_problem.hpp>
#include <headgate/export.hpp>
#include <headgate/result.hpp>
#include <headgate/time.hpp>

namespace headgate {

/// Where a circuit breaker stands.
enum class breaker_state : std::uint8_t {
    closed,     ///< Calls run.
    open,       ///< Calls are refused until the reset time has passed; the next call after that is a probe.
    half_open,  ///< A few calls run as probes, all others are refused.
};

/// Who decides whether calls run.
enum class breaker_mode : std::uint8_t {
    automatic,      ///< The breaker, from the results that it sees.
    forced_open,    ///< Every call is refused, until the mode changes.
    forced_closed,  ///< Every call runs; results are counted and change nothing.
    observe,        ///< Every call runs; the state changes and is reported as if the breaker were automatic.
};

/// How a call ended, as a breaker sees it.
enum class call_outcome : std::uint8_t {
    success,  ///< Counts towards closing, and ends a row of failures.
    failure,  ///< Counts towards opening.
    neutral,  ///< Says nothing about the callee, as a call that its caller cancelled; counts for nothing.
};

/// What became of a result that was reported to a breaker.
enum class call_record : std::uint8_t {
    recorded,  ///< It was counted.
    stale,     ///< The breaker has changed its state since the call began: the result counted for nothing.
};

/// Why a circuit breaker changed its state.
enum class breaker_reason : std::uint8_t {
    consecutive_failures,  ///< As many failures in a row as `breaker_options::consecutive_failures`.
    failure_ratio,         ///< The ratio of failures in the window reached its bound.
    slow_ratio,            ///< The ratio of slow calls in the window reached its bound.
    failed_for,            ///< A failure said for how long to open.
    tripped,               ///< `trip` was called.
    reset_timeout,         ///< The reset time has passed, and a call came: it is the first probe.
    probe_failed,          ///< A probe failed, or was slow where slow calls count.
    probe_expired,         ///< A probe did not end before its deadline.
    probes_succeeded,      ///< Enough probes succeeded.
    reset,                 ///< `reset` was called.
    mode,                  ///< The mode was changed.
};

/// The name of a state: "closed", "open" or "half_open".
[[nodiscard]] HEADGATE_DECL std::string_view to_string(breaker_state s) noexcept;
/// The name of a mode: "automatic", "forced_open", "forced_closed" or "observe".
[[nodiscard]] HEADGATE_DECL std::string_view to_string(breaker_mode m) noexcept;
/// The name of a reason, as it is spelled in `breaker_reason`.
[[nodiscard]] HEADGATE_DECL std::string_view to_string(breaker_reason r) noexcept;

/// When a circuit breaker opens, for how long, and how it finds out that it can close.
///
/// It opens on any of three conditions; at least one of them must be on. All durations are positive and at most
/// 36,500 days; `check` says what is wrong with the rest.
struct breaker_options {
    /// Failures in a row that open the breaker, at least 1; empty for off. A success in between starts again, a
    /// neutral end does not.
    std::optional<std::uint32_t> consecutive_failures = 5;
    /// Share of failures in the window that opens the breaker, above 0 and at most 1; empty for off.
    std::optional<double> failure_ratio{};
    /// Share of slow calls in the window that opens the breaker, above 0 and at most 1; empty for off. While it is on,
    /// a slow probe is a failed probe.
    std::optional<double> slow_ratio{};
    /// A call that takes this long or longer is slow, whether it succeeds or fails. Needed by `slow_ratio`; without a
    /// ratio slow calls are counted only. Timing calls costs one more clock reading a call.
    std::optional<duration> slow_after{};
    /// The two ratios decide nothing before the window holds so many calls; at least 1.
    std::uint32_t min_calls = 20;
    /// The time that the ratios look back, at least 1 ms. It rolls in ten slices, which expire one by one.
    duration window = std::chrono::seconds(10);
    /// For how long the breaker refuses before it lets a probe run.
    duration reset_timeout = std::chrono::seconds(30);
    /// While probes fail, the time doubles up to here, with a jitter of 10 % either way. At least `reset_timeout`.
    duration max_reset_timeout = std::chrono::minutes(5);
    /// How many probes may run at once, and how many must succeed to close; 1 to 1,000.
    std::uint32_t probes = 1;
    /// A probe that has not ended after this time has failed.
    duration probe_deadline = std::chrono::seconds(30);
    /// Who decides, to begin with.
    breaker_mode mode = breaker_mode::automatic;

    friend bool operator==(const breaker_options&, const breaker_options&) = default;
};

/// What is wrong with `options`: each mistake by itself, none when all is right. `create` and `reconfigure` refuse what
/// has one.
[[nodiscard]] HEADGATE_DECL std::vector<config_problem> check(const breaker_options& options);

/// One change of state.
struct breaker_transition {
    breaker_state from{};     ///< The state before.
    breaker_state to{};       ///< The state after.
    breaker_reason reason{};  ///< What changed it.
    /// When it happened. A probe expires at its deadline, also when that is noticed later.
    time_point at{};
    /// When the breaker became open: the time from which a probe may run, or `time_point::max()` for never by itself.
    time_point until{};
};

/// What a circuit breaker is doing and has done since it was made. Everything is counted exactly.
struct breaker_snapshot {
    breaker_state state{};         ///< Where it stands.
    breaker_mode mode{};           ///< Who decides.
    std::uint64_t admitted{};      ///< Calls that were let through.
    std::uint64_t refused{};       ///< Calls that were refused.
    std::uint64_t would_refuse{};  ///< Calls that only the mode `observe` let through; they are in `admitted` too.
    std::uint64_t successes{};     ///< Results that counted as success.
    std::uint64_t failures{};      ///< Results that counted as failure, expired probes included.
    std::uint64_t neutral{};       ///< Calls that ended neutral.
    std::uint64_t slow{};          ///< Calls, among successes and failures, that took `slow_after` or longer.
    std::uint64_t stale{};         ///< Results that came too late to count.
    std::uint64_t opened{};        ///< How often the breaker became open.
    std::uint64_t window_calls{};  ///< Calls that the ratios are judged from.
    double failure_ratio{};        ///< Share of failures among `window_calls`; 0 without calls.
    double slow_ratio{};           ///< Share of slow calls among `window_calls`; 0 without calls.
    std::uint32_t consecutive_failures{};  ///< Failures in a row up to now.
    std::uint32_t probes_running{};        ///< Probes that have begun and not ended.
    /// How long until a probe may run; zero when a call would run now, `duration::max()` when none will by itself.
    duration next_probe{};
};

}  // namespace headgate

#endif
