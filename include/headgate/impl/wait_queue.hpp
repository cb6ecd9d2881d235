// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_WAIT_QUEUE_HPP
#define HEADGATE_IMPL_WAIT_QUEUE_HPP

#include <cstddef>

#include <headgate/impl/waiter.hpp>

namespace headgate::detail {

/// Waiters whose fate a primitive has decided under its lock, and whose outcome is stored. They complete when this is
/// destroyed, which must be after the unlock: declare it before the lock is taken.
class decided_waiters {
public:
    decided_waiters() = default;
    decided_waiters(const decided_waiters&) = delete;
    decided_waiters& operator=(const decided_waiters&) = delete;
    ~decided_waiters() { complete(); }

    void add(waiter& w) noexcept { list_.push_back(w); }

    /// Completes them now.
    void complete() noexcept {
        while (waiter* const w = pop()) {
            w->complete();
        }
    }
    /// The zone's io_context is being destroyed: destroys them, but for those that complete on another one.
    void abandon() noexcept {
        while (waiter* const w = pop()) {
            w->abandon();
        }
    }

private:
    waiter* pop() noexcept {
        if (list_.empty()) {
            return nullptr;
        }
        waiter& w = list_.front();
        list_.pop_front();
        return &w;
    }

    waiter_list<waiter> list_;
};

/// The callers that wait for one thing, in the order in which they came. Every member is called under the lock of the
/// primitive that owns the queue.
///
/// A waiter leaves the queue once, by whichever comes first: a grant or an end (`settle`), its deadline (`expire`), or
/// a cancellation (`cancel`). The caller stores the outcome in it, under the same lock.
template <class Waiter>
class wait_queue {
public:
    [[nodiscard]] bool empty() const noexcept { return list_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return list_.size(); }
    [[nodiscard]] Waiter& front() noexcept { return list_.front(); }
    [[nodiscard]] auto begin() const noexcept { return list_.begin(); }
    [[nodiscard]] auto end() const noexcept { return list_.end(); }

    /// `w` joins as the last, until `when` at the latest.
    void join(Waiter& w, zone_core& zone, time_point when) noexcept {
        list_.push_back(w);
        w.join();
        w.arm(zone, when);
    }

    /// Takes `w` out with its fate decided.
    void settle(Waiter& w, zone_core& zone, decided_waiters& decided) noexcept {
        list_.erase(list_.iterator_to(w));
        if (w.settle(zone)) {
            decided.add(w);
        }
    }

    /// Takes all out; `decide(w)` stores the outcome of each.
    template <class Decide>
    void settle_all(zone_core& zone, decided_waiters& decided, const Decide& decide) {
        while (!list_.empty()) {
            Waiter& w = list_.front();
            decide(w);
            settle(w, zone, decided);
        }
    }

    /// For `on_deadline` of `w`, which completes in any case. True when the deadline is what decides: `w` is out.
    bool expire(Waiter& w, decided_waiters& decided) noexcept {
        const bool decides = w.settle_by_deadline();
        if (decides) {
            list_.erase(list_.iterator_to(w));
        }
        decided.add(w);
        return decides;
    }

    /// For `on_cancel` of `w`. True when the cancellation is what decides: `w` is out. One that has not joined yet
    /// notes it.
    bool cancel(Waiter& w, zone_core& zone, decided_waiters& decided) noexcept {
        if (w.settled() || !w.note_cancel()) {
            return false;
        }
        settle(w, zone, decided);
        return true;
    }

private:
    waiter_list<Waiter> list_;
};

}  // namespace headgate::detail

#endif
