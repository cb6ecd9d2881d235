// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RATE_LIMITER_PLAN_SET_HPP
#define HEADGATE_LIB_RATE_LIMITER_PLAN_SET_HPP

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <headgate/impl/limiter_decision.hpp>
#include <headgate/impl/spinlock.hpp>
#include <headgate/limiter_options.hpp>
#include <headgate/quota.hpp>
#include <headgate/result.hpp>

#include "options/limits.hpp"
#include "rate_limiter/judge.hpp"

namespace headgate::detail {

class option_problems;

/// Quotas in force for a tier. Slots carry its id as their tag. What the straight path reads is its first cache line.
struct alignas(64) plan {
    plan(headgate::tier spec, std::span<const std::vector<quota>> others, wall_offset offset)
        : source(std::move(spec)), quotas(source.quotas, others, offset) {
        if (quotas.size() == 1 && quotas[0].is_gcra()) {
            only = quotas[0].as_gcra();
        }
    }

    gcra only;
    /// The figures of `only`, where they outlive the plan.
    const shared_rate* rate = nullptr;
    /// The handle of its tier.
    std::uint32_t tier = 0;
    std::uint8_t id = 0;
    /// One gcra quota, no tracking, and a capacity of 64 bits: what the straight path decides.
    bool simple = false;

    headgate::tier source;
    judge quotas;
    /// Which change made it, counted from zero.
    std::uint64_t made_by = 0;
    /// What took its place, and when.
    atomic<const plan*> successor{nullptr};
    time_point replaced_at{};
};

/// The plans of a limiter: the plan that is in force for each tier, and the plan under which each slot was written.
///
/// A reader of a plan holds the lock of a shard. A replaced plan is freed when all slots have been converted: each
/// shard was locked once after the replacement, so no reader can have the plan any more. The caller serialises changes
/// (`prepare`, `commit`, `free_retired`).
class plan_set {
    struct change;

public:
    static constexpr std::size_t max_id = 254;

    plan_set(bool tracks_keys, wall_offset offset);
    ~plan_set();
    plan_set(const plan_set&) = delete;
    plan_set& operator=(const plan_set&) = delete;

    /// Adds the mistakes of `tiers`.
    static void check(const std::vector<headgate::tier>& tiers, option_problems& problems);

    /// The plan in force for a tier; null when the tier was removed. Another tier may have its place by now: then the
    /// handle differs.
    [[nodiscard]] const plan* current(std::uint32_t tier) const noexcept {
        const plan* p = in_force_[tier % most_tiers].load(std::memory_order_acquire);
        return p != nullptr && p->tier == tier ? p : nullptr;
    }
    /// The plan of calls that name no tier.
    [[nodiscard]] const plan* first() const noexcept { return in_force_[0].load(std::memory_order_acquire); }
    [[nodiscard]] const plan* of_slot(const std::uint64_t* slot) const noexcept {
        return by_id_[slot[0] & 0xff].load(std::memory_order_acquire);
    }

    /// From any thread; looks at names only.
    [[nodiscard]] std::optional<std::uint32_t> find(std::string_view name) const noexcept;
    [[nodiscard]] std::string name_of(std::uint32_t tier) const;

    /// How often plans were replaced. A plan that was read under the lock of a shard is there, under that lock, as long
    /// as this has not changed.
    [[nodiscard]] std::uint64_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }

    /// Everything of a change that can fail. The first tier keeps its name. None of this is seen until `commit`.
    class prepared {
    public:
        prepared() = default;
        prepared(prepared&&) noexcept;
        prepared& operator=(prepared&&) noexcept;
        ~prepared();

    private:
        friend plan_set;
        std::unique_ptr<change> change_;
    };
    [[nodiscard]] result<prepared> prepare(std::vector<headgate::tier> tiers, time_point now);
    void commit(prepared ready, time_point now) noexcept;

    /// Whether there are plans that were replaced and slots may carry.
    [[nodiscard]] bool has_retired() const noexcept { return !retired_.empty(); }
    /// Whether the next change may find too few ids for its plans.
    [[nodiscard]] bool is_short_of_ids() const noexcept { return retired_.size() + 2 * most_tiers > max_id; }
    /// No slot carries a replaced plan any more.
    void free_retired() noexcept;

private:
    /// Quotas that a tier had before, until nothing that was charged under them can be left.
    struct former {
        std::vector<quota> quotas;
        time_point until{};
    };
    /// More than so many states of former quotas are not kept: changes come faster than they age.
    static constexpr std::size_t max_former = 16;
    /// No handle is that of an unknown tier, which has all bits.
    static constexpr std::uint32_t most_handle = ~std::uint32_t{0} >> 1;

    [[nodiscard]] plan* in_force(std::size_t place) const noexcept { return owned_by_place_[place].get(); }
    [[nodiscard]] std::size_t place_of(const std::string& name) const noexcept;
    result<void> place_tiers(change& c, std::vector<headgate::tier> tiers) const;
    void collect_former(change& c, time_point now) const;
    void make_plans(change& c);
    [[nodiscard]] std::uint8_t free_id(const change& c) const noexcept;

    bool tracks_keys_;
    wall_offset offset_;
    std::array<atomic<const plan*>, most_tiers> in_force_{};
    std::array<atomic<const plan*>, 256> by_id_{};
    /// The figures of a plan, at its id: an answer of the straight path refers to them when the plan may be gone.
    std::array<shared_rate, 256> rates_{};
    atomic<std::uint64_t> generation_{0};

    /// Guards the names, for `find`; held for nanoseconds.
    mutable spinlock names_lock_;
    std::array<std::string, most_tiers> names_;
    std::array<std::uint32_t, most_tiers> handles_{};

    std::array<std::unique_ptr<plan>, most_tiers> owned_by_place_;
    std::vector<std::unique_ptr<plan>> retired_;
    std::vector<former> former_;
    std::uint8_t last_id_ = 0;
};

}  // namespace headgate::detail

#endif
