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

/// Calls `f` until it does not want for memory.
template <class F>
void wait_for_memory(const F& f) {
    while (true) {
        try {
            return f();
        } catch (const std::bad_alloc&) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }
}

/// An operation that runs as a coroutine of its own, on its own executor, while its caller waits; all but `finish` is
/// for that executor. It does not know the caller's type, so that all callers share one `co_spawn`.
///
/// The coroutine owns it and it owns the caller, so that the operation always goes before what it refers to. Nothing of
/// it touches the caller's cancellation slot after the call. The slot, which may live longer than the io_context, has a
/// weak reference and nothing else.
template <class T, class Executor>
struct apart {
    apart(heed what, const Executor& executor) noexcept : own(executor), heeds(what) {}
    apart(const apart&) = delete;
    apart& operator=(const apart&) = delete;

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

    /// Completes the call, on the caller's executor, and not inside of its initiating function; `self` is this.
    virtual void finish(std::shared_ptr<apart> self, std::exception_ptr thrown) = 0;

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

protected:
    ~apart() = default;
};

/// The same with its caller.
template <class T, class Handler, class Executor>
class apart_for final : public apart<T, Executor> {
public:
    apart_for(Handler&& handler, heed what, const Executor& executor) noexcept
        : apart<T, Executor>(what, executor),
          caller_(std::move(handler)),
          work_(boost::asio::get_associated_executor(*caller_, executor)) {}

    [[nodiscard]] auto slot() const noexcept { return boost::asio::get_associated_cancellation_slot(*caller_); }

    void finish(std::shared_ptr<apart<T, Executor>> self, std::exception_ptr thrown) override {
        if (!this->value) {
            this->value.emplace(error_of(std::move(thrown)));
        }
        const auto work = std::move(*work_);
        work_.reset();
        std::exception_ptr of_handler;
        wait_for_memory([&] {
            try {
                if (this->starting.load(std::memory_order_acquire)) {
                    boost::asio::post(work.get_executor(), [this, self] { complete(); });
                } else {
                    boost::asio::dispatch(work.get_executor(), [this, self] { complete(); });
                }
            } catch (...) {
                if (caller_) {
                    throw;
                }
                of_handler = std::current_exception();
            }
        });
        if (of_handler) {
            std::rethrow_exception(of_handler);
        }
    }

private:
    using home_type = boost::asio::associated_executor_t<Handler, Executor>;

    // On the caller's executor.
    void complete() {
        Handler handler(std::move(*caller_));
        caller_.reset();
        std::move(handler)(std::move(*this->value));
    }

    std::optional<Handler> caller_;  // until it is called
    std::optional<typename outstanding_work<home_type>::type> work_;
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
template <class T, class Executor>
class apart_end {
public:
    using executor_type = in_place_executor;

    explicit apart_end(std::shared_ptr<apart<T, Executor>> ended) noexcept : state_(std::move(ended)) {}
    apart_end(apart_end&&) noexcept = default;
    apart_end& operator=(apart_end&&) = delete;
    // Destroyed without a call: with its executor, or because it could not be started. Then the second to know ends it.
    ~apart_end() {
        if (state_ && state_->half_lost.exchange(true)) {
            state_->finish(state_, state_->failure);
        }
    }

    [[nodiscard]] executor_type get_executor() const noexcept { return {}; }

    void operator()(std::exception_ptr thrown) {
        const auto state = std::move(state_);
        state->finish(state, std::move(thrown));
    }

private:
    std::shared_ptr<apart<T, Executor>> state_;
};

/// Between the begin and the end of an operation.
template <class T, class Executor>
class apart_run {
public:
    explicit apart_run(apart<T, Executor>& state) noexcept : state_(state) {}
    apart_run(const apart_run&) = delete;
    apart_run& operator=(const apart_run&) = delete;
    ~apart_run() {
        state_.ended = true;
        if (state_.deadline != nullptr) {
            state_.deadline->end();
        }
    }

private:
    apart<T, Executor>& state_;
};

template <class T, class StateExecutor, class Executor>
boost::asio::awaitable<void, Executor> run_body(std::shared_ptr<apart<T, StateExecutor>> state,
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

/// Starts `operation` on the state's executor; what `slot`, the caller's, gets reaches it through the state.
/// `prepare()` comes before all that. What fails before it has begun is its result.
template <class T, class StateExecutor, class Slot, class Executor, class Prepare>
void start_apart(const std::shared_ptr<apart<T, StateExecutor>>& state, Slot slot,
                 boost::asio::awaitable<result<T>, Executor> operation, const Prepare& prepare) {
    bool failed = false;
    try {
        apart_end end(state);
        if (slot.is_connected()) {
            // A slot fires on the thread of whoever emits, and may do so when all is over; what is shared belongs to
            // the executor.
            slot.assign([weak = std::weak_ptr(state)](boost::asio::cancellation_type type) {
                if (auto shared = weak.lock()) {
                    shared->asked.fetch_or(static_cast<unsigned>(type), std::memory_order_release);
                    // Whoever emits may be Asio itself, and could tell nobody.
                    wait_for_memory(
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
        state->finish(state, state->failure);
    }
}

/// How an operation that runs apart takes its cancellation.
struct apart_form {
    bool with_context;  ///< Through the slot of its context; else through whatever it waits for.
    bool throws;        ///< At its next wait.
};

/// Starts `operation` as a coroutine of its own on the state's executor. The cancellation that `slot` gets reaches it,
/// whatever its type, and `deadline` too, which begins with it: through the slot of its context when it has one, else
/// whatever it waits for.
template <class T, class Executor, class Slot>
void start_with_deadline(const std::shared_ptr<apart<T, Executor>>& state, const Slot& slot, call_deadline& deadline,
                         zone_core& owner, const call_owner& of, boost::asio::awaitable<result<T>, Executor> operation,
                         const apart_form& form) {
    const bool cancellable = slot.is_connected();
    state->deadline = &deadline;
    state->every_type = true;
    state->throws = form.throws;
    state->has_signal = cancellable || !form.with_context;
    start_apart(state, slot, std::move(operation), [&] {
        if (!form.with_context) {
            deadline.cancel_through(&apart<T, Executor>::cut, state.get());
        } else if (cancellable) {
            deadline.listen();
            state->passes_on = true;
        }
        deadline.begin(owner, state->own, of);
    });
}

/// Awaits `operation`, which is started so. Without memory for it the operation does not run: `out_of_memory`.
template <class T, class Executor>
boost::asio::awaitable<result<T>, Executor> await_apart(Executor executor, call_deadline& deadline, zone_core& owner,
                                                        const call_owner& of,
                                                        boost::asio::awaitable<result<T>, Executor> operation,
                                                        const apart_form& form) {
    boost::asio::use_awaitable_t<Executor> token;
    return boost::asio::async_initiate<boost::asio::use_awaitable_t<Executor>, void(result<T>)>(
        [executor = std::move(executor), &deadline, &owner, of, form](
            auto handler, boost::asio::awaitable<result<T>, Executor> body) {
            using state_type = apart_for<T, decltype(handler), Executor>;
            std::shared_ptr<state_type> made;
            try {
                made = std::make_shared<state_type>(std::move(handler), heed::all, executor);
            } catch (const std::bad_alloc&) {
                return complete_without_memory<result<T>>(executor, std::move(handler));
            }
            const auto slot = made->slot();
            const std::shared_ptr<apart<T, Executor>> state = std::move(made);
            start_with_deadline(state, slot, deadline, owner, of, std::move(body), form);
        },
        token, std::move(operation));
}

}  // namespace headgate::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
