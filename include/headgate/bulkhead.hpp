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
#include <headgate/impl/pool_core.hpp>
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
    /// How long a caller waits unless it says otherwise. Zero: not at all, `exhausted` at once.
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

namespace detail {

/// A place in a bulkhead; there is nothing to it.
struct bulkhead_place {};

/// A pool of places: it has the pool's queue, and nothing to connect or to close.
class HEADGATE_DECL bulkhead_core final : public pool_core {
public:
    static result<std::shared_ptr<bulkhead_core>> create(const std::shared_ptr<zone_core>& zone, std::string name,
                                                         const bulkhead_options& options);

    /// The pool that it is.
    static pool_options places(const bulkhead_options& options) noexcept;
    [[nodiscard]] primitive_snapshot snapshot() const override;

private:
    using pool_core::pool_core;
    ~bulkhead_core() override = default;

    void start_connect(slot_index i) override;
    void start_ping(slot_index i, void* resource) override;
    bool reset_now(void* resource) noexcept override;
    void start_reset(slot_index i, void* resource) override;
    void close_resource(void* resource) noexcept override;
    void destroy_resource(void* resource) noexcept override;
};

}  // namespace detail

/// A bulkhead's yes: gives the place back when it is destroyed. Move-only, as every `lease`.
using bulkhead_permit = lease<detail::bulkhead_place>;

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

    /// Takes a place now, without waiting and without passing those who wait. Errors: `exhausted`, `shut_down`.
    [[nodiscard]] result<bulkhead_permit> try_enter(
        std::source_location where = std::source_location::current()) const {
        if (const detail::pool_lent lent = core_->take(where)) [[likely]] {
            return detail::lease_of<detail::bulkhead_place>(*core_, lent);
        }
        return core_->to_error(core_->refuse());
    }

    /// Takes a place, or waits for one: `co_await bulkhead.enter()`. Errors, cancellation and completion are those of
    /// `resource_pool::checkout`.
    checkout_operation<detail::bulkhead_place> enter(
        std::source_location where = std::source_location::current()) const {
        return {*core_, core_->checkout_timeout(), where};
    }
    /// The same with options.
    checkout_operation<detail::bulkhead_place> enter(
        const checkout_options& options, std::source_location where = std::source_location::current()) const {
        return {*core_, options.timeout.value_or(core_->checkout_timeout()), where};
    }
    /// The same with a completion token. Signature: `void(result<bulkhead_permit>)`.
    template <class Token>
    auto enter(const checkout_options& options, Token&& token,
               std::source_location where = std::source_location::current()) const {
        return enter(options, where).start(std::forward<Token>(token));
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
        return core_->resize(max_concurrent, 0);
    }

    /// Takes other options under load; calls that run or wait go on. Errors: `invalid_argument`, with nothing changed.
    result<void> reconfigure(const bulkhead_options& options) {
        BOOST_OUTCOME_TRYV(validate(options));
        core_->reconfigure(detail::bulkhead_core::places(options));
        return headgate::success();
    }

    /// The counts of this moment.
    [[nodiscard]] bulkhead_status status() const {
        const pool_status s = core_->status();
        return {s.size, s.leased, s.waiting};
    }
    /// The name that it was created with.
    [[nodiscard]] const std::string& name() const noexcept { return core_->name(); }

    /// For headgate's own layers.
    [[nodiscard]] const std::shared_ptr<detail::bulkhead_core>& core() const noexcept { return core_; }

private:
    explicit bulkhead(std::shared_ptr<detail::bulkhead_core> core) noexcept : core_(std::move(core)) {}

    template <class Op, class... Args>
    auto run_with(const with_options& options, const detail::lease_place& place, Op&& op, Args&&... args) const {
        detail::check_temporaries<Op, Args...>();
        using policy = detail::pool_policy<detail::bulkhead_place>;
        return detail::policy_call<policy, detail::stored_t<Op>, detail::stored_t<Args>...>(
            [&] { return policy(core_, options, place); }, detail::unwrap(std::forward<Op>(op)),
            detail::unwrap(std::forward<Args>(args))...);
    }

    std::shared_ptr<detail::bulkhead_core> core_;
};

}  // namespace headgate

#endif
