// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_CALL_CONTEXT_HPP
#define HEADGATE_CALL_CONTEXT_HPP

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>

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
/// It is noticed on the zone's strand, and acts on the executor of the operation, which is serial: all members but
/// `on_deadline` are called there. The object may go at any time: `end` waits out the few instructions in which the
/// strand hands over, and what was handed over then finds nothing.
///
/// A deadline is a level, and Asio's signals are edges. So it goes on cancelling until `end`: at once whenever the slot
/// is asked for or bound again, a few turns of the executor after each cancellation, and then every now and then, for
/// what nobody can notice: a slot that was bound again while its last user was still there, and a coroutine that has
/// reset its cancellation state. A terminal cancellation of the caller is such a level too, from `pass_on` on; one of
/// another type is an edge, which waits for the next user of the slot when there is none.
class HEADGATE_DECL call_deadline final : public deadline {
public:
    /// What is cancelled in place of the slot.
    using target = void (*)(void* object, boost::asio::cancellation_type type);

    call_deadline() = default;
    ~call_deadline() { end(); }

    /// Arms it, once. `zone` and what `owner` names outlive it. Before the operation begins.
    void begin(zone_core& zone, boost::asio::any_io_executor executor, const call_owner& owner) {
        zone_ = &zone;
        executor_ = std::move(executor);
        owner_ = owner;
        running_ = true;
        if (until_ != time_point::max()) {
            armed_ = true;
            armed_for_ = until_;
            zone.arm(*this, until_);
        }
    }

    /// As new, for another operation of the same call.
    void renew() {
        std::destroy_at(this);
        std::construct_at(this);
    }

    /// The operation has ended, or is given up. It may be called twice.
    void end() noexcept {
        if (std::exchange(running_, false)) {
            armed_ = armed_ && !zone_->disarm(*this);
            if (armed_ || handed_) [[unlikely]] {
                detach();
            }
        }
    }

    /// For `pass_on`. Before `begin`; throws `std::bad_alloc`.
    void listen() { handed_ = std::make_shared<handover>(this); }

    /// The caller has cancelled: whatever is bound to the slot gets that `type`. After `listen`.
    void pass_on(boost::asio::cancellation_type type);

    /// Nothing will ever cancel the operation: there is no slot to bind.
    void disconnect() noexcept { connected_ = false; }

    /// Whether the deadline has cancelled the operation.
    [[nodiscard]] bool fired() const noexcept { return fired_; }
    /// For the time that is left, before `begin` too.
    void set_until(time_point when) noexcept { until_ = when; }
    [[nodiscard]] time_point until() const noexcept { return until_; }

    /// Calls `function(object, type)` in place of emitting the slot's signal. Before `begin`.
    void cancel_through(target function, void* object) noexcept {
        cancel_ = function;
        object_ = object;
    }

    /// What the operation binds to its waits.
    [[nodiscard]] boost::asio::cancellation_slot slot() noexcept {
        if (cancels()) [[unlikely]] {
            expect_bind();
        }
        return connected_ ? signal_.slot() : boost::asio::cancellation_slot();
    }

private:
    /// What is on its way to the executor; shared, so that it may find that the call has gone.
    struct handover {
        call_deadline* call;
    };
    class tripwire;

    void on_deadline() noexcept override;
    void on_time();
    void arm_again(time_point now) noexcept;
    void hold(time_point since) noexcept;
    bool emit(boost::asio::cancellation_type type);
    void cancel();
    void watch();
    void expect_bind() noexcept;
    void look_soon() noexcept;
    void tell_overrun() noexcept;
    void await_handover() const noexcept;
    void detach() noexcept;
    /// Whether what is bound next is to be cancelled.
    [[nodiscard]] bool cancels() const noexcept { return level_ || held_ != boost::asio::cancellation_type::none; }

