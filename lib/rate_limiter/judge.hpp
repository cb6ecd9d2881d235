// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RATE_LIMITER_JUDGE_HPP
#define HEADGATE_LIB_RATE_LIMITER_JUDGE_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "options/limits.hpp"
#include "rate_limiter/rule.hpp"

namespace headgate::detail {

/// Quotas that the tier does not have, whose state a key keeps at most. States of the shortest periods go first.
inline constexpr std::size_t max_kept = 8;

/// What a quota is, whatever its numbers: a state follows its lane across tiers and live changes.
struct lane {
    quota_algorithm algorithm{};
    duration period{};
    std::size_t nth = 0;  ///< Among those of the same algorithm and period that one tier has and another has not.

    friend bool operator==(const lane&, const lane&) = default;
};

inline bool same_lane(const quota& a, const quota& b) noexcept {
    return a.algorithm() == b.algorithm() && a.period() == b.period() && a.is_none() == b.is_none();
}

/// Which quota of one tier is which of another: an equal one, else the first of the same algorithm and period that is
/// still free.
struct pairing {
    static constexpr std::size_t none = most_quotas;

    pairing(std::span<const quota> from, std::span<const quota> to) noexcept {
        source.fill(none);
        target.fill(none);
        const auto pair = [&](const auto& alike) {
            for (std::size_t i = 0; i < to.size(); ++i) {
                for (std::size_t j = 0; j < from.size() && source[i] == none; ++j) {
                    if (target[j] == none && alike(from[j], to[i])) {
                        source[i] = j;
                        target[j] = i;
                    }
                }
            }
        };
        pair([](const quota& a, const quota& b) { return a == b; });
        pair(same_lane);
    }

    /// The lane of quota `i` of `tier`, whose partners are `partner`, among those without one.
    static lane lane_of(std::span<const quota> tier, const std::array<std::size_t, most_quotas>& partner,
                        std::size_t i) noexcept {
        std::size_t nth = 0;
        for (std::size_t before = 0; before < i; ++before) {
            nth += partner[before] == none && same_lane(tier[before], tier[i]) ? 1U : 0U;
        }
        return {tier[i].algorithm(), tier[i].period(), nth};
    }

    std::array<std::size_t, most_quotas> source{};  ///< For each of `to`.
    std::array<std::size_t, most_quotas> target{};  ///< For each of `from`.
};

/// Quotas over the same key, judged together: a cost passes iff it passes all of them, and is charged to all or none.
///
/// A key's states are those of the quotas, in their order, and then what is kept of quotas that other tiers have and
/// this one does not mention: one state a lane, which ages by the law that it was charged under. A kept state says in
/// its top bits which law that is; all zero, there is none.
class judge {
public:
    using states = std::array<quota_state, most_quotas + max_kept>;

    judge(std::span<const quota> quotas, wall_offset offset) : judge(quotas, {}, offset) {}

    /// `others` are the quotas of other tiers, of which states are kept where `quotas` do not mention them.
    judge(std::span<const quota> quotas, std::span<const std::vector<quota>> others, wall_offset offset)
        : quotas_(quotas.begin(), quotas.end()) {
        for (const auto& q : quotas) {
            rules_.emplace_back(q, offset);
            largest_ = std::min(largest_, rules_.back().burst());
        }
        for (const auto& tier : others) {
            const pairing pairs{tier, quotas_};
            for (std::size_t i = 0; i < tier.size(); ++i) {
                if (pairs.target[i] == pairing::none && !tier[i].is_none()) {
                    add_law(tier[i], pairing::lane_of(tier, pairs.target, i), offset);
                }
            }
        }
        choose_kept();
    }

    [[nodiscard]] std::size_t size() const noexcept { return rules_.size(); }
    /// States of a key: those of the quotas, and those that are kept.
    [[nodiscard]] std::size_t entries() const noexcept { return rules_.size() + kept_.size(); }
    [[nodiscard]] const rule& operator[](std::size_t i) const noexcept { return rules_[i]; }
    /// The largest cost that can ever pass.
    [[nodiscard]] std::int64_t largest_cost() const noexcept { return largest_; }
    /// Whether states are laid out in the same way.
    [[nodiscard]] bool same_shape(const judge& other) const noexcept {
        return kept_ == other.kept_ &&
               std::equal(laws_.begin(), laws_.end(), other.laws_.begin(), other.laws_.end(),
                          [](const law& a, const law& b) { return a.of == b.of && a.by.source() == b.by.source(); });
    }

