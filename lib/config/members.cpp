// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "config/members.hpp"

#include <limits>
#include <optional>
#include <utility>

#include <headgate/config.hpp>

#include "config/text.hpp"
#include "options/limits.hpp"

namespace headgate::detail {

namespace {

constexpr duration longest = longest_duration;

std::optional<std::uint64_t> whole_number(const json& from) {
    if (from.is_number_unsigned()) {
        return from.get<std::uint64_t>();
    }
    return {};
}

// A text with units, or whole milliseconds.
std::optional<duration> read_duration(const json& from) {
    if (from.is_string()) {
        return parse_duration(from.get_ref<const std::string&>());
    }
    const auto ms = whole_number(from);
    if (!ms || *ms > static_cast<std::uint64_t>(longest / std::chrono::milliseconds{1})) {
        return {};
    }
    return std::chrono::milliseconds{static_cast<std::int64_t>(*ms)};
}

template <class T>
struct optional_of {
    using type = T;
};
template <class T>
struct optional_of<std::optional<T>> {
    using type = T;
};
template <class T>
inline constexpr bool is_optional = !std::is_same_v<T, typename optional_of<T>::type>;

// A member that `get` reads, `null` where it is optional, and `put` writes.
template <class Options, class T, class Get, class Put>
member<Options> make(std::string_view name, T Options::* at, std::string valid, Get get, Put put) {
    using value = typename optional_of<T>::type;
    if constexpr (is_optional<T>) {
        valid += ", or null for off";
    }
    return {name, std::move(valid),
            [at, get](const json& from, Options& to) {
                if constexpr (is_optional<T>) {
                    if (from.is_null()) {
                        to.*at = std::nullopt;
                        return true;
                    }
                }
                const std::optional<value> read = get(from);
                if (!read) {
                    return false;
                }
                if constexpr (is_optional<T>) {
                    to.*at = read;
                } else {
                    to.*at = *read;
                }
                return true;
            },
            [at, put](const Options& from) -> json {
                if constexpr (is_optional<T>) {
                    return from.*at ? json(put(*(from.*at))) : json(nullptr);
                } else {
                    return put(from.*at);
                }
            }};
}

template <class Options, class T>
member<Options> time_span(std::string_view name, T Options::* at, duration shortest) {
    const std::string valid = shortest == duration::zero()
                                  ? "a duration such as \"30s\", or a whole number of milliseconds; zero is off"
                                  : "a duration such as \"30s\", or a whole number of milliseconds, from " +
                                        format_duration(shortest) + " up";
    return make(
        name, at, valid + "; at most 36500d",
        [shortest](const json& from) -> std::optional<duration> {
            const auto d = read_duration(from);
            return d && *d >= shortest && *d <= longest ? d : std::nullopt;
        },
        [](duration d) { return format_duration(d); });
}

template <class Options, class T>
member<Options> count(std::string_view name, T Options::* at, std::uint64_t least, std::uint64_t most) {
    using value = typename optional_of<T>::type;
    return make(
        name, at, "a whole number from " + std::to_string(least) + " to " + std::to_string(most),
        [least, most](const json& from) -> std::optional<value> {
            const auto n = whole_number(from);
            return n && *n >= least && *n <= most ? std::optional(static_cast<value>(*n)) : std::nullopt;
        },
        [](value n) { return n; });
}

template <class Options, class T>
member<Options> share(std::string_view name, T Options::* at, bool may_be_zero) {
    return make(
        name, at, may_be_zero ? "a number from 0 to 1" : "a number above 0, at most 1",
        [may_be_zero](const json& from) -> std::optional<double> {
            if (!from.is_number()) {
                return {};
            }
            const auto x = from.get<double>();
            return x <= 1 && (x > 0 || (may_be_zero && x == 0)) ? std::optional(x) : std::nullopt;
        },
        [](double x) { return x; });
}

template <class Options>
member<Options> flag(std::string_view name, bool Options::* at) {
    return make(
        name, at, "true or false",
        [](const json& from) { return from.is_boolean() ? std::optional(from.get<bool>()) : std::nullopt; },
        [](bool b) { return b; });
}

template <class Options, class T>
member<Options> choice(std::string_view name, T Options::* at, std::vector<std::pair<std::string, T>> choices) {
    std::string valid = "one of";
    for (const auto& [text, value] : choices) {
        valid += (valid == "one of" ? " \"" : ", \"") + text + '"';
    }
    return make(
        name, at, valid,
        [choices](const json& from) -> std::optional<T> {
            for (const auto& [text, value] : choices) {
                if (from.is_string() && from.get_ref<const std::string&>() == text) {
                    return value;
                }
            }
            return {};
        },
        [choices](T wanted) {
            for (const auto& [text, value] : choices) {
                if (value == wanted) {
                    return text;
                }
            }
            return std::string{};
        });
}

constexpr std::uint64_t most_32 = std::numeric_limits<std::uint32_t>::max();

}  // namespace

std::span<const member<quota_fields>> quota_members() {
    using f = quota_fields;
    static const std::vector<member<f>> all = {
        count("permits", &f::permits, 1, quota::max_permits),
        time_span("period", &f::period, duration{1}),
        count("burst", &f::burst, 1, quota::max_permits),
        choice<f, quota_kind>(
            "algorithm", &f::kind,
            {{"gcra", quota_kind::gcra}, {"fixed_window", quota_kind::fixed_window}, {"at_most", quota_kind::at_most}}),
    };
    return all;
}

std::span<const member<pool_options>> pool_members() {
    using o = pool_options;
    static const std::vector<member<o>> all = {
        count("size", &o::size, 0, max_pool_resources),
        count("max_overflow", &o::max_overflow, 0, max_pool_resources),
        time_span("overflow_ttl", &o::overflow_ttl, duration{0}),
        choice<o, pool_strategy>("strategy", &o::strategy,
                                 {{"lifo", pool_strategy::lifo}, {"fifo", pool_strategy::fifo}}),
        count("max_waiters", &o::max_waiters, 0, most_32),
        time_span("max_wait", &o::max_wait, duration{1}),
        time_span("connect_timeout", &o::connect_timeout, duration{1}),
        count("max_connecting", &o::max_connecting, 1, most_32),
        time_span("backoff_min", &o::backoff_min, duration{1}),
        time_span("backoff_max", &o::backoff_max, duration{1}),
        share("backoff_jitter", &o::backoff_jitter, true),
        time_span("max_lifetime", &o::max_lifetime, duration{0}),
        share("lifetime_jitter", &o::lifetime_jitter, true),
        time_span("idle_timeout", &o::idle_timeout, duration{0}),
        time_span("ping_interval", &o::ping_interval, duration{0}),
        time_span("ping_timeout", &o::ping_timeout, duration{1}),
        time_span("leak_threshold", &o::leak_threshold, duration{0}),
    };
    return all;
}

std::span<const member<breaker_options>> breaker_members() {
    using o = breaker_options;
    static const std::vector<member<o>> all = {
        count("consecutive_failures", &o::consecutive_failures, 1, most_32),
        share("failure_ratio", &o::failure_ratio, false),
        share("slow_ratio", &o::slow_ratio, false),
        time_span("slow_after", &o::slow_after, duration{1}),
        count("min_calls", &o::min_calls, 1, most_32),
        time_span("window", &o::window, shortest_window),
        time_span("reset_timeout", &o::reset_timeout, duration{1}),
        time_span("max_reset_timeout", &o::max_reset_timeout, duration{1}),
        count("probes", &o::probes, 1, most_probes),
        time_span("probe_deadline", &o::probe_deadline, duration{1}),
        choice<o, breaker_mode>("mode", &o::mode,
                                {{"automatic", breaker_mode::automatic},
                                 {"forced_open", breaker_mode::forced_open},
                                 {"forced_closed", breaker_mode::forced_closed},
                                 {"observe", breaker_mode::observe}}),
    };
    return all;
}

std::span<const member<bulkhead_options>> bulkhead_members() {
    using o = bulkhead_options;
    static const std::vector<member<o>> all = {
        count("max_concurrent", &o::max_concurrent, 1, max_pool_resources),
        count("max_waiters", &o::max_waiters, 0, most_32),
        time_span("max_wait", &o::max_wait, duration{0}),
    };
    return all;
}

std::span<const member<rate_limiter_options>> limiter_members() {
    using o = rate_limiter_options;
    static const std::vector<member<o>> all = {
        count("max_keys", &o::max_keys, 1, most_keys),
        count("max_waiters", &o::max_waiters, 1, most_32),
        flag("track_keys", &o::track_keys),
        count("busiest", &o::busiest, 0, most_busiest),
    };
    return all;
}

}  // namespace headgate::detail
