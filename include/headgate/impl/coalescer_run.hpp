// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_COALESCER_RUN_HPP
#define HEADGATE_IMPL_COALESCER_RUN_HPP

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/recycling_allocator.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include <headgate/call_context.hpp>
#include <headgate/impl/call.hpp>
#include <headgate/impl/coalescer_core.hpp>
#include <headgate/impl/serial.hpp>
#include <headgate/result.hpp>
#include <headgate/with_timeout.hpp>

#if defined(__GNUC__) && !defined(__clang__)
// g++ takes the coroutine frames of a caller's closures and local types for types of this header, and warns.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif

namespace headgate::detail {

/// A flight with its result.
template <class T>
class flight_of final : public flight {
public:
    using flight::flight;

    /// Readable by who has found it kept, or landed.
    [[nodiscard]] const result<T>& value() const noexcept { return *value_; }

    /// Its operation has ended with `r`, which is copied or moved only where somebody wants it.
    template <class R>
    void land(coalescer_core& core, R&& r) noexcept {
        const bool is_error = r.has_error();
        const bool keeps = core.keep_span(is_error ? &r.error() : nullptr) > duration::zero();
        const bool wanted = keeps || core.take_out(*this);
        const bool stored = wanted && store(std::forward<R>(r));
        if (keeps && stored) {
            core.keep(*this, is_error);
        } else if (keeps) {
            static_cast<void>(core.take_out(*this));
        }
        core.publish(*this);
    }

private:
    template <class R>
    bool store(R&& r) noexcept {
        try {
            value_.emplace(std::forward<R>(r));
            return true;
        } catch (...) {
            value_.emplace(without_memory<result<T>>());
            return false;
        }
    }

    std::optional<result<T>> value_;
};

template <class T>
class flight_waiter_of : public flight_waiter {
public:
    using flight_waiter::flight_waiter;

    [[nodiscard]] result<T> take() const {
        if (refusal() != errc{}) {
            return error(refusal());
        }
        return static_cast<const flight_of<T>&>(joined()).value();
    }

protected:
    ~flight_waiter_of() = default;
};

/// What an operation that runs apart completes with its result.
template <class T, class Executor>
class flight_end {
public:
    using executor_type = Executor;
    using cancellation_slot_type = boost::asio::cancellation_slot;

    flight_end(std::shared_ptr<coalescer_core> core, std::shared_ptr<flight_of<T>> ended, const Executor& executor)
        : core_(std::move(core)), flight_(std::move(ended)), executor_(executor) {}
    flight_end(flight_end&&) noexcept = default;
    flight_end& operator=(flight_end&&) = delete;
    // Destroyed without a call: its io_context has gone.
    ~flight_end() {
        if (flight_) {
            flight_->land(*core_, result<T>(error(errc::shut_down)));
        }
    }

