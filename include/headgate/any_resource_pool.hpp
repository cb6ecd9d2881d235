// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_ANY_RESOURCE_POOL_HPP
#define HEADGATE_ANY_RESOURCE_POOL_HPP

#include <boost/asio/async_result.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <headgate/impl/initiation.hpp>
#include <headgate/impl/pool_core.hpp>
#include <headgate/pool_options.hpp>
#include <headgate/pool_snapshot.hpp>
#include <headgate/result.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// A pool of whatever resources: all that needs no knowledge of their type. A `resource_pool` is one, and lends.
///
/// A handle: copies refer to the same pool, which the zone owns. All members are thread-safe.
class any_resource_pool {
public:
    /// The pool named `name` in `owner`. Errors: `unknown_name`.
    [[nodiscard]] static result<any_resource_pool> find(const zone& owner, std::string_view name) {
        auto found = owner.core()->find(primitive_kind::resource_pool, name);
        if (!found) {
            return std::move(found).error();
        }
        return any_resource_pool(std::static_pointer_cast<detail::pool_core>(std::move(found).value()));
    }

    /// Changes the size under load: grows by connecting, shrinks by closing idle resources now and lent ones when they
    /// come back. Errors: `invalid_argument`.
    result<void> resize(std::uint32_t size, std::uint32_t max_overflow) { return core_->resize(size, max_overflow); }

    /// Takes other options under load, and keeps every resource, lease and waiter; as `resize` where the size changes.
    /// Lifetimes are drawn anew when `max_lifetime` changes. Errors: `invalid_argument`, with nothing changed.
    result<void> reconfigure(const pool_options& options) {
        BOOST_OUTCOME_TRYV(detail::accept(check(options)));
        core_->reconfigure(options);
        return headgate::success();
    }

    /// Lends nothing until `resume`. Callers wait, and returned resources stay open.
    void pause() { core_->pause(); }
    /// Lends again, first to the callers in the queue.
    void resume() { core_->resume(); }

    /// Refuses new callers with `shut_down`, serves those in the queue, closes returned resources, and completes when
    /// none is lent any more. After `limit` (`duration::max()`: never; not positive: at once) it gives
    /// `wait_timed_out`, whose detail says how many leases are left, and those who still wait get `shut_down`. The pool
    /// does not lend again.
    ///
    /// Signature: `void(result<void>)`. Errors: `wait_timed_out`; `canceled`, which ends only this wait; `shut_down`
    /// when the zone closes meanwhile.
    template <class Token = boost::asio::use_awaitable_t<>>
    auto drain(duration limit, Token&& token = {}) const {
        return boost::asio::async_initiate<Token, void(result<void>)>(
            [](auto handler, std::shared_ptr<detail::pool_core> pool, duration span) {
                using waiter = detail::waiter_operation<detail::pool_drain_waiter, decltype(handler)>;
                detail::pool_core& core = *pool;
                detail::initiate<result<void>>(
                    core.zone().executor(), std::move(handler), [&](decltype(handler)&& then) {
                        core.enqueue(waiter::create(core.zone_ptr(), std::move(then), std::move(pool)), span);
                    });
            },
            token, core_, limit);
    }

    /// What it is doing and has done.
    [[nodiscard]] pool_snapshot snapshot() const { return core_->look(); }
    /// The name that it was created with.
    [[nodiscard]] const std::string& name() const noexcept { return core_->name(); }

    /// For headgate's own layers.
    [[nodiscard]] const std::shared_ptr<detail::pool_core>& core() const noexcept { return core_; }

protected:
    /// Of the state behind it.
    explicit any_resource_pool(std::shared_ptr<detail::pool_core> core) noexcept : core_(std::move(core)) {}

private:
    std::shared_ptr<detail::pool_core> core_;
};

}  // namespace headgate

#endif
