// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_GUARD_HPP
#define HEADGATE_IMPL_GUARD_HPP

#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/this_coro.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include <headgate/bulkhead.hpp>
#include <headgate/circuit_breaker.hpp>
#include <headgate/export.hpp>
#include <headgate/guard_options.hpp>
#include <headgate/impl/call.hpp>
#include <headgate/impl/retry_run.hpp>
#include <headgate/rate_limiter.hpp>
#include <headgate/resource_pool.hpp>
#include <headgate/retry.hpp>
#include <headgate/zone.hpp>

namespace headgate {
namespace detail {

template <class T>
inline constexpr bool is_pool_part = false;
template <class T>
inline constexpr bool is_pool_part<resource_pool<T>> = true;
template <class T>
inline constexpr bool is_limiter_part = std::is_same_v<T, rate_limiter>;
template <class T>
inline constexpr bool is_breaker_part = std::is_same_v<T, circuit_breaker>;
template <class T>
inline constexpr bool is_retry_part = std::is_same_v<T, headgate::retry>;
template <class T>
inline constexpr bool is_place_part = is_pool_part<T> || std::is_same_v<T, bulkhead>;
template <class T>
inline constexpr bool is_primitive_part =
    is_limiter_part<T> || is_breaker_part<T> || is_place_part<T> || is_retry_part<T>;
template <class T>
inline constexpr bool is_guard_part = is_primitive_part<T> || std::is_same_v<T, guard_options>;

template <class T>
inline constexpr bool is_guard_call_options_v = false;
template <class Judge, class RetryJudge>
inline constexpr bool is_guard_call_options_v<guard_call_options<Judge, RetryJudge>> = true;
template <class T>
inline constexpr bool is_guard_call_options = is_guard_call_options_v<std::remove_cvref_t<T>>;

/// The resource type of the pool among some parts; void without one.
template <class... Parts>
struct guard_resource {
    using type = void;
};
template <class First, class... Rest>
struct guard_resource<First, Rest...> : guard_resource<Rest...> {};
template <class T, class... Rest>
struct guard_resource<resource_pool<T>, Rest...> {
    using type = T;
};
template <class... Parts>
using guard_resource_t = typename guard_resource<Parts...>::type;

/// What a guard is made of. Does not change once it is made.
struct HEADGATE_DECL guard_parts {
    std::shared_ptr<zone_core> zone;
    std::shared_ptr<limiter_core> limiter;
    std::shared_ptr<breaker_core> breaker;
    std::shared_ptr<pool_core> pool;
    std::shared_ptr<bulkhead_core> bulkhead;  ///< Not together with a pool.
    std::shared_ptr<retry_core> retry;
    duration timeout = duration::max();
    std::string name;
    /// Why there is no guard, of one that was asked for by names.
    std::optional<error> broken;

    void add(const rate_limiter& part) { join(limiter, part.core()); }
    void add(const circuit_breaker& part) { join(breaker, part.core()); }
    void add(const headgate::bulkhead& part) { join(bulkhead, part.core()); }
    void add(const headgate::retry& part) { join(retry, part.core()); }
    template <class T>
    void add(const resource_pool<T>& part) {
        join(pool, part.core());
    }
    void add(const guard_options& options);
    /// Throws when the parts do not share one clock.
    void check_clocks() const;

