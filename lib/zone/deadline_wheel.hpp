// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_ZONE_DEADLINE_WHEEL_HPP
#define HEADGATE_LIB_ZONE_DEADLINE_WHEEL_HPP

#include <array>
#include <cstdint>

#include <headgate/impl/deadline.hpp>

namespace headgate::detail {

/// A hierarchical timing wheel of intrusive deadlines (Varghese and Lauck, 1987), whose buckets are ordered: small
/// search trees. No bucket is ever sorted, nor moved to the level below: whatever the number pending, a call takes the
/// time of a few look-ups in one tree, and it allocates nothing. A deadline is due at exactly its time. Without a lock
/// and without a clock; the zone brings both.
class deadline_wheel {
public:
    /// Adds `node`, due at `node.when()`. Precondition: it is not in a wheel.
    void add(deadline& node) noexcept;

    /// Takes `node` out. False when it was not in the wheel, thus also when `pop_due` has given it out already.
    bool remove(deadline& node) noexcept;

    /// The next deadline due at `now`, in order of time and then of arrival; null when none is left.
    deadline* pop_due(time_point now) noexcept;

    /// When the earliest deadline is due; `time_point::max()` when empty.
    [[nodiscard]] time_point next_wake() const noexcept;

    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

private:
    static constexpr unsigned slot_bits = 6;
    static constexpr unsigned slots = 1U << slot_bits;
    static constexpr unsigned tick_bits = 20;  // 2^20 ns: a bucket of the lowest level is about a millisecond
    static constexpr unsigned levels = 8;      // 8 levels of 6 bits over 44 bits of ticks: the whole range of time

    static std::uint64_t tick_of(time_point when) noexcept;

    [[nodiscard]] unsigned position(unsigned level) const noexcept {
        return static_cast<unsigned>(elapsed_ >> (slot_bits * level)) & (slots - 1);
    }
    /// Null when empty.
    [[nodiscard]] const deadline* earliest() const noexcept;

    std::array<std::array<deadline_tree, slots>, levels> buckets_;
    std::array<std::uint64_t, levels> occupied_{};
    std::uint64_t elapsed_ = 0;  // the tick before which nothing is pending
    std::uint64_t arrivals_ = 0;
    std::uint64_t size_ = 0;
};

}  // namespace headgate::detail

#endif
