// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/pool_core.hpp>

#include <boost/core/demangle.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <optional>

namespace headgate::detail {

namespace {

template <class Waiter>
void complete_all(waiter_list<Waiter>& list) noexcept {
    while (!list.empty()) {
        Waiter& w = list.front();
        list.pop_front();
        w.complete();
    }
}

errc code_of(pool_verdict verdict) noexcept {
    switch (verdict) {
        case pool_verdict::queue_full: return errc::queue_full;
        case pool_verdict::connect_failed: return errc::connect_failed;
        case pool_verdict::shut_down: return errc::shut_down;
        case pool_verdict::invalid: return errc::invalid_argument;
        default: return errc::exhausted;
    }
}

const char* name_of(pool_state state) noexcept {
    switch (state) {
        case pool_state::active: return "active";
        case pool_state::paused: return "paused";
        case pool_state::draining: return "draining";
        case pool_state::closed: return "closed";
    }
    return "";
}

std::string what(const std::exception_ptr& cause) {
    try {
        std::rethrow_exception(cause);
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) {
        return "an exception that is no std::exception";
    }
}

}  // namespace

std::string lease_place::text() const {
    if (operation != nullptr) {
        return boost::core::demangle(operation->name());
    }
    return std::string(where.file_name()) + ":" + std::to_string(where.line());
}

// The waiters ---------------------------------------------------------------------------------------------------------

checkout_waiter::~checkout_waiter() {
    if (lent_) {
        pool_->settle_return(lent_.slot, true);
    }
}

void checkout_waiter::on_cancel() noexcept {
    pool_->cancel(*this);
}

void checkout_waiter::on_deadline() noexcept {
    pool_->expire(*this);
}

result<void> pool_drain_waiter::take() const {
    if (outcome_ == errc{}) {
        return headgate::success();
    }
    if (outcome_ == errc::wait_timed_out) {
        return error(outcome_, std::to_string(left_) + " leases are left");
    }
    return outcome_;
}

void pool_drain_waiter::on_cancel() noexcept {
    pool_->cancel(*this);
}

void pool_drain_waiter::on_deadline() noexcept {
    pool_->expire(*this);
}

// Work on the strand --------------------------------------------------------------------------------------------------

pool_task_run::pool_task_run(std::shared_ptr<pool_core> pool) : pool_(std::move(pool)) {
    pool_->tasks_.push_back(this);
}

pool_task_run::~pool_task_run() {
    std::erase(pool_->tasks_, this);
}

void pool_task_run::limit(duration span) noexcept {
    self_ = shared_from_this();
    pool_->zone().arm(*this, saturating_add(pool_->zone().now(), span));
}

bool pool_task_run::end() noexcept {
    if (std::exchange(ended_, true)) {
        return false;
    }
    if (self_ && pool_->zone().disarm(*this)) {
        self_.reset();
    }
    return true;
}

void pool_task_run::cancel() noexcept {
    if (!ended_) {
        signal_.emit(boost::asio::cancellation_type::terminal);
    }
}

void pool_task_run::abandon() noexcept {
    pool_->zone().disarm(*this);
    self_.reset();
}

void pool_task_run::on_deadline() noexcept {
    const auto self = std::move(self_);
    if (!std::exchange(ended_, true)) {
        timed_out();
        signal_.emit(boost::asio::cancellation_type::terminal);
    }
}

// Life ----------------------------------------------------------------------------------------------------------------

pool_core::pool_core(std::shared_ptr<zone_core> zone, std::string name, const pool_options& options,
                     primitive_kind kind)
    : primitive(std::move(zone), kind, std::move(name)),
      machine_(options, reinterpret_cast<std::uintptr_t>(this) ^
                            static_cast<std::uint64_t>(this->zone().now().time_since_epoch().count())),
      timed_(machine_.needs_time()),
      checkout_timeout_(options.checkout_timeout.count()),
      options_(options) {}

pool_core::~pool_core() = default;

void pool_core::orphan(pool_core* core) noexcept {
    core->lock_.lock();
    core->machine_.close();
    core->orphaned_ = true;
    const bool last = core->machine_.leased() == 0 && core->pins_ == 0;
    core->lock_.unlock();
    if (last) {
        delete core;
    }
}

void pool_core::unpin() noexcept {
    lock_.lock();
    --pins_;
    const bool last = orphaned_ && machine_.leased() == 0 && pins_ == 0;
    lock_.unlock();
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

void pool_core::tell(event_kind what, std::string detail, std::source_location where) const {
    event e;
    e.kind = what;
    e.detail = std::move(detail);
    e.where = where;
    emit(std::move(e));
}

// Checkout ------------------------------------------------------------------------------------------------------------

pool_refusal pool_core::count_refusal(pool_decision why) noexcept {
    switch (why.verdict) {
        case pool_verdict::queue_full: ++queue_full_; break;
        case pool_verdict::connect_failed: ++refused_down_; break;
        case pool_verdict::exhausted: ++exhausted_; break;
        default: break;
    }
    return {why.verdict, why.retry_after};
}

pool_refusal pool_core::refuse() noexcept {
    const time_point now = zone().now();
    const std::lock_guard guard(lock_);
    if (zone().refusing()) {
        return {pool_verdict::shut_down};
    }
    return count_refusal(machine_.explain(now));
}

pool_refusal pool_core::refuse_or_wait(duration timeout, time_point now) noexcept {
    if (timeout < duration::zero()) {
        return {pool_verdict::invalid};
    }
    const std::lock_guard guard(lock_);
    if (zone().refusing()) {
        return {pool_verdict::shut_down};
    }
    pool_decision why = machine_.explain(now);
    if (why.verdict == pool_verdict::exhausted && timeout > duration::zero()) {
        if (machine_.waiting() < options_.max_waiters) {
            return {pool_verdict::wait};
        }
        why.verdict = pool_verdict::queue_full;
    }
    return count_refusal(why);
}

error pool_core::to_error(const pool_refusal& refusal) const {
    if (refusal.verdict == pool_verdict::invalid) {
        return error(errc::invalid_argument,
                     "the checkout's timeout is negative; it must be positive, or 0 for no wait");
    }
    std::exception_ptr cause;
    if (refusal.verdict == pool_verdict::connect_failed) {
        const std::lock_guard guard(lock_);
        cause = cause_;
    }
    return error(code_of(refusal.verdict), std::move(cause), refusal.retry_after);
}

void pool_core::enqueue(checkout_waiter& w, duration timeout, time_point now) noexcept {
    bool waits = false;
    bool wakes = false;
    lock_.lock();
    if (zone().refusing()) {
        w.refusal_ = errc::shut_down;
    } else if (timeout < duration::zero()) {
        w.refusal_ = errc::invalid_argument;
    } else {
        pool_decision d = machine_.join(now);
        if (d.verdict == pool_verdict::wait && timeout <= duration::zero()) {
            machine_.leave();
            d.verdict = pool_verdict::exhausted;
        }
        switch (d.verdict) {
            case pool_verdict::granted:
                ++granted_;
                w.lent_ = {resources_[d.slot], d.slot};
                places_[d.slot] = w.place_;
                break;
            case pool_verdict::wait:
                ++queued_;
                waits = true;
                w.asked_ = now;
                queue_.push_back(w);
                w.arm(zone(), saturating_add(now, timeout));
                break;
            default:
                w.retry_after_ = count_refusal(d).retry_after;
                w.refusal_ = code_of(d.verdict);
                w.cause_ = d.verdict == pool_verdict::connect_failed ? cause_ : nullptr;
                break;
        }
        wakes = machine_.claim_poll();
    }
    if (!waits) {
        (void)w.settle(zone());
    }
    // From here on the waiter may be gone, and the pool with it.
    const auto self = wakes ? weak_from_this().lock() : nullptr;
    lock_.unlock();
    if (!waits) {
        w.complete();
    }
    if (self) {
        self->wake();
    }
}

checkout_waiter* pool_core::hand_over(slot_index i) noexcept {
    checkout_waiter& w = queue_.front();
    queue_.pop_front();
    ++granted_;
    wait_.record(saturating_sub(zone().now(), w.asked_));
    w.lent_ = {resources_[i], i};
    places_[i] = w.place_;
    return w.settle(zone()) ? &w : nullptr;
}

void pool_core::end_waiters(errc why, waiter_list<checkout_waiter>& ended) noexcept {
    if (queue_.empty()) {
        return;
    }
    const bool down = why == errc::connect_failed;
    const duration retry_after = down ? machine_.explain(zone().now()).retry_after : duration{};
    while (!queue_.empty()) {
        checkout_waiter& w = queue_.front();
        queue_.pop_front();
        w.refusal_ = why;
        w.retry_after_ = retry_after;
        if (down) {
            ++refused_down_;
            w.cause_ = cause_;
        }
        if (w.settle(zone())) {
            ended.push_back(w);
        }
    }
}

void pool_core::left() noexcept {
    ++pins_;
    waiter_list<pool_drain_waiter> drained;
    if (machine_.drained()) {
        end_drains(errc{}, drained);
    }
    const bool wakes = machine_.claim_poll();
    lock_.unlock();
    complete_all(drained);
    if (wakes) {
        wake();
    }
    unpin();
}

void pool_core::expire(checkout_waiter& w) noexcept {
    lock_.lock();
    if (!w.settle_by_deadline()) {
        lock_.unlock();
        w.complete();
        return;
    }
    const auto self = w.pool_;
    queue_.erase(queue_.iterator_to(w));
    w.refusal_ = errc::wait_timed_out;
    ++timed_out_;
    machine_.leave();
    left();
    w.complete();
}

void pool_core::cancel(checkout_waiter& w) noexcept {
    lock_.lock();
    if (w.settled()) {
        lock_.unlock();
        return;
    }
    const auto self = w.pool_;
    queue_.erase(queue_.iterator_to(w));
    w.refusal_ = errc::canceled;
    ++canceled_;
    const bool completes = w.settle(zone());
    machine_.leave();
    left();
    if (completes) {
        w.complete();
    }
}

// Return --------------------------------------------------------------------------------------------------------------

void pool_core::finish(slot_index i, pool_settled settled, bool usable) noexcept {
    if (settled.fate == pool_fate::hand_over && !machine_.wants_poll() && !zone().refusing()) {
        checkout_waiter* const w = hand_over(i);
        lock_.unlock();
        if (w != nullptr) {
            w->complete();
        }
        return;
    }
    ++pins_;
    checkout_waiter* first = nullptr;
    void* closing = nullptr;
    waiter_list<checkout_waiter> failed;
    waiter_list<pool_drain_waiter> drained;
    if (settled.fate == pool_fate::hand_over) {
        first = hand_over(i);
    } else if (settled.fate == pool_fate::close) {
        closing = std::exchange(resources_[i], nullptr);
        ++closed_;
    }
    if (settled.fail_waiters) {
        end_waiters(errc::connect_failed, failed);
    }
    if (machine_.drained()) {
        end_drains(errc{}, drained);
    }
    const bool wakes = machine_.claim_poll();
    const bool replaced = closing != nullptr && !usable && machine_.state() <= pool_state::paused;
    lock_.unlock();
    if (first != nullptr) {
        first->complete();
    }
    complete_all(failed);
    complete_all(drained);
    if (replaced) {
        tell(event_kind::resource_replaced, "returned in doubt, or dead");
    }
    if (closing != nullptr) {
        close_resource(closing);
    }
    if (wakes) {
        wake();
    }
    zone().returned();
    unpin();
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
    lock_.lock();
    machine_.begin_reset(i);
    lock_.unlock();
    zone().post([t = ticket(std::move(self), i), resource]() mutable {
        const auto pool = std::move(t.self);
        pool->start_reset(t.slot, resource);
    });
}

// On the strand -------------------------------------------------------------------------------------------------------

void pool_core::wake() noexcept {
    if (auto self = weak_from_this().lock()) {
        zone().post([self = std::move(self)] { self->run(false); });
    }
}

void pool_core::on_timer() {
    run(true);
}

void pool_core::set_timer(bool fired) {
    const time_point next = machine_.next_deadline();
    if (machine_.state() == pool_state::closed || next == time_point::max()) {
        timer_.disarm(zone());
        if (fired) {
            timer_.abandon();
        }
    } else if (fired || next != timer_.armed()) {
        timer_.arm(zone(), shared_from_this(), next);
    }
}

void pool_core::run(bool fired) noexcept {
    struct step {
        pool_task task;
        slot_index slot;
        void* resource;
        checkout_waiter* first;
        lease_place place;
    };
    const auto self = weak_from_this().lock();
    if (!self) {
        return;
    }
    std::array<pool_action, 16> actions;
    std::array<step, 16> steps;
    std::size_t n = 0;
    do {
        waiter_list<checkout_waiter> failed;
        waiter_list<pool_drain_waiter> drained;
        lock_.lock();
        n = machine_.poll(zone().now(), actions);
        for (std::size_t k = 0; k < n; ++k) {
            const auto [task, slot] = actions[k];
            step& s = steps[k] = {task, slot, nullptr, nullptr, {}};
            switch (task) {
                case pool_task::connect: ++connects_; break;
                case pool_task::ping: s.resource = resources_[slot]; break;
                case pool_task::retire:
                    ++closed_;
                    s.resource = std::exchange(resources_[slot], nullptr);
                    break;
                case pool_task::leak:
                    ++leaks_;
                    s.place = places_[slot];
                    break;
                case pool_task::hand_over: s.first = hand_over(slot); break;
                case pool_task::fail_waiters: end_waiters(errc::connect_failed, failed); break;
            }
        }
        if (machine_.drained()) {
            end_drains(errc{}, drained);
        }
        if (n < actions.size()) {
            set_timer(fired);
        }
        lock_.unlock();
        complete_all(failed);
        complete_all(drained);
        for (std::size_t k = 0; k < n; ++k) {
            const step& s = steps[k];
            switch (s.task) {
                case pool_task::connect: start_connect(s.slot); break;
                case pool_task::ping: start_ping(s.slot, s.resource); break;
                case pool_task::retire: close_resource(s.resource); break;
                case pool_task::leak: tell(event_kind::lease_leaked, s.place.text(), s.place.where); break;
                case pool_task::hand_over:
                    if (s.first != nullptr) {
                        s.first->complete();
                    }
                    break;
                case pool_task::fail_waiters: break;
            }
        }
    } while (n == actions.size());
}

void pool_core::connected(slot_index i, void* resource) noexcept {
    const time_point now = zone().now();
    std::exception_ptr gone;
    lock_.lock();
    if (resources_.size() <= i) {
        resources_.resize(machine_.slots());
        places_.resize(machine_.slots());
    }
    resources_[i] = resource;
    const bool recovered = machine_.failing();
    if (recovered) {
        gone.swap(cause_);
    }
    finish(i, machine_.on_connected(i, now), true);
    if (recovered) {
        tell(event_kind::pool_recovered, {});
    }
}

void pool_core::connect_failed(slot_index i, std::exception_ptr cause) noexcept {
    const time_point now = zone().now();
    waiter_list<checkout_waiter> failed;
    lock_.lock();
    ++connect_failures_;
    const std::exception_ptr gone = std::exchange(cause_, cause);  // destroyed after the unlock
    const auto f = machine_.on_connect_failed(i, now);
    if (f.fail_waiters) {
        end_waiters(errc::connect_failed, failed);
    }
    const bool wakes = machine_.claim_poll();
    const bool tells = machine_.state() != pool_state::closed;
    lock_.unlock();
    complete_all(failed);
    if (tells) {
        tell(event_kind::connect_failed, what(cause));
    }
    if (wakes) {
        wake();
    }
}

void pool_core::pinged(slot_index i, bool alive) noexcept {
    const time_point now = zone().now();
    lock_.lock();
    finish(i, machine_.on_ping_done(i, alive, now), alive);
}

// Control -------------------------------------------------------------------------------------------------------------

result<void> pool_core::resize(std::uint32_t size, std::uint32_t max_overflow) {
    if (auto valid = validate(pool_options{.size = size, .max_overflow = max_overflow}); !valid) {
        return valid;
    }
    pool_options wanted = options();
    wanted.size = size;
    wanted.max_overflow = max_overflow;
    reconfigure(wanted);
    return headgate::success();
}

void pool_core::reconfigure(const pool_options& options) {
    const time_point now = zone().now();
    lock_.lock();
    options_ = options;
    checkout_timeout_.store(options.checkout_timeout.count(), std::memory_order_relaxed);
    machine_.reconfigure(options, now);
    timed_.store(machine_.needs_time(), std::memory_order_relaxed);
    const bool wakes = machine_.claim_poll();
    lock_.unlock();
    tell(event_kind::reconfigured, {});
    if (wakes) {
        wake();
    }
}

void pool_core::pause() noexcept {
    const std::lock_guard guard(lock_);
    machine_.pause();
}

void pool_core::resume() noexcept {
    lock_.lock();
    machine_.resume();
    const bool wakes = machine_.claim_poll();
    lock_.unlock();
    if (wakes) {
        wake();
    }
}

pool_status pool_core::status() const noexcept {
    const std::lock_guard guard(lock_);
    return machine_.status();
}

std::uint64_t pool_core::in_use() const noexcept {
    const std::lock_guard guard(lock_);
    return machine_.leased();
}

void pool_core::end_drains(errc why, waiter_list<pool_drain_waiter>& ended) noexcept {
    while (!drains_.empty()) {
        pool_drain_waiter& w = drains_.front();
        drains_.pop_front();
        w.outcome_ = why;
        if (w.settle(zone())) {
            ended.push_back(w);
        }
    }
}

void pool_core::enqueue(pool_drain_waiter& w, duration limit) noexcept {
    const auto self = w.pool_;
    const time_point now = zone().now();
    waiter_list<pool_drain_waiter> ended;
    lock_.lock();
    machine_.drain();
    drains_.push_back(w);
    if (machine_.drained()) {
        end_drains(errc{}, ended);
    } else {
        w.arm(zone(), saturating_add(now, std::max(limit, duration::zero())));
    }
    const bool wakes = machine_.claim_poll();
    lock_.unlock();
    complete_all(ended);
    if (wakes) {
        wake();
    }
}

// Whoever still waits is told; what is still lent is closed when it comes back.
void pool_core::expire(pool_drain_waiter& w) noexcept {
    const auto self = w.pool_;
    waiter_list<checkout_waiter> ended;
    lock_.lock();
    if (w.settle_by_deadline()) {
        drains_.erase(drains_.iterator_to(w));
        w.outcome_ = errc::wait_timed_out;
        w.left_ = machine_.leased();
        for (auto n = machine_.waiting(); n > 0; --n) {
            machine_.leave();
        }
        end_waiters(errc::shut_down, ended);
    }
    const bool wakes = machine_.claim_poll();
    lock_.unlock();
    complete_all(ended);
    w.complete();
    if (wakes) {
        wake();
    }
}

void pool_core::cancel(pool_drain_waiter& w) noexcept {
    lock_.lock();
    if (w.settled()) {
        lock_.unlock();
        return;
    }
    drains_.erase(drains_.iterator_to(w));
    w.outcome_ = errc::canceled;
    const bool completes = w.settle(zone());
    lock_.unlock();
    if (completes) {
        w.complete();
    }
}

/// What follows a close on the strand; when the io_context goes first, what follows that.
class pool_core::last_run {
public:
    explicit last_run(std::shared_ptr<pool_core> pool) : pool_(std::move(pool)), count_(pool_->zone_ptr()) {}
    last_run(last_run&& other) noexcept = default;
    last_run& operator=(last_run&&) = delete;
    ~last_run() {
        if (pool_) {
            pool_->abandon();
        }
    }

    void run() {
        const auto pool = std::move(pool_);
        for (const auto& task : pool->running_tasks()) {
            task->cancel();
            task->abandon();  // with or without its consent, nothing waits for it any more
        }
        pool->run(false);
    }

private:
    std::shared_ptr<pool_core> pool_;
    counted_operation count_;
};

void pool_core::close() noexcept {
    waiter_list<checkout_waiter> ended;
    waiter_list<pool_drain_waiter> drains;
    lock_.lock();
    machine_.close();
    timer_.disarm(zone());
    end_waiters(errc::shut_down, ended);
    end_drains(errc::shut_down, drains);
    (void)machine_.claim_poll();
    lock_.unlock();
    complete_all(ended);
    complete_all(drains);
    if (auto self = weak_from_this().lock()) {
        zone().post([end = last_run(std::move(self))]() mutable { end.run(); });
    }
}

std::vector<std::shared_ptr<pool_task_run>> pool_core::running_tasks() const {
    std::vector<std::shared_ptr<pool_task_run>> running;
    for (pool_task_run* task : tasks_) {
        if (auto shared = task->weak_from_this().lock()) {
            running.push_back(std::move(shared));
        }
    }
    return running;
}

void pool_core::drain() noexcept {
    lock_.lock();
    machine_.drain();
    const bool wakes = machine_.claim_poll();
    lock_.unlock();
    if (wakes) {
        wake();
    }
}

void pool_core::abandon() noexcept {
    waiter_list<checkout_waiter> queue;
    waiter_list<pool_drain_waiter> drains;
    std::vector<void*> idle;
    lock_.lock();
    machine_.close();
    timer_.disarm(zone());
    timer_.abandon();
    queue.swap(queue_);
    drains.swap(drains_);
    std::array<pool_action, 16> actions;
    std::size_t n = 0;
    do {
        n = machine_.poll(time_point::min(), actions);
        for (std::size_t k = 0; k < n; ++k) {
            if (actions[k].task == pool_task::retire) {
                idle.push_back(std::exchange(resources_[actions[k].slot], nullptr));
            }
        }
    } while (n == actions.size());
    lock_.unlock();
    for (const auto& task : running_tasks()) {
        task->abandon();
    }
    const auto destroy = [this](auto& list) {
        while (!list.empty()) {
            auto& w = list.front();
            list.pop_front();
            (void)w.settle(zone());
            w.abandon();
        }
    };
    destroy(queue);
    destroy(drains);
    for (void* resource : idle) {
        destroy_resource(resource);
    }
}

primitive_snapshot pool_core::snapshot() const {
    const std::lock_guard guard(lock_);
    const pool_status s = machine_.status();
    const auto gauge = [](std::string_view metric_name, std::uint64_t value) {
        return metric{metric_name, static_cast<double>(value), false};
    };
    const auto counter = [](std::string_view metric_name, std::uint64_t value) {
        return metric{metric_name, static_cast<double>(value), true};
    };
    return {kind(),
            name(),
            name_of(s.state),
            {gauge("size", s.size), gauge("idle", s.idle), gauge("overflow", s.overflow), gauge("leased", s.leased),
             gauge("waiting", s.waiting), gauge("connecting", s.connecting), counter("granted", granted_),
             counter("queued", queued_), counter("wait_timed_out", timed_out_), counter("canceled", canceled_),
             counter("exhausted", exhausted_), counter("queue_full", queue_full_),
             counter("refused_connect_failed", refused_down_), counter("connects", connects_),
             counter("connect_failures", connect_failures_), counter("closed", closed_), counter("leaks", leaks_)},
            {{"wait", wait_}}};
}

}  // namespace headgate::detail
