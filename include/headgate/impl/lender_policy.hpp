// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_LENDER_POLICY_HPP
#define HEADGATE_IMPL_LENDER_POLICY_HPP

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include <headgate/export.hpp>
#include <headgate/impl/call.hpp>
#include <headgate/impl/pool_waiters.hpp>
#include <headgate/result.hpp>
#include <headgate/wait_options.hpp>

#if defined(__GNUC__) && !defined(__clang__)
// g++ takes the coroutine frames of a caller's closures and local types for types of this header, and warns.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif

namespace headgate::detail {
/// What `with` puts around an operation.
template <class Lender>
class lender_policy {
    using core_type = typename Lender::core;
    using operation = typename Lender::operation;
    using lease_type = typename Lender::lease;

public:
    lender_policy(const std::shared_ptr<core_type>& from, const with_options& options, const lease_place& place)
        : from_(from), place_(place), wait_(options.max_wait.value_or(from->max_wait())), timeout_(options.timeout) {}

    admission admit(std::optional<error>& refusal) {
        if (timeout_ != duration::max()) {
            if (timeout_ <= duration::zero()) {
                refusal.emplace(errc::wait_timed_out);
                return admission::refused;
            }
            until_ = saturating_add(from_->zone().now(), timeout_);
            wait_ = std::min(wait_, timeout_);
        }
        operation checkout(*from_, wait_, place_);
        if (!checkout.decide()) {
            asked_ = checkout.asked();
            return admission::wait;
        }
        return take(std::move(checkout).answer(), refusal) ? admission::run : admission::refused;
    }

    template <class Executor>
    boost::asio::awaitable<std::optional<error>, Executor> wait() {
        const boost::asio::cancellation_state state = co_await boost::asio::this_coro::cancellation_state;
        const boost::asio::cancellation_type before = state.cancelled();
        std::optional<error> refusal;
        operation checkout(*from_, wait_, place_, asked_);
        take(co_await std::move(checkout), refusal);
        // Cancelled, or out of time, when the resource was on its way: the operation does not begin, and leaves no
        // doubt.
        if (lease_ && state.cancelled() != before) {
            lease_.give_back();
            refusal.emplace(errc::canceled);
        } else if (lease_ && until_ != time_point::max() && zone().now() >= until_) {
            lease_.give_back();
            refusal.emplace(errc::wait_timed_out);
        }
        co_return refusal;
    }

    [[nodiscard]] auto leading() const noexcept { return Lender::leading(lease_); }
    [[nodiscard]] time_point until() const noexcept { return until_; }
    [[nodiscard]] zone_core& zone() const noexcept { return from_->zone(); }
    [[nodiscard]] call_owner owner() const noexcept { return {from_->kind(), &from_->name()}; }

    template <class V>
    void settle(const result<V>& r) noexcept {
        Lender::settle(lease_, r ? nullptr : &r.error());
    }
    void settle(const error& e) noexcept { Lender::settle(lease_, &e); }
    void drop() noexcept { Lender::discard(lease_); }

private:
    bool take(result<lease_type> lent, std::optional<error>& refusal) {
        if (lent) {
            lease_ = std::move(lent).value();
        } else {
            refusal.emplace(std::move(lent).error());
        }
        return static_cast<bool>(lease_);
    }

    std::shared_ptr<core_type> from_;
    lease_place place_;
    duration wait_;
    duration timeout_;
    time_point asked_{};
    time_point until_ = time_point::max();
    lease_type lease_;
};

}  // namespace headgate::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
