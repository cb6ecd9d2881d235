// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/zone_core.hpp>

#include <boost/asio/execution_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <map>
#include <mutex>
#include <vector>

#include <headgate/impl/zone_waiters.hpp>

#include "zone/deadline_wheel.hpp"

namespace headgate::detail {

namespace {

// The driver sleeps no longer than this, so that an io_context whose last deadline was disarmed runs out of work soon:
// disarming leaves the timer as it is, because touching it is a system call.
constexpr duration longest_sleep = std::chrono::seconds(1);

template <class List>
void move_all(List& from, List& to) {
    to.splice(to.end(), from);
}

}  // namespace

/// Tells the zones of an io_context that it is being destroyed.
class zone_service final : public asio::execution_context::service {
public:
    using key_type = zone_service;
    static asio::execution_context::id id;

    explicit zone_service(asio::execution_context& context) : service(context) {}

    void add(std::weak_ptr<zone_core> zone) {
        const std::lock_guard guard(mutex_);
        std::erase_if(zones_, [](const auto& z) { return z.expired(); });
        zones_.push_back(std::move(zone));
    }

private:
    void shutdown() override {
        std::vector<std::weak_ptr<zone_core>> zones;
        {
            const std::lock_guard guard(mutex_);
            zones.swap(zones_);
        }
        for (const auto& weak : zones) {
            if (const auto zone = weak.lock()) {
                zone->abandon();
            }
        }
    }

    detail::mutex mutex_;
    std::vector<std::weak_ptr<zone_core>> zones_;
};

asio::execution_context::id zone_service::id;

struct zone_core::state {
    explicit state(const strand_type& strand) : timer(std::in_place, strand) {}

    // The driver.
    mutable spinlock wheel_lock;
    deadline_wheel wheel;
    time_point armed = time_point::max();
    bool rearm_posted = false;
    std::optional<asio::steady_timer> timer;  // touched on the strand only

    // The registry.
    mutable detail::mutex mutex;
    std::map<std::pair<primitive_kind, std::string>, std::shared_ptr<primitive>, std::less<>> primitives;
    std::vector<std::weak_ptr<primitive>> removed;

    // Those who sleep, and those who wait for the end.
    spinlock waiters_lock;
    waiter_list<sleep_waiter> sleeping;
    waiter_list<idle_waiter> closing;