    /// What the limiter is asked; the key's text need not live longer than the call.
    [[nodiscard]] limiter_request request(const key& key, std::uint64_t cost, std::string_view tier) const;

private:
    template <class Part, class Core>
    void join(std::shared_ptr<Part>& part, const std::shared_ptr<Core>& core) {
        part = core;
        if (!zone) {
            zone = core->zone_ptr();
        }
    }
};

/// What lends: the pool of a guard with a resource, the bulkhead of one without.
template <class Resource>
struct guard_lender : pool_lender<Resource> {
    static const std::shared_ptr<pool_core>& of(const guard_parts& parts) noexcept { return parts.pool; }
};
template <>
struct guard_lender<void> : bulkhead_lender {
    static const std::shared_ptr<bulkhead_core>& of(const guard_parts& parts) noexcept { return parts.bulkhead; }
};

/// What the parts refused, settled and gave back, for one call.
template <class Resource, class Judge, class RetryJudge>
class guard_policy {
    using lender = guard_lender<Resource>;
    using lease_type = typename lender::lease;

public:
    guard_policy(const std::shared_ptr<const guard_parts>& parts, const key& key,
                 const guard_call_options<Judge, RetryJudge>& how, const std::type_info& operation)
        : parts_(parts),
          request_(parts->request(key, how.cost, how.tier)),
          timeout_(how.timeout ? *how.timeout : parts->timeout),
          operation_(&operation),
          judge_(how.judge),
          course_(parts->retry.get(), how.idempotent, how.retry_judge) {}

    admission admit(std::optional<error>& refusal) {
        const guard_parts& parts = *parts_;
        if (parts.broken) [[unlikely]] {
            refusal = parts.broken;
            return admission::refused;
        }
        now_ = parts.zone->now();
        if (timeout_ != duration::max()) {
            if (timeout_ <= duration::zero()) [[unlikely]] {
                refusal.emplace(errc::wait_timed_out);
                return admission::refused;
            }
            until_ = saturating_add(now_, timeout_);
        }
        if (parts.retry && !course_.begin(now_, until_, parts.retry->attempt_timeout())) [[unlikely]] {
            refusal.emplace(errc::shut_down);
            return admission::refused;
        }
        if (parts.breaker && !ask_breaker(refusal)) [[unlikely]] {
            return admission::refused;
        }
        if (const auto& lends = lender::of(parts)) {
            typename lender::refusal why{};
            lease_ = lender::take(*lends, lease_place({}, *operation_), longest_wait(), why);
            if (!lease_) [[unlikely]] {
                return without_resource(why, refusal);
            }
        }
        if (parts.limiter && !ask_limiter_last(refusal)) [[unlikely]] {
            return admission::refused;
        }
        return admission::run;
    }

    template <class Executor>
    boost::asio::awaitable<std::optional<error>, Executor> wait() {
        const guard_parts& parts = *parts_;
        const boost::asio::cancellation_state state = co_await boost::asio::this_coro::cancellation_state;
        const boost::asio::cancellation_type before = state.cancelled();
        typename lender::operation checkout(*lender::of(parts), longest_wait(), lease_place({}, *operation_), now_);
        result<lease_type> lent = co_await std::move(checkout);
        std::optional<error> refusal;
        now_ = parts.zone->now();
        // Cancelled when the resource was on its way: the operation would not begin, and is not paid for.
        if (state.cancelled() != before) {
            refusal.emplace(errc::canceled);
        } else if (!lent) {
            refusal.emplace(std::move(lent).error());
            if (*refusal == errc::connect_failed && parts.breaker) {
                std::optional<error> open;
                if (ask_breaker(open)) {
                    not_run(call_outcome::failure);
                }
            }
        } else if (until_ <= now_) {
            refusal.emplace(errc::wait_timed_out);  // it has its resource, and no time left to use it
        } else if (!parts.breaker || ask_breaker(refusal)) {
            lease_ = std::move(lent).value();
            if (parts.limiter) {
                ask_limiter_last(refusal);
            }
        }
        co_return refusal;
    }

    [[nodiscard]] auto leading() const noexcept { return lender::leading(lease_); }
    [[nodiscard]] time_point until() const noexcept { return until_; }
    [[nodiscard]] zone_core& zone() const noexcept { return *parts_->zone; }
    [[nodiscard]] call_owner owner() const noexcept { return {primitive_kind::guard, &parts_->name}; }
    [[nodiscard]] retry_course<RetryJudge>& course() noexcept { return course_; }

    template <class T>
    void settle(const result<T>& r) {
        if (running_) {
            end(call_verdict(judge_(r)));
        }
        lender::settle(lease_, r ? nullptr : &r.error());
    }
    void settle(const error& e) noexcept {
        end(outcome_of(e));
        lender::settle(lease_, &e);
    }
    void drop() noexcept {
        end(call_outcome::neutral);
        lender::discard(lease_);
    }

private:
    bool ask_breaker(std::optional<error>& refusal) noexcept {
        running_ = parts_->breaker->begin_closed(now_, ticket_) || ask_breaker_slowly(refusal);
        return running_;
    }

