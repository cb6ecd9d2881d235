// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_INVOKE_HPP
#define HEADGATE_IMPL_INVOKE_HPP

#include <boost/asio/awaitable.hpp>

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

#include <headgate/call_context.hpp>
#include <headgate/result.hpp>

#if defined(__GNUC__) && !defined(__clang__)
// g++ takes the coroutine frames of a caller's closures and local types for types of this header, and warns.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif

namespace headgate::detail {

template <class T>
struct awaitable_traits {
    static_assert(!std::same_as<T, T>,
                  "headgate: the operation must return an awaitable: awaitable<result<T>>, awaitable<T> or "
                  "awaitable<void>");
    using result_type = result<void>;
    using executor_type = boost::asio::any_io_executor;
};
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

/// What an awaitable of any of the three kinds, which has been awaited, gives as a result; exceptions pass.
template <class T, class Executor>
auto resume_as_result(boost::asio::awaitable<T, Executor>& ended) ->
    typename awaitable_traits<boost::asio::awaitable<T, Executor>>::result_type {
    if constexpr (std::is_void_v<T>) {
        ended.await_resume();
        return headgate::success();
    } else {
        return ended.await_resume();
    }
}

}  // namespace headgate::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
