// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_GUARD_HPP
#define HEADGATE_GUARD_HPP

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <headgate/bulkhead.hpp>
#include <headgate/call_outcome.hpp>
#include <headgate/circuit_breaker.hpp>
#include <headgate/export.hpp>
#include <headgate/guard_options.hpp>
#include <headgate/impl/guard.hpp>
#include <headgate/key.hpp>
#include <headgate/rate_limiter.hpp>
#include <headgate/resource_pool.hpp>
#include <headgate/result.hpp>
#include <headgate/retry.hpp>
#include <headgate/take.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// Joins a retry, a rate limiter, a circuit breaker, a resource pool or a bulkhead, and a deadline into one protected
/// operation:
///
///     headgate::guard guard(limiter, breaker, pool, headgate::guard_options{.timeout = 2s});
///     result<int> r = co_await guard.run(user, op, args...);
///
/// Any of the parts, in any order, each at most once; `Resource` is deduced: the type of the pool's resources, `void`
/// without a pool.
///
/// What can be given back is taken first, what is spent is spent last: the breaker's permit, then a resource or a
/// place, then the quotas. Whichever refuses, what was taken before is given back, and nothing of anybody was spent;
/// the error and its `retry_after` are those of the part that refused. Only the pool or bulkhead may wait, and a call
/// that waits holds nothing: breaker and quotas are looked at before it queues, and asked when it has its resource.
///
/// A retry goes around all that, inside of the deadline: each attempt asks breaker, pool and quotas anew, and gives
/// back what it took before the pause. `retry_options::attempt_timeout` bounds each attempt.
///
/// A handle: copies refer to the same parts. All members are thread-safe.
///
/// ```cpp
/// // example: guard
/// #include <headgate/headgate.hpp>
/// #include <boost/asio/detached.hpp>
/// #include <cassert>
///
///
/// boost::asio::awaitable<headgate::result<int>> answer(int question) {
///     co_return question + 1;
/// }
///
/// int main() {
///     boost::asio::io_context io;
///     headgate::zone zone(io, "shop");
///     const auto limiter = headgate::rate_limiter::create(
///         zone, "calls", headgate::quota::per(1, std::chrono::minutes{1}).value()).value();
///     const auto breaker = headgate::circuit_breaker::create(zone, "backend").value();
///     headgate::guard guard(limiter, breaker, headgate::guard_options{.timeout = std::chrono::seconds{2}});
///
///     auto work = [guard]() mutable -> boost::asio::awaitable<void> {
///         const auto first = co_await guard.run("ann", answer, 41);
///         assert(first.value() == 42);
///         const auto second = co_await guard.run("ann", answer, 41);
///         assert(second.error() == headgate::errc::rate_limited);
///     };
///     boost::asio::co_spawn(io, work, boost::asio::detached);
///     io.run();
/// }
/// ```
template <class Resource = void>
class guard {
public:
    /// Of `retry`, `rate_limiter`, `circuit_breaker`, `resource_pool<Resource>` or `bulkhead`, and `guard_options`.
    /// Deadlines run on the zone of the first part. Throws `headgate::system_error` with `invalid_argument` when the
    /// parts do not share one clock.
    template <class... Parts>
        requires(sizeof...(Parts) > 0) && (detail::is_guard_part<Parts> && ...)
    explicit guard(const Parts&... parts) {
        static_assert((detail::is_limiter_part<Parts> + ... + 0) <= 1,
                      "headgate: a guard has at most one rate_limiter");
        static_assert((detail::is_breaker_part<Parts> + ... + 0) <= 1,
                      "headgate: a guard has at most one circuit_breaker");
        static_assert((detail::is_place_part<Parts> + ... + 0) <= 1,
                      "headgate: a guard has one resource_pool or one bulkhead");
        static_assert((detail::is_retry_part<Parts> + ... + 0) <= 1, "headgate: a guard has at most one retry");
        static_assert((detail::is_primitive_part<Parts> + ... + 0) >= 1, "headgate: a guard has at least one part");
        auto made = std::make_shared<detail::guard_parts>();
        (made->add(parts), ...);
        made->check_clocks();
        parts_ = std::move(made);
    }