    bool ask_breaker_slowly(std::optional<error>& refusal) noexcept {
        const breaker_decision decision = parts_->breaker->begin(now_);
        if (!decision.admission.admitted) {
            refusal.emplace(decision.why(), decision.admission.retry_after);
            return false;
        }
        ticket_ = decision.admission.ticket;
        return true;
    }

    bool ask_limiter(std::optional<error>& refusal) {
        limiter_core& l = *parts_->limiter;
        if (const straight_answer a = l.straight(request_, now_)) [[likely]] {
            if (!a.granted()) {
                refusal.emplace(errc::rate_limited, a.retry_after());
            }
            return a.granted();
        }
        const decision d = l.decide(request_, now_);
        if (d.what != verdict::granted) {
            refusal.emplace(detail::refusal(d));
        }
        return d.what == verdict::granted;
    }

    // With the others taken: they are given back when it refuses, and when it has no memory to decide.
    bool ask_limiter_last(std::optional<error>& refusal) {
        bool granted = false;
        try {
            granted = ask_limiter(refusal);
        } catch (const std::bad_alloc&) {
            refusal.emplace(errc::out_of_memory);
        }
        if (!granted) [[unlikely]] {
            give_back();
        }
        return granted;
    }

    // Nothing is free: may the call wait? It holds nothing meanwhile, and does not queue in vain.
    admission without_resource(const typename lender::refusal& why, std::optional<error>& refusal) {
        const error refused = lender::to_error(*lender::of(*parts_), why);
        not_run(refused == errc::connect_failed ? call_outcome::failure : call_outcome::neutral);
        if (!lender::may_wait(why)) {
            refusal.emplace(refused);
            return admission::refused;
        }
        if (parts_->limiter) {
            refusal = parts_->limiter->look(request_, now_);
        }
        return refusal ? admission::refused : admission::wait;
    }

    [[nodiscard]] duration longest_wait() const noexcept {
        return std::min(lender::of(*parts_)->max_wait(), saturating_sub(until_, now_));
    }

    void give_back() noexcept {
        lease_.give_back();
        not_run(call_outcome::neutral);
    }

    // Ends with the breaker what was no call, and has no latency.
    void not_run(call_outcome outcome) noexcept {
        ticket_.began = {};
        end(outcome);
    }

    void end(const call_verdict& v) noexcept {
        if (std::exchange(running_, false)) {
            parts_->breaker->end(ticket_, v.outcome, v.trip_for);
        }
    }

    std::shared_ptr<const guard_parts> parts_;
    limiter_request request_;
    duration timeout_;
    const std::type_info* operation_;
    [[no_unique_address]] Judge judge_;
    bool running_ = false;  // with the breaker
    time_point now_{};
    time_point until_ = time_point::max();
    breaker_ticket ticket_{};
    lease_type lease_;
    retry_course<RetryJudge> course_;
};

/// What finds parts by their names, but for a pool, whose type it does not know.
HEADGATE_DECL std::shared_ptr<guard_parts> find_untyped_parts(const headgate::zone& owner, const part_names& names,
                                                              bool typed_pool);
HEADGATE_DECL std::string_view pool_name(const part_names& names) noexcept;

template <class Resource>
std::shared_ptr<const guard_parts> find_parts(const headgate::zone& owner, const part_names& names) {
    const auto parts = find_untyped_parts(owner, names, !std::is_void_v<Resource>);
    if constexpr (!std::is_void_v<Resource>) {
        if (!parts->broken) {
            if (auto pool = resource_pool<Resource>::find(owner, pool_name(names))) {
                parts->add(pool.value());
            } else {
                parts->broken = std::move(pool).error();
            }
        }
    }
    return parts;
}

}  // namespace detail
}  // namespace headgate

#endif
