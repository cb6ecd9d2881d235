// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "zone/deadline_wheel.hpp"

#include <algorithm>
#include <bit>

namespace headgate::detail {

namespace {

constexpr std::uint8_t due_level = 0xff;
constexpr std::uint64_t sign = std::uint64_t{1} << 63;

std::uint64_t bit(unsigned slot) noexcept {
    return std::uint64_t{1} << slot;
}

}  // namespace

std::uint64_t deadline_wheel::tick_of(time_point when) noexcept {
    // Flipping the sign bit maps the signed range onto the unsigned one, in order.
    return (static_cast<std::uint64_t>(when.time_since_epoch().count()) ^ sign) >> tick_bits;
}

time_point deadline_wheel::start_of(std::uint64_t tick) noexcept {
    return time_point{duration{static_cast<duration::rep>((tick << tick_bits) ^ sign)}};
}

void deadline_wheel::place(deadline& node) noexcept {
    const std::uint64_t tick = std::max(tick_of(node.when_), elapsed_);
    const std::uint64_t differs = tick ^ elapsed_;
    const unsigned level = differs == 0 ? 0 : (static_cast<unsigned>(std::bit_width(differs)) - 1) / slot_bits;
    const unsigned slot = static_cast<unsigned>(tick >> (slot_bits * level)) & (slots - 1);
    node.level_ = static_cast<std::uint8_t>(level);
    node.slot_ = static_cast<std::uint8_t>(slot);
    buckets_[level][slot].push_back(node);
    occupied_[level] |= bit(slot);
}

void deadline_wheel::add(deadline& node) noexcept {
    place(node);
    ++size_;
}

bool deadline_wheel::remove(deadline& node) noexcept {
    if (!node.is_linked()) {
        return false;
    }
    node.unlink();
    --size_;
    if (node.level_ != due_level && buckets_[node.level_][node.slot_].empty()) {
        occupied_[node.level_] &= ~bit(node.slot_);
    }
    return true;
}

// Moves what is due from one bucket of the lowest level to the due list.
void deadline_wheel::collect(unsigned slot, time_point now) noexcept {
    auto& bucket = buckets_[0][slot];
    for (auto it = bucket.begin(); it != bucket.end();) {
        deadline& node = *it++;
        if (node.when_ <= now) {
            node.unlink();
            node.level_ = due_level;
            due_.push_back(node);
        }
    }
    due_.sort([](const deadline& a, const deadline& b) { return a.when_ < b.when_; });
    if (bucket.empty()) {
        occupied_[0] &= ~bit(slot);
    }
}

// Spreads the bucket that time has just entered over the levels below. True when there was one.
bool deadline_wheel::cascade() noexcept {
    for (unsigned level = levels - 1; level > 0; --level) {
        const unsigned slot = position(level);
        if ((occupied_[level] & bit(slot)) == 0) {
            continue;
        }
        deadline_list bucket;
        bucket.swap(buckets_[level][slot]);
        occupied_[level] &= ~bit(slot);
        while (!bucket.empty()) {
            deadline& node = bucket.front();
            node.unlink();
            place(node);
        }
        return true;
    }
    return false;
}

// Takes time to the next occupied bucket that starts at or before `now`. False when there is none.
bool deadline_wheel::advance(time_point now) noexcept {
    for (unsigned level = 0; level < levels; ++level) {
        const std::uint64_t ahead = occupied_[level] >> position(level);
        if (ahead == 0) {
            continue;
        }
        const unsigned steps = static_cast<unsigned>(std::countr_zero(ahead));
        const std::uint64_t tick = ((elapsed_ >> (slot_bits * level)) + steps) << (slot_bits * level);
        if (start_of(tick) > now) {
            return false;
        }
        elapsed_ = std::max(elapsed_, tick);
        return true;
    }
    return false;
}

deadline* deadline_wheel::pop_due(time_point now) noexcept {
    while (due_.empty() && advance(now)) {
        while (cascade()) {
        }
        const unsigned slot = position(0);
        if ((occupied_[0] & bit(slot)) == 0) {
            continue;
        }
        collect(slot, now);
        if ((occupied_[0] & bit(slot)) != 0) {
            break;  // the rest of this bucket is later than now
        }
    }
    if (due_.empty()) {
        if (size_ == 0) {
            elapsed_ = std::max(elapsed_, tick_of(now));
        }
        return nullptr;
    }
    deadline& node = due_.front();
    due_.pop_front();
    --size_;
    return &node;
}

time_point deadline_wheel::next_wake() const noexcept {
    if (!due_.empty()) {
        return due_.front().when_;
    }
    for (unsigned level = 0; level < levels; ++level) {
        const std::uint64_t ahead = occupied_[level] >> position(level);
        if (ahead == 0) {
            continue;
        }
        const unsigned steps = static_cast<unsigned>(std::countr_zero(ahead));
        if (level > 0) {
            return start_of(((elapsed_ >> (slot_bits * level)) + steps) << (slot_bits * level));
        }
        const auto& bucket = buckets_[0][position(0) + steps];
        return std::min_element(bucket.begin(), bucket.end(),
                                [](const deadline& a, const deadline& b) { return a.when_ < b.when_; })
            ->when_;
    }
    return time_point::max();
}

}  // namespace headgate::detail
