// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "rate_limiter/key_table.hpp"

#include <new>

namespace headgate::detail {
namespace {

/// About 256 keys a shard when the table is full; at least 256 shards, so that their number and the slot together hold
/// the whole hash.
unsigned shift_for(std::uint64_t max_keys) noexcept {
    const std::uint64_t shards = std::bit_ceil(std::clamp<std::uint64_t>(max_keys / 256, 256, std::uint64_t{1} << 20));
    return 64 - static_cast<unsigned>(std::countr_zero(shards));
}

}  // namespace

key_table::key_table(std::uint64_t max_keys)
    : shift_(shift_for(max_keys)),
      max_keys_(max_keys),
      touched_(std::make_unique<atomic<std::uint64_t>[]>(shards() / 64)) {
    // Zeroed by the system when it is large: shards never touched take no memory.
    const std::size_t size = shards() * sizeof(key_shard) + alignof(key_shard);
    memory_ = std::calloc(size, 1);
    if (memory_ == nullptr) {
        throw std::bad_alloc{};
    }
    void* aligned = memory_;
    std::size_t space = size;
    shards_ = static_cast<key_shard*>(std::align(alignof(key_shard), shards() * sizeof(key_shard), aligned, space));
}

key_table::~key_table() {
    for (std::size_t i = 0; i < shards(); ++i) {
        std::free(shards_[i].slots);
    }
    std::free(memory_);
}

void key_table::erase(key_shard& s, std::uint64_t* slot) noexcept {
    const std::size_t size = std::size_t{s.words} * sizeof(std::uint64_t);
    auto hole = static_cast<std::uint32_t>(static_cast<std::size_t>(slot - s.slots) / s.words);
    for (std::uint32_t i = hole;;) {
        i = i + 1 == s.capacity ? 0 : i + 1;
        const std::uint64_t* at = s.slot(i);
        if (at[0] == 0) {
            break;
        }
        // It may fill the hole unless its home lies behind the hole, on the way to where it is.
        const std::uint32_t home = s.home(at[0] >> 8);
        const std::uint32_t from_home = i >= home ? i - home : i + s.capacity - home;
        const std::uint32_t from_hole = i >= hole ? i - hole : i + s.capacity - hole;
        if (from_home >= from_hole) {
            std::memcpy(s.slot(hole), at, size);
            hole = i;
        }
    }
    std::memset(s.slot(hole), 0, size);
    --s.live;
    keys_.fetch_sub(1, std::memory_order_relaxed);
}

void key_table::drop_gone(key_shard& s) noexcept {
    for (std::uint32_t i = 0; i < s.capacity;) {
        if (s.slot(i)[0] == gone) {
            erase(s, s.slot(i));
        } else {
            ++i;
        }
    }
}

key_shard* key_table::next_touched() noexcept {
    const std::size_t words = shards() / 64;
    for (std::size_t n = 0; n <= words; ++n) {
        const std::size_t word = reclaim_cursor_ / 64;
        const std::uint64_t ahead = touched_[word].load(std::memory_order_relaxed) >> (reclaim_cursor_ % 64);
        if (ahead != 0) {
            const std::size_t at = reclaim_cursor_ + static_cast<std::size_t>(std::countr_zero(ahead));
            reclaim_cursor_ = (at + 1) & (shards() - 1);
            went_around_ |= reclaim_cursor_ == 0;
            return &shards_[at];
        }
        reclaim_cursor_ = (word + 1) % words * 64;
        went_around_ |= reclaim_cursor_ == 0;
    }
    return nullptr;
}

std::uint32_t key_table::fitting(std::uint32_t wanted, std::uint32_t capacity) noexcept {
    if (wanted == 0) {
        return 0;
    }
    std::uint32_t fit = std::max(capacity, first_capacity);
    while (fit > first_capacity && std::uint64_t{wanted} * 16 < std::uint64_t{fit} * 7) {
        fit = std::max(first_capacity, fit / 3 * 2);
    }
    // The new slots are at most five eighths full; else the next rebuild would come soon.
    while (std::uint64_t{wanted} * 8 > std::uint64_t{fit} * 5) {
        fit += fit / 2;
    }
    return fit;
}

}  // namespace headgate::detail
