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

namespace detail {

/// The buckets of durations in nanoseconds: each is 1/16 of the power of two below it wide.
struct latency_buckets {
    static constexpr unsigned sub_bits = 4;  // sixteen buckets for each doubling
    static constexpr unsigned octaves = 59;  // up to the end of `duration`
    static constexpr std::size_t size = (octaves + 1) << sub_bits;

    static constexpr std::size_t index(std::uint64_t ns) noexcept {
        if (ns < 1u << sub_bits) {
            return static_cast<std::size_t>(ns);
        }
        const auto shift = static_cast<unsigned>(std::bit_width(ns)) - 1 - sub_bits;
        const std::uint64_t i = (std::uint64_t{shift + 1} << sub_bits) + (ns >> shift) - (1u << sub_bits);
        return static_cast<std::size_t>(i);
    }
    /// The smallest duration of a bucket.
    static constexpr std::uint64_t first(std::size_t i) noexcept {
        if (i < 1u << sub_bits) {
            return i;
        }
        const auto shift = static_cast<unsigned>(i >> sub_bits) - 1;
        return ((i & ((1u << sub_bits) - 1)) + (1u << sub_bits)) << shift;
    }
};

}  // namespace detail

/// Counts durations in buckets that grow with them, after HdrHistogram (Gil Tene): sixteen buckets for each doubling,
/// so that a quantile is off by at most 1/32 of itself, in 7.5 KiB, for every duration that there is.
///
/// Record waits that timed out or were cancelled too: without them the histogram looks better than the service is.
/// Recording is two additions. Not thread-safe: its owner has a lock.
class latency_histogram {
public:
    /// Negative durations count as zero.
    void record(duration d) noexcept {
        const auto ns = static_cast<std::uint64_t>(std::max<duration::rep>(d.count(), 0));
        ++buckets_[layout::index(ns)];
        sum_carry_ += __builtin_add_overflow(sum_, ns, &sum_) ? 1 : 0;
    }

    /// How many were recorded.
    [[nodiscard]] HEADGATE_DECL std::uint64_t count() const noexcept;
    /// All of them added up; `duration::max()`, 292 years, when that is less. A busy server may reach it in a day.
    [[nodiscard]] HEADGATE_DECL duration sum() const noexcept;
    /// All of them added up, in seconds: never at an end, so that rates can be made of it.
    [[nodiscard]] HEADGATE_DECL double sum_seconds() const noexcept;
    /// The duration that a share of `q` of all does not exceed; the middle of its bucket. Zero of none. Below 0, and
    /// what is no number, counts as 0, above 1 as 1.
    [[nodiscard]] HEADGATE_DECL duration quantile(double q) const noexcept;
    /// How many did not exceed `d`, where `d` is rounded up to the end of its bucket. None is negative.
    [[nodiscard]] HEADGATE_DECL std::uint64_t count_up_to(duration d) const noexcept;

    /// `count_up_to` of each of `bounds`, which ascend, in one pass.
    [[nodiscard]] HEADGATE_DECL std::vector<std::uint64_t> cumulative(std::span<const duration> bounds) const;

private:
    using layout = detail::latency_buckets;

    std::array<std::uint64_t, layout::size> buckets_{};
    std::uint64_t sum_ = 0;        // nanoseconds
    std::uint64_t sum_carry_ = 0;  // how often it went round
};

}  // namespace headgate

#endif
