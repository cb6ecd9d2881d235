// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RATE_LIMITER_RULE_HPP
#define HEADGATE_LIB_RATE_LIMITER_RULE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <headgate/grant.hpp>

#include "rate_limiter/fixed_window.hpp"
#include "rate_limiter/gcra.hpp"

namespace headgate::detail {

/// A larger cost than any quota can hold; larger costs are held at it, which keeps sums in 64 bits.
inline constexpr std::uint64_t cost_ceiling = quota::max_permits + std::uint64_t{1};

constexpr std::int64_t clamp_cost(std::uint64_t cost) noexcept {
    return static_cast<std::int64_t>(std::min(cost, cost_ceiling));
}

/// How a state becomes that of another quota: what is used there is what is used here, or, when the other period is
/// shorter, the share of the burst that is used here, if that is less.
enum class carry : std::uint8_t { amount, share };

/// One quota with its algorithm: the one place that knows which algorithms there are.
class rule {
public:
    rule(const quota& q, wall_offset offset) noexcept : quota_(q) {
        if (q.algorithm() == quota_algorithm::gcra) {
            gcra_ = gcra{q};
        } else {
            window_ = fixed_window{q, offset};
        }
    }

    [[nodiscard]] const quota& source() const noexcept { return quota_; }
    [[nodiscard]] bool is_gcra() const noexcept { return quota_.algorithm() == quota_algorithm::gcra; }
    [[nodiscard]] const gcra& as_gcra() const noexcept { return gcra_; }
    [[nodiscard]] const fixed_window& as_window() const noexcept { return window_; }
    [[nodiscard]] std::int64_t burst() const noexcept { return static_cast<std::int64_t>(quota_.burst()); }

    [[nodiscard]] quota_state fresh(time_point now) const noexcept {
        return is_gcra() ? gcra_.fresh(now) : window_.fresh(now);
    }
    [[nodiscard]] bool passes(const quota_state& s, std::int64_t cost, time_point now) const noexcept {
        return is_gcra() ? gcra_.passes(s, cost, now) : window_.passes(s, cost, now);
    }
    void charge(quota_state& s, std::int64_t cost, time_point now) const noexcept {
        is_gcra() ? gcra_.charge(s, cost, now) : window_.charge(s, cost, now);
    }
    [[nodiscard]] int128 wait_ns(const quota_state& s, std::int64_t cost, time_point now) const noexcept {
        return is_gcra() ? gcra_.wait_ns(s, cost, now) : window_.wait_ns(s, cost, now);
    }
    [[nodiscard]] bool is_absent(const quota_state& s, time_point now) const noexcept {
        return is_gcra() ? gcra_.is_absent(s, now) : window_.is_absent(s, now);
    }
    [[nodiscard]] permits_used used(const quota_state& s, time_point now) const noexcept {
        return is_gcra() ? gcra_.used(s, now) : window_.used(s, now);
    }
    [[nodiscard]] quota_state from_used(const permits_used& u, time_point now) const noexcept {
        return is_gcra() ? gcra_.from_used(u, now) : window_.from_used(u, now);
    }
    /// How long it takes at most until a full burst is absent.
    [[nodiscard]] duration full_time() const noexcept {
        return is_gcra() ? to_duration(ceil_div(gcra_.capacity(), gcra_.den())) : quota_.period();
    }

    /// The state under `to` that `s` under this one becomes.
    [[nodiscard]] quota_state convert(const quota_state& s, const rule& to, time_point now,
                                      carry how = carry::amount) const noexcept {
        if (to.quota_ == quota_) {
            return s;
        }
        const permits_used amount = used(s, now);
        if (how == carry::amount || burst() == 0) {
            return to.from_used(amount, now);
        }
        const permits_used share = amount.scaled(to.burst(), burst());
        return to.from_used(share < amount ? share : amount, now);
    }

    /// The wait after which a cost passes under `to`, to which `s` converts at that time: by the law of this quota, by
    /// which it ages until then. The cost passes as soon as no more than burst - cost is used there, a whole number, to
    /// which no conversion rounds up. So it is exact. Needs 1 <= cost <= to.burst().
    [[nodiscard]] int128 wait_ns(const quota_state& s, const rule& to, std::int64_t cost, time_point now,
                                 carry how) const noexcept {
        if (to.quota_ == quota_) {
            return wait_ns(s, cost, now);
        }
        const int128 left = to.burst() - cost;
        const bool shares = how == carry::share && burst() > to.burst();
        if (!is_gcra()) {
            const int128 count = window_.count(s, now);
            const bool now_passes = shares ? count * to.burst() <= left * burst() : count <= left;
            return now_passes ? 0 : window_.to_next_window(s, now);
        }
        const int128 owed = gcra_.step() * left;
        return gcra_.wait_until_owed(s, shares ? owed * burst() / to.burst() : owed, now);
    }

    /// The one of two states in which more is used.
    [[nodiscard]] quota_state fuller(const quota_state& a, const quota_state& b, time_point now) const noexcept {
        const bool less = is_gcra() ? gcra::tat(a) < gcra::tat(b) : window_.count(a, now) < window_.count(b, now);
        return less ? b : a;
    }

    [[nodiscard]] grant describe(const quota_state& s, time_point now) const noexcept {
        if (is_gcra()) {
            return grant{gcra_.debt(s, now), gcra_.step(), gcra_.den(), static_cast<std::uint64_t>(gcra_.burst())};
        }
        const auto left =
            static_cast<std::uint64_t>(std::max<std::int64_t>(window_.limit() - window_.count(s, now), 0));
        return grant{static_cast<std::uint64_t>(window_.limit()), left, to_duration(window_.to_next_window(s, now))};
    }

private:
    quota quota_;
    gcra gcra_;
    fixed_window window_;
};

}  // namespace headgate::detail

#endif
