// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_BULKHEAD_HPP
#define HEADGATE_BULKHEAD_HPP

#include <concepts>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <headgate/bulkhead_options.hpp>
#include <headgate/bulkhead_permit.hpp>
#include <headgate/impl/bulkhead_core.hpp>
#include <headgate/impl/call.hpp>
#include <headgate/impl/enter_operation.hpp>
#include <headgate/impl/lender_policy.hpp>
#include <headgate/result.hpp>
#include <headgate/wait_options.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// Limits how many calls run at once. Further callers wait in a FIFO queue.
///
/// A handle: copies refer to the same bulkhead, which the zone owns. All members are thread-safe.
///
/// ```cpp
/// // example: bulkhead
/// #include <headgate/headgate.hpp>
/// #include <cassert>
///
///
/// int main() {
///     boost::asio::io_context io;
///     headgate::zone zone(io, "shop");
///     auto reports = headgate::bulkhead::create(zone, "reports", {.max_concurrent = 1}).value();
///
///     auto running = reports.try_enter();  // co_await reports.enter() would wait for a place
///     assert(running);
///     assert(reports.try_enter().error() == headgate::errc::exhausted);
///     running.value().give_back();  // or at the end of its scope
///     assert(reports.try_enter());
/// }
/// ```
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
        time_point began{};
        if (core_->take(duration::zero(), why, began)) [[likely]] {
            return bulkhead_permit(core_.get(), began);
        }
        return detail::code_of(why);
    }

    /// Takes a place, or waits for one: `co_await bulkhead.enter()`. Completion and cancellation are those of
    /// `resource_pool::checkout`. Errors: `exhausted` for a timeout that is not positive; `queue_full`;
    /// `wait_timed_out`; `canceled`; `shut_down`.
    enter_operation enter() const noexcept { return {*core_, core_->max_wait()}; }
    /// The same with options.
    enter_operation enter(const wait_options& options) const noexcept {
        return {*core_, options.max_wait.value_or(core_->max_wait())};
    }
    /// The same with a completion token. Signature: `void(result<bulkhead_permit>)`.
    template <class Token>
    auto enter(const wait_options& options, Token&& token) const {
        return enter(options).start(std::forward<Token>(token));
    }
    /// The same with a completion token and without options.
    template <class Token>
        requires(!std::convertible_to<Token, wait_options>)
    auto enter(Token&& token) const {
        return enter().start(std::forward<Token>(token));
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

    /// `with` with a completion token, which comes first. Signature: `void(result<U>)`.
    template <class Token, class... Call>
    auto async_with(Token&& token, Call&&... call) const {
        return detail::start_call(core_->zone_ptr(), std::forward<Token>(token), with(std::forward<Call>(call)...));
    }
    /// The same with options in braces.
    template <class Token, class Op, class... Args>
    auto async_with(Token&& token, const with_options& options, Op&& op, Args&&... args) const {
        return detail::start_call(core_->zone_ptr(), std::forward<Token>(token),
                                  with(options, std::forward<Op>(op), std::forward<Args>(args)...));
    }

    /// Changes how many may run at once, under load: more are let in now, or fewer as those that run end. An adaptive
    /// limit ends with that. Errors: `invalid_argument`.
    result<void> resize(std::uint32_t max_concurrent) {
        BOOST_OUTCOME_TRYV(detail::accept(check(bulkhead_options{.max_concurrent = max_concurrent})));
        core_->resize(max_concurrent);
        return headgate::success();
    }

    /// Takes other options under load; calls that run or wait go on. Errors: `invalid_argument`, with nothing changed.
    result<void> reconfigure(const bulkhead_options& options) {
        BOOST_OUTCOME_TRYV(detail::accept(check(options)));
        core_->reconfigure(options);
        return headgate::success();
    }

    /// What it is doing and has done.
    [[nodiscard]] bulkhead_snapshot snapshot() const { return core_->look(); }
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
