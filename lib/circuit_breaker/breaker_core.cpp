// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/breaker_core.hpp>

#include <new>
#include <random>
#include <utility>

#include "zone/metric.hpp"

namespace headgate::detail {

result<std::shared_ptr<breaker_core>> breaker_core::create(const std::shared_ptr<zone_core>& zone, std::string name,
                                                           const breaker_options& options) try {
    BOOST_OUTCOME_TRYV(accept(check(options)));
    const std::uint64_t seed = std::random_device{}();
    std::shared_ptr<breaker_core> core(new breaker_core(zone, std::move(name), options, seed), last_reference_gone);
    if (auto added = zone->add(core); !added) {
        return std::move(added).error();
    }
    return core;
} catch (const std::bad_alloc&) {
    return errc::out_of_memory;
}

breaker_core::breaker_core(const std::shared_ptr<zone_core>& zone, std::string name, const breaker_options& options,
                           std::uint64_t seed)
    : primitive(zone, primitive_kind::circuit_breaker, std::move(name)), machine_(options, zone->now(), seed) {
    follow_options();
}

void breaker_core::follow_options() noexcept {
    times_calls_.store(machine_.times_calls(), std::memory_order_relaxed);
    exact_ends_.store(machine_.exact_ends(), std::memory_order_relaxed);
}

void breaker_core::last_reference_gone(breaker_core* core) noexcept {
    {
        const std::lock_guard guard(core->lock_);
        if (core->machine_.running() != 0) {
            core->orphaned_ = true;
            return;
        }
    }
    delete core;
}

// What follows from a change.
void breaker_core::change::follow() noexcept {
    const std::shared_ptr<zone_core> zone = core_.zone_ptr();  // outlives the breaker
    std::shared_ptr<breaker_core> unused;
    if (!core_.orphaned_) {
        core_.tell(transitions);
        unused = core_.follow_deadline();
    }
    const bool last = core_.orphaned_ && core_.machine_.running() == 0;
    core_.lock_.unlock();
    if (last) {
        delete &core_;
    }
    if (ends_a_call) {
        zone->returned();
    }
}

// Under the lock, so that events come in the order of the changes.
void breaker_core::tell(const breaker_transitions& changes) const noexcept {
    for (const breaker_transition& t : changes) {
        try {
            event e;
            e.kind = event_kind::breaker_state;
            e.from = to_string(t.from);
            e.to = to_string(t.to);
            e.detail = to_string(t.reason);
            emit(std::move(e));
        } catch (...) {  // NOLINT(bugprone-empty-catch): an event that no memory is left for is lost
        }
    }
}

// Arms the timer for the machine's next deadline. Gives back the reference that it does not need any more.
std::shared_ptr<breaker_core> breaker_core::follow_deadline() noexcept {
    const bool wanted = !orphaned_ && !zone().closed();
    const time_point when = wanted ? machine_.next_deadline() : time_point::max();
    if (when == armed_for_) {
        return {};
    }
    if (armed_ && !zone().disarm(*this)) {
        return {};  // on_deadline is about to run, and comes back here
    }
    std::shared_ptr<breaker_core> self = self_ ? std::move(self_) : weak_from_this().lock();
    armed_ = when != time_point::max() && self;
    armed_for_ = when;
    if (!armed_) {
        return self;
    }
    self_ = std::move(self);
    zone().arm(*this, when);
    return {};
}

void breaker_core::on_deadline() noexcept {
    std::shared_ptr<breaker_core> self;  // outlives the scope
    change scope(*this);
    self = std::move(self_);
    armed_ = false;
    armed_for_ = time_point::max();
    machine_.expire(zone().now(), scope.transitions);
}

// The caller has a reference.
template <class Event>
auto breaker_core::changing(Event event) {
    const time_point now = zone().now();  // not under the lock
    change scope(*this);
    return event(now, scope.transitions);
}

bool breaker_core::trip(duration how_long) {
    return changing([&](time_point now, auto& changes) { return machine_.trip(how_long, now, changes); });
}

void breaker_core::reset() {
    changing([&](time_point now, auto& changes) { machine_.reset(now, changes); });
}

void breaker_core::set_mode(breaker_mode mode) {
    changing([&](time_point now, auto& changes) { machine_.set_mode(mode, now, changes); });
}

result<void> breaker_core::reconfigure(const breaker_options& options) try {
    BOOST_OUTCOME_TRYV(accept(check(options)));
    changing([&](time_point now, auto& changes) {
        machine_.reconfigure(options, now, changes);
        follow_options();
    });
    emit({.kind = event_kind::reconfigured});
    return success();
} catch (const std::bad_alloc&) {
    return errc::out_of_memory;
}

breaker_snapshot breaker_core::look() {
    return changing([&](time_point now, auto& changes) { return machine_.snapshot(now, changes); });
}

void breaker_core::close() noexcept {
    std::shared_ptr<breaker_core> unused;
    const std::lock_guard guard(lock_);
    unused = follow_deadline();
}

void breaker_core::abandon() noexcept {
    std::shared_ptr<breaker_core> unused;
    const std::lock_guard guard(lock_);
    zone().disarm(*this);
    armed_ = false;
    armed_for_ = time_point::max();
    unused = std::move(self_);
}

std::uint64_t breaker_core::in_use() const noexcept {
    const std::lock_guard guard(lock_);
    return machine_.running();
}

primitive_snapshot breaker_core::snapshot() const {
    // Looking may let a probe expire, which is nothing that a reader could tell from what the timer does.
    const breaker_snapshot s = const_cast<breaker_core*>(this)->look();
    primitive_snapshot out{kind(), name(), to_string(s.state), {}};
    out.metrics = {counter("admitted", s.admitted, "Calls that were let through."),
                   counter("refused", s.refused, "Calls that were refused."),
                   counter("would_refuse", s.would_refuse, "Calls that only the mode observe let through."),
                   counter("successes", s.successes, "Results that counted as success."),
                   counter("failures", s.failures, "Results that counted as failure, expired probes included."),
                   counter("neutral", s.neutral, "Calls that ended neutral."),
                   counter("slow", s.slow, "Calls that took slow_after or longer."),
                   counter("stale", s.stale, "Results that came too late to count."),
                   counter("opened", s.opened, "How often the breaker opened."),
                   gauge("running", in_use(), "Calls that were admitted and have not ended."),
                   gauge("window_calls", s.window_calls, "Calls in the window, from which the ratios are judged."),
                   gauge("failure_ratio", s.failure_ratio, "Share of failures among the calls in the window."),
                   gauge("slow_ratio", s.slow_ratio, "Share of slow calls among the calls in the window."),
                   gauge("consecutive_failures", std::uint64_t{s.consecutive_failures}, "Failures in a row up to now."),
                   gauge("probes_running", std::uint64_t{s.probes_running}, "Probes that have begun and not ended."),
                   gauge("next_probe_seconds", std::chrono::duration<double>(s.next_probe).count(),
                         "Time until a probe may run, in seconds.")};
    const std::lock_guard guard(lock_);
    out.latencies.push_back({"run", run_});
    return out;
}

}  // namespace headgate::detail
