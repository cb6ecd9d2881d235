// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_CALL_CONTEXT_HPP
#define HEADGATE_CALL_CONTEXT_HPP

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>

#include <memory>
#include <utility>

#include <headgate/impl/zone_core.hpp>
#include <headgate/time.hpp>

namespace headgate {

namespace detail {

/// A running operation with a deadline. The armed deadline keeps it alive; the signal is emitted on the caller's
/// executor.
class call_state final : public deadline, public std::enable_shared_from_this<call_state> {
public:
    call_state(std::shared_ptr<zone_core> zone, boost::asio::any_io_executor executor) noexcept
        : zone_(std::move(zone)), executor_(std::move(executor)) {}

    void begin(time_point when) {
        self_ = shared_from_this();
        when_ = when;
        zone_->arm(*this, when);
    }

    /// The operation has ended. Once, on the caller's executor.
    void end() noexcept {
        ended_ = true;
        if (zone_->disarm(*this)) {
            self_.reset();
        }
    }

    /// Whether the deadline cancelled the operation.
    [[nodiscard]] bool fired() const noexcept { return fired_; }
    [[nodiscard]] time_point deadline_time() const noexcept { return when_; }
    [[nodiscard]] const zone_core& zone() const noexcept { return *zone_; }
    [[nodiscard]] boost::asio::cancellation_signal& signal() noexcept { return signal_; }

private:
    void on_deadline() noexcept override {
        boost::asio::post(executor_, [self = std::move(self_)] {
            if (!self->ended_) {
                self->fired_ = true;
                self->signal_.emit(boost::asio::cancellation_type::terminal);
            }
        });
    }

    std::shared_ptr<zone_core> zone_;
    boost::asio::any_io_executor executor_;
    boost::asio::cancellation_signal signal_;
    std::shared_ptr<call_state> self_;
    time_point when_ = time_point::max();
    bool ended_ = false;
    bool fired_ = false;
};

}  // namespace detail

/// What an operation may take as its first argument: the time it has left, and a slot that its deadline fires.
///
/// Bind the slot to what the operation waits for: `bind_cancellation_slot(context.slot(), use_awaitable)`. It is
/// emitted (terminal) on the executor of the coroutine that awaits the call, which with several threads must be a
/// strand, as for every cancellation in Asio. Valid until the operation ends. Cheap to copy.
class call_context {
public:
    /// Of a call without a deadline.
    call_context() = default;
    /// Of a running call; made by the library.
    explicit call_context(detail::call_state* state) noexcept : state_(state) {}

    /// When the call must have ended; `time_point::max()` when there is no deadline.
    [[nodiscard]] time_point deadline() const noexcept {
        return state_ != nullptr ? state_->deadline_time() : time_point::max();
    }

    /// What is left until then, never negative; `duration::max()` when there is no deadline.
    [[nodiscard]] duration time_left() const noexcept {
        if (state_ == nullptr) {
            return duration::max();
        }
        return std::max(duration::zero(), saturating_sub(state_->deadline_time(), state_->zone().now()));
    }

    /// Fired when the deadline passes; not connected when there is none.
    [[nodiscard]] boost::asio::cancellation_slot slot() const noexcept {
        return state_ != nullptr ? state_->signal().slot() : boost::asio::cancellation_slot{};
    }

private:
    detail::call_state* state_ = nullptr;
};

}  // namespace headgate

#endif
