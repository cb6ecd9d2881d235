// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_SPAWN_HPP
#define HEADGATE_SPAWN_HPP

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/execution/executor.hpp>
#include <boost/asio/is_executor.hpp>
#include <boost/asio/strand.hpp>

#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include <headgate/impl/apart.hpp>
#include <headgate/impl/invoke.hpp>
#include <headgate/result.hpp>
#include <headgate/zone.hpp>

#if defined(__GNUC__) && !defined(__clang__)
// g++ takes the coroutine frames of a caller's closures and local types for types of this header, and warns.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif

namespace headgate {

namespace detail {

template <class Executor>
concept spawns = boost::asio::execution::is_executor<Executor>::value || boost::asio::is_executor<Executor>::value;

/// Whatever `spawn` takes, as one kind of awaitable.
template <class T, class Executor>
boost::asio::awaitable<result<T>, Executor> as_operation(boost::asio::awaitable<T, Executor> operation) {
    return as_result(std::move(operation));
}
template <class T, class Executor>
boost::asio::awaitable<result<T>, Executor> as_operation(boost::asio::awaitable<result<T>, Executor> operation) {
    return operation;
}
template <class Call>
    requires requires(Call call) { std::move(call).as_awaitable(); }
auto as_operation(Call call) {
    return std::move(call).as_awaitable();
}

/// Starts `operation` on `executor`, and completes `handler` with its result.
template <class BodyExecutor, class T, class Executor, class Handler>
void spawn_with(const BodyExecutor& executor, boost::asio::awaitable<result<T>, Executor> operation, Handler handler,
                heed what) {
    using state_type = apart_for<T, Handler, BodyExecutor>;
    std::shared_ptr<state_type> made;
    try {
        made = std::make_shared<state_type>(std::move(handler), what, executor);
    } catch (const std::bad_alloc&) {
        return complete_without_memory<result<T>>(executor, std::move(handler));
    }
    const auto slot = made->slot();
    const std::shared_ptr<apart<T, BodyExecutor>> state = std::move(made);
    state->has_signal = slot.is_connected();
    start_apart(state, slot, std::move(operation), [] {});
}

}  // namespace detail

/// Starts `operation` on `executor` with any completion token: what `co_spawn` is for results, which it does not take.
///
/// `executor` is serial: a strand, or of an io_context that one thread runs. `spawn(zone, ...)` sees to that itself.
///
/// Signature: `void(result<T>)`. An exception that leaves the operation becomes `operation_failed` with the exception
/// as cause, one that says that it was cancelled becomes `canceled`. Cancellation of the token cancels the operation:
/// terminal only, as with `co_spawn`, unless the operation resets its cancellation state. Without memory to start it:
/// `out_of_memory`.
template <class BodyExecutor, class T, class Executor, class Token>
    requires detail::spawns<BodyExecutor>
auto spawn(const BodyExecutor& executor, boost::asio::awaitable<result<T>, Executor> operation, Token&& token) {
    return boost::asio::async_initiate<Token, void(result<T>)>(
        [executor](auto handler, boost::asio::awaitable<result<T>, Executor> body) {
            detail::spawn_with(executor, std::move(body), std::move(handler), detail::heed::terminal);
        },
        token, std::move(operation));
}

/// The same for a protected call, such as `breaker.run(op)` and `pool.with(op)`.
template <class BodyExecutor, class Call, class Token>
    requires detail::spawns<BodyExecutor> && requires(Call call) { std::move(call).as_awaitable(); }
auto spawn(const BodyExecutor& executor, Call call, Token&& token) {
    return spawn(executor, std::move(call).as_awaitable(), std::forward<Token>(token));
}

/// The same on the executor of an execution context that one thread runs.
template <class Context, class T, class Executor, class Token>
    requires std::is_convertible_v<Context&, boost::asio::execution_context&>
auto spawn(Context& context, boost::asio::awaitable<result<T>, Executor> operation, Token&& token) {
    return spawn(context.get_executor(), std::move(operation), std::forward<Token>(token));
}

/// Starts a coroutine on a strand of its own over the zone's io_context, so that it runs on one thread at a time
/// however many run the io_context: the safe way to start whatever uses headgate.
///
/// `operation` is an `awaitable<result<T>>`, an `awaitable<T>` or an `awaitable<void>`, on `any_io_executor` or on the
/// strand's own type; or a protected call such as `breaker.run(op)`. Everything else is as above. The token
/// completes on its associated executor, by default on that strand. Thread-safe.
template <class Operation, class Token>
    requires requires(Operation operation) { detail::as_operation(std::move(operation)); }
auto spawn(const zone& owner, Operation operation, Token&& token) {
    return spawn(boost::asio::make_strand(owner.get_executor()), detail::as_operation(std::move(operation)),
                 std::forward<Token>(token));
}

}  // namespace headgate

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
