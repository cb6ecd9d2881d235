// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_RETRY_HPP
#define HEADGATE_RETRY_HPP

#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <headgate/impl/call.hpp>
#include <headgate/impl/retry_core.hpp>
#include <headgate/impl/retry_run.hpp>
#include <headgate/result.hpp>
#include <headgate/retry_options.hpp>
#include <headgate/take.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// Tries a failed call again, after a pause with jitter, as long as its budget allows: when a backend is down for all
/// calls, further attempts are a bounded part of them, and the overload does not feed itself.
///
/// A handle: a cheap reference to the retry that the zone owns. Whoever uses the same retry shares its budget. As a
/// part of a `guard` it goes around all other parts: each attempt asks breaker, pool and limiter anew. Every member may
/// be called from any thread. An exhausted budget is an event of the zone, `event_kind::budget_exhausted`;
/// an attempt that it pays for after ten seconds without a suppressed one is `budget_recovered`.
///
/// ```cpp
/// // example: retry
/// #include <headgate/headgate.hpp>
/// #include <boost/asio/detached.hpp>
/// #include <cassert>
///
///
/// boost::asio::awaitable<headgate::result<int>> ask(int* attempts) {
///     if (++*attempts < 3) {
///         co_return headgate::error(headgate::errc::connect_failed);
///     }
///     co_return 42;
/// }
///
/// int main() {
///     boost::asio::io_context io;
///     headgate::zone zone(io, "shop");
///     auto again = headgate::retry::create(
///         zone, "prices", {.max_attempts = 3, .backoff_min = std::chrono::milliseconds{1}}).value();
///
///     auto work = [again]() mutable -> boost::asio::awaitable<void> {
///         int attempts = 0;
///         const auto answer = co_await again.run({.timeout = std::chrono::seconds{2}}, ask, &attempts);
///         assert(answer.value() == 42 && attempts == 3);
///     };
///     boost::asio::co_spawn(io, work, boost::asio::detached);
///     io.run();
///     assert(again.snapshot().recovered == 1);
/// }
/// ```
class retry {
public:
    /// Makes a retry in `owner`. Errors: `invalid_argument`, whose detail says which option or that the name is empty;
    /// `name_taken`; `shut_down`.
    [[nodiscard]] static result<retry> create(const zone& owner, std::string name, const retry_options& options = {}) {
        auto core = detail::retry_core::create(owner.core(), std::move(name), options);
        if (!core) {
            return std::move(core).error();
        }
        return retry(std::move(core).value());
    }

    /// The retry of that name in `owner`. Errors: `unknown_name`.
    [[nodiscard]] static result<retry> find(const zone& owner, std::string_view name) {
        auto found = owner.core()->find(primitive_kind::retry, name);
        if (!found) {
            return std::move(found).error();
        }
        return retry(std::static_pointer_cast<detail::retry_core>(std::move(found).value()));
    }

    /// The name that it was created with.
    [[nodiscard]] const std::string& name() const noexcept { return core_->name(); }

    /// Runs `op(args...)`, and again while it fails in a way that `verdict_of` says may be tried again, there are
    /// attempts and budget left. Await what it returns, plainly, in a coroutine on the executor type of the operation's
    /// own awaitable.
    ///
    /// `op` is as for `circuit_breaker::run`. It and `args`, which can be copied, are kept for further attempts: each
    /// attempt gets copies of `args`.
    ///
    /// Gives the `result<T>` of the last attempt. It costs one coroutine frame.
    ///
    /// Cancelling the awaiting coroutine cancels the attempt that runs, as `circuit_breaker::run` says, or the pause,
    /// with `canceled`; there is no further attempt.
    ///
    /// Errors: `wait_timed_out` for a timeout that is not positive; those of the operation, of the last attempt;
    /// `timed_out` when `attempt_timeout` ended it; `operation_failed` with the exception that it threw as cause;
    /// `canceled`; `out_of_memory`; `shut_down` when the zone takes no new work, or is closed during a pause.
    template <class Op, class... Args>
        requires(!detail::is_retry_call_options<Op>)
    [[nodiscard]] auto run(Op&& op, Args&&... args) const {
        return call(retry_call_options<>{}, std::forward<Op>(op), std::forward<Args>(args)...);
    }

    /// The same with options: `again.run({.timeout = 2s, .idempotent = true}, op, args...)`.
    ///
    /// The timeout is for all attempts and pauses. When it passes during an attempt, that is cancelled as
    /// `with_timeout` says, with `timed_out`. A pause that would reach it does not begin: the last error comes at once.
    template <class Op, class... Args>
    [[nodiscard]] auto run(const retry_call_options<>& options, Op&& op, Args&&... args) const {
        return call(options, std::forward<Op>(op), std::forward<Args>(args)...);
    }

    /// The same with another opinion on what is tried again.
    template <class Judge, class Op, class... Args>
    [[nodiscard]] auto run(const retry_call_options<Judge>& options, Op&& op, Args&&... args) const {
        return call(options, std::forward<Op>(op), std::forward<Args>(args)...);
    }

    /// `run` with a completion token, which comes first. The operation runs as a coroutine of its own on the handler's
    /// associated executor, by default the zone's, which is made serial as `with_timeout` says.
    ///
    /// Signature: `void(result<T>)`. Never completes inside the call, unless there is no memory to post it. Each type
    /// of cancellation that the token's slot gets is passed on as with `run`; before the operation has begun, it does
    /// not begin.
    template <class Token, class... Call>
    auto async_run(Token&& token, Call&&... call) const {
        return detail::start_call(core_->zone_ptr(), std::forward<Token>(token), run(std::forward<Call>(call)...));
    }
    /// The same with options in braces.
    template <class Token, class Op, class... Args>
    auto async_run(Token&& token, const retry_call_options<>& options, Op&& op, Args&&... args) const {
        return detail::start_call(core_->zone_ptr(), std::forward<Token>(token),
                                  run(options, std::forward<Op>(op), std::forward<Args>(args)...));
    }

    /// Takes other options, for calls that run too. What the budget's window holds stays. Errors: `invalid_argument`,
    /// with nothing changed.
    result<void> reconfigure(const retry_options& options) { return core_->reconfigure(options); }

    /// What it is doing and has done.
    [[nodiscard]] retry_snapshot snapshot() const { return core_->look(); }

    /// For headgate's own layers.
    [[nodiscard]] const std::shared_ptr<detail::retry_core>& core() const noexcept { return core_; }

private:
    template <class Judge, class Op, class... Args>
    auto call(const retry_call_options<Judge>& options, Op&& op, Args&&... args) const {
        static_assert(std::is_trivially_destructible_v<Judge>, "headgate: a judge captures nothing, or references");
        static_assert((detail::is_copyable<detail::stored_t<Args>> && ...),
                      "headgate: the arguments of a retried operation are kept for further attempts; they must be "
                      "copyable");
        detail::check_temporaries<Op, Args...>();
        return detail::policy_call<detail::retry_policy<Judge>, detail::stored_t<Op>, detail::stored_t<Args>...>(
            [&] { return detail::retry_policy<Judge>(core_, options); }, detail::unwrap(std::forward<Op>(op)),
            detail::unwrap(std::forward<Args>(args))...);
    }

    explicit retry(std::shared_ptr<detail::retry_core> core) noexcept : core_(std::move(core)) {}

    std::shared_ptr<detail::retry_core> core_;
};

}  // namespace headgate

#endif
