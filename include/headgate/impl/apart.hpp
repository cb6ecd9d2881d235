// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_APART_HPP
#define HEADGATE_IMPL_APART_HPP

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <headgate/call_context.hpp>
#include <headgate/result.hpp>
#include <headgate/spawn.hpp>

#if defined(__GNUC__) && !defined(__clang__)
// g++ takes the coroutine frames of a caller's closures and local types for types of this header, and warns.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif

namespace headgate::detail {

/// An operation that runs as a coroutine of its own, on its own executor, while its caller waits.
///
/// The coroutine owns it and it owns the caller, so that the operation always goes before what it refers to. Nothing of
/// it touches the caller's cancellation slot after the call: the slot has a weak reference.
template <class T, class Handler>
struct apart {
    explicit apart(Handler&& handler) noexcept : caller(std::move(handler)) {}

    std::optional<Handler> caller;  // until it is called
    std::optional<result<T>> value;
    boost::asio::cancellation_signal signal;
    bool begun = false;
    bool canceled = false;  // before it has begun

    // On the operation's executor.
    void cancel(boost::asio::cancellation_type type) {
        if (begun) {
            signal.emit(type);
        } else {
            canceled = canceled || type != boost::asio::cancellation_type::none;
        }
    }

    static void cancel(void* self, boost::asio::cancellation_type type) { static_cast<apart*>(self)->cancel(type); }

    // On the caller's executor, or inside of its call.
    void complete(std::exception_ptr thrown) {
        if (!value) {
            value.emplace(error_of(std::move(thrown)));
        }
        Handler handler(std::move(*caller));
        caller.reset();
        std::move(handler)(std::move(*value));
    }
};

/// Ends a deadline with the operation, where the operation runs.
class deadline_end {
public:
    explicit deadline_end(call_deadline& deadline) noexcept : deadline_(deadline) {}
    deadline_end(const deadline_end&) = delete;
    deadline_end& operator=(const deadline_end&) = delete;
    ~deadline_end() { deadline_.end(); }

private:
    call_deadline& deadline_;
};

template <class T, class Executor, class State>
boost::asio::awaitable<void, Executor> run_body(std::shared_ptr<State> state, call_deadline& deadline,
                                                boost::asio::awaitable<result<T>, Executor> operation) {
    auto body = std::move(operation);  // goes before `state`, in whatever order a compiler destroys parameters
    const deadline_end end(deadline);
    state->begun = true;
    if (state->canceled) {
        state->value.emplace(error(errc::canceled));
        co_return;
    }
    // The caller has chosen the types that come here.
    co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::enable_total_cancellation());
    state->value.emplace(co_await std::move(body));
}

/// What `co_spawn` calls when the coroutine has ended.
template <class State, class Executor>
struct apart_end {
    using executor_type = Executor;

    apart_end(std::shared_ptr<State> ended, const Executor& home) noexcept : state(std::move(ended)), executor(home) {}

    std::shared_ptr<State> state;
    Executor executor;

    [[nodiscard]] executor_type get_executor() const noexcept { return executor; }
    void operator()(std::exception_ptr thrown) { state->complete(std::move(thrown)); }
};

/// Awaits `operation`, which runs as a coroutine of its own on `executor`, so that the caller's own cancellation
/// reaches it, whatever its type, and the deadline too when `cancel` says so. `start(executor)` starts the deadline.
/// Without memory for it the operation does not run: `out_of_memory`.
template <class T, class Executor, class Start>
boost::asio::awaitable<result<T>, Executor> await_apart(Executor executor, call_deadline& deadline, Start start,
                                                        boost::asio::awaitable<result<T>, Executor> operation,
                                                        bool cancel) {
    boost::asio::use_awaitable_t<Executor> token;
    return boost::asio::async_initiate<boost::asio::use_awaitable_t<Executor>, void(result<T>)>(
        [executor = std::move(executor), &deadline, start, cancel](auto handler,
                                                                   boost::asio::awaitable<result<T>, Executor> body) {
            using state_type = apart<T, decltype(handler)>;
            std::shared_ptr<state_type> state;
            std::exception_ptr failed;
            try {
                state = std::make_shared<state_type>(std::move(handler));
                const auto home = boost::asio::get_associated_executor(*state->caller, executor);
                if (auto slot = boost::asio::get_associated_cancellation_slot(*state->caller); slot.is_connected()) {
                    slot.assign([executor, weak = std::weak_ptr(state)](boost::asio::cancellation_type type) {
                        if (auto shared = weak.lock()) {
                            boost::asio::dispatch(executor, [shared, type] { shared->cancel(type); });
                        }
                    });
                }
                if (cancel) {
                    deadline.cancel_through(&state_type::cancel, state.get());
                }
                auto run = run_body(state, deadline, std::move(body));
                start(executor);
                boost::asio::co_spawn(
                    executor, std::move(run),
                    boost::asio::bind_cancellation_slot(state->signal.slot(), apart_end(state, home)));
                return;
            } catch (...) {
                failed = std::current_exception();
            }
            deadline.end();
            if (!state) {
                std::move(handler)(result<T>(error_of(std::move(failed))));
            } else if (state->caller) {
                state->complete(std::move(failed));
            }
        },
        token, std::move(operation));
}

}  // namespace headgate::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
