// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_RESOURCE_POOL_HPP
#define HEADGATE_IMPL_RESOURCE_POOL_HPP

// The typed half of the pool; headgate/resource_pool.hpp includes it after the declarations that it needs.

#if defined(__GNUC__) && !defined(__clang__)
// g++ takes the coroutine frames of a caller's closures and local types for types of this header, and warns.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif

namespace headgate {

template <class T>
class checkout_operation;

namespace detail {

/// The resources of a pool have this type; what `find` looks for.
template <class T>
class typed_pool : public pool_core {
public:
    using pool_core::pool_core;

protected:
    ~typed_pool() override = default;
};

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

template <class T, class Backend>
class pool_of final : public typed_pool<T> {
    using shape = backend_shape<Backend, T>;

public:
    pool_of(std::shared_ptr<zone_core> zone, std::string name, const pool_options& options, Backend backend)
        : typed_pool<T>(std::move(zone), std::move(name), options),
          backend_(std::make_shared<Backend>(std::move(backend))) {
        if constexpr (shape::resets) {
            this->set_reset(shape::resets_on_strand ? pool_core::reset_kind::on_strand : pool_core::reset_kind::now);
        }
        if constexpr (shape::asks) {
            this->set_asks();
        }
    }
    ~pool_of() override { this->destroy_resources(); }

private:
    // What follows from the end of a coroutine of the backend, in time and late.

    struct connecting {
        std::shared_ptr<pool_of> pool;
        slot_index slot;

        void end(result<T> r) noexcept {
            std::exception_ptr cause;
            if (r) {
                try {
                    pool->connected(slot, new T(std::move(r).value()));
                    return;
                } catch (...) {
                    cause = std::current_exception();
                }
            } else {
                cause = cause_of(r.error());
            }
            pool->connect_failed(slot, std::move(cause));
        }
        void give_up() noexcept { pool->connect_failed(slot, cause_of(error(errc::timed_out))); }
        void late(result<T> r) noexcept {
            if (r) {
                try {
                    pool->close_resource(new T(std::move(r).value()));
                } catch (...) {  // NOLINT(bugprone-empty-catch): destroyed all the same
                }
            }
        }
    };
    struct pinging {
        std::shared_ptr<pool_of> pool;
        slot_index slot;
        void* resource;

        void end(const auto& r) noexcept { pool->pinged(slot, usable(r)); }
        void give_up() noexcept { pool->overdue(slot); }
        void late(const auto&) noexcept { pool->close_resource(resource); }
    };
    struct resetting {
        std::shared_ptr<pool_of> pool;
        slot_index slot;
        void* resource;

        void end(const auto& r) noexcept { pool->settle_return(slot, usable(r)); }
        void give_up() noexcept { pool->overdue(slot); }
        void late(const auto&) noexcept { pool->close_resource(resource); }
    };
    /// The coroutine has the resource, and nothing else depends on it.
    struct closing {
        void end(const auto&) noexcept {}
        void give_up() noexcept {}
        void late(const auto&) noexcept {}
    };

    [[nodiscard]] std::shared_ptr<pool_of> self() {
        return std::static_pointer_cast<pool_of>(this->shared_from_this());
    }
    static backend_member member(backend_member::which which) noexcept { return {which, &typeid(Backend)}; }

    template <class V, class Call, class Flow>
    void run_member(backend_member::which which, const Call& call, duration limit, Flow flow) noexcept {
        run_pool_task<V>(
            this->zone(), [&] { return call_backend(backend_, call); }, limit, std::move(flow),
            this->shared_from_this(), this->zone_ptr(), this->name(), member(which));
    }

    void start_connect(slot_index i) noexcept override {
        run_member<T>(
            backend_member::connect, [](Backend& b) { return b.connect(); }, this->options().connect_timeout,
            connecting{self(), i});
    }

    void start_ping(slot_index i, void* resource) noexcept override {
        if constexpr (shape::pings) {
            const auto ping = [r = static_cast<T*>(resource)](Backend& b) { return b.ping(*r); };
            using value = typename awaitable_traits<decltype(ping(*backend_))>::result_type::value_type;
            run_member<value>(backend_member::ping, ping, this->options().ping_timeout, pinging{self(), i, resource});
        } else {
            this->pinged(i, true);
        }
    }