    void fresh(quota_state* s, time_point now) const noexcept {
        for (const auto& r : rules_) {
            *s++ = r.fresh(now);
        }
        std::fill_n(s, kept_.size(), quota_state{});
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
    /// Nothing is used of any quota, of those that are kept neither.
    [[nodiscard]] bool is_absent(const quota_state* s, time_point now) const noexcept {
        for (const auto& r : rules_) {
            if (!r.is_absent(*s++, now)) {
                return false;
            }
        }
        return std::all_of(kept_.begin(), kept_.end(), [&](const lane&) {
            const rule* by = law_of(*s);
            const quota_state state = unpacked(*s++);
            return by == nullptr || by->is_absent(state, now);
        });
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

    /// Writes the states `s` of here as states of `to`. A state goes to the quota of its lane. A quota of `to` whose
    /// lane this tier has not takes what is kept of it, or what the nearest quota here says, whichever is more: the one
    /// of the same period, else of the next longer one by the share that is used, else of the next shorter one. What
    /// `to` does not mention is kept.
    void convert(const quota_state* s, const judge& to, quota_state* out, time_point now) const noexcept {
        const pairing pairs{quotas_, to.quotas_};
        for (std::size_t i = 0; i < to.size(); ++i) {
            bool found = false;
            out[i] = to.rules_[i].fresh(now);
            for_each_source(s, to, pairs, i, [&](const rule& from, const quota_state& state, carry how) {
                const quota_state there = from.convert(state, to.rules_[i], now, how);
                out[i] = std::exchange(found, true) ? to.rules_[i].fuller(out[i], there, now) : there;
            });
        }
        for (std::size_t k = 0; k < to.kept_.size(); ++k) {
            out[to.size() + k] = kept_for(s, to, pairs, k, now);
        }
    }

    /// The wait after which the cost passes under `to`, to which the states convert at that time, when nothing else
    /// comes: each ages by its own law until then. Needs 1 <= cost <= to.largest_cost().
    [[nodiscard]] int128 wait_ns(const quota_state* s, const judge& to, std::int64_t cost,
                                 time_point now) const noexcept {
        int128 longest = 0;
        const pairing pairs{quotas_, to.quotas_};
        for (std::size_t i = 0; i < to.size(); ++i) {
            for_each_source(s, to, pairs, i, [&](const rule& from, const quota_state& state, carry how) {
                longest = std::max(longest, from.wait_ns(state, to.rules_[i], cost, now, how));
            });
        }
        return longest;
    }

    /// Calls `f(quota, state)` for each state that is kept.
    template <class F>
    void for_each_kept(const quota_state* s, const F& f) const {
        for (std::size_t k = size(); k < entries(); ++k) {
            if (const rule* by = law_of(s[k])) {
                f(*by, unpacked(s[k]));
            }
        }
    }
    /// Keeps `state` of a quota with the law `q`, when there is a place for it; what was there goes.
    void keep(quota_state* s, const quota& q, const quota_state& state) const noexcept {
        for (std::size_t k = 0; k < kept_.size(); ++k) {
            for (std::size_t l = 0; l < laws_.size(); ++l) {
                if (laws_[l].of == kept_[k] && laws_[l].by.source() == q && law_of(s[size() + k]) == nullptr) {
                    s[size() + k] = packed(state, l);
                    return;
                }
            }
        }
    }

private:
    /// A quota of another tier, by which a kept state may age.
    struct law {
        lane of;
        rule by;
    };

    void add_law(const quota& q, const lane& of, wall_offset offset) {
        const bool there =
            std::any_of(laws_.begin(), laws_.end(), [&](const law& l) { return l.of == of && l.by.source() == q; });
        if (!there && laws_.size() < max_laws) {
            laws_.push_back({of, rule{q, offset}});
        }
    }
    void choose_kept() {
        for (const auto& l : laws_) {
            if (std::find(kept_.begin(), kept_.end(), l.of) == kept_.end()) {
                kept_.push_back(l.of);
            }
        }
        std::sort(kept_.begin(), kept_.end(), [](const lane& a, const lane& b) {
            return a.period != b.period ? a.period > b.period
                                        : std::pair(a.algorithm, a.nth) < std::pair(b.algorithm, b.nth);
        });
        kept_.resize(std::min(kept_.size(), max_kept));
    }

    // A tat takes 98 bits of its 128, a count 35 of its 64: the top 16 are free for the law, counted from one.
    static constexpr unsigned law_shift = 48;
    static constexpr std::size_t max_laws = 1024;

    [[nodiscard]] const rule* law_of(const quota_state& s) const noexcept {
        const auto number = static_cast<std::size_t>(s.high >> law_shift);
        return number == 0 || number > laws_.size() ? nullptr : &laws_[number - 1].by;
    }
    static quota_state packed(const quota_state& s, std::size_t law) noexcept {
        constexpr std::uint64_t low = (std::uint64_t{1} << law_shift) - 1;
        return {s.low, (s.high & low) | (static_cast<std::uint64_t>(law) + 1) << law_shift};
    }
    static quota_state unpacked(const quota_state& s) noexcept {
        constexpr unsigned shift = 64 - law_shift;
        return {s.low, static_cast<std::uint64_t>(static_cast<std::int64_t>(s.high << shift) >> shift)};
    }

    /// Calls `f(quota, state, how)` for what quota `i` of `to` takes its state from: at most two.
    template <class F>
    void for_each_source(const quota_state* s, const judge& to, const pairing& pairs, std::size_t i,
                         const F& f) const noexcept {
        if (const std::size_t same = pairs.source[i]; same != pairing::none) {
            f(rules_[same], s[same], carry::amount);
            return;
        }
        const quota& want = to.quotas_[i];
        if (want.is_none()) {
            return;
        }
        const lane of = pairing::lane_of(to.quotas_, pairs.source, i);
        for (std::size_t k = 0; k < kept_.size(); ++k) {
            if (const rule* by = kept_[k] == of ? law_of(s[size() + k]) : nullptr) {
                f(*by, unpacked(s[size() + k]), carry::amount);
            }
        }
        if (const std::size_t near = nearest(want.period()); near != size()) {
            f(rules_[near], s[near], quotas_[near].period() > want.period() ? carry::share : carry::amount);
        }
    }

    /// The quota of that period, else of the next longer one, else of the next shorter one.
    [[nodiscard]] std::size_t nearest(duration want) const noexcept {
        std::size_t best = size();
        const auto better = [&](duration period, duration than) {
            return period >= want ? than < want || period < than : than < want && period > than;
        };
        for (std::size_t own = 0; own < size(); ++own) {
            if (!quotas_[own].is_none() && (best == size() || better(quotas_[own].period(), quotas_[best].period()))) {
                best = own;
            }
        }
        return best;
    }

    /// What `to` keeps in its place `k` of the states `s`.
    [[nodiscard]] quota_state kept_for(const quota_state* s, const judge& to, const pairing& pairs, std::size_t k,
                                       time_point now) const noexcept {
        const lane& want = to.kept_[k];
        const rule* by = nullptr;
        quota_state state{};
        for (std::size_t own = 0; own < size(); ++own) {
            if (pairs.target[own] == pairing::none && pairing::lane_of(quotas_, pairs.target, own) == want) {
                by = &rules_[own];
                state = s[own];
            }
        }
        for (std::size_t mine = 0; mine < kept_.size() && by == nullptr; ++mine) {
            if (kept_[mine] == want) {
                by = law_of(s[size() + mine]);
                state = unpacked(s[size() + mine]);
            }
        }
        if (by == nullptr || by->is_absent(state, now)) {
            return {};
        }
        std::size_t nearest_law = to.laws_.size();
        for (std::size_t l = 0; l < to.laws_.size(); ++l) {
            if (to.laws_[l].of == want) {
                if (to.laws_[l].by.source() == by->source()) {
                    return packed(state, l);
                }
                nearest_law = std::min(nearest_law, l);
            }
        }
        return packed(by->convert(state, to.laws_[nearest_law].by, now), nearest_law);
    }

    std::vector<quota> quotas_;
    std::vector<rule> rules_;
    std::vector<law> laws_;
    std::vector<lane> kept_;
    std::int64_t largest_ = clamp_cost(cost_ceiling);
};

}  // namespace headgate::detail

#endif
