// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// A bucket under its lock: found, judged and queued for as one.

#include "rate_limiter/limiter_machine.hpp"

namespace headgate::detail {

limiter_machine::open_bucket::open_bucket(limiter_machine& machine, std::uint64_t hash, time_point now,
                                          purpose use) noexcept
    : machine_(machine), own_(&machine.table_.shard_of(hash)), shard_(own_), hash_(hash), own_lock_(own_->lock) {
    if (has_own_place(now, use)) {
        return;
    }
    if (use == purpose::charge && !machine.overflow_waited_for_.load(std::memory_order_relaxed)) {
        // Other shards are looked at under no lock; meanwhile the key may have come in.
        own_lock_.unlock();
        machine.table_.reclaim(now, machine.dead_at(now));
        own_lock_.lock();
        if (has_own_place(now, use)) {
            return;
        }
    }
    share();
}

limiter_machine::open_bucket::open_bucket(limiter_machine& machine, const bucket_ref& ref) noexcept
    : machine_(machine) {
    if (ref.overflow) {
        share();
        return;
    }
    own_ = shard_ = &machine.table_.shard_of(ref.hash);
    hash_ = ref.hash;
    own_lock_ = std::unique_lock{own_->lock};
    slot_ = own_->find(hash_);
    if (slot_ == nullptr) {
        machine.table_.reserve_beyond();
        reserved_ = true;
    }
}

limiter_machine::open_bucket::~open_bucket() {
    if (reserved_) {
        machine_.table_.release();
    }
}

// Calls that wait in the shared bucket came before this key: it gets no bucket of its own meanwhile.
bool limiter_machine::open_bucket::has_own_place(time_point now, purpose use) noexcept {
    slot_ = own_->find(hash_);
    if (slot_ != nullptr) {
        return true;
    }
    if (machine_.overflow_waited_for_.load(std::memory_order_relaxed)) {
        return false;
    }
    if (use == purpose::look) {
        return !machine_.table_.full();
    }
    return reserved_ = machine_.table_.reserve(*own_, now, machine_.dead_at(now));
}

void limiter_machine::open_bucket::share() noexcept {
    shard_ = &machine_.overflow_;
    shared_lock_ = std::unique_lock{shard_->lock};
    slot_ = shard_->slots[0] != 0 ? shard_->slots : nullptr;
    hash_ = 0;
}

void limiter_machine::open_bucket::mark_waiting() noexcept {
    ++shard_->queues;
    if (is_shared()) {
        machine_.overflow_waited_for_.store(true, std::memory_order_relaxed);
    }
}

void limiter_machine::unmark_waiting(const bucket_ref& ref) noexcept {
    key_shard& shard = ref.overflow ? overflow_ : table_.shard_of(ref.hash);
    const std::lock_guard lock{shard.lock};
    --shard.queues;
    if (ref.overflow) {
        overflow_waited_for_.store(shard.queues != 0, std::memory_order_relaxed);
    }
}

std::optional<std::uint64_t> limiter_machine::open_bucket::largest_cost(std::uint32_t tier) const noexcept {
    const plan* p = machine_.plans_.current(tier);
    return p == nullptr ? std::nullopt : std::optional{static_cast<std::uint64_t>(p->quotas.largest_cost())};
}

limiter_machine::projection limiter_machine::open_bucket::project(std::uint32_t tier, time_point now) noexcept {
    projection out;
    out.machine_ = &machine_;
    out.generation_ = machine_.generation();
    out.at_ = now;
    if (slot_ != nullptr) {
        out.plan_ = machine_.states_of(slot_, out.states_);
    } else {
        // Nothing is used: where the tier of the waiter was removed, the first tier does as well.
        const plan* asked = machine_.plans_.current(tier);
        out.plan_ = asked != nullptr ? asked : machine_.plans_.first();
        out.plan_->quotas.fresh(out.states_.data(), now);
    }
    return out;
}

std::optional<time_point> limiter_machine::projection::add(std::uint32_t tier, std::uint64_t cost) noexcept {
    const plan* p = machine_->plans_.current(tier);
    const std::int64_t n = clamp_cost(cost);
    if (p == nullptr || n == 0 || n > p->quotas.largest_cost()) {
        return {};
    }
    const int128 wait = p == plan_ ? p->quotas.wait_ns(states_.data(), n, at_)
                                   : plan_->quotas.wait_ns(states_.data(), p->quotas, n, at_);
    at_ = saturating_add(at_, to_duration(wait));
    if (p != plan_) {
        const judge::states before = states_;
        plan_->quotas.convert(before.data(), p->quotas, states_.data(), at_);
        plan_ = p;
    }
    p->quotas.charge(states_.data(), n, at_);
    return at_;
}

std::optional<time_point> limiter_machine::open_bucket::next_time(std::uint32_t tier, std::uint64_t cost,
                                                                  time_point now) noexcept {
    return project(tier, now).add(tier, cost);
}

decision limiter_machine::open_bucket::refuse(verdict why, duration retry_after, duration max_wait) noexcept {
    if (why != verdict::rate_limited || is_final(retry_after, max_wait)) {
        count_refused();
    }
    return {why, overflow_began_, retry_after, {}};
}

void limiter_machine::open_bucket::count_refused() noexcept {
    ++shard_->refused;
    if (auto* h = machine_.history(slot_)) {
        ++h[2];
    }
}

void limiter_machine::open_bucket::note_use() noexcept {
    if (is_shared()) {
        overflow_began_ = !machine_.overflowing() && !machine_.overflowing_.exchange(true, std::memory_order_relaxed);
    } else {
        machine_.table_.touch(*shard_);
    }
}

decision limiter_machine::open_bucket::try_charge(std::uint32_t tier, std::uint64_t cost, time_point now,
                                                  duration max_wait) noexcept {
    const plan* p = machine_.plans_.current(tier);
    if (p == nullptr) {
        return {};
    }
    if (cost == 0) {
        return {verdict::zero_cost, false, {}, {}};
    }
    note_use();
    const std::int64_t n = clamp_cost(cost);
    if (n > p->quotas.largest_cost()) {
        return refuse(verdict::cost_exceeds_limit, {}, max_wait);
    }
    judge::states states;
    // A key that isn't there may have been dropped at a later time than this call's: it is charged as of then.
    const time_point at = slot_ != nullptr ? now : key_table::not_before(*shard_, now);
    const bool fresh = slot_ == nullptr;
    if (fresh) {
        p->quotas.fresh(states.data(), at);
    } else if (const plan* from = machine_.states_of(slot_, states); from == p) {
        if (!p->quotas.passes(states.data(), n, at)) {
            return refuse(verdict::rate_limited, to_duration(p->quotas.wait_ns(states.data(), n, at)), max_wait);
        }
    } else {
        if (const int128 wait = from->quotas.wait_ns(states.data(), p->quotas, n, at); wait > 0) {
            return refuse(verdict::rate_limited, to_duration(wait), max_wait);
        }
        const judge::states before = states;
        from->quotas.convert(before.data(), p->quotas, states.data(), at);
    }
    p->quotas.charge(states.data(), n, at);
    if (!machine_.write_states(*shard_, slot_, hash_, *p, states, at)) {
        return {.what = verdict::out_of_memory, .overflow_began = overflow_began_};
    }
    reserved_ = false;
    ++shard_->granted;
    return {verdict::granted, overflow_began_, {}, p->quotas.describe(states.data(), at), fresh};
}

}  // namespace headgate::detail
