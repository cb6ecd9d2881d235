// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_LIMITER_DECISION_HPP
#define HEADGATE_IMPL_LIMITER_DECISION_HPP

#include <atomic>
#include <cstdint>

#include <headgate/grant.hpp>
#include <headgate/impl/sync.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

enum class verdict : std::uint8_t {
    granted,
    rate_limited,        ///< `retry_after` says when.
    cost_exceeds_limit,  ///< It could never pass.
    queued,              ///< The key has waiters: nobody overtakes them.
    zero_cost,           ///< A cost of zero is no question.
    unknown_tier,
    shut_down,       ///< The zone takes no new work; said by the shell.
    queue_full,      ///< Too many wait for the key; said by the shell.
    wait_timed_out,  ///< Of one that waited.
    canceled,        ///< Of one that waited.
    out_of_memory,   ///< There was no memory for what this takes; nothing has happened.
};

/// What a limiter decided, as plain data: the `result` is made of it where the caller is.
struct decision {
    verdict what = verdict::unknown_tier;
    /// The key is the first that shares the overflow bucket since there was room last.
    bool overflow_began = false;
    duration retry_after{};
    grant granted{};
    /// The key was not remembered before this grant.
    bool inserted = false;
};

/// Whether a refusal for want of permits is the last word, when the caller would wait for so long. One that would not
/// wait at all passes `duration::zero()` or less.
[[nodiscard]] constexpr bool is_final(duration retry_after, duration max_wait) noexcept {
    return max_wait <= duration::zero() || retry_after > max_wait;
}

/// The figures of a gcra quota that a grant or a refusal is made of.
struct gcra_rate {
    std::int64_t step = 1;   ///< Ticks for each permit.
    std::int64_t den = 1;    ///< Ticks for each nanosecond.
    std::int64_t burst = 0;  ///< Permits.
};

/// The figures where they can be read although their quota may be gone: an answer of the straight path refers to them
/// when it holds no lock any more. They stay in one place as long as the limiter lives. Two hundred changes of quotas
/// later other figures stand there.
class shared_rate {
public:
    void set(const gcra_rate& rate) noexcept {
        step_.store(rate.step, std::memory_order_relaxed);
        den_.store(rate.den, std::memory_order_relaxed);
        burst_.store(rate.burst, std::memory_order_relaxed);
    }
    [[nodiscard]] std::int64_t step() const noexcept { return step_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::int64_t den() const noexcept { return den_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::int64_t burst() const noexcept { return burst_.load(std::memory_order_relaxed); }

private:
    atomic<std::int64_t> step_{1};
    atomic<std::int64_t> den_{1};
    atomic<std::int64_t> burst_{0};
};

/// An answer of the straight path. Two words, so that it is returned in registers: a larger one goes through memory,
/// where it is read in other widths than it was written, which costs as much as the decision.
struct straight_answer {
    const shared_rate* rate;  ///< Null: the general path decides.
    std::int64_t debt;        ///< In ticks, after the charge; negative: refused, by so many ticks.

    [[nodiscard]] explicit operator bool() const noexcept { return rate != nullptr; }
    [[nodiscard]] bool granted() const noexcept { return debt >= 0; }
    [[nodiscard]] grant as_grant() const noexcept {
        return {debt, rate->step(), rate->den(), static_cast<std::uint64_t>(rate->burst())};
    }
    [[nodiscard]] duration retry_after() const noexcept { return to_duration(ceil_div(-debt, rate->den())); }
};

}  // namespace headgate::detail

#endif
