// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/limiter_core.hpp>

#include <algorithm>
#include <mutex>
#include <new>
#include <utility>

#include "rate_limiter/busiest_keys.hpp"
#include "rate_limiter/fixed_members.hpp"
#include "rate_limiter/key_queue.hpp"
#include "rate_limiter/limiter_machine.hpp"
#include "zone/metric.hpp"

namespace headgate::detail {

namespace {

// A table with fewer keys than this is not worth a timer, which would keep the io_context running: a call that finds it
// full looks for dead keys itself. While keys share a bucket there is a timer always.
constexpr std::uint64_t sweep_from_keys = 1024;
// One step of the sweep looks at so many shards, of some 250 keys each: tens of microseconds for which a call on the
// same thread may have to wait. It goes around once a minute, or slower when steps would follow each other without a
// pause.
constexpr std::size_t sweep_step = 4;
constexpr duration sweep_round = std::chrono::minutes(1);
constexpr duration shortest_sweep_interval = std::chrono::milliseconds(1);
// So many waiters are answered under one hold of the lock.
constexpr std::size_t answered_at_once = 64;

duration sweep_interval(const limiter_machine& machine) {
    const auto steps = static_cast<duration::rep>(std::max<std::size_t>(1, machine.shards() / sweep_step));
    return std::max(shortest_sweep_interval, sweep_round / steps);
}

errc code_of(verdict v) noexcept {
    switch (v) {
        case verdict::cost_exceeds_limit: return errc::cost_exceeds_limit;
        case verdict::zero_cost:
        case verdict::unknown_tier: return errc::invalid_argument;
        case verdict::shut_down: return errc::shut_down;
        case verdict::queue_full: return errc::queue_full;
        case verdict::wait_timed_out: return errc::wait_timed_out;
        case verdict::canceled: return errc::canceled;
        case verdict::out_of_memory: return errc::out_of_memory;
        default: return errc::rate_limited;
    }
}

const char* text_of(verdict v) noexcept {
    switch (v) {
        case verdict::zero_cost: return "cost is 0; it must be at least 1";
        case verdict::unknown_tier: return "the tier is unknown; it must be one of the limiter's";
        default: return nullptr;
    }
}

// Between two holds of the queues and of a bucket.
void let_others_in(limiter_queues& queues, limiter_machine& machine, const bucket_ref& bucket) noexcept {
    queues.lock.let_others_in();
    machine.let_others_in(bucket);
}

}  // namespace

error refusal(const decision& d) noexcept {
    if (const char* text = text_of(d.what)) {
        try {
            return error(code_of(d.what), text);
        } catch (const std::bad_alloc&) {
            return errc::invalid_argument;
        }
    }
    return {code_of(d.what), d.retry_after};
}

result<grant> to_result(const decision& d) noexcept {
    if (d.what == verdict::granted) {
        return d.granted;
    }
    return refusal(d);
}

/// One change of the queues: locks them, and collects what follows from it. At its end it arms the sweep, unlocks,
/// tells events and completes waiters, in that order.
class limiter_core::change {
public:
    explicit change(limiter_core& core) noexcept : core_(core), queues_(*core.queues_), lock_(queues_.lock) {}
    change(const change&) = delete;
    change& operator=(const change&) = delete;
    ~change() {
        if ((overflow_began_ || inserted_) && !queues_.closed && core_.needs_sweep() &&
            !queues_.sweeping.exchange(true)) {
            queues_.sweep.arm(core_.zone(), core_.shared_from_this(),
                              saturating_add(now_, sweep_interval(core_.machine())));
        }
        lock_.unlock();
        if (overflow_began_) {
            core_.tell(event_kind::keys_overflowed);
        }
    }

    /// Notes what a decision causes, for all callers alike.
    void note(const decision& d, time_point now) noexcept {
        overflow_began_ |= d.overflow_began;
        inserted_ |= d.inserted;
        now_ = now;
    }

    /// Closes the queues to new waiters, and ends some of those that wait. False when there are none.
    bool end_some(decided_waiters& ended) noexcept {
        queues_.closed = true;
        queues_.sweep.disarm(core_.zone());
        key_queue* const queue = queues_.next({});
        if (queue == nullptr) {
            return false;
        }
        queues_.end(*queue, {.what = verdict::shut_down}, answered_at_once, ended);
        if (queue->waiting.empty()) {
            queues_.remove(*queue);
        }
        return true;
    }

