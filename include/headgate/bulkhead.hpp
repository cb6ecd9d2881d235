// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_BULKHEAD_HPP
#define HEADGATE_BULKHEAD_HPP

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include <headgate/export.hpp>
#include <headgate/impl/bulkhead_core.hpp>
#include <headgate/impl/call.hpp>
#include <headgate/impl/initiation.hpp>
#include <headgate/operation.hpp>
#include <headgate/resource_pool.hpp>
#include <headgate/result.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// How a `bulkhead` behaves.
struct bulkhead_options {
    /// Calls that may run at once; 1 to `max_pool_resources`.
    std::uint32_t max_concurrent = 10;
    /// Callers that may wait at once; one more gets `queue_full`. Zero: nobody waits.
    std::uint32_t max_waiters = 10'000;
    /// How long a caller waits unless it says otherwise; `duration::max()` for no limit. Zero: not at all, `exhausted`
    /// at once.
    duration max_wait = std::chrono::seconds{5};

    friend bool operator==(const bulkhead_options&, const bulkhead_options&) = default;
};

/// Says what is wrong with `options`: `invalid_argument`, whose detail names the member and what would be right.
[[nodiscard]] HEADGATE_DECL result<void> validate(const bulkhead_options& options);

/// The counts of a bulkhead at one moment.
struct bulkhead_status {
    std::uint32_t max_concurrent = 0;  ///< Calls that may run at once.
    std::uint32_t running = 0;         ///< Calls that run.
    std::uint32_t waiting = 0;         ///< Callers in the queue.
};

/// A bulkhead's yes: gives the place back when it is destroyed, on any thread. Move-only; a moved-from permit is empty.
class [[nodiscard]] bulkhead_permit {
public:
    bulkhead_permit() = default;
    /// Of a place; made by the bulkhead.
    explicit bulkhead_permit(detail::bulkhead_core* from) noexcept : from_(from) {}
    /// Takes over what `other` holds.
    bulkhead_permit(bulkhead_permit&& other) noexcept : from_(std::exchange(other.from_, nullptr)) {}
    /// Gives back its own, and takes over what `other` holds.
    bulkhead_permit& operator=(bulkhead_permit&& other) noexcept {
        if (this != &other) {
            reset();
            from_ = std::exchange(other.from_, nullptr);
        }
        return *this;
    }
    ~bulkhead_permit() { reset(); }

    /// Whether there is a place.
    explicit operator bool() const noexcept { return from_ != nullptr; }

    /// Gives the place back now; the permit is empty afterwards.
    void reset() noexcept {
        if (from_ != nullptr) {
            std::exchange(from_, nullptr)->give_back();
        }
    }

private:
    detail::bulkhead_core* from_ = nullptr;
};

namespace detail {

class enter_waiter : public bulkhead_waiter {
public:
    using bulkhead_waiter::bulkhead_waiter;

    result<bulkhead_permit> take() noexcept {
        if (granted()) {
            return bulkhead_permit(&from());
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
        if (request_.from->take(request_.timeout, verdict_)) {
            granted_ = bulkhead_permit(request_.from);
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
        return from.take(wait, why) ? lease(&from) : lease();
    }
    [[nodiscard]] static bool may_wait(refusal why) noexcept { return why == bulkhead_verdict::wait; }
    [[nodiscard]] static error to_error(const core&, refusal why) noexcept { return code_of(why); }
    [[nodiscard]] static std::tuple<> leading(const lease&) noexcept { return {}; }
    /// Nothing can be wrong with a place.
    static void discard(lease& l) noexcept { l.reset(); }
};

}  // namespace detail

/// Limits how many calls run at once; who has to wait, waits in a FIFO queue.
///
/// A handle: copies refer to the same bulkhead, which the zone owns. All members are thread-safe.
class bulkhead {
public:
    /// Makes a bulkhead in `owner`. Errors: `invalid_argument`, `name_taken`, `shut_down`.
    [[nodiscard]] static result<bulkhead> create(const zone& owner, std::string name,
                                                 const bulkhead_options& options = {}) {
        auto core = detail::bulkhead_core::create(owner.core(), std::move(name), options);
        if (!core) {
            return std::move(core).error();
        }
        return bulkhead(std::move(core).value());
    }

