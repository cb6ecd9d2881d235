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
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <utility>

#include <headgate/call_context.hpp>
#include <headgate/export.hpp>
#include <headgate/impl/initiation.hpp>
#include <headgate/impl/sync.hpp>
#include <headgate/impl/waiter.hpp>
#include <headgate/result.hpp>

#if defined(__GNUC__) && !defined(__clang__)
// g++ takes the coroutine frames of a caller's closures and local types for types of this header, and warns.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif

namespace headgate::detail {

/// The error that an exception of an operation becomes: `canceled` when it says so by whatever name (`is_canceled`),
/// `out_of_memory` for `std::bad_alloc`, else `operation_failed`; with the exception as cause.
[[nodiscard]] HEADGATE_DECL error error_of(std::exception_ptr cause) noexcept;

/// Which cancellations end an operation that has not begun yet.
enum class heed : std::uint8_t { terminal, all };

/// An operation that runs as a coroutine of its own, on its own executor, while its caller waits; all but `finish` is
/// for that executor.
///
/// The coroutine owns it and it owns the caller, so that the operation always goes before what it refers to. Nothing of
/// it touches the caller's cancellation slot after the call. The slot, which may live longer than the io_context, has a
/// weak reference and nothing else.
template <class T, class Handler, class Executor>
struct apart {
    using value_type = T;
    using handler_type = Handler;

    apart(Handler&& handler, heed what, const Executor& executor) noexcept
        : caller(std::move(handler)), own(executor), heeds(what) {}

    std::optional<Handler> caller;  // until it is called
    Executor own;
    std::optional<result<T>> value;
    boost::asio::cancellation_signal signal;
    call_deadline* deadline = nullptr;  // ends with the operation
    heed heeds;
    bool has_signal = true;   // for the coroutine
    bool passes_on = false;   // the caller's cancellations to the deadline's slot
    bool every_type = false;  // the coroutine lets each type in; else what `co_spawn` does
    bool throws = true;       // when it was cancelled, at its next wait
    bool begun = false;
    bool ended = false;
    std::exception_ptr failure;     // of what should have started it
    atomic<unsigned> asked{0};      // the types of cancellation that the caller has asked for
    atomic<bool> starting{true};    // its initiating function runs, or has failed
    atomic<bool> half_lost{false};  // it could not be started, or was given up without an end

    // The caller's cancellation.
    void cancel(boost::asio::cancellation_type type) {
        if (begun && !ended) {
            emit(type);  // for what is bound to no slot of a context
            if (passes_on && !ended) {
                deadline->pass_on(type);
            }
        }
    }

    // What `co_spawn` hangs into the signal needs memory, and there is nobody to tell.
    void emit(boost::asio::cancellation_type type) {
        wait_for_memory([&] { signal.emit(type); });
    }

    // The deadline's, of an operation that has no context.
    static void cut(void* self, boost::asio::cancellation_type type) {
        auto& state = *static_cast<apart*>(self);
        if (!state.begun) {
            state.asked.fetch_or(static_cast<unsigned>(type), std::memory_order_release);
        } else if (!state.ended) {
            state.emit(type);
        }
    }

    [[nodiscard]] bool canceled_early() const noexcept {
        const unsigned heeded =
            heeds == heed::all ? ~0U : static_cast<unsigned>(boost::asio::cancellation_type::terminal);
        return (asked.load(std::memory_order_acquire) & heeded) != 0;
    }

    /// Calls `f` until it does not want for memory.
    template <class F>
    static void wait_for_memory(const F& f) {
        while (true) {
            try {
                return f();
            } catch (const std::bad_alloc&) {
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            }
        }
    }

    // On the caller's executor.
    void complete() {
        Handler handler(std::move(*caller));
        caller.reset();
        std::move(handler)(std::move(*value));
    }

    /// Completes the call, on the caller's executor, and not inside of its initiating function.
    template <class Home>
    static void finish(std::shared_ptr<apart> self, const Home& home, std::exception_ptr thrown) {
        if (!self->value) {
            self->value.emplace(error_of(std::move(thrown)));
        }
        std::exception_ptr of_handler;
        wait_for_memory([&] {
            try {
                if (self->starting.load(std::memory_order_acquire)) {
                    boost::asio::post(home, [self] { self->complete(); });
                } else {
                    boost::asio::dispatch(home, [self] { self->complete(); });
                }
            } catch (...) {
                if (self->caller) {
                    throw;
                }
                of_handler = std::current_exception();
            }
        });
        if (of_handler) {
            std::rethrow_exception(of_handler);
        }
    }
};

/// Runs what it is given at once, where it is given.
struct in_place_executor {
    template <class F>
    void execute(F f) const {
        std::move(f)();
    }
    friend bool operator==(const in_place_executor&, const in_place_executor&) noexcept = default;
};

/// What `co_spawn` calls when the coroutine has ended. Asio calls it where the coroutine is, without memory; the way
/// from there to the caller is `finish`.
template <class State, class Home>
class apart_end {
public:
    using executor_type = in_place_executor;

    apart_end(std::shared_ptr<State> ended, const Home& home) noexcept : state_(std::move(ended)), work_(home) {}
    apart_end(apart_end&&) noexcept = default;
    apart_end& operator=(apart_end&&) = delete;
    // Destroyed without a call: with its executor, or because it could not be started. Then the second to know ends it.
    ~apart_end() {
        if (state_ && state_->half_lost.exchange(true)) {
            State::finish(state_, work_.get_executor(), state_->failure);
        }
    }

