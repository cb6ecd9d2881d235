// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_GRANT_HPP
#define HEADGATE_GRANT_HPP

#include <cstdint>

#include <headgate/impl/int128.hpp>
#include <headgate/time.hpp>

namespace headgate {

/// A limiter's yes, with what RateLimit headers need; of several quotas, it tells of the one with the fewest left.
/// Trivially copyable; the figures are computed when they are asked for, so that nothing divides on the granted path.
class grant {
public:
    grant() = default;
    /// For gcra: the debt in ticks after the charge, ticks for each permit, ticks for each nanosecond.
    grant(detail::int128 debt, std::int64_t step, std::int64_t den, std::uint64_t limit) noexcept
        : low_(static_cast<std::uint64_t>(static_cast<detail::uint128>(debt))),
          high_(static_cast<std::uint64_t>(static_cast<detail::uint128>(debt) >> 64)),
          step_(step),
          den_(den),
          limit_(limit) {}
    /// For a fixed window: what is left in it, and the time to the next one.
    grant(std::uint64_t limit, std::uint64_t remaining, duration reset_after) noexcept
        : low_(remaining), high_(static_cast<std::uint64_t>(reset_after.count())), limit_(limit) {}

    /// The most that can pass at once.
    [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }

    /// How many permits could pass now.
    [[nodiscard]] std::uint64_t remaining() const noexcept {
        if (step_ == 0) {
            return low_;
        }
        const auto used = detail::ceil_div(debt(), step_);
        return used >= static_cast<detail::int128>(limit_) ? 0 : limit_ - static_cast<std::uint64_t>(used);
    }

    /// How long until all permits are back: at the next window, or when the debt is paid. Rounded up.
    [[nodiscard]] duration reset_after() const noexcept {
        return step_ == 0 ? duration{static_cast<duration::rep>(high_)}
                          : detail::to_duration(detail::ceil_div(debt(), den_));
    }

private:
    [[nodiscard]] detail::int128 debt() const noexcept {
        return static_cast<detail::int128>(static_cast<detail::uint128>(high_) << 64 | low_);
    }

    std::uint64_t low_ = 0;
    std::uint64_t high_ = 0;
    std::int64_t step_ = 0;
    std::int64_t den_ = 0;
    std::uint64_t limit_ = 0;
};

}  // namespace headgate

#endif
