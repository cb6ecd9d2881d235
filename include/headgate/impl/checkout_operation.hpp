// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_CHECKOUT_OPERATION_HPP
#define HEADGATE_IMPL_CHECKOUT_OPERATION_HPP

#include <memory>
#include <utility>

#include <headgate/impl/initiation.hpp>
#include <headgate/impl/pool_core.hpp>
#include <headgate/lease.hpp>
#include <headgate/operation.hpp>
#include <headgate/result.hpp>

namespace headgate {

namespace detail {

template <class T>
result<lease<T>> lease_of(pool_core& pool, const pool_lent& lent) noexcept {
    return result<lease<T>>(std::in_place_type<lease<T>>, &pool, static_cast<T*>(lent.resource), lent.slot);
}

template <class T>
class lease_waiter : public checkout_waiter {
public:
    lease_waiter(std::shared_ptr<pool_core> pool, const lease_place& place) noexcept
        : checkout_waiter(pool, place), pool_(*pool) {}

    result<lease<T>> take() {
        if (const pool_lent granted = lent()) {
            return lease_of<T>(pool_, granted);
        }
        return refusal();
    }

protected:
    ~lease_waiter() = default;

private:
    pool_core& pool_;
};

/// A `checkout` that may have to wait.
template <class T>
struct checkout_request {
    pool_core* from;
    duration timeout;
    lease_place place;
    time_point asked{};  ///< When it was decided that it waits.

    template <class Handler>
    void initiate(Handler handler) {
        using operation = waiter_operation<lease_waiter<T>, Handler>;
        // A token that starts later, such as deferred, begins to wait then.
        const time_point begin = asked == time_point{} ? from->zone().now() : asked;
        detail::initiate<result<lease<T>>>(from->zone().executor(), std::move(handler), [&](Handler&& then) {
            from->enqueue(operation::create(from->zone_ptr(), std::move(then), from->shared_from_this(), place),
                          timeout, begin);
        });
    }
};

}  // namespace detail

/// What `resource_pool::checkout` gives without a completion token; await it in the expression that makes it.
template <class T>
class [[nodiscard]] checkout_operation : public operation<checkout_operation<T>, result<lease<T>>> {
public:
    /// What `checkout` makes.
    checkout_operation(detail::pool_core& pool, duration timeout, const detail::lease_place& place) noexcept
        : request_{&pool, timeout, place} {}

    /// Of a checkout that was decided before, at `asked`: it waits.
    checkout_operation(detail::pool_core& pool, duration timeout, const detail::lease_place& place,
                       time_point asked) noexcept
        : request_{&pool, timeout, place, asked} {}

    /// In place: true when there is a resource, or a refusal.
    bool decide() noexcept {
        if (request_.asked != time_point{}) {
            return false;
        }
        lent_ = request_.from->take(request_.place, request_.timeout, refusal_);
        if (lent_ || refusal_.verdict != detail::pool_verdict::wait) {
            return true;
        }
        request_.asked = request_.from->zone().now();
        return false;
    }
    /// When it was decided that it waits.
    [[nodiscard]] time_point asked() const noexcept { return request_.asked; }
    /// The result, once `decide` was true.
    result<lease<T>> answer() && {
        if (lent_) {
            return detail::lease_of<T>(*request_.from, lent_);
        }
        return request_.from->to_error(refusal_);
    }

    /// What starts it, and what that refers to.
    [[nodiscard]] detail::checkout_request<T>& request() noexcept { return request_; }
    /// Keeps the pool.
    [[nodiscard]] std::shared_ptr<void> owner() const { return request_.from->shared_from_this(); }

private:
    detail::checkout_request<T> request_;
    detail::pool_lent lent_;
    detail::pool_refusal refusal_;
};

namespace detail {

/// Where `with` and the guard get what they hold during a call: here a pool's resource.
template <class T>
struct pool_lender {
    using core = pool_core;
    using lease = headgate::lease<T>;
    using operation = checkout_operation<T>;
    using refusal = pool_refusal;

    static lease take(core& from, const lease_place& place, duration wait, refusal& why) noexcept {
        const pool_lent lent = from.take(place, wait, why);
        return lease(&from, static_cast<T*>(lent.resource), lent.slot);
    }
    [[nodiscard]] static bool may_wait(const refusal& why) noexcept { return why.verdict == pool_verdict::wait; }
    [[nodiscard]] static error to_error(const core& from, const refusal& why) noexcept { return from.to_error(why); }
    [[nodiscard]] static std::tuple<T&> leading(const lease& l) noexcept { return std::tuple<T&>(*l); }
    /// The call has ended with `why`, null for a value.
    static void settle(lease& l, const error* why) noexcept {
        why != nullptr&& ended_midway(*why) ? discard(l) : l.give_back();
    }
    /// It was given up.
    static void discard(lease& l) noexcept { l.discard(); }
};

}  // namespace detail

}  // namespace headgate

#endif