    void start_reset(slot_index i, void* resource) noexcept override {
        if constexpr (shape::resets_on_strand) {
            const auto reset = [r = static_cast<T*>(resource)](Backend& b) { return b.reset(*r); };
            using value = typename awaitable_traits<decltype(reset(*backend_))>::result_type::value_type;
            run_member<value>(backend_member::reset, reset, this->options().ping_timeout,
                              resetting{self(), i, resource});
        } else {
            this->settle_return(i, this->reset_now(resource));
        }
    }

    bool reset_now([[maybe_unused]] void* resource) noexcept override {
        if constexpr (shape::resets && !shape::resets_on_strand) {
            try {
                T& r = *static_cast<T*>(resource);
                using gives = decltype(backend_->reset(r));
                if constexpr (std::is_void_v<gives>) {
                    backend_->reset(r);
                    return true;
                } else if constexpr (is_result_v<gives>) {
                    return backend_->reset(r).has_value();
                } else {
                    return backend_->reset(r);
                }
            } catch (...) {
                return false;
            }
        } else {
            return true;
        }
    }

    bool is_alive_now([[maybe_unused]] void* resource) noexcept override {
        if constexpr (shape::asks) {
            try {
                return backend_->is_alive(*static_cast<T*>(resource));
            } catch (...) {
                return false;
            }
        } else {
            return true;
        }
    }

    void close_resource(void* resource) noexcept override {
        std::unique_ptr<T> owned(static_cast<T*>(resource));
        try {
            const duration limit = std::min(this->options().connect_timeout, max_pool_close);
            this->zone().post([zone = this->zone_ptr(), name = this->name(), limit, backend = backend_,
                               owned = std::move(owned), count = counted_operation(this->zone_ptr())]() mutable {
                close_on_strand(zone, std::move(name), limit, backend, *owned);
            });
        } catch (...) {  // NOLINT(bugprone-empty-catch): without memory it is only destroyed
        }
    }

    static void close_on_strand([[maybe_unused]] const std::shared_ptr<zone_core>& zone,
                                [[maybe_unused]] std::string name, [[maybe_unused]] duration limit,
                                [[maybe_unused]] const std::shared_ptr<Backend>& backend,
                                [[maybe_unused]] T& resource) noexcept {
        if constexpr (shape::closes_on_strand) {
            run_pool_task<void>(
                *zone, [&] { return call_close(backend, std::move(resource)); }, limit, closing{}, nullptr, zone,
                std::move(name), member(backend_member::close));
        } else if constexpr (shape::closes) {
            try {
                backend->close(std::move(resource));
            } catch (...) {  // NOLINT(bugprone-empty-catch): a resource that cannot be closed is destroyed all the same
            }
        }
    }

    void destroy_resource(void* resource) noexcept override { delete static_cast<T*>(resource); }

    std::shared_ptr<Backend> backend_;
};

/// Whether an operation ended midway, so that what it left behind cannot be known: cancelled or timed out, by whatever
/// name, as a result or as an exception.
[[nodiscard]] HEADGATE_DECL bool ended_midway(const error& e) noexcept;

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
    static void discard(lease& l) noexcept { l.discard(); }
};

/// What `with` puts around an operation.
template <class Lender>
class lender_policy {
    using core_type = typename Lender::core;
    using operation = typename Lender::operation;
    using lease_type = typename Lender::lease;

public:
    lender_policy(const std::shared_ptr<core_type>& from, const with_options& options, const lease_place& place)
        : from_(from),
          place_(place),
          wait_(options.checkout_timeout.value_or(from->checkout_timeout())),
          timeout_(options.timeout) {}

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
            lease_.reset();
            refusal.emplace(errc::canceled);
        } else if (lease_ && until_ != time_point::max() && zone().now() >= until_) {
            lease_.reset();
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
        r ? lease_.reset() : settle(r.error());
    }
    void settle(const error& e) noexcept { ended_midway(e) ? Lender::discard(lease_) : lease_.reset(); }
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

}  // namespace detail
}  // namespace headgate

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