    /// Runs `op` if every part admits it, and settles with each how it ended.
    ///
    /// `op` gets, in this order and where it takes them: a `call_context`; the resource, when there is a pool; `args`.
    /// It returns `awaitable<result<T>>`, `awaitable<T>` or `awaitable<void>`; `op` and `args` are stored by value, see
    /// `take`. Gives `result<T>`; await it plainly, or use `as_awaitable()`. When all is free at once, no coroutine
    /// frame but the operation's is made, and nothing is allocated; a retry adds a frame, for which Asio may allocate.
    ///
    /// With a retry, each attempt gets copies of `args`, which must be copyable: else `invalid_argument`.
    ///
    /// The deadline cancels an operation that takes a `call_context` through it, any other by one `co_spawn` around it;
    /// the call ends when the operation has ended. Then it is `timed_out`, a failure for the breaker, and the resource
    /// is in doubt and closed; a deadline that passes while waiting is `wait_timed_out`, and neutral. An operation that
    /// ignores its cancellation for a second raises an `overrun` event.
    ///
    /// Cancelling the awaiting coroutine, with any of the three types, ends a wait for the pool, and reaches whatever
    /// the operation waits for as the type that it is; in the form that takes a `call_context`, what is bound to its
    /// slot as well. A call that was cancelled or destroyed counts for nothing. An operation with a deadline or a
    /// `call_context` runs on one serial executor: `with_timeout` says when that is a strand of its own.
    ///
    /// Errors: those of the parts, `timed_out`, `operation_failed` with the exception as cause, and what `op` gives. A
    /// pool's `connect_failed` is a failure for the breaker.
    template <class Op, class... Args>
        requires(!detail::is_guard_call_options<Op>)
    [[nodiscard]] auto run(const key& key, Op&& op, Args&&... args) const {
        return call(key, guard_call_options<>{}, std::forward<Op>(op), std::forward<Args>(args)...);
    }
    /// The same with options: `guard.run(user, {.cost = 5}, op, args...)`.
    template <class Op, class... Args>
    [[nodiscard]] auto run(const key& key, const guard_call_options<>& how, Op&& op, Args&&... args) const {
        return call(key, how, std::forward<Op>(op), std::forward<Args>(args)...);
    }
    /// The same with another opinion on what counts as a failure.
    template <class Judge, class RetryJudge, class Op, class... Args>
    [[nodiscard]] auto run(const key& key, const guard_call_options<Judge, RetryJudge>& how, Op&& op,
                           Args&&... args) const {
        return call(key, how, std::forward<Op>(op), std::forward<Args>(args)...);
    }

    /// `run` with a completion token, which comes first. The operation runs as a coroutine of its own on the handler's
    /// associated executor, by default the zone's, which is made serial. Signature: `void(result<T>)`. Never completes
    /// inside the call, unless there is no memory to post it. Cancellation: as `run`, each type of the token's slot.
    template <class Token, class... Call>
    auto async_run(Token&& token, const key& key, Call&&... call) const {
        return detail::start_call(parts_->zone, std::forward<Token>(token), run(key, std::forward<Call>(call)...));
    }
    /// The same with options in braces.
    template <class Token, class Op, class... Args>
    auto async_run(Token&& token, const key& key, const guard_call_options<>& how, Op&& op, Args&&... args) const {
        return detail::start_call(parts_->zone, std::forward<Token>(token),
                                  run(key, how, std::forward<Op>(op), std::forward<Args>(args)...));
    }

private:
    template <class R>
    friend result<guard<R>> make_guard(const zone& owner, const part_names& names);
    friend class zone;

    template <class Judge, class RetryJudge, class Op, class... Args>
    auto call(const key& key, const guard_call_options<Judge, RetryJudge>& how, Op&& op, Args&&... args) const {
        static_assert(std::is_trivially_destructible_v<Judge> && std::is_trivially_destructible_v<RetryJudge>,
                      "headgate: a judge captures nothing, or references");
        detail::check_temporaries<Op, Args...>();
        using policy = detail::guard_policy<Resource, Judge, RetryJudge>;
        return detail::policy_call<policy, detail::stored_t<Op>, detail::stored_t<Args>...>(
            [&] { return policy(parts_, key, how, typeid(Op)); }, detail::unwrap(std::forward<Op>(op)),
            detail::unwrap(std::forward<Args>(args))...);
    }

    explicit guard(std::shared_ptr<const detail::guard_parts> parts) noexcept : parts_(std::move(parts)) {}

    std::shared_ptr<const detail::guard_parts> parts_;
};

template <class... Parts>
guard(const Parts&...) -> guard<detail::guard_resource_t<Parts...>>;

/// A guard of parts that are registered in `owner`. Errors: `unknown_name` for a name that is not there or a pool of
/// another type, unless it is a breaker's and the zone was made with `missing_breaker::run`; `invalid_argument` when no
/// part is named, or both a pool and a bulkhead.
template <class Resource = void>
[[nodiscard]] result<guard<Resource>> make_guard(const zone& owner, const part_names& names) {
    auto parts = detail::find_parts<Resource>(owner, names);
    if (parts->broken) {
        return *parts->broken;
    }
    return guard<Resource>(std::move(parts));
}

template <class Resource, class Op, class... Args>
auto zone::protect(const part_names& names, const key& key, Op&& op, Args&&... args) const {
    return guard<Resource>(detail::find_parts<Resource>(*this, names))
        .run(key, std::forward<Op>(op), std::forward<Args>(args)...);
}

}  // namespace headgate

#endif
