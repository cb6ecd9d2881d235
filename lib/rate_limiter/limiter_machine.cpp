// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "rate_limiter/limiter_machine.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "options/limits.hpp"
#include "options/problems.hpp"

namespace headgate::detail {
namespace {

/// So many slots are converted under one hold of a shard's lock.
constexpr unsigned migrated_at_once = 64;

void set_tag(std::uint64_t* slot, std::uint8_t tag) noexcept {
    slot[0] = (slot[0] & ~std::uint64_t{0xff}) | tag;
}

std::uint64_t as_word(time_point t) noexcept {
    return static_cast<std::uint64_t>(t.time_since_epoch().count());
}

time_point as_time(std::uint64_t word) noexcept {
    return time_point{duration{static_cast<std::int64_t>(word)}};
}

}  // namespace

result<std::unique_ptr<limiter_machine>> limiter_machine::make(const limiter_settings& settings,
                                                               std::vector<headgate::tier> tiers) {
    option_problems problems;
    plan_set::check(tiers, problems);
    BOOST_OUTCOME_TRYV(accept(plain(problems.take())));
    return std::unique_ptr<limiter_machine>{new limiter_machine{settings, std::move(tiers)}};
}

limiter_machine::limiter_machine(const limiter_settings& settings, std::vector<headgate::tier> tiers)
    : table_(settings.max_keys),
      seed_(settings.seed),
      unix_offset_(settings.unix_offset.count()),
      plans_(settings.track_keys, wall_offset{unix_offset_}),
      settings_(settings) {
    plans_.commit(std::move(plans_.prepare(std::move(tiers), time_point::min())).value(), time_point::min());
    overflow_.words = 1 + 2 * std::tuple_size_v<judge::states> + 3;
    overflow_.slots = static_cast<std::uint64_t*>(std::calloc(overflow_.words, sizeof(std::uint64_t)));
    if (overflow_.slots == nullptr) {
        throw std::bad_alloc{};
    }
}

limiter_machine::~limiter_machine() {
    std::free(overflow_.slots);
}

// ---- decisions

decision limiter_machine::try_acquire_generally(std::uint64_t hash, std::uint32_t tier, std::uint64_t cost,
                                                time_point now, duration max_wait) noexcept {
    open_bucket bucket{*this, hash, now, purpose::charge};
    if (bucket.is_near_queue()) {
        return {verdict::queued, false, {}, {}};
    }
    return bucket.try_charge(tier, cost, now, max_wait);
}

std::uint32_t limiter_machine::usage(const key_shard& s, std::uint64_t* slot, std::optional<std::uint32_t> tier,
                                     time_point now, key_info& out) const {
    judge::states states;
    const plan* p = tier ? plans_.current(*tier) : nullptr;
    if (slot != nullptr) {
        const plan* from = states_of(slot, states);
        if (p != nullptr && p != from) {
            const judge::states before = states;
            from->quotas.convert(before.data(), p->quotas, states.data(), now);
        } else {
            p = from;
        }
        out.known = true;
        if (const auto* h = history(slot)) {
            out.created = as_time(h[0]);
            out.updated = as_time(h[1]);
            out.refused = h[2];
        }
    } else {
        p = p != nullptr ? p : plans_.first();
        p->quotas.fresh(states.data(), key_table::not_before(s, now));
    }
    for (std::size_t i = 0; i < p->quotas.size(); ++i) {
        const grant g = p->quotas[i].describe(states[i], now);
        const permits_used used = p->quotas[i].used(states[i], now);
        out.quotas.push_back({g.limit(), static_cast<std::uint64_t>(used.whole + (used.part != 0 ? 1 : 0)),
                              g.remaining(), g.reset_after()});
        if (i == 0 || g.remaining() < out.tightest.remaining) {
            out.tightest = out.quotas.back();
        }
    }
    return p->tier;
}

key_info limiter_machine::inspect(std::uint64_t hash, std::optional<std::uint32_t> tier, time_point now) const {
    key_info out;
    std::uint32_t in = 0;
    {
        // To look changes nothing; the bucket knows of no const.
        const open_bucket bucket{const_cast<limiter_machine&>(*this), hash, now, purpose::look};
        in = usage(*bucket.shard_, bucket.slot_, tier, now, out);
    }
    out.tier = tier_name(in);
    return out;
}

bool limiter_machine::forget(std::uint64_t hash, time_point now) noexcept {
    key_shard& s = table_.shard_of(hash);
    const std::lock_guard lock{s.lock};
    std::uint64_t* slot = s.find(hash);
    if (slot == nullptr) {
        return false;
    }
    const bool known = !is_dead(slot, now);
    table_.erase(s, slot);
    return known;
}

// ---- slots

void limiter_machine::get(const std::uint64_t* slot, const plan& p, judge::states& out) const noexcept {
    std::memcpy(out.data(), slot + (settings_.track_keys ? 4 : 1), p.quotas.entries() * sizeof(quota_state));
}

void limiter_machine::put(std::uint64_t* slot, const plan& p, const judge::states& in) const noexcept {
    std::memcpy(slot + (settings_.track_keys ? 4 : 1), in.data(), p.quotas.entries() * sizeof(quota_state));
}

// The states of a slot in the newest plan of its tier; gives that plan.
const plan* limiter_machine::states_of(const std::uint64_t* slot, judge::states& out) const noexcept {
    const plan* from = plans_.of_slot(slot);
    get(slot, *from, out);
    // Nothing touched it since its quotas changed, so this is what it would have been converted to at that time.
    while (const plan* next = from->successor.load(std::memory_order_acquire)) {
        const judge::states before = out;
        from->quotas.convert(before.data(), next->quotas, out.data(), from->replaced_at);
        from = next;
    }
    return from;
}

bool limiter_machine::is_dead(const std::uint64_t* slot, time_point now) const noexcept {
    judge::states states;
    return states_of(slot, states)->quotas.is_absent(states.data(), now);
}

// False when there is no memory; the key then is as it was. Of a new key `table_` counts the place already.
bool limiter_machine::write_states(key_shard& s, std::uint64_t*& slot, std::uint64_t hash, const plan& p,
                                   const judge::states& in, time_point now) noexcept {
    const bool is_new = slot == nullptr;
    if (&s == &overflow_) {
        slot = s.slots;
        if (is_new) {
            std::memset(slot, 0, s.words * sizeof(std::uint64_t));
        }
    } else if (is_new) {
        slot = table_.insert(s, hash, p.id, words_for(p), now, dead_at(now));
    } else if (s.words < words_for(p)) {
        // None is dropped: this one may be dead, and is about to be charged.
        const bool widened = table_.rebuild(s, words_for(p), 0, now, [](const std::uint64_t*) { return false; });
        slot = widened ? s.find(hash) : nullptr;
    }
    if (slot == nullptr) {
        return false;
    }
    set_tag(slot, p.id);
    put(slot, p, in);
    if (auto* h = history(slot)) {
        h[0] = is_new ? as_word(now) : h[0];
        h[1] = as_word(now);
    }
    return true;
}

// ---- live changes

result<void> limiter_machine::change(std::vector<headgate::tier> tiers, time_point now) {
    const std::lock_guard lock{admin_};
    if (plans_.is_short_of_ids() && !finish_change()) {
        return errc::out_of_memory;
    }
    BOOST_OUTCOME_TRY(auto prepared, plans_.prepare(std::move(tiers), now));
    plans_.commit(std::move(prepared), now);
    to_migrate_ = plans_.has_retired() ? table_.shards() : 0;
    return success();
}

// What a slot is to be converted to; null when its plan is in force.
const plan* limiter_machine::replacement_of(const std::uint64_t* slot) const noexcept {
    const plan* p = plans_.of_slot(slot)->successor.load(std::memory_order_acquire);
    while (p != nullptr) {
        const plan* next = p->successor.load(std::memory_order_acquire);
        if (next == nullptr) {
            break;
        }
        p = next;
    }
    return p;
}

void limiter_machine::migrate_slot(std::uint64_t* slot, const plan& to) noexcept {
    judge::states states;
    states_of(slot, states);
    set_tag(slot, to.id);
    put(slot, to, states);
}

// Converts the slots of a shard, a few under each hold of its lock. In between, slots may move: each round looks at
// all.
bool limiter_machine::migrate(key_shard& s) noexcept {
    for (bool all = false; !all; s.lock.let_others_in()) {
        all = true;
        unsigned migrated = 0;
        const std::lock_guard lock{s.lock};
        for (std::uint32_t i = 0; i < s.capacity && all; ++i) {
            const plan* to = s.slot(i)[0] != 0 ? replacement_of(s.slot(i)) : nullptr;
            if (to == nullptr) {
                continue;
            }
            if (words_for(*to) > s.words) {
                if (!table_.rebuild(s, words_for(*to), 0, {}, [](const std::uint64_t*) { return false; })) {
                    return false;
                }
                all = false;
            } else if (++migrated > migrated_at_once) {
                all = false;
            } else {
                migrate_slot(s.slot(i), *to);
            }
        }
    }
    return true;
}

void limiter_machine::migrate_shared(time_point now) noexcept {
    const std::lock_guard lock{overflow_.lock};
    std::uint64_t* slot = overflow_.slots;
    if (slot[0] == 0) {
        return;
    }
    if (const plan* to = replacement_of(slot)) {
        migrate_slot(slot, *to);
    }
    if (is_dead(slot, now)) {
        key_table::empty_out(overflow_, slot, now);
    }
}

bool limiter_machine::finish_change() noexcept {
    for (std::size_t i = 0; i < table_.shards(); ++i) {
        if (!migrate(table_.shard(i))) {
            return false;
        }
    }
    migrate_shared(time_point::min());
    plans_.free_retired();
    to_migrate_ = 0;
    return true;
}

// ---- the sweep

sweep_report limiter_machine::sweep(std::size_t shard_budget, time_point now) noexcept {
    sweep_report report;
    const std::unique_lock lock{admin_, std::try_to_lock};
    if (!lock) {
        return report;
    }
    for (std::size_t n = std::min(shard_budget, table_.shards()); n > 0; --n) {
        key_shard& s = table_.shard(sweep_cursor_);
        sweep_cursor_ = (sweep_cursor_ + 1) & (table_.shards() - 1);
        if (to_migrate_ > 0) {
            // Out of memory: go around once more.
            to_migrate_ = migrate(s) ? to_migrate_ - 1 : table_.shards();
        }
        const std::lock_guard shard_lock{s.lock};
        report.looked += s.capacity;
        const std::uint32_t before = s.live;
        table_.drop_dead(s, now, dead_at(now));
        report.dropped += before - s.live;
    }
    migrate_shared(now);
    if (to_migrate_ == 0 && plans_.has_retired()) {
        plans_.free_retired();
    }
    if (overflowing() && !table_.full()) {
        report.overflow_ended = overflowing_.exchange(false, std::memory_order_relaxed);
    }
    return report;
}

limiter_counts limiter_machine::counts() const noexcept {
    limiter_counts out;
    const auto add = [&](key_shard& s) {
        const std::lock_guard lock{s.lock};
        out.granted += s.granted;
        out.refused += s.refused;
    };
    table_.for_each_touched(add);
    add(overflow_);
    out.keys = table_.keys();
    out.bytes = table_.bytes() + sizeof *this + overflow_.words * sizeof(std::uint64_t);
    out.most_looked = table_.most_looked();
    out.overflowing = overflowing();
    return out;
}

}  // namespace headgate::detail
