// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EVENT_HPP
#define HEADGATE_EVENT_HPP

#include <chrono>
#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>

#include <headgate/time.hpp>

namespace headgate {

/// What kind of primitive a name belongs to.
enum class primitive_kind : std::uint8_t {
    rate_limiter,
    resource_pool,
    circuit_breaker,
    bulkhead,
    retry,
    hedge,
    coalescer,
    guard
};

/// The kind's name as it stands in configuration and metrics.
constexpr std::string_view to_string(primitive_kind kind) noexcept {
    switch (kind) {
        case primitive_kind::rate_limiter: return "rate_limiter";
        case primitive_kind::resource_pool: return "resource_pool";
        case primitive_kind::circuit_breaker: return "circuit_breaker";
        case primitive_kind::bulkhead: return "bulkhead";
        case primitive_kind::retry: return "retry";
        case primitive_kind::hedge: return "hedge";
        case primitive_kind::coalescer: return "coalescer";
        case primitive_kind::guard: return "guard";
    }
    return "unknown";
}

enum class event_kind : std::uint8_t {
    breaker_state,      ///< A breaker went from the state `from` to `to`.
    keys_overflowed,    ///< A limiter reached `max_keys`: new keys share one bucket.
    keys_recovered,     ///< A limiter has room for new keys again.
    connect_failed,     ///< A pool's connect failed; `detail` says why.
    pool_recovered,     ///< A connect succeeded after failures.
    resource_replaced,  ///< A pool closed a resource that was broken, doubtful, idle for too long or too old.
    lease_leaked,       ///< A lease is held past `leak_threshold`; `where` is the place of its checkout.
    budget_exhausted,   ///< A retry had no budget for a further attempt, for the first time since the last one it paid.
    budget_recovered,   ///< A retry has budget for further attempts again.
    reconfigured,       ///< A primitive took new parameters.
    overrun,            ///< An operation ignores that its deadline cancelled it a second ago; `detail` is its type.
};

/// Something worth telling, delivered in order on the zone's strand.
struct event {
    /// Counts up by one within a zone. A gap means that nothing was subscribed, that 10,000 events waited for the
    /// strand already, or that memory was out.
    std::uint64_t sequence = 0;
    time_point time{};             ///< On the zone's clock.
    event_kind kind{};             ///< What happened.
    primitive_kind primitive{};    ///< To what.
    std::string name{};            ///< Of the primitive.
    std::string_view from{};       ///< Static text, for state changes.
    std::string_view to{};         ///< Static text, for state changes.
    std::string detail{};          ///< May be empty.
    std::source_location where{};  ///< For leaks: the place of the checkout.
    /// The same moment on the system clock, as that stood then.
    std::chrono::system_clock::time_point system_time{};
};

}  // namespace headgate

#endif
