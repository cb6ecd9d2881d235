// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_POOL_BACKEND_HPP
#define HEADGATE_IMPL_POOL_BACKEND_HPP

// The members of a pool's backend: which shapes they may have, and how those that are coroutines are run.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>

#include <concepts>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include <headgate/impl/invoke.hpp>
#include <headgate/impl/pool_tasks.hpp>
#include <headgate/impl/zone_core.hpp>
#include <headgate/result.hpp>
#include <headgate/spawn.hpp>
#include <headgate/time.hpp>

#if defined(__GNUC__) && !defined(__clang__)
// g++ takes the coroutine frames of a caller's closures and local types for types of this header, and warns.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif

namespace headgate::detail {

// Shapes --------------------------------------------------------------------------------------------------------------

template <class X>
inline constexpr bool is_awaitable_v = false;
template <class X, class Executor>
inline constexpr bool is_awaitable_v<boost::asio::awaitable<X, Executor>> = true;

/// What says whether a resource is usable, as `Call` returns it: nothing, a bool, or a result.
template <class X>
inline constexpr bool is_verdict_v = std::is_void_v<X> || std::same_as<X, bool> || std::same_as<X, result<void>>;
template <class X>
inline constexpr bool is_awaited_verdict_v = false;
template <class X, class Executor>
inline constexpr bool is_awaited_verdict_v<boost::asio::awaitable<X, Executor>> =
    is_verdict_v<X> || std::same_as<X, result<bool>>;

// Whether a class has a member of that name, whatever its shape: a second one makes the name ambiguous.
#define HEADGATE_HAS_MEMBER(NAME)                                  \
    struct member_##NAME {                                         \
        int NAME;                                                  \
    };                                                             \
    template <class B>                                             \
    struct with_second_##NAME : B, member_##NAME {};               \
    template <class B>                                             \
    constexpr bool names_##NAME() {                                \
        if constexpr (std::is_final_v<B> || !std::is_class_v<B>) { \
            return requires { &B::NAME; };                         \
        } else {                                                   \
            return !requires { &with_second_##NAME<B>::NAME; };    \
        }                                                          \
    }
HEADGATE_HAS_MEMBER(reset)
HEADGATE_HAS_MEMBER(ping)
HEADGATE_HAS_MEMBER(close)
HEADGATE_HAS_MEMBER(is_alive)
#undef HEADGATE_HAS_MEMBER

/// What a backend has, and how.
template <class Backend, class T>
struct backend_shape {
    static constexpr bool connects = requires(Backend& b) { b.connect(); };
    static constexpr bool resets = requires(Backend& b, T& r) { b.reset(r); };
    static constexpr bool pings = requires(Backend& b, T& r) { b.ping(r); };
    static constexpr bool closes = requires(Backend& b, T& r) { b.close(std::move(r)); };
    static constexpr bool asks = requires(Backend& b, T& r) { b.is_alive(r); };

    static constexpr bool resets_on_strand =
        requires(Backend& b, T& r) { requires is_awaitable_v<decltype(b.reset(r))>; };
    static constexpr bool closes_on_strand =
        requires(Backend& b, T& r) { requires is_awaitable_v<decltype(b.close(std::move(r)))>; };

    static constexpr bool connect_is_right = requires(Backend& b) {
        requires is_awaitable_v<decltype(b.connect())>;
        requires std::same_as<typename awaitable_traits<decltype(b.connect())>::result_type, result<T>>;
    };
    static constexpr bool reset_is_right = !names_reset<Backend>() || requires(Backend& b, T& r) {
        requires is_verdict_v<decltype(b.reset(r))> || is_awaited_verdict_v<decltype(b.reset(r))>;
    };
    static constexpr bool ping_is_right =
        !names_ping<Backend>() || requires(Backend& b, T& r) { requires is_awaited_verdict_v<decltype(b.ping(r))>; };
    static constexpr bool close_is_right = !names_close<Backend>() || requires(Backend& b, T& r) {
        requires std::is_void_v<decltype(b.close(std::move(r)))> || is_awaitable_v<decltype(b.close(std::move(r)))>;
    };
    static constexpr bool is_alive_is_right = !names_is_alive<Backend>() || requires(Backend& b, T& r) {
        { b.is_alive(r) } -> std::same_as<bool>;
    };

