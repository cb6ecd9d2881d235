// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RATE_LIMITER_KEY_TABLE_HPP
#define HEADGATE_LIB_RATE_LIMITER_KEY_TABLE_HPP

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

#include <headgate/impl/spinlock.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

/// One of many small open-addressing tables, each behind its own lock. A slot is a run of 64-bit words: the low 56
/// bits of the hash above an 8-bit tag, then what the owner keeps. The shard is chosen by the top bits of the hash, so
/// with 256 shards or more all of its 64 bits count. A first word of zero is an empty slot; tags are not zero.
/// All zero bytes are an empty shard.
struct alignas(64) key_shard {
    spinlock lock;
    std::uint16_t words;     ///< Words of a slot.
    std::uint32_t capacity;  ///< Slots.
    std::uint32_t live;      ///< Slots in use.
    std::uint32_t cursor;    ///< Where the look for dead slots goes on.
    std::uint64_t* slots;
    std::uint64_t queues;  ///< How many buckets of this shard have a wait queue in the shell.
    std::uint64_t granted;
    std::uint64_t refused;
    std::uint64_t floor;  ///< The latest time at which a slot was dropped, as `key_table::ordered`.

    [[nodiscard]] std::uint64_t* slot(std::uint32_t i) const noexcept {
        return slots + static_cast<std::size_t>(i) * words;
    }
    /// Where a hash belongs: its low 32 bits scaled to the capacity, which need be no power of two.
    [[nodiscard]] std::uint32_t home(std::uint64_t hash) const noexcept {
        return static_cast<std::uint32_t>(static_cast<std::uint64_t>(static_cast<std::uint32_t>(hash)) * capacity >>
                                          32);
    }
    /// Asks for the line of a slot, without the lock: what it reads may be out of date, and then nothing is gained.
    void prefetch(std::uint64_t hash) const noexcept {
        const auto* base = __atomic_load_n(&slots, __ATOMIC_RELAXED);
        const std::uint64_t in = __atomic_load_n(&capacity, __ATOMIC_RELAXED);
        const std::uint64_t at = static_cast<std::uint32_t>(hash) * in >> 32;
        __builtin_prefetch(base + at * __atomic_load_n(&words, __ATOMIC_RELAXED), 1);
    }
    void move_to(std::uint64_t* to, std::uint32_t new_capacity, std::uint16_t new_words) noexcept {
        __atomic_store_n(&slots, to, __ATOMIC_RELAXED);
        __atomic_store_n(&capacity, new_capacity, __ATOMIC_RELAXED);
        __atomic_store_n(&words, new_words, __ATOMIC_RELAXED);
    }
    [[nodiscard]] std::uint64_t* find(std::uint64_t hash) const noexcept {
        if (live == 0) {
            return nullptr;
        }
        std::uint32_t i = home(hash);
        for (std::uint64_t* at = slot(i);;) {
            if ((at[0] ^ hash << 8) < 256 && at[0] != 0) [[likely]] {
                return at;
            }
            if (at[0] == 0) {
                return nullptr;
            }
            at = ++i == capacity ? (i = 0, slots) : at + words;
        }
    }
};
static_assert(sizeof(key_shard) == 64);

/// A power-of-two number of shards. It knows slots and bytes; what a slot means, and when it is dead, its owner says.
/// Every function that takes a shard wants its lock held.
class key_table {
public:
    static constexpr std::uint32_t first_capacity = 8;
    /// How many slots a call looks at for dead ones in its own shard when the table is full.
    static constexpr std::uint32_t look = 8;
    /// In how many shards a call looks when that was not enough, and after how many slots it stops.
    static constexpr std::size_t reclaim_shards = 64;
    static constexpr std::uint64_t reclaim_slots = 512;
    static constexpr duration reclaim_rest = std::chrono::milliseconds{10};

    explicit key_table(std::uint64_t max_keys);
    ~key_table();
    key_table(const key_table&) = delete;
    key_table& operator=(const key_table&) = delete;

    [[nodiscard]] key_shard& shard_of(std::uint64_t hash) noexcept { return shards_[hash >> shift_]; }
    [[nodiscard]] const key_shard& shard_of(std::uint64_t hash) const noexcept { return shards_[hash >> shift_]; }
    [[nodiscard]] key_shard& shard(std::size_t i) noexcept { return shards_[i]; }
    [[nodiscard]] std::size_t shards() const noexcept { return std::size_t{1} << (64 - shift_); }
    [[nodiscard]] std::uint64_t full_hash(const key_shard& s, const std::uint64_t* slot) const noexcept {
        return static_cast<std::uint64_t>(&s - shards_) << shift_ | slot[0] >> 8;
    }

    [[nodiscard]] std::uint64_t max_keys() const noexcept { return max_keys_; }
    [[nodiscard]] std::uint64_t keys() const noexcept { return keys_.load(std::memory_order_relaxed); }
    [[nodiscard]] bool full() const noexcept { return keys() >= max_keys_; }
    /// All the memory it holds.
    [[nodiscard]] std::uint64_t bytes() const noexcept {
        return bytes_.load(std::memory_order_relaxed) + shards() * sizeof(key_shard);
    }
    /// The most slots that any one call looked at to find dead ones.
    [[nodiscard]] std::uint64_t most_looked() const noexcept { return most_looked_.load(std::memory_order_relaxed); }
    [[nodiscard]] bool ever_used() const noexcept { return used_.load(std::memory_order_relaxed); }