    [[nodiscard]] executor_type get_executor() const noexcept { return {}; }

    void operator()(std::exception_ptr thrown) {
        const auto state = std::move(state_);
        State::finish(state, work_.get_executor(), std::move(thrown));
    }

private:
    std::shared_ptr<State> state_;
    typename outstanding_work<Home>::type work_;
};

/// Between the begin and the end of an operation.
template <class State>
class apart_run {
public:
    explicit apart_run(State& state) noexcept : state_(state) {}
    apart_run(const apart_run&) = delete;
    apart_run& operator=(const apart_run&) = delete;
    ~apart_run() {
        state_.ended = true;
        if (state_.deadline != nullptr) {
            state_.deadline->end();
        }
    }

private:
    State& state_;
};

template <class State, class T, class Executor>
boost::asio::awaitable<void, Executor> run_body(std::shared_ptr<State> state,
                                                boost::asio::awaitable<result<T>, Executor> operation) {
    auto body = std::move(operation);  // goes before `state`, in whatever order a compiler destroys parameters
    const apart_run run(*state);
    // Suspended once: else `co_spawn` posts the end, and that may find no memory when there is nobody to tell.
    boost::asio::use_awaitable_t<Executor> token;
    co_await boost::asio::async_initiate<boost::asio::use_awaitable_t<Executor>, void()>(
        [](auto handler) { std::move(handler)(); }, token);
    if (state->canceled_early()) {
        state->value.emplace(error(errc::canceled));
        co_return;
    }
    if (state->every_type && state->has_signal) {
        co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::enable_total_cancellation());
    }
    if (!state->throws) {
        co_await boost::asio::this_coro::throw_if_cancelled(false);
    }
    state->begun = true;
    state->value.emplace(co_await std::move(body));
}

/// Starts `operation` on the state's executor; the caller's cancellation reaches it through the state. `prepare()`
/// comes before all that. What fails before it has begun is its result.
template <class State, class T, class Executor, class Prepare>
void start_apart(const std::shared_ptr<State>& state, boost::asio::awaitable<result<T>, Executor> operation,
                 const Prepare& prepare) {
    const auto home = boost::asio::get_associated_executor(*state->caller, state->own);
    bool failed = false;
    try {
        apart_end end(state, home);
        if (auto slot = boost::asio::get_associated_cancellation_slot(*state->caller); slot.is_connected()) {
            // A slot fires on the thread of whoever emits, and may do so when all is over; what is shared belongs to
            // the executor.
            slot.assign([weak = std::weak_ptr(state)](boost::asio::cancellation_type type) {
                if (auto shared = weak.lock()) {
                    shared->asked.fetch_or(static_cast<unsigned>(type), std::memory_order_release);
                    // Whoever emits may be Asio itself, and could tell nobody.
                    State::wait_for_memory(
                        [&] { boost::asio::dispatch(shared->own, [shared, type] { shared->cancel(type); }); });
                }
            });
        }
        auto run = run_body(state, std::move(operation));
        prepare();
        boost::asio::co_spawn(
            state->own, std::move(run),
            boost::asio::bind_cancellation_slot(
                state->has_signal ? state->signal.slot() : boost::asio::cancellation_slot(), std::move(end)));
    } catch (...) {
        failed = true;
        state->failure = std::current_exception();
    }
    if (!failed) {
        state->starting.store(false, std::memory_order_release);
    } else if (state->half_lost.exchange(true)) {
        State::finish(state, home, state->failure);
    }
}

/// Awaits `operation`, which runs as a coroutine of its own on `executor`, so that the caller's own cancellation
/// reaches it, whatever its type, and the deadline too: through the slot of its context when it has one, else whatever
/// it waits for. `start(executor)` starts the deadline. Without memory for it the operation does not run:
/// `out_of_memory`.
template <class T, class Executor, class Start>
boost::asio::awaitable<result<T>, Executor> await_apart(Executor executor, call_deadline& deadline, Start start,
                                                        boost::asio::awaitable<result<T>, Executor> operation,
                                                        bool with_context, bool throws) {
    boost::asio::use_awaitable_t<Executor> token;
    return boost::asio::async_initiate<boost::asio::use_awaitable_t<Executor>, void(result<T>)>(
        [executor = std::move(executor), &deadline, start, with_context, throws](
            auto handler, boost::asio::awaitable<result<T>, Executor> body) {
            using state_type = apart<T, decltype(handler), Executor>;
            std::shared_ptr<state_type> state;
            try {
                state = std::make_shared<state_type>(std::move(handler), heed::all, executor);
            } catch (const std::bad_alloc&) {
                return complete_without_memory<result<T>>(executor, std::move(handler));
            }
            const bool cancellable = boost::asio::get_associated_cancellation_slot(*state->caller).is_connected();
            state->deadline = &deadline;
            state->every_type = true;
            state->throws = throws;
            state->has_signal = cancellable || !with_context;
            start_apart(state, std::move(body), [&] {
                if (!with_context) {
                    deadline.cancel_through(&state_type::cut, state.get());
                } else if (cancellable) {
                    deadline.listen();
                    state->passes_on = true;
                }
                start(executor);
            });
        },
        token, std::move(operation));
}

}  // namespace headgate::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
