// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_INVOKE_HPP
#define HEADGATE_IMPL_INVOKE_HPP

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/recycling_allocator.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

#include <headgate/call_context.hpp>
#include <headgate/result.hpp>
#include <headgate/spawn.hpp>
#include <headgate/take.hpp>

#if defined(__GNUC__) && !defined(__clang__)
// g++ takes the coroutine frames of a caller's closures and local types for types of this header, and warns.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif

namespace headgate::detail {

template <class T>
struct awaitable_traits;
template <class T, class Executor>
struct awaitable_traits<boost::asio::awaitable<T, Executor>> {
    using result_type = result<T>;
    using executor_type = Executor;
};
template <class T, class Executor>
struct awaitable_traits<boost::asio::awaitable<result<T>, Executor>> {
    using result_type = result<T>;
    using executor_type = Executor;
};

/// Whether `Op` takes a `call_context` before its other arguments.
template <class Op, class... Args>
inline constexpr bool takes_context = std::invocable<Op&, call_context, Args...>;

template <class Op, class... Args>
auto call(Op& op, const call_context& context, Args&&... args) {
    if constexpr (takes_context<Op, Args...>) {
        return std::invoke(op, context, std::forward<Args>(args)...);
    } else {
        static_assert(std::invocable<Op&, Args...>,
                      "headgate: the operation cannot be called with these arguments, with or without a call_context "
                      "before them");
        return std::invoke(op, std::forward<Args>(args)...);
    }
}

/// `result<T>` of an operation that returns `awaitable<result<T>>`, `awaitable<T>` or `awaitable<void>`.
template <class Op, class... Args>
using call_result = typename awaitable_traits<decltype(call(std::declval<Op&>(), std::declval<call_context>(),
                                                            std::declval<Args>()...))>::result_type;
template <class Op, class... Args>
using call_executor = typename awaitable_traits<decltype(call(std::declval<Op&>(), std::declval<call_context>(),
                                                              std::declval<Args>()...))>::executor_type;

/// Awaits any of the three kinds of awaitable as a result; exceptions pass.
template <class T, class Executor>
boost::asio::awaitable<result<T>, Executor> as_result(boost::asio::awaitable<result<T>, Executor> operation) {
    return operation;
}
template <class T, class Executor>
boost::asio::awaitable<result<T>, Executor> as_result(boost::asio::awaitable<T, Executor> operation) {
    if constexpr (std::is_void_v<T>) {
        co_await std::move(operation);
        co_return headgate::success();
    } else {
        co_return co_await std::move(operation);
    }
}

/// Arms a deadline around an operation, and disarms it however the coroutine frame that holds it ends.
class scoped_call {
public:
    scoped_call(const std::shared_ptr<zone_core>& zone, boost::asio::any_io_executor executor, time_point when)
        : state_(
              std::allocate_shared<call_state>(boost::asio::recycling_allocator<void>(), zone, std::move(executor))) {
        state_->begin(when);
    }
    scoped_call(const scoped_call&) = delete;
    scoped_call& operator=(const scoped_call&) = delete;
    ~scoped_call() { state_->end(); }

    [[nodiscard]] call_state& state() const noexcept { return *state_; }

private:
    std::shared_ptr<call_state> state_;
};

/// Awaits `operation` so that `state`'s deadline, and the caller's own cancellation, reach it: one co_spawn.
template <class T, class Executor>
boost::asio::awaitable<result<T>, Executor> enforce(Executor executor, call_state& state,
                                                    boost::asio::awaitable<result<T>, Executor> operation) {
    boost::asio::use_awaitable_t<Executor> token;
    return boost::asio::async_initiate<boost::asio::use_awaitable_t<Executor>, void(result<T>)>(
        [executor, &state](auto handler, boost::asio::awaitable<result<T>, Executor> body) {
            auto caller = boost::asio::get_associated_cancellation_slot(handler);
            if (caller.is_connected()) {
                caller.assign([weak = state.weak_from_this()](boost::asio::cancellation_type type) {
                    if (const auto running = weak.lock()) {
                        running->signal().emit(type);
                    }
                });
            }
            spawn(executor, std::move(body),
                  boost::asio::bind_cancellation_slot(state.signal().slot(), std::move(handler)));
        },
        token, std::move(operation));
}

/// Runs `op(args...)` until `when`, with its `call_context` where it takes one. Every exception becomes an error; an
/// operation that the deadline cancelled is `timed_out`, with what it said as cause where that was an exception.
template <class Op, class... Args>
boost::asio::awaitable<call_result<Op, Args...>, call_executor<Op, Args...>> run_until(
    const std::shared_ptr<zone_core>& zone, time_point when, Op& op, Args&&... args) {
    using result_type = call_result<Op, Args...>;
    std::exception_ptr thrown;
    if (when == time_point::max()) {
        try {
            co_return co_await as_result(call(op, call_context{}, std::forward<Args>(args)...));
        } catch (...) {
            thrown = std::current_exception();
        }
        co_return result_type(error_of(std::move(thrown)));
    }
    auto executor = co_await boost::asio::this_coro::executor;
    scoped_call running(zone, executor, when);
    call_state& state = running.state();
    try {
        auto operation = as_result(call(op, call_context(&state), std::forward<Args>(args)...));
        if constexpr (!takes_context<Op, Args...>) {
            operation = enforce(executor, state, std::move(operation));
        }
        result_type result = co_await std::move(operation);
        if (result || !state.fired()) {
            co_return result;
        }
    } catch (...) {
        thrown = std::current_exception();
    }
    if (state.fired()) {
        co_return result_type(error(errc::timed_out, std::move(thrown)));
    }
    co_return result_type(error_of(std::move(thrown)));
}

}  // namespace headgate::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