    void forget_use() noexcept { used_.store(false, std::memory_order_relaxed); }

    /// Notes that a shard counts something; once for each shard it costs more than a look.
    void touch(const key_shard& s) noexcept {
        const auto i = static_cast<std::size_t>(&s - shards_);
        const std::uint64_t bit = std::uint64_t{1} << (i & 63);
        if ((touched_[i >> 6].load(std::memory_order_relaxed) & bit) == 0) {
            touched_[i >> 6].fetch_or(bit, std::memory_order_relaxed);
        }
    }
    /// Calls `f` with every shard that was touched: a few, where there are few keys.
    template <class F>
    void for_each_touched(const F& f) {
        for (std::size_t word = 0; word < shards() / 64; ++word) {
            for (std::uint64_t bits = touched_[word].load(std::memory_order_relaxed); bits != 0; bits &= bits - 1) {
                f(shards_[word * 64 + static_cast<std::size_t>(std::countr_zero(bits))]);
            }
        }
    }

    /// Counts one key more, before it is there: `insert` needs that, or `release` takes it back. False when the table
    /// is full and none of the few slots of `s` that this looks at is dead.
    template <class Dead>
    [[nodiscard]] bool reserve(key_shard& s, time_point now, const Dead& dead) {
        if (keys_.fetch_add(1, std::memory_order_relaxed) < max_keys_) {
            return true;
        }
        release();
        if (!evict_some(s, now, dead)) {
            return false;
        }
        if (keys_.fetch_add(1, std::memory_order_relaxed) < max_keys_) {
            return true;
        }
        release();
        return false;
    }
    /// The same for a key that must have its place, although the table may be full: others wait for it.
    void reserve_beyond() noexcept { keys_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept { keys_.fetch_sub(1, std::memory_order_relaxed); }

    /// A slot for a hash that has none and is counted, its first word set with `tag` and the others zero; null when
    /// memory is out. Slots that `dead` names may go, and slots may move.
    template <class Dead>
    std::uint64_t* insert(key_shard& s, std::uint64_t hash, std::uint8_t tag, std::uint16_t words, time_point now,
                          const Dead& dead) {
        const bool room =
            s.slots != nullptr && words <= s.words && (s.live + 1) * std::uint64_t{8} <= s.capacity * std::uint64_t{7};
        if (!room && !rebuild(s, words, 1, now, dead)) {
            return nullptr;
        }
        std::uint64_t* at = place(s, hash);
        at[0] = hash << 8 | tag;
        ++s.live;
        touch(s);
        if (!used_.load(std::memory_order_relaxed)) {
            used_.store(true, std::memory_order_relaxed);
        }
        return at;
    }

    /// For a full table, under no lock: looks for dead slots in some other shards, and goes on there next time. Once it
    /// has been around in vain it rests for a while.
    template <class Dead>
    void reclaim(time_point now, const Dead& dead) {
        if (reclaiming_.exchange(true, std::memory_order_acquire)) {
            return;
        }
        if (now >= rest_until_ || now < rested_at_) {
            std::uint64_t looked = 0;
            for (std::size_t shards_left = reclaim_shards; shards_left > 0 && looked < reclaim_slots; --shards_left) {
                key_shard* s = next_touched();
                if (s == nullptr) {
                    break;
                }
                const std::lock_guard lock{s->lock};
                looked += s->capacity;
                if (drop_dead(*s, now, dead)) {
                    reclaimed_since_ = true;
                    break;
                }
            }
            note_looked(looked);
            if (std::exchange(went_around_, false) && !std::exchange(reclaimed_since_, false)) {
                rested_at_ = now;
                rest_until_ = saturating_add(now, reclaim_rest);
            }
        }
        reclaiming_.store(false, std::memory_order_release);
    }

    /// Drops all dead slots of a shard. True when there were any.
    template <class Dead>
    bool drop_dead(key_shard& s, time_point now, const Dead& dead) {
        const std::uint32_t before = s.live;
        for (std::uint32_t i = 0; i < s.capacity; ++i) {
            if (s.slot(i)[0] != 0 && dead(s.slot(i))) {
                rebuild(s, s.words, 0, now, dead);
                break;
            }
        }
        return s.live != before;
    }

    /// Drops a slot and closes the gap behind it.
    void erase(key_shard& s, std::uint64_t* slot) noexcept;

    /// Looks at a few slots and drops the dead ones; whether there were any. For a full table.
    template <class Dead>
    bool evict_some(key_shard& s, time_point now, const Dead& dead) {
        const std::uint32_t n = std::min(look, s.capacity);
        bool dropped = false;
        for (std::uint32_t looked = 0; looked < n && s.live > 0; ++looked) {
            if (s.cursor >= s.capacity) {
                s.cursor = 0;
            }
            std::uint64_t* at = s.slot(s.cursor);
            if (at[0] != 0 && dead(at)) {
                erase(s, at);
                dropped = true;
            } else {
                ++s.cursor;
            }
        }
        note_looked(n);
        if (dropped) {
            raise_floor(s, now);
        }
        return dropped;
    }

    /// Moves what lives to a new array, with room for `extra` more: a larger one, or a smaller one when much has died.
    template <class Dead>
    bool rebuild(key_shard& s, std::uint16_t words, std::uint32_t extra, time_point now, const Dead& dead) {
        words = std::max(words, s.words);
        std::uint32_t survivors = 0;
        for (std::uint32_t i = 0; i < s.capacity; ++i) {
            std::uint64_t* at = s.slot(i);
            if (at[0] != 0 && dead(at)) {
                at[0] = gone;
            }
            survivors += is_live(at) ? 1 : 0;
        }
        note_looked(s.capacity);
        const std::uint32_t dropped = s.live - survivors;
        const std::uint32_t capacity = fitting(survivors + extra, s.capacity);
        auto* fresh = static_cast<std::uint64_t*>(
            capacity == 0 ? nullptr : std::calloc(capacity, std::size_t{words} * sizeof(std::uint64_t)));
        const bool moved = fresh != nullptr || capacity == 0;
        if (!moved && dropped == 0) {
            return false;
        }
        key_shard old = {};
        old.words = s.words;
        old.capacity = s.capacity;
        old.slots = s.slots;
        if (moved) {
            count_bytes(static_cast<std::int64_t>(capacity) * words - static_cast<std::int64_t>(s.capacity) * s.words);
            s.move_to(fresh, capacity, words);
            s.cursor = 0;
            for (std::uint32_t i = 0; i < old.capacity; ++i) {
                const std::uint64_t* at = old.slot(i);
                if (is_live(at)) {
                    std::memcpy(place(s, at[0] >> 8), at, std::size_t{old.words} * sizeof(std::uint64_t));
                }
            }
            std::free(old.slots);
            s.live = survivors;
            keys_.fetch_sub(dropped, std::memory_order_relaxed);
        } else {
            drop_gone(s);
        }
        if (dropped != 0) {
            raise_floor(s, now);
        }
        return moved;
    }

    /// Empties a slot that is not counted among the keys.
    static void empty_out(key_shard& s, std::uint64_t* slot, time_point now) noexcept {
        slot[0] = 0;
        raise_floor(s, now);
    }

    /// The earliest time at which a key that was not found may be taken to be unused: a call with an older time must
    /// not profit from a slot that was dropped at a newer one.
    [[nodiscard]] static time_point not_before(const key_shard& s, time_point now) noexcept {
        return std::max(now, time_point{duration{static_cast<std::int64_t>(s.floor ^ sign)}});
    }

private:
    static constexpr std::uint64_t sign = std::uint64_t{1} << 63;
    /// The first word of a slot about to go: no live slot has hash bits of zero and this tag.
    static constexpr std::uint64_t gone = 255;

    static bool is_live(const std::uint64_t* slot) noexcept { return slot[0] != 0 && slot[0] != gone; }
    static void raise_floor(key_shard& s, time_point now) noexcept {
        s.floor = std::max(s.floor, static_cast<std::uint64_t>(now.time_since_epoch().count()) ^ sign);
    }
    static std::uint64_t* place(const key_shard& s, std::uint64_t hash) noexcept {
        std::uint32_t i = s.home(hash);
        while (s.slot(i)[0] != 0) {
            i = i + 1 == s.capacity ? 0 : i + 1;
        }
        return s.slot(i);
    }
    /// The next shard that was ever in use; null when there is none. Notes when it starts over.
    key_shard* next_touched() noexcept;
    static std::uint32_t fitting(std::uint32_t wanted, std::uint32_t capacity) noexcept;
    void drop_gone(key_shard& s) noexcept;
    void count_bytes(std::int64_t words) noexcept {
        bytes_.fetch_add(static_cast<std::uint64_t>(words * 8), std::memory_order_relaxed);
    }
    void note_looked(std::uint64_t n) noexcept {
        if (n > most_looked_.load(std::memory_order_relaxed)) {
            most_looked_.store(n, std::memory_order_relaxed);
        }
    }

    key_shard* shards_;
    unsigned shift_;
    std::uint64_t max_keys_;
    void* memory_;
    std::unique_ptr<atomic<std::uint64_t>[]> touched_;  // a bit a shard; there are at least 256 shards
    // Written by insertions and drops only, but on a line of its own: every call reads what stands above.
    alignas(64) atomic<std::uint64_t> keys_{0};
    atomic<std::uint64_t> bytes_{0};
    atomic<std::uint64_t> most_looked_{0};
    atomic<bool> used_{false};
    // Of `reclaim`, which one thread does at a time.
    atomic<bool> reclaiming_{false};
    bool went_around_ = false;
    bool reclaimed_since_ = false;
    std::size_t reclaim_cursor_ = 0;
    time_point rested_at_ = time_point::min();
    time_point rest_until_ = time_point::min();
};

}  // namespace headgate::detail

#endif
