// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RESOURCE_POOL_POOL_CHANGE_HPP
#define HEADGATE_LIB_RESOURCE_POOL_POOL_CHANGE_HPP

#include <headgate/impl/pool_core.hpp>

#include <boost/container/static_vector.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>

namespace headgate::detail {

/// One change of a pool. The constructor locks the pool. The members collect what the change causes. The destructor
/// unlocks, and then does that in one order: it completes served waiters, failed waiters and the waiters of a drain,
/// closes resources, tells events, and wakes the strand.
///
/// The pool lives until the destructor is done.
class pool_core::change {
public:
    /// As many actions as one poll gives.
    static constexpr std::size_t most = 16;

    explicit change(pool_core& pool) noexcept : change(pool, std::unique_lock(pool.lock_)) {}
    /// The caller locked already.
    change(pool_core& pool, std::unique_lock<spinlock> held) noexcept : pool_(pool), held_(std::move(held)) {}
    change(const change&) = delete;
    change& operator=(const change&) = delete;
    ~change();

    [[nodiscard]] decided_waiters& decided() noexcept { return decided_; }

    /// The slot is lent to the first waiter.
    void hand_over(slot_index i) noexcept;
    /// Every waiter fails.
    void end_waiters(errc why) noexcept;
    void end_drains(errc why) noexcept;
    /// What the machine made of the resource in the slot.
    void settle(slot_index i, const pool_settled& settled) noexcept;
    /// The slot is vacant: its resource is closed, and the event says why.
    void lose(slot_index i, pool_loss why) noexcept;
    /// The same for a resource that a coroutine still has: the coroutine closes it.
    void leave_behind(slot_index i) noexcept;
    /// A lease is out for too long.
    void leak(slot_index i) noexcept { leaks_.push_back(pool_.places_[i]); }
    /// One event; `cause` is its text.
    void tell(event_kind what, std::exception_ptr cause = nullptr) noexcept;
    /// Destroyed after the unlock.
    void discard(std::exception_ptr cause) noexcept { discarded_ = std::move(cause); }
    /// Something that was out came back.
    void came_back() noexcept { came_back_ = true; }

private:
    struct lost {
        void* resource;
        pool_loss why;
    };

    [[nodiscard]] bool needs_pool() const noexcept;
    void act(bool wakes) noexcept;
    void tell_all() const noexcept;
    void tell_one(event_kind what, const char* text, const std::exception_ptr& cause, const lease_place* place) const;

    pool_core& pool_;
    std::unique_lock<spinlock> held_;
    decided_waiters decided_;
    boost::container::static_vector<lost, most> lost_;
    boost::container::static_vector<lease_place, most> leaks_;
    std::optional<event_kind> told_;
    std::exception_ptr cause_;
    std::exception_ptr discarded_;
    bool came_back_ = false;
};

}  // namespace headgate::detail

#endif