    static_assert(connects,
                  "headgate: the backend has no connect(); it must return awaitable<T> or awaitable<result<T>>");
    static_assert(!connects || connect_is_right,
                  "headgate: the backend's connect() must return awaitable<T> or awaitable<result<T>>, where T is what "
                  "the pool holds");
    static_assert(reset_is_right,
                  "headgate: the backend's reset must be reset(T&) and return void, bool or result<void>, or an "
                  "awaitable of these");
    static_assert(
        ping_is_right,
        "headgate: the backend's ping must be ping(T&) and return an awaitable of void, bool or result<void>");
    static_assert(close_is_right,
                  "headgate: the backend's close must be close(T), which takes the resource by value, and return void "
                  "or an awaitable");
    static_assert(is_alive_is_right, "headgate: the backend's is_alive must be is_alive(T&) and return bool");
};

// Coroutines ----------------------------------------------------------------------------------------------------------

/// Calls a member of the backend inside a coroutine, so that whatever it throws becomes an error.
template <class Backend, class Call>
auto call_backend(std::shared_ptr<Backend> backend, Call call)
    -> boost::asio::awaitable<typename awaitable_traits<decltype(call(*backend))>::result_type,
                              typename awaitable_traits<decltype(call(*backend))>::executor_type> {
    co_return co_await as_result(call(*backend));
}

/// The same for a close, whose resource it keeps.
template <class Backend, class T>
auto call_close(std::shared_ptr<Backend> backend, T resource)
    -> boost::asio::awaitable<result<void>,
                              typename awaitable_traits<decltype(backend->close(std::move(resource)))>::executor_type> {
    (void)co_await as_result(backend->close(std::move(resource)));
    co_return headgate::success();
}

inline bool usable(const result<void>& r) noexcept {
    return r.has_value();
}
inline bool usable(const result<bool>& r) noexcept {
    return r.has_value() && r.value();
}

/// The exception behind an error, or the error as one.
inline std::exception_ptr cause_of(const error& e) noexcept {
    if (e.cause) {
        return e.cause;
    }
    try {
        throw system_error(e);
    } catch (...) {
        return std::current_exception();
    }
}

/// A task whose coroutine gives a `result<V>`. `Flow` brings
///   `void end(result<V>)`      the bookkeeping ends, with the coroutine;
///   `void give_up()`           it ends, and the coroutine runs on;
///   `void late(result<V>)`     the coroutine has ended after `give_up`;
/// none of which throws.
template <class V, class Flow>
class pool_task_of final : public pool_task_run {
public:
    template <class... Args>
    explicit pool_task_of(const Flow& flow, Args&&... args) : pool_task_run(std::forward<Args>(args)...), flow_(flow) {}

    /// The coroutine has been started.
    void started() noexcept { started_ = true; }
    /// The coroutine has ended, or will never begin.
    void finish(result<V> r) noexcept {
        ended();
        if (settle()) {
            flow_.end(std::move(r));
        } else {
            flow_.late(std::move(r));
        }
    }
    /// The io_context has destroyed the coroutine.
    void vanish() noexcept {
        if (started_) {
            finish(result<V>(errc::canceled));
        }
    }

private:
    void give_up() noexcept override {
        if (settle()) {
            flow_.give_up();
        }
    }

    Flow flow_;
    bool started_ = false;
};

/// The completion handler of a task.
template <class V, class Task>
class pool_task_end {
public:
    explicit pool_task_end(std::shared_ptr<Task> task) noexcept : task_(std::move(task)) {}
    pool_task_end(pool_task_end&&) noexcept = default;
    pool_task_end& operator=(pool_task_end&&) = delete;
    ~pool_task_end() {
        if (task_) {
            task_->vanish();
        }
    }
    void operator()(result<V> r) { std::exchange(task_, nullptr)->finish(std::move(r)); }

private:
    std::shared_ptr<Task> task_;
};

/// Runs the coroutine that `body()` gives on the strand for at most `limit`; `args` are those of `pool_task_run`. What
/// cannot be begun has ended with the exception when this returns.
template <class V, class Body, class Flow, class... Args>
void run_pool_task(zone_core& zone, const Body& body, duration limit, Flow flow, Args&&... args) noexcept {
    using task_type = pool_task_of<V, Flow>;
    std::shared_ptr<task_type> task;
    try {
        task = std::make_shared<task_type>(flow, std::forward<Args>(args)...);
        auto coroutine = body();
        task->begin(limit);
        spawn(*zone.strand(), std::move(coroutine),
              boost::asio::bind_cancellation_slot(task->slot(), pool_task_end<V, task_type>(task)));
        task->started();
    } catch (...) {
        result<V> failed(error(errc::operation_failed, std::current_exception()));
        task ? task->finish(std::move(failed)) : flow.end(std::move(failed));
    }
}

}  // namespace headgate::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