    // The event stream.
    detail::mutex events_mutex;
    std::uint64_t sequence = 0;
    std::vector<event> events;
    bool delivery_posted = false;
    std::uint64_t last_subscription = 0;
    std::map<std::uint64_t, std::shared_ptr<std::function<void(const event&)>>> subscribers;
};

primitive::primitive(std::shared_ptr<zone_core> zone, primitive_kind kind, std::string name)
    : zone_(std::move(zone)), kind_(kind), name_(std::move(name)) {}

primitive::~primitive() = default;

void primitive::emit(event e) const {
    zone_->emit(kind_, name_, std::move(e));
}

std::shared_ptr<zone_core> zone_core::create(asio::io_context& context, std::string name, virtual_clock* clock,
                                             bool runs_without_breaker) {
    auto& service = asio::use_service<zone_service>(context);
    const std::shared_ptr<zone_core> zone(new zone_core(context, std::move(name), clock, runs_without_breaker));
    service.add(zone);
    if (clock != nullptr) {
        clock->attach(zone);
    }
    return zone;
}

zone_core::zone_core(asio::io_context& context, std::string name, virtual_clock* clock, bool runs_without_breaker)
    : context_(context),
      name_(std::move(name)),
      clock_(clock),
      runs_without_breaker_(runs_without_breaker),
      strand_(asio::make_strand(context)) {
    state_ = std::make_unique<state>(*strand_);
    const auto system = clock != nullptr ? clock->system_now() : std::chrono::system_clock::now();
    system_offset_ = std::chrono::duration_cast<duration>(system.time_since_epoch()) - now().time_since_epoch();
}

zone_core::~zone_core() = default;

// ---- deadlines

void zone_core::arm(deadline& node, time_point when) noexcept {
    bool post_rearm = false;
    {
        const std::lock_guard guard(state_->wheel_lock);
        node.when_ = when;
        state_->wheel.add(node);
        if (when < state_->armed && clock_ == nullptr) {
            state_->armed = when;
            post_rearm = !std::exchange(state_->rearm_posted, true);
        }
    }
    if (post_rearm) {
        post([self = shared_from_this()] { self->rearm(); });
    }
}

bool zone_core::disarm(deadline& node) noexcept {
    const std::lock_guard guard(state_->wheel_lock);
    return state_->wheel.remove(node);
}

time_point zone_core::next_wake() const noexcept {
    const std::lock_guard guard(state_->wheel_lock);
    return state_->wheel.next_wake();
}

void zone_core::wake() {
    post([self = shared_from_this()] { self->run_due(); });
}

void zone_core::run_due() noexcept {
    for (;;) {
        deadline* node = nullptr;
        {
            const std::lock_guard guard(state_->wheel_lock);
            node = state_->wheel.pop_due(now());
        }
        if (node == nullptr) {
            return;
        }
        node->on_deadline();
    }
}

void zone_core::rearm() {
    if (!state_->timer) {
        return;
    }
    time_point wake;
    {
        const std::lock_guard guard(state_->wheel_lock);
        state_->rearm_posted = false;
        const bool idle = state_->wheel.empty();
        wake = idle ? time_point::max() : std::min(state_->wheel.next_wake(), saturating_add(now(), longest_sleep));
        state_->armed = wake;
    }
    if (wake == time_point::max()) {
        state_->timer->cancel();
        return;
    }
    state_->timer->expires_at(wake);
    state_->timer->async_wait([self = shared_from_this()](boost::system::error_code ec) {
        if (!ec) {
            self->run_due();
            self->rearm();
        }
    });
}

// ---- events

std::uint64_t zone_core::subscribe(std::function<void(const event&)> handler) {
    const std::lock_guard guard(state_->events_mutex);
    const auto id = ++state_->last_subscription;
    state_->subscribers.emplace(id, std::make_shared<std::function<void(const event&)>>(std::move(handler)));
    subscribed_ = true;
    return id;
}

void zone_core::unsubscribe(std::uint64_t id) noexcept {
    std::shared_ptr<std::function<void(const event&)>> gone;
    const std::lock_guard guard(state_->events_mutex);
    if (const auto found = state_->subscribers.find(id); found != state_->subscribers.end()) {
        gone = std::move(found->second);
        state_->subscribers.erase(found);
    }
    subscribed_ = !state_->subscribers.empty();
}

void zone_core::emit(primitive_kind kind, const std::string& name, event e) {
    bool post_delivery = false;
    {
        const std::lock_guard guard(state_->events_mutex);
        e.sequence = ++state_->sequence;
        if (state_->subscribers.empty()) {
            return;
        }
        e.time = now();
        e.primitive = kind;
        e.name = name;
        state_->events.push_back(std::move(e));
        post_delivery = !std::exchange(state_->delivery_posted, true);
    }
    if (post_delivery) {
        post([self = shared_from_this()] { self->deliver_events(); });
    }
}

void zone_core::deliver_events() {
    std::vector<event> events;
    {
        const std::lock_guard guard(state_->events_mutex);
        events.swap(state_->events);
        state_->delivery_posted = false;
    }
    for (const event& e : events) {
        std::vector<std::shared_ptr<std::function<void(const event&)>>> handlers;
        {
            const std::lock_guard guard(state_->events_mutex);
            for (const auto& [id, handler] : state_->subscribers) {
                handlers.push_back(handler);
            }
        }
        for (const auto& handler : handlers) {
            (*handler)(e);
        }
    }
}

// ---- registry

result<void> zone_core::add(std::shared_ptr<primitive> p) {
    if (p->name().empty()) {
        return error(errc::invalid_argument, "the name is empty; it must have at least one character");
    }
    const std::lock_guard guard(state_->mutex);
    if (refusing()) {
        return errc::shut_down;
    }
    auto key = std::pair(p->kind(), p->name());
    if (!state_->primitives.try_emplace(std::move(key), p).second) {
        return error(errc::name_taken,
                     std::string(to_string(p->kind())) + " \"" + p->name() + "\" in zone \"" + name_ + '"');
    }
    return outcome::success();
}

result<std::shared_ptr<primitive>> zone_core::find(primitive_kind kind, std::string_view name) const {
    const std::lock_guard guard(state_->mutex);
    const auto found = state_->primitives.find(std::pair(kind, std::string(name)));
    if (found == state_->primitives.end()) {
        return error(errc::unknown_name,
                     std::string(to_string(kind)) + " \"" + std::string(name) + "\" in zone \"" + name_ + '"');
    }
    return found->second;
}

void zone_core::remove(primitive_kind kind, std::string_view name) {
    std::shared_ptr<primitive> gone;  // perhaps the last reference: it goes after the lock
    {
        const std::lock_guard guard(state_->mutex);
        const auto found = state_->primitives.find(std::pair(kind, std::string(name)));
        if (found == state_->primitives.end()) {
            return;
        }
        gone = std::move(found->second);
        state_->primitives.erase(found);
        std::erase_if(state_->removed, [](const auto& weak) { return weak.expired(); });
        state_->removed.push_back(gone);
    }
    gone->drain();
}

// All that are registered, and those that were and are still used.
std::vector<std::shared_ptr<primitive>> zone_core::living() const {
    const std::lock_guard guard(state_->mutex);
    std::vector<std::shared_ptr<primitive>> out;
    for (const auto& [key, p] : state_->primitives) {
        out.push_back(p);
    }
    for (const auto& weak : state_->removed) {
        if (auto p = weak.lock()) {
            out.push_back(std::move(p));
        }
    }
    return out;
}

zone_snapshot zone_core::snapshot() const {
    zone_snapshot s;
    s.name = name_;
    s.closed = closed();
    s.operations = operations_.load(std::memory_order_relaxed);
    const std::lock_guard guard(state_->mutex);
    for (const auto& [key, p] : state_->primitives) {
        s.primitives.push_back(p->snapshot());
    }
    return s;
}

std::uint64_t zone_core::in_use() const {
    std::uint64_t sum = 0;
    for (const auto& p : living()) {
        sum += p->in_use();
    }
    return sum;
}

// ---- the end

void zone_core::drain() noexcept {
    auto open = stage::open;
    stage_.compare_exchange_strong(open, stage::draining);
}

void zone_core::close() noexcept {
    if (stage_.exchange(stage::closed) != stage::closed) {
        for (const auto& p : living()) {
            p->close();
        }
        waiter_list<sleep_waiter> ended;
        {
            const std::lock_guard guard(state_->waiters_lock);
            for (auto it = state_->sleeping.begin(); it != state_->sleeping.end();) {
                sleep_waiter& w = *it++;
                state_->sleeping.erase(state_->sleeping.iterator_to(w));
                w.outcome = errc::shut_down;
                if (w.settle(*this)) {
                    ended.push_back(w);
                }
            }
        }
        while (!ended.empty()) {
            sleep_waiter& w = ended.front();
            ended.pop_front();
            w.complete();
        }
    }
    check_idle();
}

void zone_core::release() noexcept {
    close();
    decltype(state_->primitives) gone;
    const std::lock_guard guard(state_->mutex);
    gone.swap(state_->primitives);
}

void zone_core::abandon() noexcept {
    stage_ = stage::closed;
    state_->timer.reset();
    strand_.reset();
    decltype(state_->subscribers) subscribers;
    for (const auto& p : living()) {
        p->abandon();
    }
    {
        const std::lock_guard guard(state_->events_mutex);
        subscribers.swap(state_->subscribers);
    }
    waiter_list<sleep_waiter> sleeping;
    waiter_list<idle_waiter> closing;
    move_all(state_->sleeping, sleeping);
    move_all(state_->closing, closing);
    const auto destroy = [this](auto& list) {
        while (!list.empty()) {
            auto& w = list.front();
            list.pop_front();
            (void)w.settle(*this);
            w.abandon();
        }
    };
    destroy(sleeping);
    destroy(closing);
}

void zone_core::operation_finished() noexcept {
    operations_.fetch_sub(1, std::memory_order_acq_rel);
    if (refusing()) {
        check_idle();
    }
}

// Completes those who wait for the end, when it has come: a close waits for operations, a drain for leases and permits
// too.
void zone_core::check_idle() noexcept {
    waiter_list<idle_waiter> done;
    const std::uint64_t used = closed() ? 0 : in_use();
    {
        const std::lock_guard guard(state_->waiters_lock);
        const auto waiting = state_->closing.size();
        if (!strand_ || waiting == 0 || operations_.load(std::memory_order_acquire) > waiting || used > 0) {
            return;
        }
        for (auto it = state_->closing.begin(); it != state_->closing.end();) {
            idle_waiter& w = *it++;
            state_->closing.erase(state_->closing.iterator_to(w));
            if (w.settle(*this)) {
                done.push_back(w);
            }
        }
    }
    while (!done.empty()) {
        idle_waiter& w = done.front();
        done.pop_front();
        w.complete();
    }
}

void zone_core::enqueue(idle_waiter& w, bool draining, duration limit) noexcept {
    {
        const std::lock_guard guard(state_->waiters_lock);
        state_->closing.push_back(w);
        if (draining) {
            w.arm(*this, saturating_add(now(), limit));
        }
    }
    if (draining) {
        drain();
        check_idle();
    } else {
        close();
    }
}

void zone_core::expire(idle_waiter& w) noexcept {
    const std::uint64_t used = in_use();
    {
        const std::lock_guard guard(state_->waiters_lock);
        if (w.settle_by_deadline()) {
            state_->closing.erase(state_->closing.iterator_to(w));
            w.outcome = errc::wait_timed_out;
            w.left = used + operations_.load(std::memory_order_relaxed) - 1;
        }
    }
    w.complete();
}

void zone_core::cancel(idle_waiter& w) noexcept {
    {
        const std::lock_guard guard(state_->waiters_lock);
        if (w.settled()) {
            return;
        }
        state_->closing.erase(state_->closing.iterator_to(w));
        w.outcome = errc::canceled;
        if (!w.settle(*this)) {
            return;
        }
    }
    w.complete();
}

// ---- sleeping

void zone_core::enqueue(sleep_waiter& w, duration span) noexcept {
    {
        const std::lock_guard guard(state_->waiters_lock);
        if (!closed()) {
            state_->sleeping.push_back(w);
            w.arm(*this, saturating_add(now(), span));
            return;
        }
        w.outcome = errc::shut_down;
        (void)w.settle(*this);
    }
    w.complete();
}

void zone_core::expire(sleep_waiter& w) noexcept {
    {
        const std::lock_guard guard(state_->waiters_lock);
        if (w.settle_by_deadline()) {
            state_->sleeping.erase(state_->sleeping.iterator_to(w));
        }
    }
    w.complete();
}

void zone_core::cancel(sleep_waiter& w) noexcept {
    {
        const std::lock_guard guard(state_->waiters_lock);
        if (w.settled()) {
            return;
        }
        state_->sleeping.erase(state_->sleeping.iterator_to(w));
        w.outcome = errc::canceled;
        if (!w.settle(*this)) {
            return;
        }
    }
    w.complete();
}

void sleep_waiter::on_deadline() noexcept {
    zone_.expire(*this);
}

void sleep_waiter::on_cancel() noexcept {
    zone_.cancel(*this);
}

void idle_waiter::on_deadline() noexcept {
    zone_.expire(*this);
}

void idle_waiter::on_cancel() noexcept {
    zone_.cancel(*this);
}

}  // namespace headgate::detail
