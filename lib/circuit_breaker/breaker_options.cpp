// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/breaker_options.hpp>

#include <boost/outcome/try.hpp>

#include <cstdio>
#include <string>

namespace headgate {
namespace {

constexpr duration longest = std::chrono::hours(24) * 36'500;
constexpr duration shortest_window = std::chrono::milliseconds(1);
constexpr std::uint32_t most_probes = 1'000;

std::string text(double value) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%g", value);
    return buffer;
}

// The value in the largest unit that shows it exactly.
std::string text(duration d) {
    const auto ns = d.count();
    if (ns % 1'000'000'000 == 0) {
        return std::to_string(ns / 1'000'000'000) + " s";
    }
    if (ns % 1'000'000 == 0) {
        return std::to_string(ns / 1'000'000) + " ms";
    }
    return std::to_string(ns) + " ns";
}

error wrong(const std::string& name, const std::string& value, const std::string& right) {
    return {errc::invalid_argument, name + " is " + value + "; it must be " + right};
}

result<void> check_ratio(const char* name, const std::optional<double>& ratio) {
    // Written so that a NaN fails, too.
    if (ratio && !(*ratio > 0.0 && *ratio <= 1.0)) {
        return wrong(name, text(*ratio), "above 0 and at most 1, or empty for off");
    }
    return success();
}

result<void> check_duration(const char* name, duration d, duration least) {
    if (d < least) {
        return wrong(name, text(d), least.count() == 1 ? "above 0" : "at least " + text(least));
    }
    if (d > longest) {
        return wrong(name, text(d), "at most 36500 days");
    }
    return success();
}

result<void> check_durations(const breaker_options& options) {
    constexpr duration positive{1};
    BOOST_OUTCOME_TRYV(check_duration("slow_after", options.slow_after.value_or(positive), positive));
    BOOST_OUTCOME_TRYV(check_duration("window", options.window, shortest_window));
    BOOST_OUTCOME_TRYV(check_duration("reset_timeout", options.reset_timeout, positive));
    BOOST_OUTCOME_TRYV(check_duration("max_reset_timeout", options.max_reset_timeout, positive));
    BOOST_OUTCOME_TRYV(check_duration("probe_deadline", options.probe_deadline, positive));
    if (options.max_reset_timeout < options.reset_timeout) {
        return wrong("max_reset_timeout", text(options.max_reset_timeout),
                     "at least reset_timeout, which is " + text(options.reset_timeout));
    }
    return success();
}

}  // namespace

result<void> validate(const breaker_options& options) {
    if (options.consecutive_failures == 0u) {
        return wrong("consecutive_failures", "0", "at least 1, or empty for off");
    }
    BOOST_OUTCOME_TRYV(check_ratio("failure_ratio", options.failure_ratio));
    BOOST_OUTCOME_TRYV(check_ratio("slow_ratio", options.slow_ratio));
    if (options.slow_ratio && !options.slow_after) {
        return wrong("slow_after", "empty", "set, because slow_ratio is");
    }
    if (options.min_calls == 0) {
        return wrong("min_calls", "0", "at least 1");
    }
    BOOST_OUTCOME_TRYV(check_durations(options));
    if (options.probes == 0 || options.probes > most_probes) {
        return wrong("probes", std::to_string(options.probes), "1 to " + std::to_string(most_probes));
    }
    if (options.mode > breaker_mode::observe) {
        return wrong("mode", std::to_string(static_cast<unsigned>(options.mode)), "one of breaker_mode");
    }
    if (!options.consecutive_failures && !options.failure_ratio && !options.slow_ratio) {
        return error{errc::invalid_argument,
                     "nothing could open the breaker; set consecutive_failures, failure_ratio or slow_ratio"};
    }
    return success();
}

std::string_view to_string(breaker_state s) noexcept {
    switch (s) {
        case breaker_state::closed: return "closed";
        case breaker_state::open: return "open";
        case breaker_state::half_open: return "half_open";
    }
    return "unknown";
}

std::string_view to_string(breaker_mode m) noexcept {
    switch (m) {
        case breaker_mode::automatic: return "automatic";
        case breaker_mode::forced_open: return "forced_open";
        case breaker_mode::forced_closed: return "forced_closed";
        case breaker_mode::observe: return "observe";
    }
    return "unknown";
}

std::string_view to_string(breaker_reason r) noexcept {
    switch (r) {
        case breaker_reason::consecutive_failures: return "consecutive_failures";
        case breaker_reason::failure_ratio: return "failure_ratio";
        case breaker_reason::slow_ratio: return "slow_ratio";
        case breaker_reason::failed_for: return "failed_for";
        case breaker_reason::tripped: return "tripped";
        case breaker_reason::reset_timeout: return "reset_timeout";
        case breaker_reason::probe_failed: return "probe_failed";
        case breaker_reason::probe_expired: return "probe_expired";
        case breaker_reason::probes_succeeded: return "probes_succeeded";
        case breaker_reason::reset: return "reset";
        case breaker_reason::mode: return "mode";
    }
    return "unknown";
}

}  // namespace headgate
