// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_SPAWN_HPP
#define HEADGATE_SPAWN_HPP

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associator.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/execution/executor.hpp>
#include <boost/asio/is_executor.hpp>
#include <boost/asio/strand.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <headgate/export.hpp>
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

/// The error that an exception of an operation becomes: `canceled` when it says so by whatever name (`is_canceled`),
/// `out_of_memory` for `std::bad_alloc`, else `operation_failed`; with the exception as cause.
[[nodiscard]] HEADGATE_DECL error error_of(std::exception_ptr cause) noexcept;

/// What a spawned coroutine and its handler share. Cancellation goes through it: from Boost 1.83 on, one that comes
/// before the coroutine has begun would be thrown out of `io_context::run`.
template <class T>
struct spawned {
    std::optional<result<T>> value;
    boost::asio::cancellation_signal signal;
    bool begun = false;
    bool canceled = false;  // before it has begun

    void cancel(boost::asio::cancellation_type type) {
        if (begun) {
            signal.emit(type);
        } else {
            canceled =
                canceled || (type & boost::asio::cancellation_type::terminal) != boost::asio::cancellation_type::none;
        }
    }
};

template <class T, class Executor>
boost::asio::awaitable<void, Executor> fill(boost::asio::awaitable<result<T>, Executor> operation,
                                            std::shared_ptr<spawned<T>> out) {
    out->begun = true;
    if (out->canceled) {
        out->value.emplace(error(errc::canceled));
        co_return;
    }
    out->value.emplace(co_await std::move(operation));
}

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

/// Completes `Handler` with a result when a spawned coroutine has ended; has the handler's associated properties.
template <class T, class Handler>
struct spawn_handler {
    std::shared_ptr<spawned<T>> out;
    Handler handler;

    void operator()(std::exception_ptr thrown) {
        if (thrown) {
            // Through `out`, where g++ cannot see that there is no value, and warn that it is read uninitialised.
            out->value.emplace(error_of(std::move(thrown)));
        }
        std::move(handler)(std::move(*out->value));
    }
};

}  // namespace detail

/// Starts `operation` on `executor` with any completion token: what `co_spawn` is for results, which it does not take.
///
/// `executor` is serial: a strand, or of an io_context that one thread runs. `spawn(zone, ...)` sees to that itself.
///
/// Signature: `void(result<T>)`. An exception that leaves the operation becomes `operation_failed` with the exception
/// as cause, one that says that it was cancelled becomes `canceled`. Cancellation of the token cancels the operation:
/// terminal only, as with `co_spawn`, unless the operation resets its cancellation state.
template <class BodyExecutor, class T, class Executor, class Token>
    requires detail::spawns<BodyExecutor>
auto spawn(const BodyExecutor& executor, boost::asio::awaitable<result<T>, Executor> operation, Token&& token) {
    return boost::asio::async_initiate<Token, void(result<T>)>(
        [executor](auto handler, boost::asio::awaitable<result<T>, Executor> body) {
            auto out = std::make_shared<detail::spawned<T>>();
            if (auto slot = boost::asio::get_associated_cancellation_slot(handler); slot.is_connected()) {
                // A slot fires on the thread of whoever emits, and may do so when all is over; what is shared belongs
                // to the executor.
                slot.assign([executor, weak = std::weak_ptr(out)](boost::asio::cancellation_type type) {
                    if (auto shared = weak.lock()) {
                        boost::asio::dispatch(executor, [shared, type] { shared->cancel(type); });
                    }
                });
            }
            using handler_type = detail::spawn_handler<T, decltype(handler)>;
            boost::asio::co_spawn(
                executor, detail::fill(std::move(body), out),
                boost::asio::bind_cancellation_slot(out->signal.slot(), handler_type{out, std::move(handler)}));
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
/// strand's own type; or a protected call such as `breaker.run(op)`. Everything else is as above. The token completes
/// on its associated executor, by default on that strand. Thread-safe.
template <class Operation, class Token>
    requires requires(Operation operation) { detail::as_operation(std::move(operation)); }
auto spawn(const zone& owner, Operation operation, Token&& token) {
    return spawn(boost::asio::make_strand(owner.get_executor()), detail::as_operation(std::move(operation)),
                 std::forward<Token>(token));
}

}  // namespace headgate

/// @cond
template <template <class, class> class Associator, class T, class Handler, class Default>
struct boost::asio::associator<Associator, headgate::detail::spawn_handler<T, Handler>, Default>
    : Associator<Handler, Default> {
    static auto get(const headgate::detail::spawn_handler<T, Handler>& h, const Default& d = Default()) noexcept {
        return Associator<Handler, Default>::get(h.handler, d);
    }
};
/// @endcond

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
