// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_LATENCY_WINDOW_HPP
#define HEADGATE_IMPL_LATENCY_WINDOW_HPP

#include <array>
#include <cstddef>
#include <cstdint>

#include <headgate/export.hpp>
#include <headgate/latency.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

/// The time that 95 % of the last 512 durations did not exceed, up to the end of its bucket, which is 1/16 away at
/// most. A mark follows it through the buckets, so that a duration costs a few additions.
class HEADGATE_DECL latency_window {
public:
    static constexpr std::size_t length = 512;

    /// Negative durations count as zero.
    void record(duration d) noexcept;
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    /// Zero of none.
    [[nodiscard]] duration quantile() const noexcept;

private:
    using layout = latency_buckets;

    std::array<std::uint16_t, length> last_{};
    std::array<std::uint16_t, layout::size> buckets_{};
    std::size_t next_ = 0;
    std::size_t count_ = 0;
    std::size_t mark_ = 0;   // the bucket of the quantile
    std::size_t below_ = 0;  // durations in the buckets below it
};

}  // namespace headgate::detail

#endif
