// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/breaker_core.hpp>

#include <random>
#include <utility>

namespace headgate::detail {

result<std::shared_ptr<breaker_core>> breaker_core::create(const std::shared_ptr<zone_core>& zone, std::string name,
                                                           const breaker_options& options) {
    if (auto valid = validate(options); !valid) {
        return std::move(valid).error();
    }
    const std::uint64_t seed = std::random_device{}();
    std::shared_ptr<breaker_core> core(new breaker_core(zone, std::move(name), options, seed), last_reference_gone);
    if (auto added = zone->add(core); !added) {
        return std::move(added).error();
    }
    return core;
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

// Tells what changed and sees to the timer. Gives back a reference to let go without the lock.
std::shared_ptr<breaker_core> breaker_core::settle(const breaker_transitions& changes) noexcept {
    for (const breaker_transition& t : changes) {
        event e;
        e.kind = event_kind::breaker_state;
        e.from = to_string(t.from);
        e.to = to_string(t.to);
        e.detail = to_string(t.reason);
        emit(std::move(e));
    }
    return follow_deadline();
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
    breaker_transitions changes;
    std::shared_ptr<breaker_core> self;  // outlives the guard
    const std::lock_guard guard(lock_);
    self = std::move(self_);
    armed_ = false;
    armed_for_ = time_point::max();
    machine_.expire(zone().now(), changes);
    static_cast<void>(settle(changes));
}

// The rare end of a call: it changed something, the zone waits for it, or nobody has a reference any more.
void breaker_core::end_with_care(const breaker_transitions& changes) noexcept {
    if (orphaned_) {
        const bool last = machine_.running() == 0;
        lock_.unlock();
        if (last) {
            const std::shared_ptr<zone_core> zone = zone_ptr();
            delete this;
            zone->returned();
        }
        return;
    }
    const std::shared_ptr<zone_core> zone = zone_ptr();
    const std::shared_ptr<breaker_core> unused = settle(changes);
    lock_.unlock();
    zone->returned();
}

template <class Event>
auto breaker_core::locked(Event event) {
    const time_point now = zone().now();
    breaker_transitions changes;
    const std::lock_guard guard(lock_);
    const auto answer = event(now, changes);
    static_cast<void>(settle(changes));  // not the last reference: the caller has one
    return answer;
}

bool breaker_core::trip(duration how_long) {
    return locked([&](time_point now, auto& changes) { return machine_.trip(how_long, now, changes); });
}

void breaker_core::reset() {
    locked([&](time_point now, auto& changes) { return machine_.reset(now, changes), 0; });
}

void breaker_core::set_mode(breaker_mode mode) {
    locked([&](time_point now, auto& changes) { return machine_.set_mode(mode, now, changes), 0; });
}

result<void> breaker_core::reconfigure(const breaker_options& options) {
    BOOST_OUTCOME_TRYV(validate(options));
    locked([&](time_point now, auto& changes) {
        machine_.reconfigure(options, now, changes);
        follow_options();
        return 0;
    });
    emit({.kind = event_kind::reconfigured});
    return success();
}

breaker_snapshot breaker_core::look() {
    return locked([&](time_point now, auto& changes) { return machine_.snapshot(now, changes); });
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
    const auto counter = [](std::string_view name, std::uint64_t value) {
        return metric{name, static_cast<double>(value), true};
    };
    primitive_snapshot out{kind(), name(), to_string(s.state), {}};
    out.metrics = {counter("admitted", s.admitted),
                   counter("refused", s.refused),
                   counter("would_refuse", s.would_refuse),
                   counter("successes", s.successes),
                   counter("failures", s.failures),
                   counter("neutral", s.neutral),
                   counter("slow", s.slow),
                   counter("stale", s.stale),
                   counter("opened", s.opened),
                   {"running", static_cast<double>(in_use()), false},
                   {"window_calls", static_cast<double>(s.window_calls), false},
                   {"failure_ratio", s.failure_ratio, false},
                   {"slow_ratio", s.slow_ratio, false},
                   {"consecutive_failures", static_cast<double>(s.consecutive_failures), false},
                   {"probes_running", static_cast<double>(s.probes_running), false},
                   {"next_probe_seconds", std::chrono::duration<double>(s.next_probe).count(), false}};
    const std::lock_guard guard(lock_);
    out.latencies.push_back({"run", run_});
    return out;
}

}  // namespace headgate::detail
