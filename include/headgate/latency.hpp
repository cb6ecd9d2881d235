// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LATENCY_HPP
#define HEADGATE_LATENCY_HPP

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <headgate/export.hpp>
#include <headgate/time.hpp>

namespace headgate {

/// Counts durations in buckets that grow with them, after HdrHistogram (Gil Tene): sixteen buckets for each doubling,
/// so that a quantile is off by at most 1/32 of itself, in 5 KiB, for durations up to 18 minutes; longer ones count as
/// that.
///
/// Recording is two increments. Not thread-safe: whoever owns it has a lock.
class latency_histogram {
public:
    /// Negative durations count as zero.
    void record(duration d) noexcept {
        const auto ns = static_cast<std::uint64_t>(std::max<duration::rep>(d.count(), 0));
        ++buckets_[index(ns)];
        sum_ += ns;
    }

    /// How many were recorded.
    [[nodiscard]] HEADGATE_DECL std::uint64_t count() const noexcept;
    /// All of them added up.
    [[nodiscard]] duration sum() const noexcept { return duration{static_cast<duration::rep>(sum_)}; }
    /// The duration that a share of `q` (0 to 1) of all does not exceed; the middle of its bucket. Zero of none.
    [[nodiscard]] HEADGATE_DECL duration quantile(double q) const noexcept;
    /// How many did not exceed `d`, where `d` is rounded up to the end of its bucket.
    [[nodiscard]] HEADGATE_DECL std::uint64_t count_up_to(duration d) const noexcept;

    /// `count_up_to` of each of `bounds`, which ascend, in one pass.
    [[nodiscard]] HEADGATE_DECL std::vector<std::uint64_t> cumulative(std::span<const duration> bounds) const;

private:
    static constexpr unsigned sub_bits = 4;  // sixteen buckets for each doubling
    static constexpr unsigned octaves = 37;
    static constexpr std::size_t size = (octaves + 1) << sub_bits;

    static constexpr std::size_t index(std::uint64_t ns) noexcept {
        if (ns < 1u << sub_bits) {
            return static_cast<std::size_t>(ns);
        }
        const auto shift = static_cast<unsigned>(std::bit_width(ns)) - 1 - sub_bits;
        const std::uint64_t i = (std::uint64_t{shift + 1} << sub_bits) + (ns >> shift) - (1u << sub_bits);
        return static_cast<std::size_t>(std::min<std::uint64_t>(i, size - 1));
    }
    /// The smallest duration of a bucket.
    static constexpr std::uint64_t first(std::size_t i) noexcept {
        if (i < 1u << sub_bits) {
            return i;
        }
        const auto shift = static_cast<unsigned>(i >> sub_bits) - 1;
        return ((i & ((1u << sub_bits) - 1)) + (1u << sub_bits)) << shift;
    }

    std::array<std::uint64_t, size> buckets_{};
    std::uint64_t sum_ = 0;
};

}  // namespace headgate

#endif
