// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RATE_LIMITER_LIMITER_MACHINE_HPP
#define HEADGATE_LIB_RATE_LIMITER_LIMITER_MACHINE_HPP

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <headgate/impl/key_hash.hpp>
#include <headgate/impl/limiter_decision.hpp>
#include <headgate/impl/spinlock.hpp>
#include <headgate/quota.hpp>
#include <headgate/result.hpp>

#include "rate_limiter/judge.hpp"
#include "rate_limiter/key_table.hpp"
#include "rate_limiter/plan_set.hpp"

namespace headgate::detail {

struct limiter_settings {
    std::uint64_t seed = 0;
    std::uint64_t max_keys = std::uint64_t{1} << 20;
    bool track_keys = false;
    /// system - steady, as of now; `follow_wall_clock` tells when it has changed.
    duration unix_offset{};
};

struct limiter_counts {
    std::uint64_t granted = 0;
    std::uint64_t refused = 0;
    std::uint64_t keys = 0;
    std::uint64_t bytes = 0;
    std::uint64_t most_looked = 0;
    bool overflowing = false;
};

struct sweep_report {
    std::uint64_t looked = 0;
    std::uint64_t dropped = 0;
    /// There is room for new keys again.
    bool overflow_ended = false;
};

/// Which bucket a key's waiters wait for: its own, or the one that keys share past max_keys.
struct bucket_ref {
    std::uint64_t hash = 0;
    bool overflow = false;

    friend bool operator==(const bucket_ref&, const bucket_ref&) = default;
};

/// The rate limiter without I/O: keys are hashes, time is an argument, nothing waits. Thread-safe.
///
/// A call may name any tier; the state of a key converts, and is kept in the tier that charged it last. A refusal
/// changes nothing. Locks are taken in this order: `admin_`, a shard, the shared bucket.
class limiter_machine {
public:
    static result<std::unique_ptr<limiter_machine>> make(const limiter_settings& settings,
                                                         std::vector<headgate::tier> tiers);
    ~limiter_machine();
    limiter_machine(const limiter_machine&) = delete;
    limiter_machine& operator=(const limiter_machine&) = delete;

    /// Under which keys are hashed. `load` changes it, so hash after that.
    [[nodiscard]] const hash_seed& seed() const noexcept { return seed_; }
    [[nodiscard]] std::optional<std::uint32_t> find_tier(std::string_view name) const noexcept {
        return plans_.find(name);
    }
    [[nodiscard]] std::string tier_name(std::uint32_t tier) const { return plans_.name_of(tier); }
    /// Worth a call between hashing a key and reading the clock: a cache miss then overlaps with the clock.
    void prefetch(std::uint64_t hash) const noexcept { std::as_const(table_).shard_of(hash).prefetch(hash); }
    /// System time - steady time is this from now on.
    void follow_wall_clock(duration offset) noexcept {
        if (unix_offset_.load(std::memory_order_relaxed) != offset.count()) {
            unix_offset_.store(offset.count(), std::memory_order_relaxed);
        }
    }

    // Decisions. A refusal for want of permits is counted when it is final: with `max_wait`, when the wait is longer.

    /// Decides for a key that is in the table, in the tier asked for, under one gcra quota, and with no queue near by.
    /// For all other cases it has no answer, and changes nothing.
    [[nodiscard]] straight_answer straight(std::uint64_t hash, std::uint32_t tier, std::uint64_t cost, time_point now,
                                           duration max_wait = {}) noexcept;
    /// Decides in every case. `queued` when a bucket of the key's shard has a wait queue: then the shell looks whether
    /// it is this one.
    [[nodiscard]] decision try_acquire_generally(std::uint64_t hash, std::uint32_t tier, std::uint64_t cost,
                                                 time_point now, duration max_wait = {}) noexcept;
    /// The straight path, else the general one; they give the same answers.
    [[nodiscard]] decision try_acquire(std::uint64_t hash, std::uint32_t tier, std::uint64_t cost,
                                       time_point now) noexcept;
    /// The key as it is seen from `tier`, or from the tier that it is in.
    [[nodiscard]] key_info inspect(std::uint64_t hash, std::optional<std::uint32_t> tier, time_point now) const;
    /// Forgets the key; whether there was anything to forget.
    bool forget(std::uint64_t hash, time_point now) noexcept;

    // Administration.

    /// Changes tiers and quotas; keys keep what they used. A removed tier gives its keys to the first one, and
    /// calls that still name it get `unknown_tier`. States convert when they are next touched, as of `now`, or as the
    /// sweep passes: it goes around once before old quotas are freed. On error nothing has changed.
    result<void> change(std::vector<headgate::tier> tiers, time_point now);

