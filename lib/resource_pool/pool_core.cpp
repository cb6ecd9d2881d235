// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/pool_core.hpp>

#include <boost/container/static_vector.hpp>

#include <algorithm>
#include <array>
#include <new>

#include "resource_pool/pool_change.hpp"
#include "zone/metric.hpp"

namespace headgate::detail {

namespace {

const char* name_of(pool_state state) noexcept {
    switch (state) {
        case pool_state::active: return "active";
        case pool_state::paused: return "paused";
        case pool_state::draining: return "draining";
        case pool_state::closed: return "closed";
    }
    return "";
}

}  // namespace

// Life ----------------------------------------------------------------------------------------------------------------

pool_core::pool_core(std::shared_ptr<zone_core> zone, std::string name, const pool_options& options)
    : primitive(std::move(zone), primitive_kind::resource_pool, std::move(name)),
      machine_(options, reinterpret_cast<std::uintptr_t>(this) ^
                            static_cast<std::uint64_t>(this->zone().now().time_since_epoch().count())),
      timed_(machine_.needs_time()),
      max_wait_(options.max_wait.count()),
      options_(options) {}

pool_core::~pool_core() = default;

void pool_core::set_asks() noexcept {
    machine_.ask_after(ask_after);
    timed_.store(true, std::memory_order_relaxed);
}

void pool_core::orphan(pool_core* core) noexcept {
    bool last = false;
    {
        const std::lock_guard guard(core->lock_);
        core->machine_.close();
        core->orphaned_ = true;
        last = core->machine_.leased() == 0 && core->pins_ == 0;
    }
    if (last) {
        delete core;
    }
}

void pool_core::unpin() noexcept {
    bool last = false;
    {
        const std::lock_guard guard(lock_);
        --pins_;
        last = orphaned_ && machine_.leased() == 0 && pins_ == 0;
    }
    if (last) {
        delete this;
    }
}

void pool_core::destroy_resources() noexcept {
    for (void*& resource : resources_) {
        if (resource != nullptr) {
            destroy_resource(std::exchange(resource, nullptr));
        }
    }
}

// Checkout ------------------------------------------------------------------------------------------------------------

pool_refusal pool_core::count_refusal(const pool_decision& why) noexcept {
    switch (why.verdict) {
        case pool_verdict::queue_full: ++queue_full_; break;
        case pool_verdict::connect_failed: ++refused_down_; break;
        case pool_verdict::exhausted: ++exhausted_; break;
        default: break;
    }
    return {why.verdict, why.retry_after};
}

pool_refusal pool_core::refuse(duration wait) noexcept {
    if (zone().refusing()) {
        return {pool_verdict::shut_down};
    }
    // Only a back-off looks at the time.
    const time_point now = machine_.failing() ? zone().now() : time_point{};
    return count_refusal(machine_.explain(now, wait > duration::zero()));
}

pool_lent pool_core::finish_take(pool_lent lent, const lease_place& place, duration wait, pool_refusal& why,
                                 aftermath after) noexcept {
    for (;;) {
        if (after.wakes) {
            wake();
        }
        if (!after.asks || is_alive_now(lent.resource)) {
            return lent;
        }
        found_dead(lent.slot);
        after = {};
        lent = take_next(place, wait, why, after);
    }
}

void pool_core::found_dead(slot_index i) noexcept {
    change c(*this);
    --granted_;
    c.settle(i, machine_.on_return(i, false, time_point{}));
}

error pool_core::to_error(const pool_refusal& refusal) const noexcept {
    std::exception_ptr cause;
    if (refusal.verdict == pool_verdict::connect_failed) {
        const std::lock_guard guard(lock_);
        cause = cause_;
    }
    return error(code_of(refusal.verdict), std::move(cause), refusal.retry_after);
}

// Return --------------------------------------------------------------------------------------------------------------

void pool_core::finish_return(std::unique_lock<spinlock> held, slot_index i, const pool_settled& settled) noexcept {
    change c(*this, std::move(held));
    c.settle(i, settled);
    if (zone().refusing()) {
        c.came_back();
    }
}

void pool_core::give_back_reset(slot_index i, void* resource) noexcept {
    if (reset_ == reset_kind::now) {
        settle_return(i, reset_now(resource));
        return;
    }
    /// Gives it back as unusable when the strand does not get to it.
    struct ticket {
        ticket(std::shared_ptr<pool_core> s, slot_index n) noexcept : self(std::move(s)), slot(n) {}
        ticket(ticket&&) noexcept = default;
        ticket& operator=(ticket&&) = delete;
        ~ticket() {
            if (self) {
                self->settle_return(slot, false);
            }
        }
        std::shared_ptr<pool_core> self;
        slot_index slot;
    };
    auto self = weak_from_this().lock();
    if (!self || zone().closed()) {
        settle_return(i, false);
        return;
    }
    {
        const std::lock_guard guard(lock_);
        machine_.begin_reset(i);
    }
    try {
        zone().post([t = ticket(std::move(self), i), resource]() mutable {
            const auto pool = std::move(t.self);
            pool->start_reset(t.slot, resource);
        });
    } catch (...) {  // NOLINT(bugprone-empty-catch): the ticket has given it back
    }
}

// Control -------------------------------------------------------------------------------------------------------------

result<void> pool_core::resize(std::uint32_t size, std::uint32_t max_overflow) {
    BOOST_OUTCOME_TRYV(accept(check(pool_options{.size = size, .max_overflow = max_overflow})));
    change c(*this);
    options_.size = size;
    options_.max_overflow = max_overflow;
    machine_.resize(size, max_overflow);
    c.tell(event_kind::reconfigured);
    return headgate::success();
}

void pool_core::reconfigure(const pool_options& options) noexcept {
    change c(*this);
    options_ = options;
    max_wait_.store(options.max_wait.count(), std::memory_order_relaxed);
    machine_.reconfigure(options, zone().now());
    timed_.store(machine_.needs_time(), std::memory_order_relaxed);
    c.tell(event_kind::reconfigured);
}

void pool_core::pause() noexcept {
    const std::lock_guard guard(lock_);
    machine_.pause();
}

void pool_core::resume() noexcept {
    change c(*this);
    machine_.resume();
}

pool_snapshot pool_core::counts() const noexcept {
    pool_snapshot s = machine_.look();
    s.granted = granted_;
    s.queued = queued_;
    s.wait_timed_out = timed_out_;
    s.canceled = canceled_waits_;
    s.exhausted = exhausted_;
    s.queue_full = queue_full_;
    s.connect_failed = refused_down_;
    s.connects = connects_;
    s.connect_failures = connect_failures_;
    s.closed = closed_;
    s.leaks = leaks_;
    return s;
}

std::uint64_t pool_core::in_use() const noexcept {
    const std::lock_guard guard(lock_);
    return machine_.leased();
}

// The end -------------------------------------------------------------------------------------------------------------

void pool_core::close() noexcept {
    change c(*this);
    machine_.close();
    timer_.disarm(zone());
    c.end_waiters(errc::shut_down);
    c.end_drains(errc::shut_down);
}

void pool_core::drain() noexcept {
    change c(*this);
    machine_.drain();
}

void pool_core::abandon() noexcept {
    const auto self = weak_from_this().lock();
    decided_waiters ended;
    {
        const std::lock_guard guard(lock_);
        machine_.close();
        timer_.disarm(zone());
        timer_.abandon();
        queue_.settle_all(zone(), ended, [](checkout_waiter& w) { w.refusal_ = errc::shut_down; });
        drains_.settle_all(zone(), ended, [](pool_drain_waiter& w) { w.outcome_ = errc::shut_down; });
    }
    ended.abandon();
    abandon_tasks(tasks_);
    abandon_tasks(canceled_);
    while (destroy_idle()) {
    }
}

/// Some of them; true when there are more.
bool pool_core::destroy_idle() noexcept {
    std::array<pool_action, change::most> actions;
    boost::container::static_vector<void*, change::most> idle;
    {
        const std::lock_guard guard(lock_);
        const std::size_t n = machine_.poll(time_point::min(), actions);
        for (std::size_t k = 0; k < n; ++k) {
            if (actions[k].task == pool_task::retire) {
                idle.push_back(std::exchange(resources_[actions[k].slot], nullptr));
            }
        }
    }
    for (void* resource : idle) {
        destroy_resource(resource);
    }
    return !idle.empty();
}

primitive_snapshot pool_core::snapshot() const {
    pool_snapshot s;
    std::vector<latency_snapshot> latencies{{"wait", {}}};
    {
        const std::lock_guard guard(lock_);
        s = counts();
        latencies[0].durations = wait_;
    }
    return {.kind = kind(),
            .name = name(),
            .state = name_of(s.state),
            .metrics = {gauge("size", std::uint64_t{s.size}, "Resources that the pool keeps open."),
                        gauge("idle", std::uint64_t{s.idle}, "Resources that are open and not lent."),
                        gauge("overflow", std::uint64_t{s.overflow}, "Open resources beyond the size."),
                        gauge("leased", std::uint64_t{s.leased}, "Resources that are lent, or being reset."),
                        gauge("waiting", std::uint64_t{s.waiting}, "Callers in the queue."),
                        gauge("connecting", std::uint64_t{s.connecting}, "Connects in flight."),
                        counter("granted", s.granted, "Checkouts that got a resource."),
                        counter("queued", s.queued, "Checkouts that waited."),
                        counter("wait_timed_out", s.wait_timed_out, "Waits whose time was up."),
                        counter("canceled", s.canceled, "Waits that were cancelled."),
                        counter("exhausted", s.exhausted, "Checkouts that would not wait and found nothing free."),
                        counter("queue_full", s.queue_full, "Checkouts that found the queue full."),
                        counter("refused_connect_failed", s.connect_failed,
                                "Checkouts that were refused because the backend refuses connects."),
                        counter("connects", s.connects, "Connects that succeeded."),
                        counter("connect_failures", s.connect_failures, "Connects that failed."),
                        counter("closed", s.closed, "Resources that were closed."),
                        counter("leaks", s.leaks, "Leases held longer than leak_threshold.")},
            .latencies = std::move(latencies)};
}

}  // namespace headgate::detail
