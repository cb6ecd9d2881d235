// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_QUOTA_HPP
#define HEADGATE_QUOTA_HPP

#include <cstdint>
#include <optional>

#include <headgate/export.hpp>
#include <headgate/result.hpp>
#include <headgate/time.hpp>

namespace headgate {

/// How a quota spreads its permits over time.
enum class quota_algorithm : std::uint8_t {
    gcra,          ///< Permits come back one by one, evenly spread; a burst bounds how many at once.
    fixed_window,  ///< A count that starts over at every multiple of the period since the UNIX epoch.
};

/// A validated limit: so many permits for each period, with a burst. It cannot hold nonsense: what would be zero,
/// negative or out of range is an `invalid_argument` whose detail says which, and the one quota that denies everything
/// is spelled `quota::none()`.
///
/// Permits and burst are at most `max_permits`; the period is at least a nanosecond.
///
/// ```cpp
/// // example: quota
/// #include <headgate/headgate.hpp>
/// #include <cassert>
///
///
/// int main() {
///     using headgate::quota;
///     const auto minute = std::chrono::minutes{1};
///     assert(quota::per(10, minute).value().burst() == 10);         // ten at once, then one every 6 s
///     assert(quota::per(10, minute, 2).value().burst() == 2);       // two at once, then one every 6 s
///     assert(quota::at_most(10, minute, 4).value().sustained() == 6);  // never more than 10 in any minute
///     assert(quota::per(0, minute).error() == headgate::errc::invalid_argument);
/// }
/// ```
class quota {
public:
    /// The largest count of permits, and the largest burst.
    static constexpr std::uint64_t max_permits = 0xffff'ffff;

    /// `permits` for each `period`, evenly spread (gcra); up to `burst` at once, `permits` when not given.
    /// Any window of length W grants at most burst + floor(W * permits / period).
    [[nodiscard]] HEADGATE_DECL static result<quota> per(std::uint64_t permits, duration period,
                                                         std::optional<std::uint64_t> burst = {});

    /// Never more than `permits` in *any* window of length `period`: up to `burst` at once (fewer than `permits`), and
    /// `permits - burst` for each period sustained (gcra).
    [[nodiscard]] HEADGATE_DECL static result<quota> at_most(std::uint64_t permits, duration period,
                                                             std::uint64_t burst);

    /// `permits` in each window, where windows start at multiples of `period` since the UNIX epoch. Around the edge of
    /// two windows up to twice `permits` pass in a moment; `per` and `at_most` don't have that.
    [[nodiscard]] HEADGATE_DECL static result<quota> fixed_window(std::uint64_t permits, duration period);

    /// Denies everything, with `cost_exceeds_limit`.
    [[nodiscard]] static constexpr quota none() noexcept { return quota{quota_algorithm::gcra, 0, 0, duration{1}, 0}; }

    /// How permits are spread over time.
    [[nodiscard]] constexpr quota_algorithm algorithm() const noexcept { return algorithm_; }
    /// What was asked for: the permits of `per`, `at_most` and `fixed_window`; 0 for `none`.
    [[nodiscard]] constexpr std::uint64_t permits() const noexcept { return permits_; }
    /// The permits that come back in each period: `permits()`, less the burst for `at_most`.
    [[nodiscard]] constexpr std::uint64_t sustained() const noexcept { return sustained_; }
    /// The length that permits are counted for.
    [[nodiscard]] constexpr duration period() const noexcept { return period_; }
    /// The most that can pass at once, so the largest cost that can ever pass; 0 for `none`.
    [[nodiscard]] constexpr std::uint64_t burst() const noexcept { return burst_; }
    /// Whether it denies everything.
    [[nodiscard]] constexpr bool is_none() const noexcept { return permits_ == 0; }
    /// Whether `at_most` made it.
    [[nodiscard]] constexpr bool is_at_most() const noexcept { return sustained_ != permits_; }

    friend constexpr bool operator==(const quota&, const quota&) noexcept = default;

private:
    constexpr quota(quota_algorithm a, std::uint64_t permits, std::uint64_t sustained, duration period,
                    std::uint64_t burst) noexcept
        : permits_(permits), sustained_(sustained), period_(period), burst_(burst), algorithm_(a) {}

    std::uint64_t permits_;
    std::uint64_t sustained_;
    duration period_;
    std::uint64_t burst_;
    quota_algorithm algorithm_;
};

}  // namespace headgate

#endif
