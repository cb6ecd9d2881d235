// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// What a pool does on its zone's strand: polls its machine, and carries out what that asks for.

#include <boost/container/static_vector.hpp>

#include <array>
#include <new>

#include "resource_pool/pool_change.hpp"

namespace headgate::detail {

/// A run on its way to the strand. When the io_context goes first, it gives up what a run would have done.
class pool_core::strand_run {
public:
    explicit strand_run(std::shared_ptr<pool_core> pool) noexcept : pool_(std::move(pool)), count_(pool_->zone_ptr()) {}
    strand_run(strand_run&&) noexcept = default;
    strand_run& operator=(strand_run&&) = delete;
    ~strand_run() {
        // There is a strand where this was not posted for want of memory.
        if (pool_ && !pool_->zone().strand()) {
            pool_->abandon();
        }
    }

    void operator()() { std::exchange(pool_, nullptr)->run(false); }

    /// Whether it is still here.
    [[nodiscard]] bool dismiss() noexcept { return std::exchange(pool_, nullptr) != nullptr; }

private:
    std::shared_ptr<pool_core> pool_;
    counted_operation count_;
};

void pool_core::wake() noexcept {
    const auto self = weak_from_this().lock();
    if (!self) {
        return;
    }
    strand_run run(self);
    try {
        zone().post(std::move(run));
    } catch (...) {
        // No memory to tell the strand; the timer needs none.
        (void)run.dismiss();  // NOLINT(bugprone-use-after-move): it may not have been moved
        const std::lock_guard guard(lock_);
        timer_.arm(zone(), self, zone().now());
        return;
    }
    if (run.dismiss()) {  // NOLINT(bugprone-use-after-move): nor here, when the io_context is gone
        abandon();
    }
}

void pool_core::set_timer(bool fired) {
    const time_point next = machine_.next_deadline();
    if (machine_.state() == pool_state::closed || next == time_point::max()) {
        timer_.disarm(zone());
        if (fired) {
            timer_.abandon();
        }
    } else if (fired || next != timer_.armed()) {
        timer_.arm(zone(), shared_from_this(), next);
    }
}

/// What a run begins when it has unlocked.
struct pool_core::to_begin {
    pool_task task;
    slot_index slot;
    void* resource;
};

void pool_core::run(bool fired) noexcept {
    const auto self = weak_from_this().lock();
    if (!self) {
        return;
    }
    while (run_some(fired)) {
    }
    bool closed = false;
    bool in_vain = false;
    {
        const std::lock_guard guard(lock_);
        closed = machine_.state() == pool_state::closed;
        in_vain = machine_.connects_in_vain();
    }
    if (in_vain) {
        cancel_tasks(!closed);
    }
}

/// One poll; true when there is more to do.
bool pool_core::run_some(bool fired) noexcept {
    std::array<pool_action, change::most> actions;
    boost::container::static_vector<to_begin, change::most> starts;
    bool more = false;
    {
        change c(*this);
        const std::size_t n = machine_.poll(zone().now(), actions);
        for (std::size_t k = 0; k < n; ++k) {
            const auto [task, slot, loss] = actions[k];
            switch (task) {
                case pool_task::connect:
                    ++connects_;
                    starts.push_back({make_room(slot) ? task : pool_task::no_memory, slot, nullptr});
                    break;
                case pool_task::ping:
                case pool_task::ask: starts.push_back({task, slot, resources_[slot]}); break;
                case pool_task::retire: c.lose(slot, loss); break;
                case pool_task::leak:
                    ++leaks_;
                    c.leak(slot);
                    break;
                case pool_task::hand_over: c.hand_over(slot); break;
                case pool_task::fail_waiters: c.end_waiters(errc::connect_failed); break;
                case pool_task::no_memory:
                    ++connect_failures_;
                    c.discard(std::exchange(cause_, std::make_exception_ptr(std::bad_alloc())));
                    break;
            }
        }
        more = n == actions.size();
        if (!more) {
            set_timer(fired);
        }
    }
    for (const to_begin& b : starts) {
        begin(b);
    }
    return more;
}

/// Where the slot's resource will be; false when there is no memory.
bool pool_core::make_room(slot_index i) noexcept {
    try {
        if (places_.size() <= i) {
            resources_.reserve(machine_.slots());
            places_.resize(machine_.slots());
            resources_.resize(machine_.slots());
        }
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

void pool_core::begin(const to_begin& b) noexcept {
    switch (b.task) {
        case pool_task::connect: start_connect(b.slot); break;
        case pool_task::no_memory: connect_failed(b.slot, std::make_exception_ptr(std::bad_alloc())); break;
        case pool_task::ping: start_ping(b.slot, b.resource); break;
        default: pinged(b.slot, is_alive_now(b.resource)); break;
    }
}

void pool_core::connected(slot_index i, void* resource) noexcept {
    change c(*this);
    resources_[i] = resource;
    if (machine_.failing()) {
        c.discard(std::exchange(cause_, nullptr));
        c.tell(event_kind::pool_recovered);
    }
    c.settle(i, machine_.on_connected(i, zone().now()));
}

void pool_core::connect_failed(slot_index i, std::exception_ptr cause) noexcept {
    change c(*this);
    ++connect_failures_;
    c.discard(std::exchange(cause_, cause));
    if (machine_.on_connect_failed(i, zone().now()).fail_waiters) {
        c.end_waiters(errc::connect_failed);
    }
    if (!machine_.connects_in_vain()) {
        c.tell(event_kind::connect_failed, std::move(cause));
    }
}

void pool_core::pinged(slot_index i, bool alive) noexcept {
    change c(*this);
    c.settle(i, machine_.on_ping_done(i, alive, zone().now()));
}

void pool_core::overdue(slot_index i) noexcept {
    change c(*this);
    c.leave_behind(i);
    if (machine_.on_ping_done(i, false, zone().now()).fail_waiters) {
        c.end_waiters(errc::connect_failed);
    }
    c.came_back();
}

}  // namespace headgate::detail
