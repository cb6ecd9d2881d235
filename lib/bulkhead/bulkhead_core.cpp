// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/bulkhead_core.hpp>

#include <headgate/bulkhead.hpp>
#include <headgate/call_outcome.hpp>

#include "zone/metric.hpp"

namespace headgate::detail {

errc code_of(bulkhead_verdict verdict) noexcept {
    switch (verdict) {
        case bulkhead_verdict::queue_full: return errc::queue_full;
        case bulkhead_verdict::shut_down: return errc::shut_down;
        default: return errc::exhausted;
    }
}

/// One change of a bulkhead. The constructor locks the bulkhead. The members collect what the change causes. The
/// destructor unlocks, and then does that in one order: it completes waiters, tells an event, and tells the zone that
/// something came back. The bulkhead lives until the destructor is done.
class bulkhead_core::change {
public:
    explicit change(bulkhead_core& core) noexcept : change(core, std::unique_lock(core.lock_)) {}
    /// The caller locked already.
    change(bulkhead_core& core, std::unique_lock<spinlock> held) noexcept : core_(core), held_(std::move(held)) {}
    change(const change&) = delete;
    change& operator=(const change&) = delete;

    ~change() {
        if (!reconfigured_ && !came_back_) {
            // The core may go with the unlock: waiters are completed without it.
            held_.unlock();
            decided_.complete();
            return;
        }
        bulkhead_core& core = core_;
        const auto keeps = core.weak_from_this().lock();
        if (!keeps) {
            ++core.pins_;  // there are only permits
        }
        held_.unlock();
        act();
        if (!keeps) {
            core.unpin();
        }
    }

    [[nodiscard]] decided_waiters& decided() noexcept { return decided_; }

    /// The first waiter gets a place.
    void hand_over() noexcept {
        bulkhead_waiter& w = core_.queue_.front();
        ++core_.granted_;
        core_.wait_.record(saturating_sub(core_.zone().now(), w.asked_));
        w.granted_ = true;
        if (core_.adaptive_ && core_.adaptive_->wants_sample()) {
            w.began_ = core_.begin_sample();
        }
        core_.queue_.settle(w, core_.zone(), decided_);
    }
    /// Takes the waiters for whom there is a place now out of the queue.
    void let_in() noexcept {
        while (core_.machine_.let_in()) {
            hand_over();
        }
    }
    void tell_reconfigured() noexcept { reconfigured_ = true; }
    void came_back() noexcept { came_back_ = true; }

private:
    void act() noexcept {
        decided_.complete();
        if (reconfigured_) {
            try {
                event e;
                e.kind = event_kind::reconfigured;
                core_.emit(std::move(e));
            } catch (...) {  // NOLINT(bugprone-empty-catch): without memory there is nobody to tell
            }
        }
        if (came_back_) {
            core_.zone().returned();
        }
    }

