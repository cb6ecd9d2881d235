// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_ENTER_OPERATION_HPP
#define HEADGATE_IMPL_ENTER_OPERATION_HPP

#include <memory>
#include <tuple>
#include <utility>

#include <headgate/bulkhead_permit.hpp>
#include <headgate/impl/bulkhead_core.hpp>
#include <headgate/impl/initiation.hpp>
#include <headgate/impl/pool_waiters.hpp>
#include <headgate/operation.hpp>
#include <headgate/result.hpp>

namespace headgate {

namespace detail {

class enter_waiter : public bulkhead_waiter {
public:
    using bulkhead_waiter::bulkhead_waiter;

    result<bulkhead_permit> take() noexcept {
        if (granted()) {
            return bulkhead_permit(&from(), began());
        }
        return refusal();
    }

protected:
    ~enter_waiter() = default;
};

/// An `enter` that may have to wait.
struct enter_request {
    bulkhead_core* from;
    duration timeout;
    time_point asked{};  ///< When it was decided that it waits.

    template <class Handler>
    void initiate(Handler handler) {
        using operation = waiter_operation<enter_waiter, Handler>;
        // A token that starts later, such as deferred, begins to wait then.
        const time_point begin = asked == time_point{} ? from->zone().now() : asked;
        detail::initiate<result<bulkhead_permit>>(from->zone().executor(), std::move(handler), [&](Handler&& then) {
            from->enqueue(operation::create(from->zone_ptr(), std::move(then), from->shared_from_this()), timeout,
                          begin);
        });
    }
};

}  // namespace detail

/// What `bulkhead::enter` gives without a completion token; await it in the expression that makes it.
class [[nodiscard]] enter_operation : public operation<enter_operation, result<bulkhead_permit>> {
public:
    /// What `enter` makes. The bulkhead does not look at the place.
    enter_operation(detail::bulkhead_core& from, duration timeout, const detail::lease_place& = {}) noexcept
        : request_{&from, timeout} {}
    /// Of one that was decided before, at `asked`: it waits.
    enter_operation(detail::bulkhead_core& from, duration timeout, const detail::lease_place&,
                    time_point asked) noexcept
        : request_{&from, timeout, asked} {}

    /// In place: true when there is a place, or a refusal.
    bool decide() noexcept {
        if (request_.asked != time_point{}) {
            return false;
        }
        time_point began{};
        if (request_.from->take(request_.timeout, verdict_, began)) {
            granted_ = bulkhead_permit(request_.from, began);
            return true;
        }
        if (verdict_ != detail::bulkhead_verdict::wait) {
            return true;
        }
        request_.asked = request_.from->zone().now();
        return false;
    }
    /// When it was decided that it waits.
    [[nodiscard]] time_point asked() const noexcept { return request_.asked; }
    /// The result, once `decide` was true.
    result<bulkhead_permit> answer() && {
        if (granted_) {
            return std::move(granted_);
        }
        return detail::code_of(verdict_);
    }

    /// What starts it, and what that refers to.
    [[nodiscard]] detail::enter_request& request() noexcept { return request_; }
    /// Keeps the bulkhead.
    [[nodiscard]] std::shared_ptr<void> owner() const { return request_.from->shared_from_this(); }

private:
    detail::enter_request request_;
    bulkhead_permit granted_;
    detail::bulkhead_verdict verdict_{};
};

namespace detail {

/// Where `with` and the guard get what they hold during a call: here a place, which is nothing to the operation.
struct bulkhead_lender {
    using core = bulkhead_core;
    using lease = bulkhead_permit;
    using operation = enter_operation;
    using refusal = bulkhead_verdict;

    static lease take(core& from, const lease_place&, duration wait, refusal& why) noexcept {
        time_point began{};
        return from.take(wait, why, began) ? lease(&from, began) : lease();
    }
    [[nodiscard]] static bool may_wait(refusal why) noexcept { return why == bulkhead_verdict::wait; }
    [[nodiscard]] static error to_error(const core&, refusal why) noexcept { return code_of(why); }
    [[nodiscard]] static std::tuple<> leading(const lease&) noexcept { return {}; }
    /// The call has ended with `why`, null for a value. Nothing can be wrong with a place.
    static void settle(lease& l, const error* why) noexcept { why != nullptr ? l.give_back(*why) : l.give_back(); }
    /// It was given up.
    static void discard(lease& l) noexcept { l.give_back(adaptive_outcome::neutral); }
};

}  // namespace detail

}  // namespace headgate

#endif
