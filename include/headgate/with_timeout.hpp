// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_WITH_TIMEOUT_HPP
#define HEADGATE_WITH_TIMEOUT_HPP

#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include <headgate/impl/call.hpp>
#include <headgate/result.hpp>
#include <headgate/take.hpp>
#include <headgate/time.hpp>
#include <headgate/zone.hpp>

namespace headgate {

namespace detail {

/// What `with_timeout` puts around an operation.
class timeout_policy {
public:
    timeout_policy(const std::shared_ptr<zone_core>& zone, duration timeout) noexcept
        : zone_(zone), timeout_(timeout) {}

    admission admit(std::optional<error>& refusal) const noexcept {
        const bool no_time = timeout_ <= duration::zero();
        if (!no_time && !zone_->refusing()) [[likely]] {
            return admission::run;
        }
        refusal.emplace(no_time ? errc::wait_timed_out : errc::shut_down);
        return admission::refused;
    }

    [[nodiscard]] std::tuple<> leading() const noexcept { return {}; }
    [[nodiscard]] time_point until() const noexcept {
        return timeout_ == duration::max() ? time_point::max() : saturating_add(zone_->now(), timeout_);
    }
    [[nodiscard]] zone_core& zone() const noexcept { return *zone_; }
    [[nodiscard]] call_owner owner() const noexcept { return {primitive_kind::guard, nullptr}; }

    template <class T>
    void settle(const T&) const noexcept {}
    void drop() const noexcept {}

private:
    std::shared_ptr<zone_core> zone_;
    duration timeout_;
};

}  // namespace detail

/// Runs `op(args...)`, or `op(call_context, args...)`, and cancels it when `timeout` has passed on the zone's clock:
/// `co_await headgate::with_timeout(zone, 2s, op, args...)`.
///
/// **Serial execution.** An operation with a deadline runs on one serial executor: a strand, or an io_context that one
/// thread runs. An operation that takes no `call_context` always does: it runs as a coroutine of its own, on a strand
/// where that is needed. One that takes a `call_context` runs inside of the awaiting coroutine when that is known to be
/// on a serial executor, because `headgate::spawn(zone, ...)` or `co_spawn` on a strand started it or its io_context
/// was made for one thread (`io_context(1)`), and nobody can cancel that coroutine; this costs no more than to arm the
/// deadline. Elsewhere it runs as the others, for about a microsecond. **Where the awaitables have an executor type of
/// their own**, as `awaitable<T, io_context::executor_type>` has, headgate can put no strand in between: that executor
/// must be serial, or the deadline races with the operation.
///
/// From the deadline until the operation has ended, whatever it waits for ends at once: what is bound to the context's
/// slot, or without a context every wait of its coroutine; a wait that began unnoticed ends within a millisecond or a
/// 64th of the time since the deadline, whichever is longer. The call ends when the operation has ended: one that
/// ignores its cancellation for a second raises an `overrun` event with its type.
///
/// **Cancellation** of the awaiting coroutine reaches whatever the operation waits for, bound to the context's slot or
/// not, as the type that it is: terminal, partial or total. From a terminal one on, whatever is bound to the slot ends
/// at once; a partial or total one ends what is bound to it, or else what is bound next. Where the awaiting coroutine
/// can be cancelled, an operation that takes a `call_context` runs as a coroutine of its own, too. `op` and `args` are
/// stored by value; see `take` for what some compilers refuse. Await what it returns plainly, or `as_awaitable()`.
///
/// `duration::max()` is no timeout. A timeout of zero or less is no time left: the operation does not run.
///
/// Gives `result<T>`. Errors: `timed_out`, whenever it ends after the deadline without success, with what the operation
/// threw as cause; `wait_timed_out` when there was no time left; `operation_failed` with the exception as cause;
/// `canceled`; `shut_down` when the zone takes no new work; `out_of_memory`; and what `op` gives.
template <class Op, class... Args>
[[nodiscard]] auto with_timeout(const zone& zone, duration timeout, Op&& op, Args&&... args) {
    detail::check_temporaries<Op, Args...>();
    return detail::policy_call<detail::timeout_policy, detail::stored_t<Op>, detail::stored_t<Args>...>(
        [&] { return detail::timeout_policy(zone.core(), timeout); }, detail::unwrap(std::forward<Op>(op)),
        detail::unwrap(std::forward<Args>(args))...);
}

}  // namespace headgate

#endif