    /// The bulkhead of that name in `owner`. Errors: `unknown_name`.
    [[nodiscard]] static result<bulkhead> find(const zone& owner, std::string_view name) {
        auto found = owner.core()->find(primitive_kind::bulkhead, name);
        if (!found) {
            return std::move(found).error();
        }
        return bulkhead(std::static_pointer_cast<detail::bulkhead_core>(std::move(found).value()));
    }

    /// Takes a place now, without waiting and without passing those who wait. Errors: `exhausted`, `shut_down`. Does
    /// not allocate.
    [[nodiscard]] result<bulkhead_permit> try_enter() const noexcept {
        detail::bulkhead_verdict why{};
        if (core_->take(duration::zero(), why)) [[likely]] {
            return bulkhead_permit(core_.get());
        }
        return detail::code_of(why);
    }

    /// Takes a place, or waits for one: `co_await bulkhead.enter()`. Completion and cancellation are those of
    /// `resource_pool::checkout`. Errors: `exhausted` for a timeout that is not positive; `queue_full`;
    /// `wait_timed_out`; `canceled`; `shut_down`.
    enter_operation enter() const noexcept { return {*core_, core_->checkout_timeout()}; }
    /// The same with options.
    enter_operation enter(const checkout_options& options) const noexcept {
        return {*core_, options.timeout.value_or(core_->checkout_timeout())};
    }
    /// The same with a completion token. Signature: `void(result<bulkhead_permit>)`.
    template <class Token>
    auto enter(const checkout_options& options, Token&& token) const {
        return enter(options).start(std::forward<Token>(token));
    }

    /// Takes a place, runs `op(args...)` or `op(call_context, args...)`, and gives the place back; as
    /// `resource_pool::with`.
    template <class Op, class... Args>
        requires(!std::same_as<std::remove_cvref_t<Op>, with_options>)
    [[nodiscard]] auto with(Op&& op, Args&&... args) const {
        return run_with({}, detail::lease_place({}, typeid(Op)), std::forward<Op>(op), std::forward<Args>(args)...);
    }
    /// The same with options.
    template <class Op, class... Args>
    [[nodiscard]] auto with(const with_options& options, Op&& op, Args&&... args) const {
        return run_with(options, options.where, std::forward<Op>(op), std::forward<Args>(args)...);
    }

    /// Changes how many may run at once, under load: more are let in now, or fewer as those that run end. Errors:
    /// `invalid_argument`.
    result<void> resize(std::uint32_t max_concurrent) {
        if (auto valid = validate(bulkhead_options{.max_concurrent = max_concurrent}); !valid) {
            return valid;
        }
        core_->resize(max_concurrent);
        return headgate::success();
    }

    /// Takes other options under load; calls that run or wait go on. Errors: `invalid_argument`, with nothing changed.
    result<void> reconfigure(const bulkhead_options& options) {
        BOOST_OUTCOME_TRYV(validate(options));
        core_->reconfigure(options);
        return headgate::success();
    }

    /// The counts of this moment.
    [[nodiscard]] bulkhead_status status() const { return core_->status(); }
    /// The name that it was created with.
    [[nodiscard]] const std::string& name() const noexcept { return core_->name(); }

    /// For headgate's own layers.
    [[nodiscard]] const std::shared_ptr<detail::bulkhead_core>& core() const noexcept { return core_; }

private:
    explicit bulkhead(std::shared_ptr<detail::bulkhead_core> core) noexcept : core_(std::move(core)) {}

    template <class Op, class... Args>
    auto run_with(const with_options& options, const detail::lease_place& place, Op&& op, Args&&... args) const {
        detail::check_temporaries<Op, Args...>();
        using policy = detail::lender_policy<detail::bulkhead_lender>;
        return detail::policy_call<policy, detail::stored_t<Op>, detail::stored_t<Args>...>(
            [&] { return policy(core_, options, place); }, detail::unwrap(std::forward<Op>(op)),
            detail::unwrap(std::forward<Args>(args))...);
    }

    std::shared_ptr<detail::bulkhead_core> core_;
};

}  // namespace headgate

#endif
