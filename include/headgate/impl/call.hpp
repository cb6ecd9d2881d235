// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_CALL_HPP
#define HEADGATE_IMPL_CALL_HPP

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include <headgate/call_context.hpp>
#include <headgate/impl/apart.hpp>
#include <headgate/impl/invoke.hpp>
#include <headgate/impl/serial.hpp>
#include <headgate/impl/zone_waiters.hpp>
#include <headgate/result.hpp>
#include <headgate/spawn.hpp>
#include <headgate/take.hpp>
#include <headgate/time.hpp>

#if defined(__GNUC__) && !defined(__clang__)
// g++ takes the coroutine frames of a caller's closures and local types for types of this header, and warns.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif

namespace headgate {

/// Tags our specialisation of `boost::asio::awaitable`; never a value.
template <class Call, class Result>
struct protected_call;

}  // namespace headgate

/// @cond
/// What `co_await` makes of a protected call: it is admitted in `await_ready`, forwards to the operation's own
/// awaitable, and is settled in `await_resume`: no frame stands between the caller's and the operation's.
///
/// It refers to the call, which lives until the end of the co_await expression that names it.
template <class Call, class Result, class Executor>
class boost::asio::awaitable<headgate::protected_call<Call, Result>, Executor> {
public:
    using value_type = Result;
    using executor_type = Executor;

    awaitable() noexcept = default;  // as the empty base of the call
    awaitable(Call&& call) noexcept : call_(&call) {}

    bool await_ready() { return !call_->begin(); }

    template <class Handle>
    bool await_suspend(Handle caller) {
        return call_->suspend(caller);
    }

    value_type await_resume() { return call_->finish(); }

private:
    Call* call_ = nullptr;
};
/// @endcond

