// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_OPTIONS_MEMBERS_HPP
#define HEADGATE_LIB_OPTIONS_MEMBERS_HPP

#include <cstdint>
#include <limits>

#include <headgate/adaptive.hpp>
#include <headgate/breaker_options.hpp>
#include <headgate/bulkhead_options.hpp>
#include <headgate/coalescer_options.hpp>
#include <headgate/hedge_options.hpp>
#include <headgate/limiter_options.hpp>
#include <headgate/member_table.hpp>
#include <headgate/pool_options.hpp>
#include <headgate/quota.hpp>
#include <headgate/retry_options.hpp>

#include "options/limits.hpp"

// The members of all options, for code and for documents alike. docs/headgate.schema.json is made from these tables.
namespace headgate::detail {

inline constexpr std::uint64_t most_32 = std::numeric_limits<std::uint32_t>::max();
inline constexpr accepts::time_span breaker_time{.most = longest_duration};
inline constexpr accepts::time_span time_or_off{.least = duration::zero()};

/// In the order of `pool_strategy`.
inline constexpr std::string_view strategy_words[] = {"lifo", "fifo"};

inline constexpr member_table pool_members{
    make_member<&pool_options::size>("size", accepts::whole_number{0, max_pool_resources}, "Resources kept open."),
    make_member<&pool_options::max_overflow>("max_overflow", accepts::whole_number{0, max_pool_resources},
                                             "More under load."),
    make_member<&pool_options::overflow_ttl>("overflow_ttl", time_or_off,
                                             "How long a resource above size stays idle; zero dismisses it on return."),
    make_member<&pool_options::strategy>("strategy", accepts::choice{strategy_words},
                                         "Which idle resource goes first."),
    make_member<&pool_options::max_waiters>("max_waiters", accepts::whole_number{0, most_32},
                                            "Callers that may wait at once."),
    make_member<&pool_options::max_wait>("max_wait", accepts::time_span{}, "How long a checkout waits."),
    make_member<&pool_options::connect_timeout>("connect_timeout", accepts::time_span{},
                                                "How long one connect may take."),
    make_member<&pool_options::max_connecting>("max_connecting", accepts::whole_number{1, most_32},
                                               "Connects in flight at once."),
    make_member<&pool_options::backoff_min>("backoff_min", accepts::time_span{},
                                            "Pause after the first failed connect."),
    make_member<&pool_options::backoff_max>("backoff_max", accepts::time_span{},
                                            "Where doubling stops; at least backoff_min."),
    make_member<&pool_options::backoff_jitter>("backoff_jitter", accepts::share{},
                                               "The part of each pause that is random."),
    make_member<&pool_options::max_lifetime>("max_lifetime", time_or_off, "A resource older than this is replaced."),
    make_member<&pool_options::lifetime_jitter>("lifetime_jitter", accepts::share{},
                                                "The part of each lifetime that is random."),
    make_member<&pool_options::idle_timeout>("idle_timeout", time_or_off, "A resource idle for this long is closed."),
    make_member<&pool_options::ping_interval>("ping_interval", time_or_off, "A resource idle for this long is pinged."),
    make_member<&pool_options::ping_timeout>("ping_timeout", accepts::time_span{}, "How long a ping may take."),
    make_member<&pool_options::leak_threshold>("leak_threshold", time_or_off,
                                               "A lease held for longer raises an event."),
};

/// In the order of `breaker_mode`.
inline constexpr std::string_view mode_words[] = {"automatic", "forced_open", "forced_closed", "observe"};

inline constexpr member_table breaker_members{
    make_member<&breaker_options::consecutive_failures>("consecutive_failures", accepts::whole_number{1, most_32},
                                                        "Failures in a row that open it."),
    make_member<&breaker_options::failure_ratio>("failure_ratio", accepts::share{.may_be_zero = false},
                                                 "Share of failures in the window that opens it."),
    make_member<&breaker_options::slow_ratio>("slow_ratio", accepts::share{.may_be_zero = false},
                                              "Share of slow calls in the window that opens it; needs slow_after."),
    make_member<&breaker_options::slow_after>("slow_after", breaker_time, "A call that takes this long is slow."),
    make_member<&breaker_options::min_calls>("min_calls", accepts::whole_number{1, most_32},
                                             "The ratios decide nothing before the window holds so many calls."),
    make_member<&breaker_options::window>("window",
                                          accepts::time_span{.least = shortest_window, .most = longest_duration},
                                          "The time that the ratios look back."),
    make_member<&breaker_options::reset_timeout>("reset_timeout", breaker_time,
                                                 "For how long it refuses before a probe."),
    make_member<&breaker_options::max_reset_timeout>(
        "max_reset_timeout", breaker_time, "Up to where that doubles while probes fail; at least reset_timeout."),
    make_member<&breaker_options::probes>("probes", accepts::whole_number{1, most_probes},
                                          "Probes at once, and how many must succeed."),
    make_member<&breaker_options::probe_deadline>("probe_deadline", breaker_time,
                                                  "A probe that has not ended by then has failed."),
    make_member<&breaker_options::mode>("mode", accepts::choice{mode_words}, "Who decides."),
};

inline constexpr accepts::whole_number places{1, max_pool_resources};

inline constexpr member_table adaptive_members{
    make_member<&adaptive::min>("min", places, "The limit never falls below this."),
    make_member<&adaptive::max>("max", places, "The limit never grows above this; at least min."),
    make_member<&adaptive::initial>("initial", places, "What the limit begins with; from min to max."),
};

/// All but `limit`.
inline constexpr member_table bulkhead_members{
    make_member<&bulkhead_options::max_concurrent>("max_concurrent", accepts::whole_number{1, max_pool_resources},
                                                   "Calls that may run at once."),
    make_member<&bulkhead_options::max_waiters>("max_waiters", accepts::whole_number{0, most_32},
                                                "Callers that may wait at once."),
    make_member<&bulkhead_options::max_wait>(
        "max_wait", accepts::time_span{.least = duration::zero(), .zero = "no waiting"}, "How long a caller waits."),
};

inline constexpr member_table retry_members{
    make_member<&retry_options::max_attempts>("max_attempts", accepts::whole_number{1, most_attempts},
                                              "Attempts of a call, the first one included."),
    make_member<&retry_options::attempt_timeout>("attempt_timeout", accepts::time_span{},
                                                 "The time that each attempt has."),
    make_member<&retry_options::backoff_min>("backoff_min", accepts::time_span{},
                                             "The shortest pause before a further attempt."),
    make_member<&retry_options::backoff_max>("backoff_max", accepts::time_span{},
                                             "The longest pause; at least backoff_min."),
    make_member<&retry_options::budget_ratio>("budget_ratio", accepts::share{},
                                              "Further attempts for each call, in the long run."),
    make_member<&retry_options::budget_floor>("budget_floor", accepts::whole_number{0, most_retries_a_second},
                                              "Further attempts a second that are always allowed."),
};

inline bool is_named(std::string_view text) {
    return !text.empty();
}

inline constexpr member_table hedge_members{
    make_member<&hedge_options::retry>("retry", accepts::text{"the name of a retry in the same zone", is_named},
                                       "The retry whose budget pays for further attempts."),
    make_member<&hedge_options::max_hedges>("max_hedges", accepts::whole_number{1, most_hedges},
                                            "Attempts of a call beside the first one."),
    make_member<&hedge_options::delay>("delay", accepts::time_span{},
                                       "How long after the last attempt the next one begins; null: the p95."),
    make_member<&hedge_options::min_samples>("min_samples", accepts::whole_number{1, most_samples},
                                             "Successes before the p95 is used."),
    make_member<&hedge_options::deposits>("deposits", accepts::flag{},
                                          "False where a retry with the same budget is around it or inside."),
};

inline constexpr member_table coalescer_members{
    make_member<&coalescer_options::keep_for>("keep_for", time_or_off, "How long a value is kept for later callers."),
    make_member<&coalescer_options::keep_errors_for>("keep_errors_for", time_or_off,
                                                     "How long a failure is kept for later callers."),
    make_member<&coalescer_options::max_kept>("max_kept", accepts::whole_number{1, most_kept},
                                              "Results that are kept at once."),
};

/// All but `tiers`.
inline constexpr member_table limiter_members{
    make_member<&rate_limiter_options::max_keys>("max_keys", accepts::whole_number{1, most_keys},
                                                 "Keys remembered at once."),
    make_member<&rate_limiter_options::max_waiters>("max_waiters", accepts::whole_number{1, most_32},
                                                    "Calls that may wait for one key at once."),
    make_member<&rate_limiter_options::track_keys>("track_keys", accepts::flag{},
                                                   "Keeps created, last update and refusals for each key."),
    make_member<&rate_limiter_options::busiest>("busiest", accepts::whole_number{0, most_busiest},
                                                "How many of the busiest keys are told; 0 is off."),
};

enum class quota_kind : std::uint8_t { gcra, fixed_window, at_most };

inline constexpr std::string_view quota_words[] = {"gcra", "fixed_window", "at_most"};

/// A quota that a document writes as an object.
struct quota_fields {
    std::uint64_t permits = 0;
    duration period{};
    std::uint64_t burst = 0;  ///< Zero: not given.
    quota_kind kind = quota_kind::gcra;
};

inline constexpr member_table quota_members{
    make_member<&quota_fields::permits>("permits", accepts::whole_number{1, quota::max_permits},
                                        "Permits for each period."),
    make_member<&quota_fields::period>("period", accepts::time_span{}, "The length that permits are counted for."),
    make_member<&quota_fields::burst>("burst", accepts::whole_number{1, quota::max_permits},
                                      "The most that can pass at once; permits when not given."),
    make_member<&quota_fields::kind>(
        "algorithm", accepts::choice{quota_words},
        "gcra: evenly spread. at_most: never more than permits in any window of that length. fixed_window: windows "
        "aligned to the Unix epoch."),
};

}  // namespace headgate::detail

#endif
