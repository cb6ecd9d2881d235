// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_BULKHEAD_CORE_HPP
#define HEADGATE_IMPL_BULKHEAD_CORE_HPP

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <headgate/bulkhead_options.hpp>
#include <headgate/export.hpp>
#include <headgate/impl/adaptive_limit.hpp>
#include <headgate/impl/bulkhead_machine.hpp>
#include <headgate/impl/spinlock.hpp>
#include <headgate/impl/sync.hpp>
#include <headgate/impl/wait_queue.hpp>
#include <headgate/impl/zone_core.hpp>
#include <headgate/latency.hpp>
#include <headgate/result.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

class bulkhead_core;

/// What the error with which a call has ended tells about its backend's load: one that was given up (`timed_out`), or
/// that the backend refused for a time (`retry_after`), is dropped.
[[nodiscard]] HEADGATE_DECL adaptive_outcome adaptive_outcome_of(const error& e) noexcept;

/// The error code of a refusal.
[[nodiscard]] HEADGATE_DECL errc code_of(bulkhead_verdict verdict) noexcept;

/// A caller in the queue of a bulkhead. It owns the place that it was granted until that is taken: when its completion
/// is destroyed instead of run, the place goes to the next in line.
class HEADGATE_DECL bulkhead_waiter : public waiter {
public:
    explicit bulkhead_waiter(std::shared_ptr<bulkhead_core> from) noexcept : from_(std::move(from)) {}

    void on_cancel() noexcept override;

protected:
    ~bulkhead_waiter();

    /// Whether a place was granted, once; `refusal` says why not.
    [[nodiscard]] bool granted() noexcept { return std::exchange(granted_, false); }
    [[nodiscard]] errc refusal() const noexcept { return refusal_; }
    /// Of a call that is measured.
    [[nodiscard]] time_point began() const noexcept { return began_; }
    [[nodiscard]] bulkhead_core& from() const noexcept { return *from_; }

private:
    friend class bulkhead_core;

    void on_deadline() noexcept override;

    std::shared_ptr<bulkhead_core> from_;
    time_point asked_{};
    time_point began_{};
    bool granted_ = false;
    errc refusal_ = errc::shut_down;
};

/// The asynchronous shell around `bulkhead_machine`: queue, deadlines, lock.
///
/// It is held by `shared_ptr`s with `orphan` as deleter: permits are not counted by them, so that a place costs no
/// atomic operation; whoever runs keeps the core until he has ended.
class HEADGATE_DECL bulkhead_core final : public primitive, public std::enable_shared_from_this<bulkhead_core> {
public:
    static result<std::shared_ptr<bulkhead_core>> create(const std::shared_ptr<zone_core>& zone, std::string name,
                                                         const bulkhead_options& options);

    // Any thread.

    /// Takes a place; nobody passes a waiter. Else `why` says why not, to one who would wait for `wait`. `began` is set
    /// for a call that is measured.
    [[nodiscard]] bool take(duration wait, bulkhead_verdict& why, time_point& began) noexcept {
        const std::lock_guard guard(lock_);
        if (!zone().refusing() && machine_.take()) [[likely]] {
            ++granted_;
            if (adaptive_ && adaptive_->wants_sample()) {
                began = begin_sample();
            }
            return true;
        }
        why = refuse(wait);
        return false;
    }
    /// Lets `w` in, or lets it wait for `timeout`, or refuses it. `asked` is when the wait began.
    void enqueue(bulkhead_waiter& w, duration timeout, time_point asked) noexcept;
    void give_back() noexcept {
        std::unique_lock held(lock_);
        const bool handed_over = machine_.on_return();
        // From the unlock on, another thread may destroy this object.
        if (handed_over || !machine_.open() || zone().refusing()) {
            finish_return(std::move(held), handed_over);
        }
    }

    /// The same for a call that is measured.
    void give_back(time_point began, adaptive_outcome how) noexcept;

    void resize(std::uint32_t max_concurrent) noexcept;
    /// Precondition: `options` are valid.
    void reconfigure(const bulkhead_options& options) noexcept;
    [[nodiscard]] bulkhead_snapshot look() const noexcept {
        const std::lock_guard guard(lock_);
        return counts();
    }
    [[nodiscard]] duration max_wait() const noexcept { return duration{max_wait_.load(std::memory_order_relaxed)}; }

    // primitive
    void close() noexcept override;
    void drain() noexcept override;
    void abandon() noexcept override;
    [[nodiscard]] primitive_snapshot snapshot() const override;
    [[nodiscard]] std::uint64_t in_use() const noexcept override;

private:
    friend class bulkhead_waiter;
    class change;

    bulkhead_core(std::shared_ptr<zone_core> zone, std::string name, const bulkhead_options& options);
    ~bulkhead_core() override = default;

    static void orphan(bulkhead_core* core) noexcept;
    void unpin() noexcept;
    /// The caller has the lock.
    [[nodiscard]] bulkhead_snapshot counts() const noexcept;
    [[gnu::noinline]] void finish_return(std::unique_lock<spinlock> held, bool handed_over) noexcept;
    void expire(bulkhead_waiter& w) noexcept;
    void cancel(bulkhead_waiter& w) noexcept;

    // The caller holds the lock.
    [[gnu::noinline]] time_point begin_sample() noexcept;
    [[nodiscard]] time_point on_shared_clock(time_point now) const noexcept;
    void set_limit(const bulkhead_options& options) noexcept;
    [[gnu::noinline]] bulkhead_verdict refuse(duration wait) noexcept;
    bulkhead_verdict count_refusal(bulkhead_verdict why) noexcept;

    mutable spinlock lock_;
    bulkhead_machine machine_;
    std::optional<adaptive_limit> adaptive_;  // sets the machine's limit
    bool orphaned_ = false;
    std::uint32_t pins_ = 0;  // changes that still use this object after the lock
    std::uint64_t granted_ = 0;
    atomic<duration::rep> max_wait_;
    wait_queue<bulkhead_waiter> queue_;

    latency_histogram wait_;  // of those who were queued, whether they were let in or their time was up
    std::uint64_t queued_ = 0, timed_out_ = 0, canceled_ = 0, exhausted_ = 0, queue_full_ = 0;
};

}  // namespace headgate::detail

#endif