    [[nodiscard]] executor_type get_executor() const noexcept { return executor_; }
    [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept { return flight_->slot(); }

    void operator()(result<T> r) {
        const auto ended = std::move(flight_);
        ended->land(*core_, std::move(r));
    }

private:
    std::shared_ptr<coalescer_core> core_;
    std::shared_ptr<flight_of<T>> flight_;
    Executor executor_;
};

/// A call of a coalescer. The first caller of a key whose call cannot end before its operation runs that in its own
/// coroutine, as a protected call does; any other first caller has it run apart, and waits as those who join.
template <class T, class Op, class... Args>
class coalesced_call : public boost::asio::awaitable<protected_call<coalesced_call<T, Op, Args...>, result<T>>,
                                                     call_executor<Op, Args...>> {
    using shape = call_shape_of<std::tuple<>, Op, Args...>;

public:
    using value_type = result<T>;
    using executor_type = call_executor<Op, Args...>;

    template <class O, class... A>
    coalesced_call(std::shared_ptr<coalescer_core> core, whole_key&& key, duration timeout, O&& op, A&&... args)
        : core_(std::move(core)),
          key_(std::move(key)),
          timeout_(timeout),
          op_(std::forward<O>(op)),
          args_(std::forward<A>(args)...) {}

    // Only what has not begun is moved.
    coalesced_call(coalesced_call&& other) noexcept(std::is_nothrow_move_constructible_v<Op>)
        : coalesced_call::awaitable(),
          core_(std::move(other.core_)),
          key_(std::move(other.key_)),
          timeout_(other.timeout_),
          op_(std::move(other.op_)),
          args_(std::move(other.args_)) {}
    coalesced_call& operator=(coalesced_call&&) = delete;

    ~coalesced_call() {
        // The operation first. Moved out, because the assignment of an awaitable may forget what it held (Boost 1.81).
        {
            const auto plain = std::move(plain_);
        }
        {
            const auto slow = std::move(slow_);
        }
        if (in_place_) {
            flight_->land(*core_, value_type(error(errc::shut_down)));
        }
    }

    /// The same call as an ordinary awaitable: for `&&`, `||`, storing, `co_spawn`.
    [[nodiscard]] boost::asio::awaitable<value_type, executor_type> as_awaitable() && {
        return later(std::move(*this));
    }

    // For the awaitable: ------------------------------------------------------------------------------------------

    /// False when the result is there without suspending.
    bool begin() {
        std::shared_ptr<flight> found;
        const bool no_time = timeout_ <= duration::zero();
        const boarding what = core_->board(key_, no_time, found);
        if (what == boarding::kept || what == boarding::refused) {
            take_found(what, found.get());
            return false;
        }
        if (no_time) {
            early_.emplace(error(errc::wait_timed_out));
            return false;
        }
        flight_ = std::static_pointer_cast<flight_of<T>>(std::move(found));
        return true;
    }

    /// False when the result is there all the same.
    template <class Handle>
    bool suspend(Handle caller) {
        try {
            return flight_ ? wait_for(caller) : lead(caller);
        } catch (...) {
            give_up(error_of(std::current_exception()));
            return false;
        }
    }

    value_type finish() {
        if (early_) {
            return std::move(*early_);
        }
        if (slow_.valid()) {
            return slow_.await_resume();
        }
        try {
            value_type r = resume_as_result(plain_);
            end_in_place(r);
            return r;
        } catch (...) {
            const value_type r = error_of(std::current_exception());
            end_in_place(r);
            return r;
        }
    }

private:
    static boost::asio::awaitable<value_type, executor_type> later(coalesced_call self) {
        co_return co_await std::move(self);
    }

    void take_found(boarding what, const flight* found) {
        try {
            if (what == boarding::kept) {
                early_.emplace(static_cast<const flight_of<T>*>(found)->value());
            } else {
                early_.emplace(error(errc::shut_down));
            }
        } catch (...) {
            early_.emplace(error_of(std::current_exception()));  // of a copy
        }
    }

    template <class Handle>
    bool lead(Handle caller) {
        const bool stays = timeout_ == duration::max() && !cancellation_of(caller).slot().is_connected();
        std::shared_ptr<flight> mine =
            std::allocate_shared<flight_of<T>>(boost::asio::recycling_allocator<void>(), std::move(key_), stays);
        const boarding what = core_->lead(mine);
        if (what == boarding::kept || what == boarding::refused) {
            take_found(what, mine.get());
            return false;
        }
        flight_ = std::static_pointer_cast<flight_of<T>>(std::move(mine));
        if (what == boarding::joined) {
            return wait_for(caller);
        }
        leads_ = true;
        if (!stays) {
            const auto before = cancellation_of(caller).cancelled();
            start_apart(executor_of(caller));
            if (cancellation_of(caller).cancelled() != before) {
                core_->leave(*flight_);  // by the operation itself, before it has waited
                early_.emplace(error(errc::canceled));
                return false;
            }
            return wait_for(caller);
        }
        in_place_ = true;
        deadline_.disconnect();
        plain_ = std::apply(
            [&](Args&... args) { return call(op_, call_context(deadline_, core_->zone()), std::move(args)...); },
            args_);
        plain_.await_suspend(caller);
        return true;
    }

    void start_apart(executor_type executor) {
        if constexpr (!chosen_serial<executor_type>) {
            executor = make_serial(executor);
        }
        using timed = policy_call<timeout_policy, Op, Args...>;
        timed run = std::apply(
            [&](Args&... args) {
                return timed([&] { return timeout_policy(core_->zone_ptr(), duration::max()); }, std::move(op_),
                             std::move(args)...);
            },
            args_);
        flight_end<T, executor_type> end(core_, flight_, executor);
        leads_ = false;  // from here on, `end` lands it
        start_call(core_->zone_ptr(), std::move(end), std::move(run));
        core_->started(*flight_);
    }

    template <class Handle>
    bool wait_for(Handle caller) {
        const time_point until =
            timeout_ == duration::max() ? time_point::max() : saturating_add(core_->zone().now(), timeout_);
        boost::asio::use_awaitable_t<executor_type> token;
        slow_ = boost::asio::async_initiate<boost::asio::use_awaitable_t<executor_type>, void(value_type)>(
            [this, until](auto handler) {
                using operation = waiter_operation<flight_waiter_of<T>, decltype(handler)>;
                try {
                    operation& w = operation::create(core_->zone_ptr(), std::move(handler), core_, flight_);
                    core_->wait(w, until);
                    return;
                } catch (const std::bad_alloc&) {
                    core_->leave(*flight_);
                }
                complete_without_memory<value_type>(core_->zone().executor(), std::move(handler));
            },
            token);
        slow_.await_suspend(caller);
        return true;
    }

    void give_up(error e) {
        if (in_place_ || leads_) {
            early_.emplace(std::move(e));
            in_place_ = false;
            flight_->land(*core_, *early_);
        } else {
            if (flight_) {
                core_->leave(*flight_);
            }
            early_.emplace(std::move(e));
        }
    }

    void end_in_place(const value_type& r) noexcept {
        in_place_ = false;
        flight_->land(*core_, r);
    }

    std::shared_ptr<coalescer_core> core_;
    whole_key key_;
    duration timeout_;
    Op op_;
    [[no_unique_address]] std::tuple<Args...> args_;
    std::shared_ptr<flight_of<T>> flight_;
    bool leads_ = false;     // and nobody else lands the flight
    bool in_place_ = false;  // and its operation has not ended
    std::optional<value_type> early_;
    call_deadline deadline_;
    typename shape::awaitable_type plain_;
    boost::asio::awaitable<value_type, executor_type> slow_;
};

}  // namespace headgate::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
