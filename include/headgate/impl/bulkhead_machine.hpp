// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_BULKHEAD_MACHINE_HPP
#define HEADGATE_IMPL_BULKHEAD_MACHINE_HPP

#include <cstdint>

namespace headgate::detail {

/// What a bulkhead says to one who asks.
enum class bulkhead_verdict : std::uint8_t { granted, wait, exhausted, queue_full, shut_down };

/// The policy of a bulkhead, without I/O, clock or lock: a count of those who run, and one of those who wait, whose
/// queue the shell keeps.
///
/// While anybody waits, no place is free: `on_return` hands it over, and after a `resize` the shell calls `let_in`
/// until it gives false.
class bulkhead_machine {
public:
    bulkhead_machine(std::uint32_t max_concurrent, std::uint32_t max_waiters) noexcept
        : limit_(max_concurrent), max_waiters_(max_waiters) {}

    /// Takes a place, or gives false: nobody passes a waiter.
    bool take() noexcept {
        if (stage_ != stage::open || waiting_ != 0 || running_ >= limit_) {
            return false;
        }
        ++running_;
        return true;
    }
    /// Why `take` gave false; to one who `waits`, whether he may.
    [[nodiscard]] bulkhead_verdict explain(bool waits) const noexcept {
        if (stage_ != stage::open) {
            return bulkhead_verdict::shut_down;
        }
        if (!waits) {
            return bulkhead_verdict::exhausted;
        }
        return waiting_ < max_waiters_ ? bulkhead_verdict::wait : bulkhead_verdict::queue_full;
    }
    /// As `take`; counts one who `waits` as the last waiter.
    bulkhead_verdict join(bool waits) noexcept {
        if (take()) {
            return bulkhead_verdict::granted;
        }
        const bulkhead_verdict verdict = explain(waits);
        waiting_ += verdict == bulkhead_verdict::wait ? 1 : 0;
        return verdict;
    }
    /// A waiter gave up.
    void leave() noexcept { --waiting_; }

    /// A call has ended. True: its place is the first waiter's, who is no longer counted as one.
    [[nodiscard]] bool on_return() noexcept {
        if (waiting_ != 0 && running_ <= limit_) {
            --waiting_;
            return true;
        }
        --running_;
        return false;
    }
    /// True: there is room for the first waiter, who is no longer counted as one.
    [[nodiscard]] bool let_in() noexcept {
        if (waiting_ == 0 || running_ >= limit_) {
            return false;
        }
        --waiting_;
        ++running_;
        return true;
    }

    void resize(std::uint32_t max_concurrent) noexcept { limit_ = max_concurrent; }
    void bound_waiters(std::uint32_t max_waiters) noexcept { max_waiters_ = max_waiters; }
    /// Refuses newcomers; those who wait are still served.
    void drain() noexcept { stage_ = stage_ == stage::open ? stage::draining : stage_; }
    /// Refuses all. No waiter is counted any more: the shell ends them all.
    void close() noexcept {
        stage_ = stage::closed;
        waiting_ = 0;
    }

    [[nodiscard]] bool open() const noexcept { return stage_ == stage::open; }
    [[nodiscard]] std::uint32_t limit() const noexcept { return limit_; }
    [[nodiscard]] std::uint32_t running() const noexcept { return running_; }
    [[nodiscard]] std::uint32_t waiting() const noexcept { return waiting_; }

private:
    enum class stage : std::uint8_t { open, draining, closed };

    std::uint32_t limit_;
    std::uint32_t max_waiters_;
    std::uint32_t running_ = 0;
    std::uint32_t waiting_ = 0;
    stage stage_ = stage::open;
};

}  // namespace headgate::detail

#endif