    zone_core* zone_ = nullptr;
    time_point until_ = time_point::max();
    boost::asio::any_io_executor executor_;
    boost::asio::cancellation_signal signal_;
    target cancel_ = nullptr;
    void* object_ = nullptr;
    call_owner owner_;
    std::shared_ptr<handover> handed_;
    atomic<bool> handed_over_{false};
    bool running_ = false;  // between `begin` and `end`
    bool armed_ = false;    // in the zone's wheel, or on its way to the executor
    time_point armed_for_{};
    time_point since_{};                                                          // when the level began
    boost::asio::cancellation_type held_ = boost::asio::cancellation_type::none;  // for what is bound next
    bool level_ = false;                                                          // all that is bound is cancelled
    bool connected_ = true;
    bool fired_ = false;
    bool told_ = false;      // that the operation ignores it
    bool wired_ = false;     // a tripwire is in the slot
    bool looking_ = false;   // a look is queued in the executor
    signed char looks_ = 0;  // that may still follow
};

}  // namespace detail

/// What an operation may take as its first argument: the time it has left, and a slot that its deadline and the
/// cancellation of its caller fire.
///
/// The operation runs on one serial executor, and uses the slot there: see `with_timeout`. Bind the slot to what the
/// operation waits for: `bind_cancellation_slot(context.slot(), use_awaitable)`. From the deadline on, or from a
/// terminal cancellation of the caller on, whatever is bound to it ends at once (terminal), also what is bound later;
/// it may be emitted more than once for the same wait. A partial or total cancellation of the caller reaches what is
/// bound at that moment or, when nothing is, what is bound next. One wait at a time is bound to a slot, as everywhere
/// in Asio. Valid until the operation ends. Cheap to copy.
///
/// ```cpp
/// // example: call_context
/// #include <headgate/headgate.hpp>
/// #include <boost/asio/detached.hpp>
/// #include <boost/asio/redirect_error.hpp>
/// #include <boost/asio/steady_timer.hpp>
/// #include <cassert>
///
///
/// boost::asio::awaitable<headgate::result<void>> nap(headgate::call_context context, std::chrono::seconds length) {
///     boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, length);
///     boost::system::error_code ec;
///     co_await timer.async_wait(boost::asio::bind_cancellation_slot(
///         context.slot(), boost::asio::redirect_error(boost::asio::use_awaitable, ec)));
///     co_return ec ? headgate::result<void>(ec) : headgate::success();
/// }
///
/// int main() {
///     boost::asio::io_context io(1);
///     headgate::zone zone(io, "shop");
///     const auto work = [&]() -> boost::asio::awaitable<void> {
///         const auto late = co_await headgate::with_timeout(
///             zone, std::chrono::milliseconds{1}, nap, std::chrono::seconds{60});
///         assert(late.error() == headgate::errc::timed_out);
///     };
///     boost::asio::co_spawn(io, work, boost::asio::detached);
///     io.run();
/// }
/// ```
class call_context {
public:
    /// Of nothing that could end.
    call_context() = default;
    /// Of a running call; made by the library.
    call_context(detail::call_deadline& call, const detail::zone_core& zone) noexcept : call_(&call), zone_(&zone) {}

    /// When the call must have ended; `time_point::max()` when there is no deadline.
    [[nodiscard]] time_point deadline() const noexcept { return call_ != nullptr ? call_->until() : time_point::max(); }

    /// What is left until then, never negative; `duration::max()` when there is no deadline.
    [[nodiscard]] duration time_left() const noexcept {
        if (deadline() == time_point::max()) {
            return duration::max();
        }
        return std::max(duration::zero(), saturating_sub(call_->until(), zone_->now()));
    }

    /// Fired from the deadline on, and by the caller's cancellation; not connected when there can be neither.
    [[nodiscard]] boost::asio::cancellation_slot slot() const noexcept {
        return call_ != nullptr ? call_->slot() : boost::asio::cancellation_slot{};
    }

private:
    detail::call_deadline* call_ = nullptr;
    const detail::zone_core* zone_ = nullptr;
};

}  // namespace headgate

#endif
