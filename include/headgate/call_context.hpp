// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_CALL_CONTEXT_HPP
#define HEADGATE_CALL_CONTEXT_HPP

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <typeinfo>
#include <utility>

#include <headgate/event.hpp>
#include <headgate/export.hpp>
#include <headgate/impl/deadline.hpp>
#include <headgate/impl/sync.hpp>
#include <headgate/impl/zone_core.hpp>
#include <headgate/time.hpp>

namespace headgate {

namespace detail {

/// Whose operation it is that ignores its cancellation; what an `overrun` event tells.
struct call_owner {
    primitive_kind kind{};
    const std::string* name = nullptr;
    const std::type_info* operation = nullptr;
};

/// The deadline of a running operation, inside of the object that runs it: no allocation unless it fires.
///
/// It fires on the zone's strand, and cancels on the executor of the coroutine that awaits the call. The object may go
/// at any time between: `end` waits out the few instructions in which the strand hands over, and what was handed over
/// then finds nothing.
class HEADGATE_DECL call_deadline final : public deadline {
public:
    call_deadline() = default;
    ~call_deadline() { end(); }

    /// Arms it, once. `zone` and what `owner` names outlive it.
    void begin(zone_core& zone, boost::asio::any_io_executor executor, time_point when, const call_owner& owner) {
        zone_ = &zone;
        executor_ = std::move(executor);
        until_ = when;
        owner_ = owner;
        zone.arm(*this, when);
    }

    /// The operation has ended, or is given up. On the caller's executor.
    void end() noexcept {
        if (zone_ != nullptr && !std::exchange(zone_, nullptr)->disarm(*this)) [[unlikely]] {
            detach();
        }
    }

    /// Whether it cancelled the operation.
    [[nodiscard]] bool fired() const noexcept { return fired_; }
    /// For the time that is left, before `begin` too.
    void set_until(time_point when) noexcept { until_ = when; }
    [[nodiscard]] time_point until() const noexcept { return until_; }
    [[nodiscard]] boost::asio::cancellation_signal& signal() noexcept { return signal_; }

private:
    /// What is on its way to the executor; shared, so that it may find that the call has gone.
    struct handover {
        call_deadline* call;
    };

    void on_deadline() noexcept override;
    void cancel();
    void await_handover() const noexcept;
    void detach() noexcept;

    zone_core* zone_ = nullptr;
    time_point until_ = time_point::max();
    boost::asio::any_io_executor executor_;
    boost::asio::cancellation_signal signal_;
    call_owner owner_;
    std::shared_ptr<handover> handed_;
    atomic<bool> handed_over_{false};
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
    call_context(detail::call_deadline& call, const detail::zone_core& zone) noexcept : call_(&call), zone_(&zone) {}

    /// When the call must have ended; `time_point::max()` when there is no deadline.
    [[nodiscard]] time_point deadline() const noexcept { return call_ != nullptr ? call_->until() : time_point::max(); }

    /// What is left until then, never negative; `duration::max()` when there is no deadline.
    [[nodiscard]] duration time_left() const noexcept {
        if (call_ == nullptr) {
            return duration::max();
        }
        return std::max(duration::zero(), saturating_sub(call_->until(), zone_->now()));
    }

    /// Fired when the deadline passes; not connected when there is none.
    [[nodiscard]] boost::asio::cancellation_slot slot() const noexcept {
        return call_ != nullptr ? call_->signal().slot() : boost::asio::cancellation_slot{};
    }

private:
    detail::call_deadline* call_ = nullptr;
    const detail::zone_core* zone_ = nullptr;
};

}  // namespace headgate

#endif
