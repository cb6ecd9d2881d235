// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "rate_limiter/limiter_core.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace headgate::detail {
namespace {

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

std::optional<error> limiter_core::check(const std::vector<tier_spec>& tiers) {
    if (tiers.empty() || tiers.size() > max_tiers) {
        return error{errc::invalid_argument, "there are " + std::to_string(tiers.size()) +
                                                 " tiers; there must be 1 to " + std::to_string(max_tiers)};
    }
    for (std::size_t i = 0; i < tiers.size(); ++i) {
        const auto& tier = tiers[i];
        if (tier.name.empty()) {
            return error{errc::invalid_argument, "a tier's name is empty; it must not be"};
        }
        if (std::any_of(tiers.begin(), tiers.begin() + static_cast<std::ptrdiff_t>(i),
                        [&](const auto& other) { return other.name == tier.name; })) {
            return error{errc::invalid_argument, "two tiers are named \"" + tier.name + "\"; names must differ"};
        }
        if (tier.quotas.empty() || tier.quotas.size() > max_quotas) {
            return error{errc::invalid_argument, "tier \"" + tier.name + "\" has " +
                                                     std::to_string(tier.quotas.size()) +
                                                     " quotas; it must have 1 to " + std::to_string(max_quotas)};
        }
    }
    return {};
}

result<void> limiter_core::check(const limiter_settings& settings, const std::vector<tier_spec>& tiers) {
    constexpr std::uint64_t most = std::uint64_t{1} << 32;
    if (settings.max_keys == 0 || settings.max_keys > most) {
        return error{errc::invalid_argument,
                     "max_keys is " + std::to_string(settings.max_keys) + "; it must be 1 to " + std::to_string(most)};
    }
    if (auto problem = check(tiers)) {
        return *problem;
    }
    return success();
}

result<std::unique_ptr<limiter_core>> limiter_core::make(const limiter_settings& settings,
                                                         std::vector<tier_spec> tiers) {
    BOOST_OUTCOME_TRYV(check(settings, tiers));
    return std::unique_ptr<limiter_core>{new limiter_core{settings, std::move(tiers)}};
}

limiter_core::limiter_core(const limiter_settings& settings, std::vector<tier_spec> tiers)
    : table_(settings.max_keys), seed_(settings.seed), settings_(settings) {
    overflow_.words = 1 + 2 * max_quotas + 3;
    for (auto& tier : tiers) {
        plan* p = add_plan(tier);
        p->tier = static_cast<std::uint32_t>(names_.size());
        current_[names_.size()].store(p, std::memory_order_release);
        names_.push_back(std::move(tier.name));
        sources_.push_back(std::move(tier.quotas));
    }
    overflow_.slots = static_cast<std::uint64_t*>(std::calloc(overflow_.words, sizeof(std::uint64_t)));
    if (overflow_.slots == nullptr) {
        throw std::bad_alloc{};
    }
}

limiter_core::~limiter_core() {
    std::free(overflow_.slots);
}

limiter_core::plan* limiter_core::add_plan(const tier_spec& spec) {
    auto made = std::make_unique<plan>(spec.quotas, settings_.unix_offset);
    made->capacity = static_cast<std::int64_t>(made->only.capacity());
    made->simple = spec.quotas.size() == 1 && spec.quotas[0].algorithm() == quota_algorithm::gcra &&
                   !settings_.track_keys && made->capacity == made->only.capacity();
    for (std::size_t id = 1; id <= max_id; ++id) {
        if (plans_[id].load(std::memory_order_relaxed) == nullptr) {
            made->id = static_cast<std::uint8_t>(id);
            plans_[id].store(made.get(), std::memory_order_release);
            break;
        }
    }
    owned_.push_back(std::move(made));
    return owned_.back().get();
}

std::optional<std::uint32_t> limiter_core::find_tier(std::string_view name) const noexcept {
    const std::lock_guard lock{admin_};
    for (std::uint32_t i = 0; i < names_.size(); ++i) {
        if (names_[i] == name && current(i) != nullptr) {
            return i;
        }
    }
    return {};
}

decision limiter_core::try_acquire_generally(std::uint64_t hash, std::uint32_t tier, std::uint64_t cost,
                                             time_point now) noexcept {
    open_bucket bucket{*this, hash, false, now};
    if (bucket.shard_->queues != 0) {
        return {verdict::queued, false, {}, {}};
    }
    return bucket.try_charge(tier, cost, now);
}

void limiter_core::get(const std::uint64_t* slot, const plan& p, judge::states& out) const noexcept {
    std::memcpy(out.data(), slot + (settings_.track_keys ? 4 : 1), p.quotas.size() * sizeof(quota_state));
}

void limiter_core::put(std::uint64_t* slot, const plan& p, const judge::states& in) const noexcept {
    std::memcpy(slot + (settings_.track_keys ? 4 : 1), in.data(), p.quotas.size() * sizeof(quota_state));
}

const limiter_core::plan* limiter_core::states_of(const std::uint64_t* slot, const plan* to, judge::states& out,
                                                  time_point now) const noexcept {
    const plan* from = plan_of(slot);
    get(slot, *from, out);
    const auto convert = [&](const plan* next, time_point at) {
        const judge::states before = out;
        from->quotas.convert(before.data(), next->quotas, out.data(), at);
        from = next;
    };
    // Nothing touched it since its quotas changed, so this is what it would have been converted to at that time.
    while (const plan* next = from->successor.load(std::memory_order_acquire)) {
        convert(next, from->replaced_at);
    }
    if (to != nullptr && from != to) {
        convert(to, now);
    }
    return from;
}

bool limiter_core::is_dead(const std::uint64_t* slot, time_point now) const noexcept {
    judge::states states;
    return states_of(slot, nullptr, states, now)->quotas.is_absent(states.data(), now);
}

bool limiter_core::write_states(key_shard& s, std::uint64_t*& slot, std::uint64_t hash, const plan& p,
                                const judge::states& in, time_point now) noexcept {
    if (&s == &overflow_) {
        if (slot == nullptr) {
            slot = s.slots;
            std::memset(slot, 0, s.words * sizeof(std::uint64_t));
        }
    } else {
        if (slot != nullptr && s.words < words_for(p)) {
            if (!table_.rebuild(s, words_for(p), 0, now, dead_at(now))) {
                return false;
            }
            slot = s.find(hash);
        }
        if (slot == nullptr) {
            slot = table_.insert(s, hash, p.id, words_for(p), now, dead_at(now));
            if (slot == nullptr) {
                return false;
            }
            if (auto* h = history(slot)) {
                h[0] = as_word(now);
            }
        }
    }
    if (slot[0] == 0) {
        if (auto* h = history(slot)) {
            h[0] = as_word(now);
        }
    }
    set_tag(slot, p.id);
    put(slot, p, in);
    if (auto* h = history(slot)) {
        h[1] = as_word(now);
    }
    return true;
}

limiter_core::open_bucket::open_bucket(limiter_core& core, std::uint64_t hash, bool overflow, time_point now) noexcept
    : core_(&core), shard_(&core.overflow_), slot_(nullptr), hash_(hash) {
    if (!overflow) {
        shard_ = &core.table_.shard_of(hash);
        shard_->lock.lock();
        slot_ = shard_->find(hash);
        if (slot_ != nullptr || !core.table_.full() ||
            (core.table_.evict_some(*shard_, now, core.dead_at(now)) && !core.table_.full())) {
            return;
        }
        shard_->lock.unlock();
        shard_ = &core.overflow_;
    }
    shard_->lock.lock();
    slot_ = shard_->slots[0] != 0 ? shard_->slots : nullptr;
    hash_ = 0;
}

bool limiter_core::open_bucket::move_to_overflow() noexcept {
    if (shard_ == &core_->overflow_) {
        return false;
    }
    shard_->lock.unlock();
    shard_ = &core_->overflow_;
    shard_->lock.lock();
    slot_ = shard_->slots[0] != 0 ? shard_->slots : nullptr;
    hash_ = 0;
    return true;
}

std::optional<std::uint64_t> limiter_core::open_bucket::largest_cost(std::uint32_t tier) const noexcept {
    const plan* p = core_->current(tier);
    return p == nullptr ? std::nullopt : std::optional{static_cast<std::uint64_t>(p->quotas.largest_cost())};
}

limiter_core::open_bucket::projection limiter_core::open_bucket::project(std::uint32_t tier, time_point now) noexcept {
    projection out;
    out.core_ = core_;
    out.plan_ = core_->current(tier);
    out.at_ = now;
    if (slot_ != nullptr) {
        out.plan_ = core_->states_of(slot_, out.plan_, out.states_, now);
    } else if (out.plan_ != nullptr) {
        out.plan_->quotas.fresh(out.states_.data(), now);
    }
    return out;
}

std::optional<time_point> limiter_core::open_bucket::projection::add(std::uint32_t tier, std::uint64_t cost) noexcept {
    const plan* p = core_->current(tier);
    const std::int64_t n = clamp_cost(cost);
    if (p == nullptr || plan_ == nullptr || n == 0 || n > p->quotas.largest_cost()) {
        return {};
    }
    if (p != plan_) {
        const judge::states before = states_;
        plan_->quotas.convert(before.data(), p->quotas, states_.data(), at_);
        plan_ = p;
    }
    at_ = saturating_add(at_, to_duration(p->quotas.wait_ns(states_.data(), n, at_)));
    p->quotas.charge(states_.data(), n, at_);
    return at_;
}

std::optional<time_point> limiter_core::open_bucket::next_time(std::uint32_t tier, std::uint64_t cost,
                                                               time_point now) noexcept {
    return project(tier, now).add(tier, cost);
}

decision limiter_core::open_bucket::try_charge(std::uint32_t tier, std::uint64_t cost, time_point now) noexcept {
    const plan* p = core_->current(tier);
    if (p == nullptr) {
        return {};
    }
    if (cost == 0) {
        return {verdict::zero_cost, false, {}, {}};
    }
    const std::int64_t n = clamp_cost(cost);
    if (shard_ != &core_->overflow_) {
        core_->table_.touch(*shard_);
    }
    const auto refused = [&](verdict why, duration retry_after) -> decision {
        ++shard_->refused;
        if (auto* h = core_->history(slot_)) {
            ++h[2];
        }
        return {why, false, retry_after, {}};
    };
    if (n > p->quotas.largest_cost()) {
        return refused(verdict::cost_exceeds_limit, {});
    }
    for (;;) {
        judge::states states;
        // A key that isn't there may have been dropped at a later time than this call's: it is charged as of then.
        const time_point at = slot_ != nullptr ? now : key_table::not_before(*shard_, now);
        if (slot_ != nullptr) {
            core_->states_of(slot_, p, states, now);
        } else {
            p->quotas.fresh(states.data(), at);
        }
        if (!p->quotas.passes(states.data(), n, at)) {
            return refused(verdict::rate_limited, to_duration(p->quotas.wait_ns(states.data(), n, at)));
        }
        p->quotas.charge(states.data(), n, at);
        const bool fresh = slot_ == nullptr;
        if (!core_->write_states(*shard_, slot_, hash_, *p, states, at)) {
            // No room, or no memory: the shared bucket has its own.
            move_to_overflow();
            continue;
        }
        ++shard_->granted;
        const bool began = shard_ == &core_->overflow_ && !core_->overflowing_.load(std::memory_order_relaxed) &&
                           !core_->overflowing_.exchange(true, std::memory_order_relaxed);
        return {verdict::granted, began, {}, p->quotas.describe(states.data(), at), fresh};
    }
}

key_usage limiter_core::usage(const key_shard& s, std::uint64_t* slot, std::optional<std::uint32_t> tier,
                              time_point now) const {
    key_usage out;
    judge::states states;
    const plan* p = tier ? current(*tier) : nullptr;
    if (slot != nullptr) {
        p = states_of(slot, p, states, now);
        out.known = true;
        if (const auto* h = history(slot)) {
            out.history = key_usage::tracked{as_time(h[0]), as_time(h[1]), h[2]};
        }
    } else {
        p = p != nullptr ? p : current(0);
        p->quotas.fresh(states.data(), key_table::not_before(s, now));
    }
    out.tier = p->tier;
    for (std::size_t i = 0; i < p->quotas.size(); ++i) {
        const grant g = p->quotas[i].describe(states[i], now);
        const permits_used used = p->quotas[i].used(states[i], now);
        out.quotas.push_back({g.limit(), static_cast<std::uint64_t>(used.whole + (used.part != 0 ? 1 : 0)),
                              g.remaining(), g.reset_after()});
        if (i == 0 || g.remaining() < out.tightest.remaining) {
            out.tightest = out.quotas.back();
        }
    }
    return out;
}

key_usage limiter_core::inspect(std::uint64_t hash, std::optional<std::uint32_t> tier, time_point now) const {
    key_usage out;
    {
        key_shard& s = table_.shard_of(hash);
        const std::lock_guard lock{s.lock};
        std::uint64_t* slot = s.find(hash);
        if (slot != nullptr || !table_.full()) {
            return usage(s, slot, tier, now);
        }
    }
    const std::lock_guard lock{overflow_.lock};
    return usage(overflow_, overflow_.slots[0] != 0 ? overflow_.slots : nullptr, tier, now);
}

bool limiter_core::reset(std::uint64_t hash, time_point now) noexcept {
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

result<void> limiter_core::change(std::vector<tier_spec> tiers, time_point now) {
    if (auto problem = check(tiers)) {
        return *problem;
    }
    const std::lock_guard lock{admin_};
    if (tiers.front().name != names_[0]) {
        return error{errc::invalid_argument, "the first tier is \"" + tiers.front().name + "\"; it must stay \"" +
                                                 names_[0] + "\", which calls use that name none"};
    }
    const auto index_of = [&](const std::string& name) {
        return static_cast<std::size_t>(std::find(names_.begin(), names_.end(), name) - names_.begin());
    };
    const std::size_t total =
        names_.size() + static_cast<std::size_t>(std::count_if(tiers.begin(), tiers.end(), [&](const tier_spec& t) {
            return index_of(t.name) == names_.size();
        }));
    if (total > max_tiers) {
        return error{errc::invalid_argument, "with those that are no more there are " + std::to_string(total) +
                                                 " tiers; there must be at most " + std::to_string(max_tiers)};
    }
    if (!retired_.empty() && !finish_change(now)) {
        return error{boost::system::errc::make_error_code(boost::system::errc::not_enough_memory)};
    }
    const auto replace = [&](const plan* old, const plan* by) {
        plan& changing = **std::find_if(owned_.begin(), owned_.end(), [&](const auto& o) { return o.get() == old; });
        changing.replaced_at = now;
        changing.successor.store(by, std::memory_order_release);
        retired_.push_back(old->id);
    };
    std::vector<bool> stays(total);
    for (auto& tier : tiers) {
        const std::size_t index = index_of(tier.name);
        stays[index] = true;
        if (index == names_.size()) {
            names_.push_back(tier.name);
            sources_.emplace_back();
        }
        const plan* old = current(static_cast<std::uint32_t>(index));
        if (old != nullptr && sources_[index] == tier.quotas) {
            continue;
        }
        plan* made = add_plan(tier);
        made->tier = static_cast<std::uint32_t>(index);
        sources_[index] = std::move(tier.quotas);
        if (old != nullptr) {
            replace(old, made);
        }
        current_[index].store(made, std::memory_order_release);
    }
    for (std::size_t i = 0; i < total; ++i) {
        const plan* old = current(static_cast<std::uint32_t>(i));
        if (!stays[i] && old != nullptr) {
            replace(old, current(0));
            current_[i].store(nullptr, std::memory_order_release);
        }
    }
    to_migrate_ = table_.shards();
    return success();
}

void limiter_core::migrate_slot(std::uint64_t* slot, time_point now) noexcept {
    if (plan_of(slot)->successor.load(std::memory_order_acquire) == nullptr) {
        return;
    }
    judge::states states;
    const plan* p = states_of(slot, nullptr, states, now);
    set_tag(slot, p->id);
    put(slot, *p, states);
}

bool limiter_core::migrate(key_shard& s, time_point now) noexcept {
    std::uint16_t words = s.words;
    for (std::uint32_t i = 0; i < s.capacity; ++i) {
        if (const auto* slot = s.slot(i); slot[0] != 0) {
            judge::states states;
            words = std::max(words, words_for(*states_of(slot, nullptr, states, now)));
        }
    }
    if (words > s.words && !table_.rebuild(s, words, 0, now, dead_at(now))) {
        return false;
    }
    for (std::uint32_t i = 0; i < s.capacity; ++i) {
        if (s.slot(i)[0] != 0) {
            migrate_slot(s.slot(i), now);
        }
    }
    return true;
}

bool limiter_core::finish_change(time_point now) noexcept {
    for (std::size_t i = 0; i < table_.shards(); ++i) {
        key_shard& s = table_.shard(i);
        const std::lock_guard lock{s.lock};
        if (!migrate(s, now)) {
            return false;
        }
    }
    {
        const std::lock_guard lock{overflow_.lock};
        if (overflow_.slots[0] != 0) {
            migrate_slot(overflow_.slots, now);
        }
    }
    free_retired();
    return true;
}

void limiter_core::free_retired() noexcept {
    for (const auto id : retired_) {
        plans_[id].store(nullptr, std::memory_order_release);
    }
    retired_.clear();
    to_migrate_ = 0;
}

sweep_report limiter_core::sweep(std::size_t shard_budget, time_point now) noexcept {
    sweep_report report;
    const std::unique_lock lock{admin_, std::try_to_lock};
    if (!lock) {
        return report;
    }
    for (std::size_t n = std::min(shard_budget, table_.shards()); n > 0; --n) {
        key_shard& s = table_.shard(sweep_cursor_);
        sweep_cursor_ = (sweep_cursor_ + 1) & (table_.shards() - 1);
        const std::lock_guard shard_lock{s.lock};
        report.looked += s.capacity;
        const std::uint32_t before = s.live;
        for (std::uint32_t i = 0; i < s.capacity; ++i) {
            if (s.slot(i)[0] != 0 && is_dead(s.slot(i), now)) {
                table_.rebuild(s, s.words, 0, now, dead_at(now));
                break;
            }
        }
        report.dropped += before - s.live;
        if (to_migrate_ > 0) {
            // Out of memory: go around once more.
            to_migrate_ = migrate(s, now) ? to_migrate_ - 1 : table_.shards();
        }
    }
    {
        const std::lock_guard overflow_lock{overflow_.lock};
        if (std::uint64_t* slot = overflow_.slots; slot[0] != 0) {
            migrate_slot(slot, now);
            if (is_dead(slot, now)) {
                table_.empty_out(overflow_, slot, now);
            }
        }
    }
    if (to_migrate_ == 0 && !retired_.empty()) {
        free_retired();
    }
    if (overflowing_.load(std::memory_order_relaxed) && !table_.full()) {
        report.overflow_ended = overflowing_.exchange(false, std::memory_order_relaxed);
    }
    return report;
}

void limiter_core::clear() noexcept {
    for (std::size_t i = 0; i < table_.shards(); ++i) {
        key_shard& s = table_.shard(i);
        const std::lock_guard lock{s.lock};
        table_.rebuild(s, s.words, 0, time_point::min(), [](const std::uint64_t*) { return true; });
    }
    const std::lock_guard lock{overflow_.lock};
    overflow_.slots[0] = 0;
    table_.forget_use();
}

limiter_counts limiter_core::counts() const noexcept {
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
    out.overflowing = overflowing_.load(std::memory_order_relaxed);
    return out;
}

}  // namespace headgate::detail