    bulkhead_core& core_;
    std::unique_lock<spinlock> held_;
    decided_waiters decided_;
    bool reconfigured_ = false;
    bool came_back_ = false;
};

// Life ----------------------------------------------------------------------------------------------------------------

result<std::shared_ptr<bulkhead_core>> bulkhead_core::create(const std::shared_ptr<zone_core>& zone, std::string name,
                                                             const bulkhead_options& options) {
    BOOST_OUTCOME_TRYV(accept(check(options)));
    std::shared_ptr<bulkhead_core> core(new bulkhead_core(zone, std::move(name), options),
                                        [](bulkhead_core* c) { orphan(c); });
    BOOST_OUTCOME_TRYV(zone->add(core));
    return core;
}

bulkhead_core::bulkhead_core(std::shared_ptr<zone_core> zone, std::string name, const bulkhead_options& options)
    : primitive(std::move(zone), primitive_kind::bulkhead, std::move(name)),
      machine_(options.max_concurrent, options.max_waiters),
      max_wait_(options.max_wait.count()) {
    set_limit(options);
}

void bulkhead_core::orphan(bulkhead_core* core) noexcept {
    bool last = false;
    {
        const std::lock_guard guard(core->lock_);
        core->machine_.close();
        core->orphaned_ = true;
        last = core->machine_.running() == 0 && core->pins_ == 0;
    }
    if (last) {
        delete core;
    }
}

void bulkhead_core::unpin() noexcept {
    bool last = false;
    {
        const std::lock_guard guard(lock_);
        --pins_;
        last = orphaned_ && machine_.running() == 0 && pins_ == 0;
    }
    if (last) {
        delete this;
    }
}

// Places --------------------------------------------------------------------------------------------------------------

bulkhead_verdict bulkhead_core::count_refusal(bulkhead_verdict why) noexcept {
    exhausted_ += why == bulkhead_verdict::exhausted ? 1 : 0;
    queue_full_ += why == bulkhead_verdict::queue_full ? 1 : 0;
    return why;
}

bulkhead_verdict bulkhead_core::refuse(duration wait) noexcept {
    if (adaptive_) {
        adaptive_->refused();
    }
    return zone().refusing() ? bulkhead_verdict::shut_down : count_refusal(machine_.explain(wait > duration::zero()));
}

void bulkhead_core::enqueue(bulkhead_waiter& w, duration timeout, time_point asked) noexcept {
    change c(*this);
    if (w.canceled_early()) {
        w.refusal_ = errc::canceled;
        (void)w.settle(zone());
        c.decided().add(w);
        return;
    }
    const bulkhead_verdict verdict =
        zone().refusing() ? bulkhead_verdict::shut_down : machine_.join(timeout > duration::zero());
    if (verdict == bulkhead_verdict::wait) {
        ++queued_;
        w.asked_ = asked;
        queue_.join(w, zone(), saturating_add(asked, timeout));
        return;
    }
    if (verdict == bulkhead_verdict::granted) {
        ++granted_;
        w.granted_ = true;
        if (adaptive_ && adaptive_->wants_sample()) {
            w.began_ = begin_sample();
        }
    } else {
        w.refusal_ = code_of(count_refusal(verdict));
    }
    (void)w.settle(zone());
    c.decided().add(w);
}

void bulkhead_core::finish_return(std::unique_lock<spinlock> held, bool handed_over) noexcept {
    change c(*this, std::move(held));
    if (handed_over) {
        c.hand_over();
    }
    if (zone().refusing() || !machine_.open()) {
        c.came_back();
    }
}

void bulkhead_core::give_back(time_point began, adaptive_outcome how) noexcept {
    const time_point now = zone().now();
    change c(*this);
    if (adaptive_ && adaptive_->ended(on_shared_clock(now), saturating_sub(now, began), how)) {
        machine_.resize(adaptive_->limit());
    }
    if (machine_.on_return()) {
        c.hand_over();
    }
    c.let_in();
    if (zone().refusing() || !machine_.open()) {
        c.came_back();
    }
}

void bulkhead_core::expire(bulkhead_waiter& w) noexcept {
    change c(*this);
    if (queue_.expire(w, c.decided())) {
        w.refusal_ = errc::wait_timed_out;
        ++timed_out_;
        wait_.record(saturating_sub(zone().now(), w.asked_));
        machine_.leave();
    }
}

void bulkhead_core::cancel(bulkhead_waiter& w) noexcept {
    change c(*this);
    if (queue_.cancel(w, zone(), c.decided())) {
        w.refusal_ = errc::canceled;
        ++canceled_;
        machine_.leave();
    }
}

bulkhead_waiter::~bulkhead_waiter() {
    if (granted_) {
        from_->give_back();
    }
}

void bulkhead_waiter::on_cancel() noexcept {
    from_->cancel(*this);
}

void bulkhead_waiter::on_deadline() noexcept {
    from_->expire(*this);
}

// Adaptive limits -----------------------------------------------------------------------------------------------------

time_point bulkhead_core::begin_sample() noexcept {
    const time_point now = zone().now();
    adaptive_->began(on_shared_clock(now), machine_.running());
    return now;
}

// That of the system, by which the clients of a backend measure together.
time_point bulkhead_core::on_shared_clock(time_point now) const noexcept {
    return saturating_add(now, zone().system_offset());
}

// What an adaptive limit has learnt stays.
void bulkhead_core::set_limit(const bulkhead_options& options) noexcept {
    if (!options.limit) {
        adaptive_.reset();
    } else if (adaptive_) {
        adaptive_->change(*options.limit);
    } else {
        adaptive_.emplace(*options.limit);
    }
    machine_.resize(adaptive_ ? adaptive_->limit() : options.max_concurrent);
}

adaptive_outcome adaptive_outcome_of(const error& e) noexcept {
    if (e == errc::timed_out || (e.retry_after > duration::zero() && outcome_of(e) == call_outcome::failure)) {
        return adaptive_outcome::dropped;
    }
    return outcome_of(e) == call_outcome::failure ? adaptive_outcome::failure : adaptive_outcome::neutral;
}

// Control -------------------------------------------------------------------------------------------------------------

void bulkhead_core::resize(std::uint32_t max_concurrent) noexcept {
    change c(*this);
    adaptive_.reset();
    machine_.resize(max_concurrent);
    c.let_in();
    c.tell_reconfigured();
}

void bulkhead_core::reconfigure(const bulkhead_options& options) noexcept {
    change c(*this);
    set_limit(options);
    machine_.bound_waiters(options.max_waiters);
    max_wait_.store(options.max_wait.count(), std::memory_order_relaxed);
    c.let_in();
    c.tell_reconfigured();
}

bulkhead_snapshot bulkhead_core::counts() const noexcept {
    return {.max_concurrent = machine_.limit(),
            .running = machine_.running(),
            .waiting = machine_.waiting(),
            .granted = granted_,
            .queued = queued_,
            .wait_timed_out = timed_out_,
            .canceled = canceled_,
            .exhausted = exhausted_,
            .queue_full = queue_full_};
}

std::uint64_t bulkhead_core::in_use() const noexcept {
    const std::lock_guard guard(lock_);
    return machine_.running();
}

void bulkhead_core::close() noexcept {
    change c(*this);
    machine_.close();
    queue_.settle_all(zone(), c.decided(), [](bulkhead_waiter& w) { w.refusal_ = errc::shut_down; });
}

void bulkhead_core::drain() noexcept {
    const std::lock_guard guard(lock_);
    machine_.drain();
}

void bulkhead_core::abandon() noexcept {
    const auto self = weak_from_this().lock();
    decided_waiters ended;
    {
        const std::lock_guard guard(lock_);
        machine_.close();
        queue_.settle_all(zone(), ended, [](bulkhead_waiter& w) { w.refusal_ = errc::shut_down; });
    }
    ended.abandon();
}

primitive_snapshot bulkhead_core::snapshot() const {
    bulkhead_snapshot s;
    std::vector<latency_snapshot> latencies{{"wait", {}}};
    {
        const std::lock_guard guard(lock_);
        s = counts();
        latencies[0].durations = wait_;
    }
    return {.kind = kind(),
            .name = name(),
            .state = {},
            .metrics = {gauge("max_concurrent", std::uint64_t{s.max_concurrent}, "Calls that may run at once."),
                        gauge("running", std::uint64_t{s.running}, "Calls that run."),
                        gauge("waiting", std::uint64_t{s.waiting}, "Callers in the queue."),
                        counter("granted", s.granted, "Callers that got a place."),
                        counter("queued", s.queued, "Callers that waited."),
                        counter("wait_timed_out", s.wait_timed_out, "Waits whose time was up."),
                        counter("canceled", s.canceled, "Waits that were cancelled."),
                        counter("exhausted", s.exhausted, "Callers that would not wait and found no place."),
                        counter("queue_full", s.queue_full, "Callers that found the queue full.")},
            .latencies = std::move(latencies)};
}

}  // namespace headgate::detail