    /// Looks for dead slots in the next few shards, and finishes live changes there.
    sweep_report sweep(std::size_t shard_budget, time_point now) noexcept;
    [[nodiscard]] std::size_t shards() const noexcept { return table_.shards(); }
    [[nodiscard]] std::uint64_t keys() const noexcept { return table_.keys(); }
    [[nodiscard]] bool overflowing() const noexcept { return overflowing_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t generation() const noexcept { return plans_.generation(); }

    [[nodiscard]] limiter_counts counts() const noexcept;
    [[nodiscard]] const limiter_settings& settings() const noexcept { return settings_; }

    /// All that is needed to go on after a restart, the seed too: it is a secret.
    [[nodiscard]] std::vector<char> save(time_point now) const;
    /// Takes over saved states. Only before the first use. On error nothing has changed.
    result<void> load(std::span<const char> bytes, time_point now);
    /// `save` to a file of mode 0600 that is replaced in one step.
    result<void> save_file(const std::string& path, time_point now) const;
    result<void> load_file(const std::string& path, time_point now);

    // Buckets, for the shell.

    /// The charges of the waiters of a bucket, one after the other, on a copy of its states. Used under the lock of the
    /// bucket, and only while no plan was replaced since: `is_of_now`.
    class projection {
    public:
        /// Queues one more behind; gives the time at which it passes, none when never.
        std::optional<time_point> add(std::uint32_t tier, std::uint64_t cost) noexcept;
        [[nodiscard]] bool is_of_now() const noexcept {
            return machine_ != nullptr && generation_ == machine_->generation();
        }

    private:
        friend limiter_machine;
        const limiter_machine* machine_ = nullptr;
        const plan* plan_ = nullptr;
        std::uint64_t generation_ = 0;
        judge::states states_{};
        time_point at_{};
    };

    /// What a bucket is opened for. To charge it takes a place in the table at once, so that nothing can change which
    /// bucket it is.
    enum class purpose : std::uint8_t { charge, look };

    /// A bucket under its lock: nanoseconds only, no user code. What the shell does under the same lock as the decision
    /// (queue a waiter, grant the head of a queue) it does through this.
    class open_bucket {
    public:
        open_bucket(const open_bucket&) = delete;
        open_bucket& operator=(const open_bucket&) = delete;
        ~open_bucket();

        [[nodiscard]] bucket_ref ref() const noexcept { return {hash_, is_shared()}; }
        /// A bucket of the same shard, or this one, has a wait queue.
        [[nodiscard]] bool is_near_queue() const noexcept {
            return shard_->queues != 0 || (own_ != nullptr && own_->queues != 0);
        }
        /// The bucket has a wait queue from now on: `try_acquire` says `queued`.
        void mark_waiting() noexcept;
        /// Counts a refusal that the shell decided.
        void count_refused() noexcept;
        /// The largest cost that can ever pass; none for a removed tier.
        [[nodiscard]] std::optional<std::uint64_t> largest_cost(std::uint32_t tier) const noexcept;
        /// The earliest time, not before `now`, at which the cost passes when nothing else comes; none when never.
        [[nodiscard]] std::optional<time_point> next_time(std::uint32_t tier, std::uint64_t cost,
                                                          time_point now) noexcept;
        /// Charges when it passes. It does not look at waiters.
        decision try_charge(std::uint32_t tier, std::uint64_t cost, time_point now, duration max_wait = {}) noexcept;
        /// Starts from the bucket as it is.
        [[nodiscard]] projection project(std::uint32_t tier, time_point now) noexcept;

    private:
        friend limiter_machine;
        open_bucket(limiter_machine& machine, std::uint64_t hash, time_point now, purpose use) noexcept;
        open_bucket(limiter_machine& machine, const bucket_ref& ref) noexcept;
        [[nodiscard]] bool is_shared() const noexcept { return shard_ == &machine_.overflow_; }
        [[nodiscard]] bool has_own_place(time_point now, purpose use) noexcept;
        void share() noexcept;
        void note_use() noexcept;
        decision refuse(verdict why, duration retry_after, duration max_wait) noexcept;

        limiter_machine& machine_;
        key_shard* own_ = nullptr;  ///< The key's; null where only the shared bucket was asked for.
        key_shard* shard_ = nullptr;
        std::uint64_t* slot_ = nullptr;
        std::uint64_t hash_ = 0;
        bool reserved_ = false;        ///< It has a place in the table, and no slot yet.
        bool overflow_began_ = false;  ///< It is the first to share since there was room last.
        std::unique_lock<spinlock> own_lock_;
        std::unique_lock<spinlock> shared_lock_;
    };

    /// Locks the bucket of a key. That is its own; or the shared one, when the key is not in the table and the table is
    /// full or the shared bucket has waiters.
    [[nodiscard]] open_bucket open(std::uint64_t hash, time_point now, purpose use = purpose::charge) noexcept {
        return {*this, hash, now, use};
    }
    /// Locks a bucket that has a wait queue. It keeps its place, though its slot may have been dropped and the table be
    /// full since.
    [[nodiscard]] open_bucket open(const bucket_ref& ref, time_point) noexcept { return {*this, ref}; }

    /// Takes `mark_waiting` back.
    void unmark_waiting(const bucket_ref& ref) noexcept;
    /// Between two holds of a bucket: see `spinlock`.
    void let_others_in(const bucket_ref& ref) noexcept {
        (ref.overflow ? overflow_ : table_.shard_of(ref.hash)).lock.let_others_in();
    }

private:
    limiter_machine(const limiter_settings& settings, std::vector<headgate::tier> tiers);

    // Slots, under the lock of their shard.
    const plan* states_of(const std::uint64_t* slot, judge::states& out) const noexcept;
    [[nodiscard]] bool is_dead(const std::uint64_t* slot, time_point now) const noexcept;
    bool write_states(key_shard& s, std::uint64_t*& slot, std::uint64_t hash, const plan& p, const judge::states& in,
                      time_point now) noexcept;
    [[nodiscard]] auto dead_at(time_point now) const noexcept {
        return [this, now](const std::uint64_t* slot) { return is_dead(slot, now); };
    }
    [[nodiscard]] std::uint16_t words_for(const plan& p) const noexcept {
        return static_cast<std::uint16_t>(1 + 2 * p.quotas.entries() + (settings_.track_keys ? 3 : 0));
    }
    /// Where the history of a key is kept, between its first word and its states: created, updated, refused.
    std::uint64_t* history(std::uint64_t* slot) const noexcept {
        return settings_.track_keys && slot != nullptr ? slot + 1 : nullptr;
    }
    void get(const std::uint64_t* slot, const plan& p, judge::states& out) const noexcept;
    void put(std::uint64_t* slot, const plan& p, const judge::states& in) const noexcept;
    /// Fills all but the tier's name, and gives its handle.
    std::uint32_t usage(const key_shard& s, std::uint64_t* slot, std::optional<std::uint32_t> tier, time_point now,
                        key_info& out) const;

    // Live changes, under `admin_`.
    [[nodiscard]] const plan* replacement_of(const std::uint64_t* slot) const noexcept;
    void migrate_slot(std::uint64_t* slot, const plan& to) noexcept;
    bool migrate(key_shard& s) noexcept;
    bool finish_change() noexcept;
    void migrate_shared(time_point now) noexcept;

    // Snapshots.
    class saving;
    class loading;
    void clear() noexcept;

    // What every call reads stands first.
    mutable key_table table_;
    hash_seed seed_;
    atomic<std::int64_t> unix_offset_;
    plan_set plans_;
    limiter_settings settings_;
    /// The bucket that keys share past max_keys: the only slot of a shard of its own, always there.
    mutable key_shard overflow_{};
    atomic<bool> overflowing_{false};
    /// Whether the shared bucket has a wait queue. Then no new key gets a bucket of its own, which would let it pass
    /// the waiters.
    atomic<bool> overflow_waited_for_{false};

    mutable detail::mutex admin_;
    std::size_t to_migrate_ = 0;
    std::size_t sweep_cursor_ = 0;
};

inline straight_answer limiter_machine::straight(std::uint64_t hash, std::uint32_t tier, std::uint64_t cost,
                                                 time_point now, duration max_wait) noexcept {
    constexpr straight_answer no_answer{nullptr, 0};
    key_shard& s = table_.shard_of(hash);
    const std::lock_guard lock{s.lock};
    const plan* p = plans_.current(tier);
    std::uint64_t* slot = s.find(hash);
    if (slot == nullptr || p == nullptr || !p->simple || static_cast<std::uint8_t>(slot[0]) != p->id || s.queues != 0)
        [[unlikely]] {
        return no_answer;
    }
    const gcra& g = p->only;
    const int128 at = g.ticks(now);
    const int128 before = std::max<int128>(gcra::tat({slot[1], slot[2]}) - at, 0);
    std::int64_t charge = 0;
    std::int64_t debt = 0;
    if (cost - 1 >= static_cast<std::uint64_t>(g.burst()) || static_cast<uint128>(before) >> 63 != 0 ||
        __builtin_mul_overflow(g.step(), static_cast<std::int64_t>(cost), &charge) ||
        __builtin_add_overflow(static_cast<std::int64_t>(before), charge, &debt)) [[unlikely]] {
        return no_answer;
    }
    const auto capacity = static_cast<std::int64_t>(g.capacity());
    if (debt <= capacity) [[likely]] {
        quota_state charged;
        gcra::store(charged, at + debt);
        slot[1] = charged.low;
        slot[2] = charged.high;
        ++s.granted;
        return {p->rate, debt};
    }
    const straight_answer refused{p->rate, capacity - debt};
    if (max_wait <= duration::zero() || is_final(refused.retry_after(), max_wait)) {
        ++s.refused;
    }
    return refused;
}

inline decision limiter_machine::try_acquire(std::uint64_t hash, std::uint32_t tier, std::uint64_t cost,
                                             time_point now) noexcept {
    if (const straight_answer a = straight(hash, tier, cost, now)) [[likely]] {
        if (a.granted()) {
            return {verdict::granted, false, {}, a.as_grant()};
        }
        return {verdict::rate_limited, false, a.retry_after(), {}};
    }
    return try_acquire_generally(hash, tier, cost, now);
}

}  // namespace headgate::detail

#endif
