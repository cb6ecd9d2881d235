// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/coalescer_core.hpp>

#include <boost/core/demangle.hpp>

#include <algorithm>
#include <new>
#include <random>

#include <headgate/call_outcome.hpp>
#include <headgate/impl/apart.hpp>

#include "zone/metric.hpp"

namespace headgate::detail {

namespace {

// So many waiters are settled before the lock is let go.
constexpr std::uint32_t batch = 64;

}  // namespace

// Life ----------------------------------------------------------------------------------------------------------------

result<std::shared_ptr<coalescer_core>> coalescer_core::create(const std::shared_ptr<zone_core>& zone, std::string name,
                                                               const coalescer_options& options,
                                                               const std::type_info* type) try {
    BOOST_OUTCOME_TRYV(accept(check(options)));
    std::random_device random;
    const std::uint64_t seed = std::uint64_t{random()} << 32 | random();
    std::shared_ptr<coalescer_core> core(new coalescer_core(zone, std::move(name), options, type, seed));
    BOOST_OUTCOME_TRYV(zone->add(core));
    return core;
} catch (const std::bad_alloc&) {
    return errc::out_of_memory;
}

coalescer_core::coalescer_core(const std::shared_ptr<zone_core>& zone, std::string name,
                               const coalescer_options& options, const std::type_info* type, std::uint64_t seed)
    : primitive(zone, primitive_kind::coalescer, std::move(name)),
      seed_(seed),
      type_(type),
      keep_for_(options.keep_for.count()),
      keep_errors_for_(options.keep_errors_for.count()),
      max_kept_(options.max_kept) {}

// A flight on its way has a reference to this: only kept results are left.
coalescer_core::~coalescer_core() {
    std::size_t from = 0;
    while (flight_node* const kept = table_.next(from)) {
        const dropped gone = erase(static_cast<flight&>(*kept));
    }
}

result<void> coalescer_core::settle_type(const std::type_info& type) {
    const std::type_info* is = nullptr;
    if (type_.compare_exchange_strong(is, &type) || *is == type) {
        return success();
    }
    return error(errc::unknown_name, "a coalescer \"" + name() + "\" of this type; its values are of type " +
                                         boost::core::demangle(is->name()));
}

// Boarding ------------------------------------------------------------------------------------------------------------

boarding coalescer_core::board(const whole_key& key, bool look_only, std::shared_ptr<flight>& found) noexcept {
    dropped gone;
    const std::lock_guard guard(lock_);
    return find(key, look_only, found, gone);
}

boarding coalescer_core::lead(std::shared_ptr<flight>& mine) noexcept {
    dropped gone;
    std::shared_ptr<flight> other;
    const std::lock_guard guard(lock_);
    const boarding what = find(mine->key(), false, other, gone);
    if (what != boarding::leads) {
        mine.swap(other);
        return what;
    }
    mine->self_ = mine;
    table_.insert(*mine);
    ++counts_.led;
    ++counts_.running;
    return boarding::leads;
}

boarding coalescer_core::find(const whole_key& key, bool look_only, std::shared_ptr<flight>& found, dropped& gone) {
    if (zone().refusing()) [[unlikely]] {
        return boarding::refused;
    }
    flight_node* const listed = table_.find(key);
    if (listed == nullptr) {
        return boarding::leads;
    }
    auto& there = static_cast<flight&>(*listed);
    if (there.is_kept()) {
        const time_point now = zone().now();
        there.kept_since_ = std::min(there.kept_since_, now);  // a clock that was set back
        if (is_fresh(there, now)) {
            ++counts_.kept_hits;
            found = there.self_;
            return boarding::kept;
        }
    }
    if (!there.is_kept() && (look_only || join(there))) {
        found = there.self_;
        return boarding::joined;
    }
    gone = erase(there);
    return boarding::leads;
}

// False: all of its callers have left.
bool coalescer_core::join(flight& f) noexcept {
    const std::lock_guard guard(f.lock_);
    if (f.stage_ == flight::stage::given_up) {
        return false;
    }
    ++f.callers_;
    ++counts_.joined;
    return true;
}

coalescer_core::dropped coalescer_core::erase(flight& f) noexcept {
    if (f.is_linked()) {
        counts_.kept -= f.is_kept() ? 1 : 0;
        list_of(f).erase(flight_list::s_iterator_to(f));
    }
    if (f.listed()) {
        table_.erase(f);
    }
    return std::move(f.self_);
}

// Callers -------------------------------------------------------------------------------------------------------------

// True: they were the last of a flight on its way, which is to be given up.
bool coalescer_core::leave_under_lock(flight& f, std::uint32_t callers) noexcept {
    left_.fetch_add(callers, std::memory_order_relaxed);
    f.callers_ -= callers;
    const bool last = f.callers_ == 0 && f.stage_ == flight::stage::flying;
    f.stage_ = last ? flight::stage::given_up : f.stage_;
    return last;
}

// All callers have left: nobody finds it any more, and its operation is cancelled.
void coalescer_core::give_up(flight& f) noexcept {
    bool cancels = false;
    {
        dropped gone;
        const std::lock_guard guard(lock_);
        const std::lock_guard inner(f.lock_);
        if (f.stage_ != flight::stage::given_up) {
            return;  // its operation has ended meanwhile
        }
        ++counts_.given_up;
        if (f.self_) {
            gone = erase(f);
        }
        cancels = f.started_ && !std::exchange(f.told_, true);
    }
    if (cancels) {
        cancel_operation(f);
    }
}

// On the zone's strand, which is there only as long as its io_context.
void coalescer_core::cancel_operation(flight& f) noexcept {
    wait_for_memory([&] {
        zone().post(
            [given_up = f.shared_from_this()] { given_up->signal_.emit(boost::asio::cancellation_type::terminal); });
    });
}

void coalescer_core::started(flight& f) noexcept {
    bool cancels = false;
    {
        const std::lock_guard guard(f.lock_);
        f.started_ = true;
        cancels = f.stage_ == flight::stage::given_up && !std::exchange(f.told_, true);
    }
    if (cancels) {
        cancel_operation(f);
    }
}

void coalescer_core::leave(flight& f) noexcept {
    bool last = false;
    {
        const std::lock_guard guard(f.lock_);
        last = leave_under_lock(f, 1);
    }
    if (last) {
        give_up(f);
    }
}

void coalescer_core::wait(flight_waiter& w, time_point until) noexcept {
    const auto self = shared_from_this();
    const auto joined = w.flight_;
    bool last = false;
    {
        decided_waiters decided;
        const std::lock_guard guard(joined->lock_);
        if (joined->stage_ != flight::stage::landed) {
            if (!w.canceled_early() && !zone().closed()) {
                waiting_.fetch_add(1, std::memory_order_relaxed);
                joined->waiters_.join(w, zone(), until);
                return;
            }
            w.refusal_ = w.canceled_early() ? errc::canceled : errc::shut_down;
            last = leave_under_lock(*joined, 1);
        }
        (void)w.settle(zone());
        decided.add(w);
    }
    if (last) {
        give_up(*joined);
    }
}

void coalescer_core::cancel(flight_waiter& w) noexcept {
    const auto self = shared_from_this();
    const auto joined = w.flight_;
    bool last = false;
    {
        decided_waiters decided;
        const std::lock_guard guard(joined->lock_);
        if (joined->waiters_.cancel(w, zone(), decided)) {
            w.refusal_ = errc::canceled;
            waiting_.fetch_sub(1, std::memory_order_relaxed);
            last = leave_under_lock(*joined, 1);
        }
    }
    if (last) {
        give_up(*joined);
    }
}

void coalescer_core::expire(flight_waiter& w) noexcept {
    const auto self = shared_from_this();
    const auto joined = w.flight_;
    bool last = false;
    {
        decided_waiters decided;
        const std::lock_guard guard(joined->lock_);
        if (joined->waiters_.expire(w, decided)) {
            w.refusal_ = errc::timed_out;
            waiting_.fetch_sub(1, std::memory_order_relaxed);
            last = leave_under_lock(*joined, 1);
        }
    }
    if (last) {
        give_up(*joined);
    }
}

void flight_waiter::on_cancel() noexcept {
    core_->cancel(*this);
}

void flight_waiter::on_deadline() noexcept {
    core_->expire(*this);
}

// Results -------------------------------------------------------------------------------------------------------------

duration coalescer_core::keep_span(const error* failure) const noexcept {
    if (failure == nullptr) {
        return duration{keep_for_.load(std::memory_order_relaxed)};
    }
    const bool kept = outcome_of(*failure) == call_outcome::failure;
    return kept ? duration{keep_errors_for_.load(std::memory_order_relaxed)} : duration::zero();
}

bool coalescer_core::take_out(flight& f) noexcept {
    dropped gone;
    const std::lock_guard guard(lock_);
    if (f.self_) {
        gone = erase(f);
    }
    return end_operation(f);
}

void coalescer_core::keep(flight& f, bool is_error) noexcept {
    const time_point now = zone().now();
    dropped first, second;  // two for one, so that what is out of date goes
    const std::lock_guard guard(lock_);
    static_cast<void>(end_operation(f));
    if (!f.listed()) {
        first = f.self_ ? erase(f) : nullptr;  // forgotten, or given up
        return;
    }
    first = drop_one(now, max_kept_);
    second = drop_one(now, max_kept_);
    f.kept_since_ = now;
    f.kept_error_ = is_error;
    list_of(f).push_back(f);
    ++counts_.kept;
}

// Whether anybody but the one in whose coroutine it has run wants the result.
bool coalescer_core::end_operation(flight& f) noexcept {
    --counts_.running;
    const std::lock_guard guard(f.lock_);
    f.callers_ -= f.in_place_ ? 1 : 0;
    f.stage_ = flight::stage::landing;
    return f.callers_ != 0;
}

void coalescer_core::publish(flight& f) noexcept {
    for (bool more = true; more;) {
        decided_waiters decided;
        const std::lock_guard guard(f.lock_);
        f.stage_ = flight::stage::landed;
        std::uint32_t completed = 0;
        for (; completed < batch && !f.waiters_.empty(); ++completed) {
            f.waiters_.settle(f.waiters_.front(), zone(), decided);
        }
        waiting_.fetch_sub(completed, std::memory_order_relaxed);
        more = !f.waiters_.empty();
    }
    zone().returned();
}

duration coalescer_core::span_of(const flight& f) const noexcept {
    return duration{(f.kept_error_ ? keep_errors_for_ : keep_for_).load(std::memory_order_relaxed)};
}

bool coalescer_core::is_fresh(const flight& f, time_point now) const noexcept {
    return saturating_sub(now, f.kept_since_) < span_of(f);
}

// One that is out of date or, when there are `too_many`, the one that would be next.
coalescer_core::dropped coalescer_core::drop_one(time_point now, std::uint64_t too_many) noexcept {
    flight* next = nullptr;
    for (flight_list* const list : {&values_, &errors_}) {
        if (list->empty()) {
            continue;
        }
        flight& f = list->front();
        if (next == nullptr ||
            saturating_add(f.kept_since_, span_of(f)) < saturating_add(next->kept_since_, span_of(*next))) {
            next = &f;
        }
    }
    const bool goes = next != nullptr && (counts_.kept >= too_many || !is_fresh(*next, now));
    return goes ? erase(*next) : dropped();
}

void coalescer_core::forget(const whole_key& key) noexcept {
    dropped gone;
    const std::lock_guard guard(lock_);
    if (flight_node* const listed = table_.find(key)) {
        auto& there = static_cast<flight&>(*listed);
        if (there.is_kept()) {
            gone = erase(there);
            return;
        }
        table_.erase(there);
        there.forgotten_ = true;
        forgotten_.push_back(there);
    }
}

// Control -------------------------------------------------------------------------------------------------------------

result<void> coalescer_core::reconfigure(const coalescer_options& options) try {
    BOOST_OUTCOME_TRYV(accept(check(options)));
    const time_point now = zone().now();
    {
        const std::lock_guard guard(lock_);
        keep_for_.store(options.keep_for.count(), std::memory_order_relaxed);
        keep_errors_for_.store(options.keep_errors_for.count(), std::memory_order_relaxed);
        max_kept_ = options.max_kept;
    }
    for (bool more = true; more;) {
        dropped gone;
        const std::lock_guard guard(lock_);
        gone = drop_one(now, max_kept_ + 1);
        more = gone != nullptr;
    }
    emit({.kind = event_kind::reconfigured});
    return success();
} catch (const std::bad_alloc&) {
    return errc::out_of_memory;
}

coalescer_snapshot coalescer_core::look() const noexcept {
    const std::lock_guard guard(lock_);
    coalescer_snapshot out = counts_;
    out.waiting = waiting_.load(std::memory_order_relaxed);
    out.left = left_.load(std::memory_order_relaxed);
    return out;
}

std::uint64_t coalescer_core::in_use() const noexcept {
    const std::lock_guard guard(lock_);
    return counts_.running;
}

void coalescer_core::close() noexcept {
    end_all(false);
}

void coalescer_core::abandon() noexcept {
    end_all(true);
}

flight* coalescer_core::next_flight(std::size_t& from) noexcept {
    flight_node* const listed = table_.next(from);
    return listed != nullptr ? &static_cast<flight&>(*listed) : forgotten_.empty() ? nullptr : &forgotten_.front();
}

// Lets all go. Operations without callers are cancelled, as long as there is an io_context to do that.
void coalescer_core::end_all(bool abandoned) noexcept {
    const auto self = weak_from_this().lock();
    bool more = true;
    for (std::size_t from = 0; more;) {
        dropped gone;
        {
            const std::lock_guard guard(lock_);
            if (flight* const f = next_flight(from)) {
                gone = erase(*f);
            }
            more = gone || from < table_.buckets();
        }
        if (gone) {
            end_waiters(*gone, abandoned);
        }
    }
}

void coalescer_core::end_waiters(flight& f, bool abandoned) noexcept {
    bool last = false;
    for (bool more = true; more;) {
        decided_waiters ended;
        {
            const std::lock_guard guard(f.lock_);
            std::uint32_t callers = 0;
            for (; callers < batch && !f.waiters_.empty(); ++callers) {
                flight_waiter& w = f.waiters_.front();
                w.refusal_ = errc::shut_down;
                f.waiters_.settle(w, zone(), ended);
            }
            waiting_.fetch_sub(callers, std::memory_order_relaxed);
            last = leave_under_lock(f, callers) || last;
            more = !f.waiters_.empty();
        }
        if (abandoned) {
            ended.abandon();
        }
    }
    if (last) {
        give_up(f);
    }
}

primitive_snapshot coalescer_core::snapshot() const {
    const coalescer_snapshot s = look();
    return {
        .kind = kind(),
        .name = name(),
        .state = {},
        .metrics = {gauge("running", s.running, "Operations that run."),
                    gauge("waiting", s.waiting, "Callers that wait for an operation."),
                    gauge("kept", s.kept, "Results that are kept."),
                    counter("led", s.led, "Callers whose operation was run."),
                    counter("joined", s.joined, "Callers that joined an operation that ran already."),
                    counter("kept_hits", s.kept_hits, "Callers that got a kept result."),
                    counter("left", s.left, "Callers that went without a result."),
                    counter("given_up", s.given_up, "Operations that were cancelled because all callers had left.")}};
}

}  // namespace headgate::detail
