// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "zone/driver.hpp"

#include <boost/core/demangle.hpp>

#include <algorithm>
#include <typeinfo>

namespace headgate::detail {

namespace {

// The driver sleeps no longer than this, so that an io_context whose last deadline was disarmed runs out of work soon:
// disarming leaves the timer as it is, because touching it is a system call.
constexpr duration longest_sleep = std::chrono::seconds(1);

}  // namespace

// The end of the timer's wait, early or in time. It runs on any thread of the io_context.
struct driver::wait_handler {
    using allocator_type = kept_memory::allocator<void>;

    [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type(self->wait_memory_); }
    void operator()(const boost::system::error_code& /*early*/) const noexcept {
        {
            const std::lock_guard guard(self->lock_);
            self->rang_ = true;
        }
        self->wake();
    }

    std::shared_ptr<zone_core> zone;  // keeps the driver
    driver* self;
};

void driver::turn::post() noexcept {
    const context_gate::passage inside(self_.zone_.gate_);
    if (inside) {
        zone_ = self_.zone_.shared_from_this();
        self_.zone_.queue_->post(*this);
    }
}

void driver::turn::run() {
    const auto zone = std::move(zone_);
    self_.take_turn();
}

void driver::wake() noexcept {
    {
        const std::lock_guard guard(lock_);
        if (std::exchange(posted_, true)) {
            return;
        }
    }
    turn_.post();
}

void driver::take_turn() noexcept {
    {
        const std::lock_guard guard(lock_);
        posted_ = false;
        waiting_ = waiting_ && !std::exchange(rang_, false);
    }
    run_due();
    if (zone_.clock_ == nullptr) {
        set_timer();
    }
}

void driver::run_due() noexcept {
    for (;;) {
        deadline* node = nullptr;
        {
            const std::lock_guard guard(lock_);
            const time_point now = zone_.now();
            follow_clock(now);
            node = wheel_->pop_due(now);
        }
        if (node == nullptr) {
            return;
        }
        if (zone_.clock_ != nullptr && zone_.clock_->tracing.load(std::memory_order_relaxed)) {
            trace(*node);
        }
        node->on_deadline();
        lock_.let_others_in();
    }
}

void driver::set_timer() noexcept {
    const auto wait = [this](time_point wake) {
        if (waiting_) {
            timer_->cancel();  // its handler is on the way then, and comes back here
            return;
        }
        timer_->expires_at(wake);
        timer_->async_wait(wait_handler{zone_.shared_from_this(), this});
        waiting_ = true;
    };
    time_point wake = time_point::max();
    bool idle = false;
    {
        const std::lock_guard guard(lock_);
        idle = wheel_->empty();
        wake = idle ? time_point::max() : std::min(wheel_->next_wake(), saturating_add(zone_.now(), longest_sleep));
        armed_ = wake;
    }
    if (!timer_ || (idle && !waiting_) || (waiting_ && timer_->expiry() <= wake && !idle)) {
        return;
    }
    try {
        wait(wake);
    } catch (const std::bad_alloc&) {
        // The io_context has no room for one more timer: try again in the next turn.
        yield_thread();
        this->wake();
    }
}

time_point driver::next_wake() noexcept {
    const std::lock_guard guard(lock_);
    follow_clock(zone_.now());
    return wheel_->next_wake();
}

// A wheel only turns forwards. When a virtual clock was set backwards, all armed deadlines go into a new wheel. Called
// under the lock.
void driver::follow_clock(time_point now) noexcept {
    if (now < latest_) {
        deadline_tree armed;
        while (deadline* const node = wheel_->pop_due(time_point::max())) {
            armed.insert(*node);
        }
        wheel_.emplace();
        while (!armed.empty()) {
            deadline& node = *armed.begin();
            armed.erase(armed.begin());
            wheel_->add(node);
        }
    }
    latest_ = now;
}

void driver::trace(const deadline& node) noexcept {
    try {
        const auto* const named = dynamic_cast<const named_deadline*>(&node);
        std::string whose = named != nullptr ? named->whose() : std::string();
        if (whose.empty()) {
            whose = boost::core::demangle(typeid(node).name());
        }
        whose = "zone \"" + zone_.name() + "\": " + whose;
        clock_state& clock = *zone_.clock_;
        const std::lock_guard guard(clock.mutex);
        if (clock.due.size() < 20 && std::find(clock.due.begin(), clock.due.end(), whose) == clock.due.end()) {
            clock.due.push_back(std::move(whose));
        }
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): one name less
    }
}

}  // namespace headgate::detail
