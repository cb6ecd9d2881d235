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
        if (!zone_->refusing()) [[likely]] {
            return admission::run;
        }
        refusal.emplace(errc::shut_down);
        return admission::refused;
    }

    [[nodiscard]] std::tuple<> leading() const noexcept { return {}; }
    [[nodiscard]] time_point until() const noexcept { return saturating_add(zone_->now(), timeout_); }
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
/// An operation that takes a `call_context` is cancelled through its slot, at the cost of arming a deadline; any other
/// by one `co_spawn` around it. The call ends when the operation has ended: one that ignores its cancellation for a
/// second raises an `overrun` event with its type. `op` and `args` are stored by value; see `take` for what some
/// compilers refuse. Await what it returns plainly, or `as_awaitable()`.
///
/// Gives `result<T>`. Errors: `timed_out`, with what the operation threw as cause; `operation_failed` with the
/// exception as cause; `canceled`; `shut_down` when the zone takes no new work; and what `op` gives. A timeout of zero
/// or less is over at once: the operation is cancelled at the first thing that it waits for.
template <class Op, class... Args>
[[nodiscard]] auto with_timeout(const zone& zone, duration timeout, Op&& op, Args&&... args) {
    detail::check_temporaries<Op, Args...>();
    return detail::policy_call<detail::timeout_policy, detail::stored_t<Op>, detail::stored_t<Args>...>(
        [&] { return detail::timeout_policy(zone.core(), timeout); }, detail::unwrap(std::forward<Op>(op)),
        detail::unwrap(std::forward<Args>(args))...);
}

}  // namespace headgate

#endif