    decided_waiters decided;

private:
    limiter_core& core_;
    limiter_queues& queues_;
    bool overflow_began_ = false;
    bool inserted_ = false;
    time_point now_{};
    std::unique_lock<spinlock> lock_;
};

limiter_core::limiter_core(std::shared_ptr<zone_core> zone, std::string name, std::unique_ptr<limiter_machine> machine,
                           const rate_limiter_options& options)
    : primitive(std::move(zone), primitive_kind::rate_limiter, std::move(name)),
      machine_(std::move(machine)),
      seed_(&machine_->seed()),
      busiest_(options.busiest == 0 ? nullptr : std::make_unique<detail::busiest_keys>(options.busiest)),
      max_waiters_(options.max_waiters),
      queues_(std::make_unique<limiter_queues>(*this)) {}

limiter_core::~limiter_core() = default;

result<std::uint32_t> limiter_core::tier(std::string_view name) const {
    if (const auto found = machine_->find_tier(name)) {
        return *found;
    }
    return error(errc::invalid_argument,
                 "tier \"" + std::string(name) + "\" is unknown to limiter \"" + this->name() + '"');
}

void limiter_core::note(const key& key, std::uint64_t hash) noexcept {
    busiest_->hit(hash, key);
}

void limiter_core::tell(event_kind kind) const noexcept {
    try {
        emit({.kind = kind});
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch)
        // The event is lost; what it tells of has happened.
    }
}

// ---- decisions in place

straight_answer limiter_core::straight(const limiter_request& r, time_point now, duration max_wait) noexcept {
    if (zone().refusing()) [[unlikely]] {
        return {nullptr, 0};
    }
    return machine_->straight(r.hash, r.tier, r.cost, now, max_wait);
}

straight_answer limiter_core::straight(const limiter_request& r) noexcept {
    machine_->prefetch(r.hash);
    return straight(r, zone().now(), {});
}

straight_answer limiter_core::straight_or_wait(const limiter_request& r, duration max_wait) noexcept {
    machine_->prefetch(r.hash);
    return straight(r, zone().now(), max_wait);
}

decision limiter_core::decide(const limiter_request& r, time_point now, duration max_wait) noexcept {
    if (zone().refusing()) {
        return {.what = verdict::shut_down};
    }
    machine_->follow_wall_clock(zone().system_offset());
    decision d = machine_->try_acquire_generally(r.hash, r.tier, r.cost, now, max_wait);
    if (d.what == verdict::queued && max_wait <= duration::zero()) {
        return decide_queued(r, now);
    }
    if (d.overflow_began || (d.inserted && needs_sweep() && !queues_->sweeping.load(std::memory_order_relaxed)))
        [[unlikely]] {
        change(*this).note(d, now);
    }
    return d;
}

// A bucket near by has a queue: perhaps it is this one.
decision limiter_core::decide_queued(const limiter_request& r, time_point now) noexcept {
    change c(*this);
    key_queue* queue = queues_->find({r.hash, false});
    auto bucket = queue != nullptr ? machine_->open(queue->ref, now) : machine_->open(r.hash, now);
    queue = queue != nullptr ? queue : queues_->find(bucket.ref());
    const auto largest = bucket.largest_cost(r.tier);
    if (queue == nullptr || r.cost == 0 || !largest || r.cost > *largest) {
        const decision d = bucket.try_charge(r.tier, r.cost, now);
        c.note(d, now);
        return d;
    }
    bucket.count_refused();
    return {.what = verdict::rate_limited, .retry_after = queue->line.behind(queue->waiting, bucket, r, now)};
}

std::optional<error> limiter_core::look(const limiter_request& r, time_point now) {
    if (zone().refusing()) {
        return error(errc::shut_down);
    }
    const change c(*this);
    key_queue* queue = queues_->find({r.hash, false});
    auto bucket = queue != nullptr ? machine_->open(queue->ref, now)
                                   : machine_->open(r.hash, now, limiter_machine::purpose::look);
    queue = queue != nullptr ? queue : queues_->find(bucket.ref());
    const auto largest = bucket.largest_cost(r.tier);
    if (!largest) {
        return refusal({.what = verdict::unknown_tier});
    }
    if (r.cost == 0 || r.cost > *largest) {
        return refusal({.what = r.cost == 0 ? verdict::zero_cost : verdict::cost_exceeds_limit});
    }
    if (queue != nullptr) {
        return error(errc::rate_limited, queue->line.behind(queue->waiting, bucket, r, now));
    }
    const auto at = bucket.next_time(r.tier, r.cost, now);
    if (!at || *at > now) {
        return error(errc::rate_limited, at ? saturating_sub(*at, now) : duration{});
    }
    return {};
}

// ---- waiting

