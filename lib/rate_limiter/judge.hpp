// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RATE_LIMITER_JUDGE_HPP
#define HEADGATE_LIB_RATE_LIMITER_JUDGE_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <headgate/grant.hpp>

#include "rate_limiter/fixed_window.hpp"
#include "rate_limiter/gcra.hpp"

namespace headgate::detail {

/// More quotas than this over one key are refused at construction; it bounds copies on the stack.
inline constexpr std::size_t max_quotas = 8;

/// A larger cost than any quota can hold; larger costs are held at it, which keeps sums in 64 bits.
inline constexpr std::uint64_t cost_ceiling = quota::max_permits + std::uint64_t{1};

constexpr std::int64_t clamp_cost(std::uint64_t cost) noexcept {
    return static_cast<std::int64_t>(std::min(cost, cost_ceiling));
}

/// One quota with its algorithm: the one place that knows which algorithms there are.
class rule {
public:
    rule(const quota& q, duration unix_offset) noexcept : quota_(q) {
        if (q.algorithm() == quota_algorithm::gcra) {
            gcra_ = gcra{q};
        } else {
            window_ = fixed_window{q, unix_offset};
        }
    }

    [[nodiscard]] const quota& source() const noexcept { return quota_; }
    [[nodiscard]] bool is_gcra() const noexcept { return quota_.algorithm() == quota_algorithm::gcra; }
    [[nodiscard]] const gcra& as_gcra() const noexcept { return gcra_; }
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
    /// The state under `to` in which as much is used as in `s` under this one.
    [[nodiscard]] quota_state convert(const quota_state& s, const rule& to, time_point now) const noexcept {
        return to.quota_ == quota_ ? s : to.from_used(used(s, now), now);
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

/// Quotas over the same key, judged together: a cost passes iff it passes all of them, and is charged to all or none.
class judge {
public:
    using states = std::array<quota_state, max_quotas>;

    judge(std::span<const quota> quotas, duration unix_offset) {
        for (const auto& q : quotas) {
            rules_.emplace_back(q, unix_offset);
            largest_ = std::min(largest_, rules_.back().burst());
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return rules_.size(); }
    [[nodiscard]] const rule& operator[](std::size_t i) const noexcept { return rules_[i]; }
    /// The largest cost that can ever pass.
    [[nodiscard]] std::int64_t largest_cost() const noexcept { return largest_; }

    void fresh(quota_state* s, time_point now) const noexcept {
        for (const auto& r : rules_) {
            *s++ = r.fresh(now);
        }
    }
    [[nodiscard]] bool passes(const quota_state* s, std::int64_t cost, time_point now) const noexcept {
        return std::all_of(rules_.begin(), rules_.end(), [&](const rule& r) { return r.passes(*s++, cost, now); });
    }
    void charge(quota_state* s, std::int64_t cost, time_point now) const noexcept {
        for (const auto& r : rules_) {
            r.charge(*s++, cost, now);
        }
    }
    /// The longest wait of those that refuse: until all pass, when nothing else comes; needs cost <= largest_cost().
    [[nodiscard]] int128 wait_ns(const quota_state* s, std::int64_t cost, time_point now) const noexcept {
        int128 longest = 0;
        for (const auto& r : rules_) {
            longest = std::max(longest, r.wait_ns(*s++, cost, now));
        }
        return longest;
    }
    [[nodiscard]] bool is_absent(const quota_state* s, time_point now) const noexcept {
        return std::all_of(rules_.begin(), rules_.end(), [&](const rule& r) { return r.is_absent(*s++, now); });
    }
    /// The quota with the fewest permits left: what a caller wants to hear of.
    [[nodiscard]] grant describe(const quota_state* s, time_point now) const noexcept {
        grant tightest = rules_.front().describe(s[0], now);
        for (std::size_t i = 1; i < rules_.size(); ++i) {
            const grant other = rules_[i].describe(s[i], now);
            if (other.remaining() < tightest.remaining()) {
                tightest = other;
            }
        }
        return tightest;
    }
    /// Writes what `s` has used here as states of `to`, quota by quota in their order; a quota of `to` that has no
    /// counterpart takes the last one's.
    void convert(const quota_state* s, const judge& to, quota_state* out, time_point now) const noexcept {
        for (std::size_t i = 0; i < to.size(); ++i) {
            const std::size_t from = std::min(i, size() - 1);
            out[i] = rules_[from].convert(s[from], to[i], now);
        }
    }

private:
    std::vector<rule> rules_;
    std::int64_t largest_ = clamp_cost(cost_ceiling);
};

}  // namespace headgate::detail

#endif
