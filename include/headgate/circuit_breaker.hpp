// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_CIRCUIT_BREAKER_HPP
#define HEADGATE_CIRCUIT_BREAKER_HPP

#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <headgate/breaker_options.hpp>
#include <headgate/call_outcome.hpp>
#include <headgate/call_permit.hpp>
#include <headgate/impl/breaker_core.hpp>
#include <headgate/impl/breaker_run.hpp>
#include <headgate/result.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// Stops calling what fails: after enough failures calls are refused for a while, then a few probes find out whether
/// the callee is well again.
///
/// A handle: a cheap reference to the breaker that the zone owns. Every member may be called from any thread. The
/// protected operations run outside of any lock, any number at once; an operation may use the same breaker. A change of
/// state is an event of the zone, `event_kind::breaker_state`, whose detail is the name of a `breaker_reason`.
///
/// ```cpp
/// // example: circuit_breaker
/// #include <headgate/headgate.hpp>
/// #include <boost/asio/detached.hpp>
/// #include <cassert>
///
///
/// boost::asio::awaitable<headgate::result<int>> query() {
///     co_return headgate::error(headgate::errc::connect_failed);
/// }
///
/// int main() {
///     boost::asio::io_context io;
///     headgate::zone zone(io, "shop");
///     auto breaker = headgate::circuit_breaker::create(zone, "database", {.consecutive_failures = 2}).value();
///
///     auto work = [breaker]() mutable -> boost::asio::awaitable<void> {
///         for (int i = 0; i < 2; ++i) {
///             const auto failed = co_await breaker.run(query);
///             assert(failed.error() == headgate::errc::connect_failed);
///         }
///         const auto refused = co_await breaker.run(query);  // which does not run
///         assert(refused.error() == headgate::errc::circuit_open);
///         assert(refused.error().retry_after > headgate::duration::zero());
///     };
///     boost::asio::co_spawn(io, work, boost::asio::detached);
///     io.run();
/// }
/// ```
class circuit_breaker {
public:
    /// Makes a breaker in `owner`. Errors: `invalid_argument`, whose detail says which option or that the name is
    /// empty; `name_taken`; `shut_down`.
    [[nodiscard]] static result<circuit_breaker> create(const zone& owner, std::string name,
                                                        const breaker_options& options = {}) {
        auto core = detail::breaker_core::create(owner.core(), std::move(name), options);
        if (!core) {
            return std::move(core).error();
        }
        return circuit_breaker(std::move(core).value());
    }

    /// The breaker of that name in `owner`. Errors: `unknown_name`.
    [[nodiscard]] static result<circuit_breaker> find(const zone& owner, std::string_view name) {
        auto found = owner.core()->find(primitive_kind::circuit_breaker, name);
        if (!found) {
            return std::move(found).error();
        }
        return circuit_breaker(std::static_pointer_cast<detail::breaker_core>(std::move(found).value()));
    }

    /// The name that it was created with.
    [[nodiscard]] const std::string& name() const noexcept { return core_->name(); }

    /// Asks whether a call may run now, and decides in place, without allocating. The permit says how it ended.
    ///
    /// Errors: `circuit_open`, where `retry_after` is the time until the next probe, or at most that while probes run,
    /// or zero in `forced_open`; `shut_down`, once the zone drains or is closed.
    [[nodiscard]] result<call_permit> try_begin() noexcept {
        const detail::breaker_decision decision = core_->begin();
        if (decision.admission.admitted) [[likely]] {
            return call_permit(*core_, decision.admission.ticket);
        }
        // Made where it goes: moving an error costs as much as the decision.
        return result<call_permit>(std::in_place_type<error>, decision.why(), decision.admission.retry_after);
    }

    /// Runs `op(args...)` if the breaker admits it, and records how it ended. Await what it returns, plainly, in a
    /// coroutine on the executor type of the operation's own awaitable.
    ///
    /// `op` is anything that can be invoked with `args`, or with a `call_context` before them, and returns
    /// `awaitable<result<T>>`, `awaitable<T>` or `awaitable<void>`. It and `args` are stored by value; g++ before 13
    /// accepts temporaries only when they are trivially destructible, see `headgate::take`.
    ///
    /// Gives `result<T>`. It is decided when it is awaited; a refusal is answered without suspending, and no frame but
    /// that of the operation itself is made.
    ///
    /// Cancelling the awaiting coroutine cancels what the operation waits for, with the same type, as if it had been
    /// awaited without a breaker; in the form that takes a `call_context`, what is bound to its slot as well. For that
    /// it runs as a coroutine of its own, on a serial executor, when its caller can be cancelled; see `with_timeout`. A
    /// call that was cancelled counts for nothing, nor does one whose coroutine is destroyed.
    ///
    /// Errors: those of the operation; `operation_failed` with the exception that it threw as cause; `canceled` if that
    /// was Asio's `operation_aborted`; `out_of_memory`; `circuit_open` and `shut_down`, as `try_begin`, when it did not
    /// run.
    template <class Op, class... Args>
        requires(!detail::is_call_options<Op>)
    [[nodiscard]] auto run(Op&& op, Args&&... args) const {
        return call(call_options<>{}, std::forward<Op>(op), std::forward<Args>(args)...);
    }