void limiter_core::enqueue(acquire_waiter& w, time_point now, duration max_wait) noexcept {
    change c(*this);
    const decision d = join(w, now, max_wait, c);
    if (d.what != verdict::queued) {
        w.decision_ = d;
        (void)w.settle(zone());
        c.decided.add(w);
    }
}

// Found, judged and queued under one lock. `queued`: it waits.
decision limiter_core::join(acquire_waiter& w, time_point now, duration max_wait, change& c) noexcept {
    if (zone().refusing() || queues_->closed) {
        return {.what = verdict::shut_down};
    }
    if (w.canceled_early()) {
        return {.what = verdict::canceled};
    }
    const limiter_request& r = w.request;
    const time_point until = max_wait == duration::max() ? time_point::max() : saturating_add(now, max_wait);
    key_queue* queue = queues_->find({r.hash, false});
    auto bucket = queue != nullptr ? machine_->open(queue->ref, now) : machine_->open(r.hash, now);
    queue = queue != nullptr ? queue : queues_->find(bucket.ref());
    const auto largest = bucket.largest_cost(r.tier);
    if (queue == nullptr || r.cost == 0 || !largest || r.cost > *largest) {
        const decision d = bucket.try_charge(r.tier, r.cost, now, max_wait);
        c.note(d, now);
        if (d.what != verdict::rate_limited || is_final(d.retry_after, max_wait)) {
            return d;
        }
        queue = queues_->add(bucket);
        if (queue == nullptr) {
            return {.what = verdict::out_of_memory};
        }
        queue->timer.arm(zone(), queue->shared_from_this(), saturating_add(now, d.retry_after));
    } else {
        const auto soonest = bucket.next_time(r.tier, r.cost, now);
        const bool hopeless = max_wait <= duration::zero() || !soonest || *soonest > until;
        if (hopeless || queue->waiting.size() >= max_waiters_) {
            bucket.count_refused();
            return {.what = hopeless ? verdict::rate_limited : verdict::queue_full,
                    .retry_after = queue->line.behind(queue->waiting, bucket, r, now)};
        }
    }
    queues_->join(*queue, w, bucket, now, until);
    return {.what = verdict::queued};
}

// Grants to the first of a queue as long as it passes, then arms the timer for the next; drops an empty queue. True
// when there is more to do, under another hold of the lock.
bool limiter_core::serve(key_queue& queue, time_point now, change& c) noexcept {
    for (std::size_t n = 0; !queue.waiting.empty(); ++n) {
        if (n == answered_at_once) {
            return true;
        }
        const limiter_request& r = queue.waiting.front().request;
        auto bucket = machine_->open(queue.ref, now);
        const decision d = bucket.try_charge(r.tier, r.cost, now, duration::max());
        c.note(d, now);
        if (d.what == verdict::rate_limited) {
            queue.timer.arm(zone(), queue.shared_from_this(), saturating_add(now, d.retry_after));
            return false;
        }
        queues_->serve_first(queue, d, now, c.decided);
    }
    queues_->remove(queue);
    return false;
}

void limiter_core::serve_queue(std::uint64_t hash, bool overflow) noexcept {
    for (bool more = true; more; let_others_in(*queues_, *machine_, {hash, overflow})) {
        change c(*this);
        key_queue* queue = queues_->find({hash, overflow});
        more = queue != nullptr && serve(*queue, zone().now(), c);
    }
}

void limiter_core::serve_all() noexcept {
    std::optional<bucket_ref> last;
    for (;;) {
        {
            change c(*this);
            key_queue* queue = queues_->next(last);
            if (queue == nullptr) {
                return;
            }
            last = queue->ref;
            queue->line.start_over();
        }
        serve_queue(last->hash, last->overflow);
        for (bool more = true; more; let_others_in(*queues_, *machine_, *last)) {
            change c(*this);
            key_queue* queue = queues_->find(*last);
            if (queue == nullptr) {
                break;
            }
            const time_point now = zone().now();
            auto bucket = machine_->open(queue->ref, now);
            more = queue->line.walk(queue->waiting, bucket, now);
        }
    }
}

// Serve the queue first: a waiter may still be granted exactly at its deadline.
void limiter_core::expire(acquire_waiter& w) noexcept {
    const bucket_ref ref{w.queue_hash_, w.queue_overflow_};
    serve_queue(ref.hash, ref.overflow);
    bool more = false;
    {
        change c(*this);
        key_queue* queue = queues_->find(ref);
        if (queue == nullptr) {
            c.decided.add(w);  // decided before, and left to the deadline to complete
            return;
        }
        more = queues_->expire(*queue, w, c.decided) && serve(*queue, zone().now(), c);
    }
    if (more) {
        serve_queue(ref.hash, ref.overflow);
    }
}

