// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/retry_core.hpp>

#include <new>
#include <random>
#include <utility>

#include "zone/metric.hpp"

namespace headgate::detail {

result<std::shared_ptr<retry_core>> retry_core::create(const std::shared_ptr<zone_core>& zone, std::string name,
                                                       const retry_options& options) try {
    BOOST_OUTCOME_TRYV(accept(check(options)));
    const std::uint64_t seed = std::random_device{}();
    std::shared_ptr<retry_core> core(new retry_core(zone, std::move(name), options, seed));
    BOOST_OUTCOME_TRYV(zone->add(core));
    return core;
} catch (const std::bad_alloc&) {
    return errc::out_of_memory;
}

retry_core::retry_core(const std::shared_ptr<zone_core>& zone, std::string name, const retry_options& options,
                       std::uint64_t seed)
    : primitive(zone, primitive_kind::retry, std::move(name)), machine_(options, zone->now(), seed) {
    follow_options();
}

void retry_core::follow_options() noexcept {
    attempt_timeout_.store(machine_.options().attempt_timeout.value_or(duration::max()).count(),
                           std::memory_order_relaxed);
}

retry_decision retry_core::next(retry_progress& call, const retry_verdict& verdict, time_point until) noexcept {
    const time_point now = zone().now();
    const bool refusing = zone().refusing();
    const std::lock_guard guard(lock_);
    const retry_decision out = machine_.next(call, refusing ? retry_verdict(false) : verdict, now, until);
    tell(out);
    return out;
}

bool retry_core::pay() noexcept {
    const time_point now = zone().now();
    const std::lock_guard guard(lock_);
    const retry_decision out = machine_.pay(now);
    tell(out);
    return out.step == retry_step::again;
}

// Under the lock, so that events come in the order of the changes.
void retry_core::tell(const retry_decision& made) const noexcept {
    if (made.budget_changed) {
        emit({.kind = made.step == retry_step::again ? event_kind::budget_recovered : event_kind::budget_exhausted});
    }
}

bool retry_core::resume(retry_progress& call, time_point until) noexcept {
    const retry_step step = zone().refusing()       ? retry_step::not_retried
                            : zone().now() >= until ? retry_step::out_of_time
                                                    : retry_step::again;
    const std::lock_guard guard(lock_);
    machine_.resume(call, step);
    return step == retry_step::again;
}

result<void> retry_core::reconfigure(const retry_options& options) try {
    BOOST_OUTCOME_TRYV(accept(check(options)));
    {
        const std::lock_guard guard(lock_);
        machine_.reconfigure(options);
        follow_options();
    }
    emit({.kind = event_kind::reconfigured});
    return success();
} catch (const std::bad_alloc&) {
    return errc::out_of_memory;
}

retry_snapshot retry_core::look() const noexcept {
    const time_point now = zone().now();
    const std::lock_guard guard(lock_);
    return machine_.snapshot(now);
}

primitive_snapshot retry_core::snapshot() const {
    const retry_snapshot s = look();
    primitive_snapshot out{kind(), name(), {}, {}};
    out.metrics = {
        counter("calls", s.calls, "Calls that have ended, or whose first attempt has failed."),
        counter("retries", s.retries, "Attempts after the first one."),
        counter("recovered", s.recovered, "Calls that succeeded after more than one attempt."),
        counter("not_retried", s.not_retried, "Calls that ended with an error that is not tried again."),
        counter("out_of_attempts", s.out_of_attempts, "Calls that ended because all attempts were made."),
        counter("out_of_budget", s.out_of_budget, "Calls that ended because the budget was exhausted."),
        counter("out_of_time", s.out_of_time, "Calls that had no time for another attempt."),
        counter("canceled", s.canceled, "Calls that were cancelled or destroyed, or whose pause was cut short."),
        gauge("waiting", s.waiting, "Calls that pause before an attempt."),
        gauge("budget", s.budget, "Further attempts that the budget allows now.")};
    return out;
}

}  // namespace headgate::detail
