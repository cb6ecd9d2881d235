// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// What a limiter keeps over a restart: from its buckets to bytes and back. The format stands in snapshot_format.hpp.

#include <algorithm>
#include <map>
#include <utility>

#include "rate_limiter/limiter_machine.hpp"
#include "rate_limiter/snapshot_format.hpp"

namespace headgate::detail {

/// A limiter on its way to bytes, shard by shard. A change of tiers may come between two of them, so `admin_` is held
/// for one at a time, and each record names the quotas that it was read under.
class limiter_machine::saving {
public:
    saving(const limiter_machine& from, time_point now) : from_(from), now_(now) { number_of(*from.plans_.first()); }

    void add_shard(key_shard& s) {
        copy(s);
        for (std::uint32_t at = 0; at < copied_; ++at) {
            if (std::uint64_t* slot = words_.data() + std::size_t{at} * s_words_; slot[0] != 0) {
                add(slot, from_.table_.full_hash(s, slot), 0);
            }
        }
    }
    void add_shared(key_shard& s) {
        copy(s);
        if (words_[0] != 0) {
            add(words_.data(), 0, record_is_overflow);
        }
    }
    [[nodiscard]] std::vector<char> finish() {
        return frame_snapshot(from_.settings_.track_keys ? snapshot_has_history : 0, from_.settings_.seed, unix(now_),
                              static_cast<std::uint32_t>(numbers_.size()), tiers_.out(), count_, records_.out());
    }

private:
    [[nodiscard]] std::int64_t unix(time_point t) const noexcept {
        const duration offset{from_.unix_offset_.load(std::memory_order_relaxed)};
        return saturating_add(t, offset).time_since_epoch().count();
    }

    // Slots are copied under the lock, and converted and written without it.
    void copy(key_shard& s) {
        for (std::size_t size = words_.size();; words_.resize(size)) {
            const std::lock_guard lock{s.lock};
            const std::uint32_t capacity = &s == &from_.overflow_ ? 1 : s.capacity;
            size = std::size_t{capacity} * s.words;
            if (size <= words_.size()) {
                std::copy_n(s.slots, size, words_.begin());
                copied_ = capacity;
                s_words_ = s.words;
                return;
            }
        }
    }

    void add(std::uint64_t* slot, std::uint64_t hash, std::uint32_t flags) {
        judge::states states;
        const plan* p = from_.states_of(slot, states);
        if (p->quotas.is_absent(states.data(), now_)) {
            return;
        }
        std::uint32_t kept = 0;
        p->quotas.for_each_kept(states.data(), [&](const rule&, const quota_state&) { ++kept; });
        records_.u64(hash);
        records_.u32(number_of(*p));
        records_.u32(flags | (kept != 0 ? record_has_kept : 0));
        for (std::size_t q = 0; q < p->quotas.size(); ++q) {
            records_.state(p->quotas[q], states[q], now_);
        }
        if (kept != 0) {
            records_.u32(kept);
            p->quotas.for_each_kept(states.data(), [&](const rule& by, const quota_state& s) {
                records_.one_quota(by.source());
                records_.state(by, s, now_);
            });
        }
        if (const auto* h = from_.history(slot)) {
            for (int i = 0; i < 2; ++i) {
                records_.i64(unix(time_point{duration{static_cast<std::int64_t>(h[i])}}));
            }
            records_.u64(h[2]);
        }
        ++count_;
    }

    // A plan is known by its tier and the change that made it: its address may be used again.
    std::uint32_t number_of(const plan& p) {
        const auto next = static_cast<std::uint32_t>(numbers_.size());
        const auto [at, is_new] = numbers_.try_emplace({p.tier, p.made_by}, next);
        if (is_new) {
            tiers_.tier(p.source);
        }
        return at->second;
    }

    const limiter_machine& from_;
    time_point now_;
    std::vector<std::uint64_t> words_ = std::vector<std::uint64_t>(4096);
    std::uint32_t copied_ = 0;
    std::size_t s_words_ = 0;
    std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint32_t> numbers_;
    snapshot_writer tiers_;
    snapshot_writer records_;
    std::uint64_t count_ = 0;
};

std::vector<char> limiter_machine::save(time_point now) const {
    std::optional<saving> out;
    {
        const std::lock_guard admin{admin_};
        out.emplace(*this, now);
    }
    for (std::size_t i = 0; i < table_.shards(); ++i) {
        const std::lock_guard admin{admin_};
        out->add_shard(table_.shard(i));
    }
    {
        const std::lock_guard admin{admin_};
        out->add_shared(overflow_);
    }
    return out->finish();
}

/// Bytes on their way into a limiter, whose time may be another: under `admin_`.
class limiter_machine::loading {
public:
    loading(limiter_machine& to, const saved_limiter& from, time_point now)
        : to_(to), from_(from), now_(now), offset_(to.unix_offset_.load(std::memory_order_relaxed)) {
        // Steady time of the moment of saving, by way of Unix time; a state saved in the future counts as of now.
        const std::int64_t unix_now = saturating_add(now, offset_).time_since_epoch().count();
        const int128 elapsed = std::max<int128>(static_cast<int128>(unix_now) - from.unix_time, 0);
        then_ = saturating_add(now, to_duration(-elapsed));
        // With all that is kept, so that kept states find their places on the way.
        const auto kept = kept_quotas();
        for (const auto& tier : from.tiers) {
            const auto same = to.find_tier(tier.name);
            const plan* target = same ? to.plans_.current(*same) : nullptr;
            sources_.push_back({judge{tier.quotas, kept, wall_offset{to.unix_offset_}},
                                target != nullptr ? target : to.plans_.first()});
        }
    }