void limiter_core::cancel(acquire_waiter& w) noexcept {
    bucket_ref ref;
    bool more = false;
    {
        change c(*this);
        ref = {w.queue_hash_, w.queue_overflow_};
        if (w.settled() || !w.note_cancel()) {
            return;
        }
        key_queue* queue = queues_->find(ref);
        more = queue != nullptr && queues_->cancel(*queue, w, c.decided) && serve(*queue, zone().now(), c);
    }
    if (more) {
        serve_queue(ref.hash, ref.overflow);
    }
}

result<void> limiter_core::reconfigure(const rate_limiter_options& options) {
    BOOST_OUTCOME_TRYV(detail::accept(check(options)));
    const rate_limiter_options made{.max_keys = machine_->settings().max_keys,
                                    .track_keys = machine_->settings().track_keys,
                                    .busiest = busiest_ ? static_cast<std::uint32_t>(busiest_->capacity()) : 0};
    for (const auto& m : changed_fixed_members(made, options)) {
        return error(errc::invalid_argument, std::string(m.name) + " is " + m.is + "; it must stay " + m.was +
                                                 ", which the limiter was made with");
    }
    {
        const std::lock_guard one_change(reconfiguring_);
        BOOST_OUTCOME_TRYV(machine_->change(options.tiers, zone().now()));
        const std::lock_guard lock(queues_->lock);
        max_waiters_ = options.max_waiters;
    }
    serve_all();
    tell(event_kind::reconfigured);
    return success();
}

bool limiter_core::forget(std::uint64_t hash) noexcept {
    const bool known = machine_->forget(hash, zone().now());
    {
        const change c(*this);
        if (key_queue* queue = queues_->find({hash, false})) {
            queue->line.start_over();
        }
    }
    serve_queue(hash, false);
    return known;
}

// ---- the end

void limiter_core::close() noexcept {
    for (bool more = true; more; queues_->lock.let_others_in()) {
        change c(*this);
        more = c.end_some(c.decided);
    }
}

void limiter_core::abandon() noexcept {
    decided_waiters gone;
    for (bool more = true; more;) {
        more = change(*this).end_some(gone);
    }
    gone.abandon();
}

// ---- the sweep

bool limiter_core::needs_sweep() const noexcept {
    return machine_->keys() >= sweep_from_keys || machine_->overflowing();
}

void limiter_core::on_timer() noexcept {
    const time_point now = zone().now();
    machine_->follow_wall_clock(zone().system_offset());
    const auto report = machine_->sweep(sweep_step, now);
    if (report.overflow_ended) {
        tell(event_kind::keys_recovered);
    }
    const std::lock_guard lock(queues_->lock);
    if (queues_->closed) {
        return;
    }
    // Where there is little left it goes around until it finds nothing.
    queues_->idle_steps = needs_sweep() || report.dropped != 0 ? 0 : queues_->idle_steps + 1;
    if (machine_->keys() != 0 && queues_->idle_steps <= machine_->shards() / sweep_step) {
        queues_->sweep.arm(zone(), shared_from_this(), saturating_add(now, sweep_interval(*machine_)));
    } else {
        queues_->sweep.disarm(zone());
        queues_->sweeping = false;
    }
}

rate_limiter_snapshot limiter_core::look() const {
    const auto counts = machine_->counts();
    rate_limiter_snapshot s{.granted = counts.granted,
                            .refused = counts.refused,
                            .keys = counts.keys,
                            .bytes = counts.bytes,
                            .overflowing = counts.overflowing};
    if (busiest_) {
        s.busiest = busiest_->list();
    }
    const std::lock_guard lock(queues_->lock);
    s.waiting = queues_->waiting();
    return s;
}

primitive_snapshot limiter_core::snapshot() const {
    rate_limiter_snapshot s = look();
    return {
        .kind = kind(),
        .name = name(),
        .state = {},
        .metrics = {counter("granted", s.granted, "Calls that were granted."),
                    counter("refused", s.refused, "Calls that were refused for want of permits or room in a queue."),
                    gauge("keys", s.keys, "Keys that are remembered."),
                    gauge("bytes", s.bytes, "Memory of the table of keys, in bytes."),
                    gauge("waiting", s.waiting, "Calls that wait for permits."),
                    gauge("overflowing", std::uint64_t{s.overflowing}, "1 while new keys share a bucket, else 0.")},
        .busiest = std::move(s.busiest)};
}

// ---- a waiter

void acquire_waiter::on_deadline() noexcept {
    limiter_->expire(*this);
}

void acquire_waiter::on_cancel() noexcept {
    limiter_->cancel(*this);
}

}  // namespace headgate::detail