    /// The same with a timeout: `breaker.run({.timeout = 2s}, op, args...)`.
    ///
    /// When the timeout passes, an operation that takes a `call_context` is cancelled through its slot (terminal), any
    /// other by one `co_spawn` around it; the call ends when the operation ends. Whichever comes first, that or the
    /// caller's cancellation, is what the operation gets. Serial execution: as `with_timeout`. Further errors:
    /// `timed_out`, a failure.
    template <class Op, class... Args>
    [[nodiscard]] auto run(const call_options<>& options, Op&& op, Args&&... args) const {
        return call(options, std::forward<Op>(op), std::forward<Args>(args)...);
    }

    /// The same with another opinion on what counts as a failure.
    template <class Judge, class Op, class... Args>
    [[nodiscard]] auto run(const call_options<Judge>& options, Op&& op, Args&&... args) const {
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
    auto async_run(Token&& token, const call_options<>& options, Op&& op, Args&&... args) const {
        return detail::start_call(core_->zone_ptr(), std::forward<Token>(token),
                                  run(options, std::forward<Op>(op), std::forward<Args>(args)...));
    }

    /// Opens at once for `how_long`, or for the usual reset time when that is not positive; `duration::max()` is until
    /// `reset`. Open already, it stays open that long from now. False in a forced mode, where it does nothing.
    bool trip(duration how_long = {}) { return core_->trip(how_long); }

    /// Closes, and forgets failures, the window and the doubled reset time. Calls that run now count for nothing. In
    /// `forced_open` it stays open.
    void reset() { core_->reset(); }

    /// Changes the mode. A forced mode takes effect at once and calls that run now count for nothing; leaving a forced
    /// mode closes the breaker; between `automatic` and `observe` the state is kept. Errors: `invalid_argument`.
    result<void> set_mode(breaker_mode mode) {
        breaker_options probe;
        probe.mode = mode;
        BOOST_OUTCOME_TRYV(detail::accept(check(probe)));
        core_->set_mode(mode);
        return headgate::success();
    }

    /// Takes other options, and keeps what it knows: its state and how long it stays open, failures in a row, the
    /// window and all counts. Calls that run now still count. The mode changes only when `options.mode` is another than
    /// in the options before, so that a mode that `set_mode` set survives. Errors: `invalid_argument`, with nothing
    /// changed.
    result<void> reconfigure(const breaker_options& options) { return core_->reconfigure(options); }

    /// Who decides.
    [[nodiscard]] breaker_mode mode() const { return core_->look().mode; }

    /// Where it stands. It stays `open` after the reset time until a call comes, which is then the first probe.
    [[nodiscard]] breaker_state state() const { return core_->look().state; }

    /// What it is doing and has done.
    [[nodiscard]] breaker_snapshot snapshot() const { return core_->look(); }

    /// For headgate's own layers.
    [[nodiscard]] const std::shared_ptr<detail::breaker_core>& core() const noexcept { return core_; }

private:
    template <class Judge, class Op, class... Args>
    auto call(const call_options<Judge>& options, Op&& op, Args&&... args) const {
        static_assert(std::is_trivially_destructible_v<Judge>, "headgate: a judge captures nothing, or references");
        detail::check_temporaries<Op, Args...>();
        return detail::policy_call<detail::breaker_policy<Judge>, detail::stored_t<Op>, detail::stored_t<Args>...>(
            [&] { return detail::breaker_policy<Judge>(core_, options); }, detail::unwrap(std::forward<Op>(op)),
            detail::unwrap(std::forward<Args>(args))...);
    }

    explicit circuit_breaker(std::shared_ptr<detail::breaker_core> core) noexcept : core_(std::move(core)) {}

    std::shared_ptr<detail::breaker_core> core_;
};

}  // namespace headgate

#endif
