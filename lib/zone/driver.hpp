// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_ZONE_DRIVER_HPP
#define HEADGATE_LIB_ZONE_DRIVER_HPP

#include <boost/asio/basic_waitable_timer.hpp>

#include <chrono>
#include <mutex>
#include <optional>

#include <headgate/impl/spinlock.hpp>
#include <headgate/impl/zone_core.hpp>

#include "zone/deadline_wheel.hpp"

namespace headgate::detail {

/// Calls the deadlines of a zone when they are due, on its strand. One timer is armed for the earliest of them.
///
/// It never needs memory to be woken, so that arming a deadline cannot fail: whatever could not be done for want of
/// memory can be tried again from a deadline. At most one turn and one wait of the timer are outstanding, and the
/// memory of both is kept.
class driver {
public:
    using timer_type =
        asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                                   asio::io_context::executor_type>;

    explicit driver(zone_core& zone) : zone_(zone), turn_(*this), timer_(std::in_place, zone.executor()) {}

    void arm(deadline& node, time_point when) noexcept {
        bool wakes = false;
        {
            const std::lock_guard guard(lock_);
            node.when_ = when;
            wheel_->add(node);
            if (when < armed_ && zone_.clock_ == nullptr) {
                armed_ = when;
                wakes = !std::exchange(posted_, true);
            }
        }
        if (wakes) {
            turn_.post();
        }
    }

    bool disarm(deadline& node) noexcept {
        const std::lock_guard guard(lock_);
        return wheel_->remove(node);
    }

    /// Never later than the earliest deadline; `time_point::max()` when there is none.
    [[nodiscard]] time_point next_wake() noexcept;
    /// Posts a turn unless one is posted already.
    void wake() noexcept;
    /// The io_context is being destroyed, and no thread posts any more.
    void detach() noexcept { timer_.reset(); }

private:
    /// Runs the deadlines that are due, on the strand. Keeps the zone while it is posted.
    class turn final : public serial_task {
    public:
        explicit turn(driver& self) noexcept : self_(self) {}
        void post() noexcept;
        void run() override;
        void abandon() noexcept override { const auto last = std::move(zone_); }

    private:
        driver& self_;
        std::shared_ptr<zone_core> zone_;
    };
    struct wait_handler;

    void take_turn() noexcept;
    void run_due() noexcept;
    void set_timer() noexcept;
    void follow_clock(time_point now) noexcept;
    void trace(const deadline& node) noexcept;

    zone_core& zone_;
    mutable spinlock lock_;
    // Under the lock.
    std::optional<deadline_wheel> wheel_{std::in_place};
    time_point armed_ = time_point::max();   // when the next turn comes at the latest, as far as that is seen to
    time_point latest_ = time_point::min();  // the time of the last turn
    bool posted_ = false;                    // a turn is posted
    bool rang_ = false;                      // the timer's wait has ended
    turn turn_;
    // On the strand.
    std::optional<timer_type> timer_;
    bool waiting_ = false;  // the timer's wait is outstanding
    kept_memory wait_memory_;
};

}  // namespace headgate::detail

#endif