    /// How many keys need a place of their own.
    [[nodiscard]] std::uint64_t own_keys() const {
        std::uint64_t keys = 0;
        from_.for_each([&](const saved_limiter::record& r) {
            judge::states states;
            keys += r.overflow || states_for(r, states) == nullptr ? 0 : 1;
        });
        return keys;
    }

    /// False when memory is out.
    [[nodiscard]] bool take_all() {
        bool all = true;
        from_.for_each([&](const saved_limiter::record& r) { all = all && take(r); });
        return all;
    }

private:
    struct source {
        judge quotas;
        const plan* to;
    };
    static constexpr std::size_t most_kept_quotas = 64;

    [[nodiscard]] std::vector<std::vector<quota>> kept_quotas() const {
        std::vector<std::vector<quota>> out;
        from_.for_each([&](const saved_limiter::record& r) {
            for (const auto& k : r.kept) {
                const std::vector<quota> one{k.of};
                if (out.size() < most_kept_quotas && std::find(out.begin(), out.end(), one) == out.end()) {
                    out.push_back(one);
                }
            }
        });
        return out;
    }

    [[nodiscard]] quota_state steady(const rule& r, quota_state s) const noexcept {
        if (r.is_gcra()) {
            gcra::store(s, r.as_gcra().ticks(then_) + gcra::tat(s));
            return s;
        }
        return r.as_window().from_saved(s, now_);
    }
    [[nodiscard]] std::uint64_t steady(std::int64_t unix) const noexcept {
        const duration at = to_duration(static_cast<int128>(unix) - offset_.count());
        return static_cast<std::uint64_t>(std::min(at, now_.time_since_epoch()).count());
    }

    // The states of a record as the limiter has them; null when nothing of it is left.
    const plan* states_for(const saved_limiter::record& r, judge::states& out) const {
        const auto& [quotas, to] = sources_[r.tier];
        judge::states before{};
        for (std::size_t q = 0; q < quotas.size(); ++q) {
            before[q] = steady(quotas[q], r.states[q]);
        }
        for (const auto& k : r.kept) {
            quotas.keep(before.data(), k.of, steady(rule{k.of, wall_offset{to_.unix_offset_}}, k.state));
        }
        quotas.convert(before.data(), to->quotas, out.data(), then_);
        return to->quotas.is_absent(out.data(), now_) ? nullptr : to;
    }

    [[nodiscard]] bool take(const saved_limiter::record& r) {
        judge::states states;
        const plan* to = states_for(r, states);
        if (to == nullptr) {
            return true;
        }
        key_shard& s = r.overflow ? to_.overflow_ : to_.table_.shard_of(r.hash);
        const std::lock_guard lock{s.lock};
        std::uint64_t* slot = r.overflow ? nullptr : s.find(r.hash);
        const bool counted = !r.overflow && slot == nullptr;
        if (counted) {
            to_.table_.reserve_beyond();
        }
        if (!to_.write_states(s, slot, r.hash, *to, states, now_)) {
            if (counted) {
                to_.table_.release();
            }
            return false;
        }
        if (auto* h = to_.history(slot); h != nullptr && from_.history) {
            h[0] = steady(r.times[0]);
            h[1] = steady(r.times[1]);
            h[2] = r.refused;
        }
        return true;
    }

    limiter_machine& to_;
    const saved_limiter& from_;
    time_point now_;
    time_point then_;
    duration offset_;
    std::vector<source> sources_;
};

result<void> limiter_machine::load(std::span<const char> bytes, time_point now) {
    if (table_.ever_used()) {
        return error{errc::invalid_argument, "the limiter is in use; load before its first call"};
    }
    BOOST_OUTCOME_TRY(const auto from, saved_limiter::parse(bytes));
    const std::lock_guard admin{admin_};
    loading in{*this, from, now};
    if (const auto keys = in.own_keys(); keys > table_.max_keys()) {
        return bad_snapshot("it has " + std::to_string(keys) + " keys; max_keys is " +
                            std::to_string(table_.max_keys()));
    }
    if (!in.take_all()) {
        clear();
        return errc::out_of_memory;
    }
    settings_.seed = from.seed;
    seed_ = hash_seed{from.seed};
    return success();
}

// Takes back what `load` did; under no lock of a shard.
void limiter_machine::clear() noexcept {
    for (std::size_t i = 0; i < table_.shards(); ++i) {
        key_shard& s = table_.shard(i);
        const std::lock_guard lock{s.lock};
        table_.rebuild(s, s.words, 0, time_point::min(), [](const std::uint64_t*) { return true; });
    }
    const std::lock_guard lock{overflow_.lock};
    overflow_.slots[0] = 0;
    table_.forget_use();
}

}  // namespace headgate::detail
