// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_ACQUIRE_OPERATION_HPP
#define HEADGATE_IMPL_ACQUIRE_OPERATION_HPP

#include <memory>
#include <utility>

#include <headgate/grant.hpp>
#include <headgate/impl/initiation.hpp>
#include <headgate/impl/limiter_core.hpp>
#include <headgate/limiter_options.hpp>
#include <headgate/operation.hpp>
#include <headgate/result.hpp>

namespace headgate {

class rate_limiter;

namespace detail {

/// An `acquire` that may have to wait.
struct acquire_request {
    limiter_core* from;
    limiter_request what;
    time_point now;
    duration max_wait;

    template <class Handler>
    void initiate(Handler handler) {
        using operation = waiter_operation<acquire_waiter, Handler>;
        detail::initiate<result<grant>>(from->zone().executor(), std::move(handler), [&](Handler&& then) {
            auto& w = operation::create(from->zone_ptr(), std::move(then), from->shared_from_this(), what);
            from->enqueue(w, now == time_point::min() ? from->zone().now() : now, max_wait);
        });
    }
};

}  // namespace detail

/// What `rate_limiter::acquire` gives without a completion token; await it where it is made.
class [[nodiscard]] acquire_operation : public operation<acquire_operation, result<grant>> {
public:
    /// In place: true when it is granted, or refused for good. A refusal that may end in a wait is not counted.
    bool decide() {
        detail::limiter_core& from = *request_.from;
        const bool reads_clock = request_.now == time_point::min();
        const duration max_wait = request_.max_wait;
        straight_ = reads_clock ? max_wait <= duration::zero() ? from.straight(request_.what)
                                                               : from.straight_or_wait(request_.what, max_wait)
                                : from.straight(request_.what, request_.now, max_wait);
        if (straight_) [[likely]] {
            return straight_.granted() || max_wait <= duration::zero() ||
                   detail::is_final(straight_.retry_after(), max_wait);
        }
        decision_ = from.decide(request_.what, reads_clock ? from.zone().now() : request_.now, max_wait);
        return decision_.what != detail::verdict::queued &&
               (decision_.what != detail::verdict::rate_limited || detail::is_final(decision_.retry_after, max_wait));
    }

    /// The result, once `decide` was true.
    result<grant> answer() && { return straight_ ? detail::to_result(straight_) : detail::to_result(decision_); }

    /// What starts it, and what that refers to.
    [[nodiscard]] detail::acquire_request& request() noexcept { return request_; }
    /// Keeps the limiter.
    [[nodiscard]] std::shared_ptr<void> owner() const { return request_.from->shared_from_this(); }

private:
    friend rate_limiter;
    acquire_operation(detail::limiter_core& limiter, const detail::limiter_request& what,
                      const acquire_options& options) noexcept
        : request_{&limiter, what, options.now, options.max_wait} {}

    detail::acquire_request request_;
    detail::straight_answer straight_{nullptr, 0};
    union {  // written by `decide` where the straight path has no answer
        detail::decision decision_;
    };
};

}  // namespace headgate

#endif
