// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_HEDGE_HPP
#define HEADGATE_HEDGE_HPP

#include <concepts>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <headgate/hedge_options.hpp>
#include <headgate/impl/call.hpp>
#include <headgate/impl/hedge_core.hpp>
#include <headgate/impl/hedge_run.hpp>
#include <headgate/result.hpp>
#include <headgate/take.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// Begins a second attempt of a call that is slow, and takes the first success: for calls of which a few take much
/// longer than most, for a reason that another attempt would not meet (Dean and Barroso, "The Tail at Scale", 2013).
///
/// The budget of a `retry` pays for further attempts, so that a backend that is slow for all calls does not get twice
/// as many. A handle: a cheap reference to the hedge that the zone owns. Every member may be called from any thread.
///
/// ```cpp
/// // example: hedge
/// #include <headgate/headgate.hpp>
/// #include <boost/asio/detached.hpp>
/// #include <cassert>
///
///
/// boost::asio::awaitable<headgate::result<int>> price(headgate::call_context context, headgate::zone* shop, int*
/// asked) {
///     const auto slow = ++*asked == 1 ? std::chrono::seconds{60} : std::chrono::seconds{0};  // the first one hangs
///     const auto slept = co_await shop->sleep_for(
///         slow, boost::asio::bind_cancellation_slot(context.slot(), boost::asio::use_awaitable));
///     co_return slept ? headgate::result<int>(42) : headgate::result<int>(slept.error());
/// }
///
/// int main() {
///     boost::asio::io_context io(1);
///     headgate::zone zone(io, "shop");
///     (void)headgate::retry::create(zone, "prices").value();
///     auto twice = headgate::hedge::create(
///         zone, "prices", {.retry = "prices", .delay = std::chrono::milliseconds{1}}).value();
///     int asked = 0;
///
///     auto work = [&]() -> boost::asio::awaitable<void> {
///         const auto answer = co_await twice.run({.idempotent = true}, price, &zone, &asked);
///         assert(answer.value() == 42 && asked == 2);
///     };
///     boost::asio::co_spawn(io, work, boost::asio::detached);
///     io.run();
///     assert(twice.snapshot().won == 1);
/// }
/// ```
class hedge {
public:
    /// Makes a hedge in `owner`. Errors: `invalid_argument`, whose detail says which option or that the name is empty;
    /// `unknown_name` when the zone has no retry of that name; `name_taken`; `shut_down`.
    [[nodiscard]] static result<hedge> create(const zone& owner, std::string name, const hedge_options& options) {
        auto core = detail::hedge_core::create(owner.core(), std::move(name), options);
        if (!core) {
            return std::move(core).error();
        }
        return hedge(std::move(core).value());
    }

    /// The hedge of that name in `owner`. Errors: `unknown_name`.
    [[nodiscard]] static result<hedge> find(const zone& owner, std::string_view name) {
        auto found = owner.core()->find(primitive_kind::hedge, name);
        if (!found) {
            return std::move(found).error();
        }
        return hedge(std::static_pointer_cast<detail::hedge_core>(std::move(found).value()));
    }

    /// The name that it was created with.
    [[nodiscard]] const std::string& name() const noexcept { return core_->name(); }

    /// Runs `op(args...)` once: without options a call may not be hedged. Else as below.
    template <class Op, class... Args>
        requires(!std::same_as<std::remove_cvref_t<Op>, hedge_call_options>)
    [[nodiscard]] auto run(Op&& op, Args&&... args) const {
        return call({}, std::forward<Op>(op), std::forward<Args>(args)...);
    }

    /// Runs `op(args...)`, and once more beside it when it is slow or has failed, as long as the budget pays for that:
    /// `twice.run({.idempotent = true}, op, args...)`. The first success wins. Await what it returns, plainly, in a
    /// coroutine on the executor type of the operation's own awaitable.
    ///
    /// `op` is as for `circuit_breaker::run`. It and `args`, which can be copied, are kept for further attempts: each
    /// attempt gets copies of `args`. Each runs as a coroutine of its own; all run on the caller's executor, which is
    /// made serial as `with_timeout` says.
    ///
    /// When an attempt wins, the others are cancelled, through the slot of their `call_context` or whatever they wait
    /// for; the call does not wait for them. They run to their ends within the zone's count of operations; a breaker
    /// inside of `op` counts them as neutral. So `op` must not refer to what the caller owns. An attempt that fails as
    /// `verdict_of` allows for idempotent calls has the next one begin at once, unless its error says when to come
    /// back. Other failures leave the call to the attempts that still run; the last error is that of the call.
    ///
    /// Cancelling the awaiting coroutine, with any of the three types, cancels all attempts; the timeout does so too,
    /// with `timed_out`. The call then ends when the attempts have ended, and there is no further one.
    ///
    /// Errors: `wait_timed_out` for a timeout that is not positive; those of the operation; `timed_out`;
    /// `operation_failed` with the exception that it threw as cause; `canceled`; `out_of_memory`; `shut_down` when the
    /// zone takes no new work.
    template <class Op, class... Args>
    [[nodiscard]] auto run(const hedge_call_options& options, Op&& op, Args&&... args) const {
        return call(options, std::forward<Op>(op), std::forward<Args>(args)...);
    }

    /// `run` with a completion token, which comes first. The attempts run on the handler's associated executor, by
    /// default the zone's, which is made serial. Signature: `void(result<T>)`. Never completes inside the call, unless
    /// there is no memory to post it. Cancellation: as `run`, each type of the token's slot.
    template <class Token, class... Call>
    auto async_run(Token&& token, Call&&... call) const {
        return detail::start_call(core_->zone_ptr(), std::forward<Token>(token), run(std::forward<Call>(call)...));
    }
    /// The same with options in braces.
    template <class Token, class Op, class... Args>
    auto async_run(Token&& token, const hedge_call_options& options, Op&& op, Args&&... args) const {
        return detail::start_call(core_->zone_ptr(), std::forward<Token>(token),
                                  run(options, std::forward<Op>(op), std::forward<Args>(args)...));
    }

    /// Takes other options. A delay that has begun goes on. What it knows of the last successes stays. Errors:
    /// `invalid_argument`, `unknown_name`, with nothing changed.
    result<void> reconfigure(const hedge_options& options) { return core_->reconfigure(options); }

    /// What it is doing and has done.
    [[nodiscard]] hedge_snapshot snapshot() const noexcept { return core_->look(); }

    /// For headgate's own layers.
    [[nodiscard]] const std::shared_ptr<detail::hedge_core>& core() const noexcept { return core_; }

private:
    template <class Op, class... Args>
    auto call(const hedge_call_options& options, Op&& op, Args&&... args) const {
        static_assert((detail::is_copyable<detail::stored_t<Args>> && ...),
                      "headgate: the arguments of a hedged operation are kept for further attempts; they must be "
                      "copyable");
        detail::check_temporaries<Op, Args...>();
        return detail::hedged_call<detail::stored_t<Op>, detail::stored_t<Args>...>(
            core_, options, detail::unwrap(std::forward<Op>(op)), detail::unwrap(std::forward<Args>(args))...);
    }

    explicit hedge(std::shared_ptr<detail::hedge_core> core) noexcept : core_(std::move(core)) {}

    std::shared_ptr<detail::hedge_core> core_;
};

}  // namespace headgate

#endif
