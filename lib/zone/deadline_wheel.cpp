// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "zone/deadline_wheel.hpp"

#include <algorithm>
#include <bit>

namespace headgate::detail {

namespace {

constexpr std::uint64_t sign = std::uint64_t{1} << 63;

std::uint64_t bit(unsigned slot) noexcept {
    return std::uint64_t{1} << slot;
}

}  // namespace

std::uint64_t deadline_wheel::tick_of(time_point when) noexcept {
    // Flipping the sign bit maps the signed range onto the unsigned one, in order.
    return (static_cast<std::uint64_t>(when.time_since_epoch().count()) ^ sign) >> tick_bits;
}

// The level is where the tick differs from the time that has passed. So all of one level have the bits above it in
// common, and lie at or ahead of its position; buckets of different levels may overlap in time.
void deadline_wheel::add(deadline& node) noexcept {
    const std::uint64_t tick = std::max(tick_of(node.when_), elapsed_);
    const std::uint64_t differs = tick ^ elapsed_;
    const unsigned level = differs == 0 ? 0 : (static_cast<unsigned>(std::bit_width(differs)) - 1) / slot_bits;
    const unsigned slot = static_cast<unsigned>(tick >> (slot_bits * level)) & (slots - 1);
    node.level_ = static_cast<std::uint8_t>(level);
    node.slot_ = static_cast<std::uint8_t>(slot);
    node.arrival_ = ++arrivals_;
    // Most come in the order in which they are due.
    deadline_tree& bucket = buckets_[level][slot];
    bucket.insert(bucket.end(), node);
    occupied_[level] |= bit(slot);
    ++size_;
}

bool deadline_wheel::remove(deadline& node) noexcept {
    if (!node.is_linked()) {
        return false;
    }
    deadline_tree& bucket = buckets_[node.level_][node.slot_];
    bucket.erase(bucket.iterator_to(node));
    if (bucket.empty()) {
        occupied_[node.level_] &= ~bit(node.slot_);
    }
    --size_;
    return true;
}

const deadline* deadline_wheel::earliest() const noexcept {
    const deadline* found = nullptr;
    for (unsigned level = 0; level < levels; ++level) {
        const std::uint64_t ahead = occupied_[level] >> position(level);
        if (ahead == 0) {
            continue;
        }
        const unsigned slot = position(level) + static_cast<unsigned>(std::countr_zero(ahead));
        const deadline& first = *buckets_[level][slot].begin();
        if (found == nullptr || deadline_before{}(first, *found)) {
            found = &first;
        }
    }
    return found;
}

deadline* deadline_wheel::pop_due(time_point now) noexcept {
    auto* const node = const_cast<deadline*>(earliest());
    if (node != nullptr && node->when_ <= now) {
        (void)remove(*node);
        return node;
    }
    // No deadline is pending before now: the next one is placed nearer to its time.
    elapsed_ = std::max(elapsed_, tick_of(node == nullptr ? now : std::min(now, node->when_)));
    return nullptr;
}

time_point deadline_wheel::next_wake() const noexcept {
    const deadline* node = earliest();
    return node == nullptr ? time_point::max() : node->when_;
}

}  // namespace headgate::detail