namespace headgate::detail {

/// What comes of asking whether a call may run. `attempts`: it is asked at each of them.
enum class admission : std::uint8_t { run, refused, wait, attempts };

/// The executor of the coroutine behind a handle, as `co_await this_coro::executor` in it would give.
template <class Handle>
auto executor_of(Handle caller) {
    return caller.promise().await_transform(boost::asio::this_coro::executor).await_resume();
}

/// Its cancellation state; the slot is not connected when it can not be cancelled at all.
template <class Handle>
boost::asio::cancellation_state cancellation_of(Handle caller) {
    return caller.promise().await_transform(boost::asio::this_coro::cancellation_state).await_resume();
}

/// Whether that coroutine throws at its next wait when it was cancelled.
template <class Handle>
bool throws_if_cancelled(Handle caller) {
    return caller.promise().await_transform(boost::asio::this_coro::throw_if_cancelled()).await_resume();
}

/// A call of an operation that something protects: what admits and settles it, the operation, its arguments, its
/// deadline, and its awaitable.
///
/// `Policy` brings
///   `admission admit(std::optional<error>& refusal)`  in place: may it run;
///   `leading()`                                       a tuple of references that the operation gets first;
///   `time_point until()`                              when it must have ended; after `admit`;
///   `zone_core& zone()`, `call_owner owner()`         for the deadline;
///   `void settle(const result<T>&)`                   how it ended; may throw before it has settled;
///   `void settle(const error&)`, `void drop()`        the same for an exception, and for a call that is given up;
/// and, where `admit` may say `wait`,
///   `awaitable<std::optional<error>, Executor> wait<Executor>()`  waits, and admits; an error is a refusal;
/// and, where a call may have several attempts, each of which is admitted and settled,
///   `course()`                                        the `retry_course`, which may be of no retry.
template <class Policy, class Op, class... Args>
class policy_call;

template <class Policy>
inline constexpr bool may_wait = requires(Policy& p) { p.template wait<boost::asio::any_io_executor>(); };
/// Whether a copy of a `T` compiles. Containers claim so whatever is in them.
template <class T>
inline constexpr bool is_copyable = std::is_copy_constructible_v<T>;
template <class T>
    requires requires { typename T::value_type; } && (!std::is_same_v<typename T::value_type, T>)
inline constexpr bool is_copyable<T> = std::is_copy_constructible_v<T> && is_copyable<typename T::value_type>;

template <class Policy>
inline constexpr bool may_retry = requires(Policy& p) { p.course(); };

/// `zone::sleep_for`, in a coroutine on any executor.
template <class Executor>
boost::asio::awaitable<result<void>, Executor> sleep_in(std::shared_ptr<zone_core> zone, duration span) {
    boost::asio::use_awaitable_t<Executor> token;
    return boost::asio::async_initiate<boost::asio::use_awaitable_t<Executor>, void(result<void>)>(
        [zone = std::move(zone)](auto handler, duration length) { start_sleep(zone, std::move(handler), length); },
        token, span);
}

/// How an operation of a policy is called: the leading arguments, then those given.
template <class Policy, class Op, class... Args>
struct call_shape;
template <class Leading, class Op, class... Args>
struct call_shape_of;
template <class... Leading, class Op, class... Args>
struct call_shape_of<std::tuple<Leading...>, Op, Args...> {
    using result_type = call_result<Op, Leading..., Args...>;
    using executor_type = call_executor<Op, Leading..., Args...>;
    using awaitable_type = decltype(call(std::declval<Op&>(), std::declval<call_context>(), std::declval<Leading>()...,
                                         std::declval<Args>()...));
    static constexpr bool with_context = takes_context<Op, Leading..., Args...>;
};
template <class Policy, class Op, class... Args>
struct call_shape : call_shape_of<decltype(std::declval<Policy&>().leading()), Op, Args...> {};

template <class Policy, class Op, class... Args>
class policy_call
    : public boost::asio::awaitable<
          protected_call<policy_call<Policy, Op, Args...>, typename call_shape<Policy, Op, Args...>::result_type>,
          typename call_shape<Policy, Op, Args...>::executor_type> {
    using shape = call_shape<Policy, Op, Args...>;

public:
    using value_type = typename shape::result_type;
    using executor_type = typename shape::executor_type;

    /// `make_policy` gives the policy, which is made in its place.
    template <class MakePolicy, class O, class... A>
    explicit policy_call(const MakePolicy& make_policy, O&& op, A&&... args)
        : policy_(make_policy()), op_(std::forward<O>(op)), args_(std::forward<A>(args)...) {}

    // Only what has not begun is moved.
    policy_call(policy_call&& other) noexcept(std::is_nothrow_move_constructible_v<Op>)
        : policy_call::awaitable(),
          policy_(std::move(other.policy_)),
          op_(std::move(other.op_)),
          args_(std::move(other.args_)) {}
    policy_call& operator=(policy_call&&) = delete;

    ~policy_call() {
        // The operation first: what it holds may end by using what protects it. Moved out, because the assignment of
        // an awaitable may forget what it held (Boost 1.81).
        {
            const auto plain = std::move(plain_);
        }
        {
            const auto slow = std::move(slow_);
        }
        deadline_.end();
        policy_.drop();
    }

    /// The same call as an ordinary awaitable: for `&&`, `||`, storing, `co_spawn`.
    [[nodiscard]] boost::asio::awaitable<value_type, executor_type> as_awaitable() && {
        return later(std::move(*this));
    }

    [[nodiscard]] Policy& policy() noexcept { return policy_; }

    // For the awaitable: ------------------------------------------------------------------------------------------

    /// False when the result is there without suspending: refused, or the operation threw before it was a coroutine.
    bool begin() {
        try {
            if constexpr (may_retry<Policy>) {
                if (policy_.course().active()) {
                    return begin_attempts();
                }
            }
            admission_ = policy_.admit(early_);
            if (admission_ == admission::run) [[likely]] {
                make();
            }
        } catch (...) {
            early_.emplace(error_of(std::current_exception()));
            return false;
        }
        return admission_ != admission::refused;
    }

    /// False when the result is there all the same: there was no memory for the way on.
    template <class Handle>
    bool suspend(Handle caller) {
        try {
            if (admission_ == admission::run && in_place(caller)) [[likely]] {
                plain_.await_suspend(caller);
                return true;
            }
            return suspend_slowly(caller);
        } catch (...) {
            early_.emplace(error_of(std::current_exception()));
            return false;
        }
    }

    value_type finish() {
        if (admission_ == admission::attempts && !early_) {
            try {
                return slow_.await_resume();  // each attempt was settled
            } catch (...) {
                return value_type(error_of(std::current_exception()));  // there was no memory for a pause
            }
        }
        if (!early_) {
            try {
                value_type result = take();
                end_with(result);
                return result;
            } catch (...) {
                early_.emplace(error_of(std::current_exception()));
            }
        }
        end_early();
        return std::move(*early_);
    }

private:
    // The operation has ended with `result`, which is `timed_out` when it is late. May throw what a judge throws.
    void end_with(value_type& result) {
        deadline_.end();
        if (!result && overdue()) [[unlikely]] {
            result = value_type(error(errc::timed_out, result.error().cause, result.error().retry_after));
        }
        policy_.settle(std::as_const(result));
    }

    // The same with an exception or a refusal.
    void end_early() {
        deadline_.end();
        if (overdue()) {
            early_.emplace(errc::timed_out, early_->cause, early_->retry_after);
        }
        policy_.settle(std::as_const(*early_));
    }

    bool begin_attempts() {
        if constexpr ((is_copyable<Args> && ...)) {
            admission_ = admission::attempts;
            return true;
        } else {
            early_.emplace(errc::invalid_argument,
                           "an argument cannot be copied; with a retry it must be, for further attempts");
            return false;
        }
    }

    static boost::asio::awaitable<value_type, executor_type> later(policy_call self) {
        co_return co_await std::move(self);
    }

    // What `suspend` does when there is room at once, after a wait.
    static boost::asio::awaitable<value_type, executor_type> wait_and_run(policy_call& self) {
        std::optional<error> refusal = co_await self.policy_.template wait<executor_type>();
        if (refusal) {
            co_return value_type(std::move(*refusal));
        }
        self.make();
        executor_type executor = co_await boost::asio::this_coro::executor;
        const boost::asio::cancellation_state state = co_await boost::asio::this_coro::cancellation_state;
        const bool throws = co_await boost::asio::this_coro::throw_if_cancelled();
        co_return co_await self.run_made(executor, state.slot().is_connected(), throws);
    }

    // The operation, which has been made, for a coroutine on `executor` that awaits it.
    boost::asio::awaitable<value_type, executor_type> run_made(const executor_type& executor, bool cancellable,
                                                               bool throws) {
        if (begin_in_place(cancellable, [&executor] { return executor; })) {
            return as_result(std::move(plain_));
        }
        return run_apart(executor, throws);
    }

    // A call with several attempts. Each is admitted, run and settled as a call with one is. The state of cancellation
    // is looked up anew each time: an operation that runs in place may have put another one in its place.
    static boost::asio::awaitable<value_type, executor_type> run_attempts(policy_call& self) {
        executor_type executor = co_await boost::asio::this_coro::executor;
        boost::asio::cancellation_state state = co_await boost::asio::this_coro::cancellation_state;
        const boost::asio::cancellation_type before = state.cancelled();
        const bool cancellable = state.slot().is_connected();
        const bool throws = co_await boost::asio::this_coro::throw_if_cancelled();
        while (true) {
            std::optional<value_type> ended;
            try {
                const admission admitted = self.policy_.admit(self.early_);
                if (admitted == admission::run) [[likely]] {
                    self.make();
                    ended.emplace(co_await self.run_made(executor, cancellable, throws));
                }
                if constexpr (may_wait<Policy>) {
                    if (admitted == admission::wait) {
                        ended.emplace(co_await wait_and_run(self));
                    }
                }
                if (ended) {
                    self.end_with(*ended);
                }
            } catch (...) {
                self.early_.emplace(error_of(std::current_exception()));
            }
            self.end_attempt(ended);
            state = co_await boost::asio::this_coro::cancellation_state;
            const std::optional<duration> pause = self.pause_after(ended, was_cancelled(state, before));
            if (!pause) [[likely]] {
                co_return std::move(*ended);
            }
            result<void> slept = co_await sleep_in<executor_type>(self.policy_.course().zone(), *pause);
            if (!slept) {
                co_return std::move(slept).error();
            }
            state = co_await boost::asio::this_coro::cancellation_state;
            if (was_cancelled(state, before)) {
                co_return error(errc::canceled);  // when the pause was over, and this had not gone on yet
            }
            if (!self.policy_.course().resume()) {
                co_return std::move(*ended);
            }
            self.deadline_.renew();
        }
    }

    static bool was_cancelled(const boost::asio::cancellation_state& state,
                              boost::asio::cancellation_type before) noexcept {
        return (state.cancelled() & ~before) != boost::asio::cancellation_type::none;
    }

    // The result of an attempt that was refused, or threw, comes into `ended` too.
    void end_attempt(std::optional<value_type>& ended) {
        {
            const auto never_started = std::move(plain_);
        }
        if (early_) {
            end_early();
            ended.emplace(std::move(*early_));
            early_.reset();
        }
    }

    // Before another attempt; nothing when there is none. An exception of a judge is one of the operation.
    std::optional<duration> pause_after(std::optional<value_type>& ended, bool cancelled) {
        if (cancelled) {
            policy_.course().end(ended->has_value());
            return {};
        }
        try {
            return policy_.course().next(*ended);
        } catch (...) {
            ended.emplace(error_of(std::current_exception()));
            return {};
        }
    }

    template <class Handle>
    bool suspend_slowly(Handle caller) {
        if constexpr (may_retry<Policy>) {
            if (admission_ == admission::attempts) {
                slow_ = run_attempts(*this);
                slow_.await_suspend(caller);
                return true;
            }
        }
        if constexpr (may_wait<Policy>) {
            if (admission_ == admission::wait) {
                slow_ = wait_and_run(*this);
                slow_.await_suspend(caller);
                return true;
            }
        }
        const bool throws = throws_if_cancelled(caller);
        if (throws && cancellation_of(caller).cancelled() != boost::asio::cancellation_type::none) {
            early_.emplace(errc::canceled);  // while the operation was made: Asio has looked just before
            return false;
        }
        slow_ = run_apart(executor_of(caller), throws);
        slow_.await_suspend(caller);
        return true;
    }

    // Starts the deadline of an operation that runs inside of the awaiting coroutine. False when it must not: it has a
    // deadline and takes no context, or it takes one, and either the caller's cancellation has to reach its slot too or
    // nothing keeps the deadline off it while it runs.
    template <class GetExecutor>
    bool begin_in_place(bool cancellable, const GetExecutor& get_executor) {
        if constexpr (!shape::with_context) {
            return !limited();
        } else {
            if (cancellable) [[unlikely]] {
                return false;
            }
            if (!limited()) {
                deadline_.disconnect();
                return true;
            }
            const executor_type executor = get_executor();
            if constexpr (!chosen_serial<executor_type>) {
                if (!is_serial(executor)) [[unlikely]] {
                    return false;
                }
            }
            deadline_.begin(policy_.zone(), executor, owner());
            return true;
        }
    }

    template <class Handle>
    bool in_place(Handle caller) {
        if constexpr (shape::with_context) {
            return begin_in_place(cancellation_of(caller).slot().is_connected(),
                                  [caller] { return executor_of(caller); });
        } else {
            return !limited();
        }
    }

    // The operation as a coroutine of its own, on a serial executor. Without a context it throws at the first wait
    // after its cancellation; with one it does as its caller, so that its place makes no difference.
    boost::asio::awaitable<value_type, executor_type> run_apart(executor_type executor, bool throws) {
        if constexpr (!chosen_serial<executor_type>) {
            executor = make_serial(executor);
        }
        return await_apart(executor, deadline_, policy_.zone(), owner(), as_result(std::move(plain_)),
                           apart_form{.with_context = shape::with_context, .throws = throws || !shape::with_context});
    }

    void make() {
        deadline_.set_until(policy_.until());
        if constexpr (may_retry<Policy> && (is_copyable<Args> && ...)) {
            if (admission_ == admission::attempts) {
                plain_ = made_of([](Args& arg) { return Args(arg); }...);
                return;
            }
        }
        plain_ = made_of([](Args& arg) -> Args&& { return std::move(arg); }...);
    }

    // `pass` gives what the operation gets of each argument.
    template <class... Pass>
    auto made_of(const Pass&... pass) {
        const call_context context(deadline_, policy_.zone());
        return std::apply(
            [&](auto&&... leading) {
                return std::apply(
                    [&](Args&... args) {
                        return call(op_, context, std::forward<decltype(leading)>(leading)..., pass(args)...);
                    },
                    args_);
            },
            policy_.leading());
    }

    value_type take() {
        if (slow_.valid()) {
            return slow_.await_resume();
        }
        return resume_as_result(plain_);
    }

    [[nodiscard]] call_owner owner() const noexcept {
        call_owner out = policy_.owner();
        out.operation = &typeid(Op);
        return out;
    }

    [[nodiscard]] bool limited() const noexcept { return deadline_.until() != time_point::max(); }

    // Whether the deadline of an operation that has begun has passed, noticed or not.
    [[nodiscard]] bool overdue() const noexcept {
        return deadline_.fired() || (limited() && policy_.zone().now() >= deadline_.until());
    }

    Policy policy_;
    Op op_;
    [[no_unique_address]] std::tuple<Args...> args_;
    admission admission_ = admission::refused;
    std::optional<error> early_;
    call_deadline deadline_;
    typename shape::awaitable_type plain_;
    boost::asio::awaitable<value_type, executor_type> slow_;
};

template <class Call>
boost::asio::awaitable<typename Call::value_type, typename Call::executor_type> counted_call(counted_operation,
                                                                                             Call call) {
    // What the token's slot gets is the caller's cancellation, whatever its type.
    co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::enable_total_cancellation());
    co_return co_await std::move(call);
}

/// Runs a protected call as a coroutine of its own, for any completion token: on the handler's associated executor, or
/// a strand over it where that is not serial.
template <class Token, class Call>
auto start_call(const std::shared_ptr<zone_core>& zone, Token&& token, Call call) {
    using value_type = typename Call::value_type;
    return boost::asio::async_initiate<Token, void(value_type)>(
        [zone](auto handler, Call protected_one) {
            const auto executor = boost::asio::get_associated_executor(handler, zone->executor());
            initiate<value_type>(executor, std::move(handler), [&](decltype(handler)&& then) {
                auto body = counted_call(counted_operation(zone), std::move(protected_one));
                if constexpr (chosen_serial<typename Call::executor_type>) {
                    spawn_with(executor, std::move(body), std::move(then), heed::all);
                } else {
                    spawn_with(make_serial(executor), std::move(body), std::move(then), heed::all);
                }
            });
        },
        token, std::move(call));
}

}  // namespace headgate::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
