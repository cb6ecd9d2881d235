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

struct bulkhead_place;

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

/// A task that ends with a `result<V>`; the first end counts.
template <class V, class Done>
class pool_task_of final : public pool_task_run {
public:
    pool_task_of(std::shared_ptr<pool_core> pool, Done done) : pool_task_run(std::move(pool)), done_(std::move(done)) {}
    ~pool_task_of() override {
        if (end()) {
            done_(result<V>(errc::canceled));
        }
    }

    /// False: it was ended before, and `r` is still there.
    bool finish(result<V>& r) {
        if (!end()) {
            return false;
        }
        done_(std::move(r));
        return true;
    }

private:
    void timed_out() noexcept override { done_(result<V>(errc::timed_out)); }

    Done done_;
};

/// Runs `body` on the strand. `done` is called once, with its result, `timed_out` after `limit`, or `canceled`; `late`
/// with a result that came after that.
template <class V, class Executor, class Done, class Late>
void run_pool_task(const std::shared_ptr<pool_core>& pool, boost::asio::awaitable<result<V>, Executor> body,
                   duration limit, Done done, Late late) {
    const auto task = std::make_shared<pool_task_of<V, Done>>(pool, std::move(done));
    if (limit > duration::zero()) {
        task->limit(limit);
    }
    spawn(*pool->zone().strand(), std::move(body),
          boost::asio::bind_cancellation_slot(
              task->slot(),
              [task, late = std::move(late), count = counted_operation(pool->zone_ptr())](result<V> r) mutable {
                  if (!task->finish(r)) {
                      late(std::move(r));
                  }
              }));
}

inline bool usable(const result<void>& r) noexcept {
    return r.has_value();
}
inline bool usable(const result<bool>& r) noexcept {
    return r.has_value() && r.value();
}

template <class X>
inline constexpr bool is_awaitable_v = false;
template <class X, class Executor>
inline constexpr bool is_awaitable_v<boost::asio::awaitable<X, Executor>> = true;

/// Calls a member of the backend inside a coroutine, so that whatever it throws becomes an error.
template <class Backend, class Call>
auto call_backend(std::shared_ptr<Backend> backend, Call call)
    -> boost::asio::awaitable<typename awaitable_traits<decltype(call(*backend))>::result_type,
                              typename awaitable_traits<decltype(call(*backend))>::executor_type> {
    co_return co_await as_result(call(*backend));
}

template <class Backend, class T>
auto call_close(std::shared_ptr<Backend> backend, T resource)
    -> boost::asio::awaitable<void,
                              typename awaitable_traits<decltype(backend->close(std::move(resource)))>::executor_type> {
    (void)co_await as_result(backend->close(std::move(resource)));
}

template <class T, class Backend>
class pool_of final : public typed_pool<T> {
    static constexpr bool has_reset = requires(Backend& b, T& r) { b.reset(r); };
    static constexpr bool has_ping = requires(Backend& b, T& r) { b.ping(r); };
    static constexpr bool has_close = requires(Backend& b, T& r) { b.close(std::move(r)); };

    static_assert(
        requires(Backend& b) { b.connect(); },
        "headgate: the backend has no connect(); it must return awaitable<T> or awaitable<result<T>>");
    static_assert(is_awaitable_v<decltype(std::declval<Backend&>().connect())>,
                  "headgate: the backend's connect() must return awaitable<T> or awaitable<result<T>>");
    static_assert(
        std::is_same_v<typename awaitable_traits<decltype(std::declval<Backend&>().connect())>::result_type, result<T>>,
        "headgate: the backend's connect() gives another type than the pool holds");

public:
    pool_of(std::shared_ptr<zone_core> zone, std::string name, const pool_options& options, Backend backend)
        : typed_pool<T>(std::move(zone), std::move(name), options),
          backend_(std::make_shared<Backend>(std::move(backend))) {
        if constexpr (has_reset) {
            this->set_reset(is_awaitable_v<reset_type> ? pool_core::reset_kind::on_strand : pool_core::reset_kind::now);
        }
    }
    ~pool_of() override { this->destroy_resources(); }

private:
    static constexpr auto reset_gives() {
        if constexpr (has_reset) {
            return std::type_identity<decltype(std::declval<Backend&>().reset(std::declval<T&>()))>{};
        } else {
            return std::type_identity<void>{};
        }
    }
    using reset_type = typename decltype(reset_gives())::type;

    [[nodiscard]] std::shared_ptr<pool_of> self() {
        return std::static_pointer_cast<pool_of>(this->shared_from_this());
    }

    void start_connect(slot_index i) override {
        run_pool_task<T>(
            this->shared_from_this(), call_backend(backend_, [](Backend& b) { return b.connect(); }),
            this->options().connect_timeout,
            [this, i](result<T> r) {
                if (r) {
                    this->connected(i, new T(std::move(r).value()));
                } else {
                    this->connect_failed(
                        i, r.error().cause ? r.error().cause : std::make_exception_ptr(system_error(r.error())));
                }
            },
            [self = self()](result<T> r) {
                if (r) {
                    self->close_resource(new T(std::move(r).value()));
                }
            });
    }

    void start_ping(slot_index i, void* resource) override {
        if constexpr (has_ping) {
            run_pool_task(
                this->shared_from_this(),
                call_backend(backend_, [r = static_cast<T*>(resource)](Backend& b) { return b.ping(*r); }),
                this->options().ping_timeout, [this, i](const auto& r) { this->pinged(i, usable(r)); },
                [](const auto&) {});
        } else {
            this->pinged(i, true);
        }
    }

    bool reset_now([[maybe_unused]] void* resource) noexcept override {
        if constexpr (has_reset && !is_awaitable_v<reset_type>) {
            try {
                T& r = *static_cast<T*>(resource);
                if constexpr (std::is_void_v<reset_type>) {
                    backend_->reset(r);
                    return true;
                } else if constexpr (is_result_v<reset_type>) {
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

    void start_reset([[maybe_unused]] slot_index i, [[maybe_unused]] void* resource) override {
        if constexpr (is_awaitable_v<reset_type>) {
            run_pool_task(
                this->shared_from_this(),
                call_backend(backend_, [r = static_cast<T*>(resource)](Backend& b) { return b.reset(*r); }),
                this->options().ping_timeout, [this, i](const auto& r) { this->settle_return(i, usable(r)); },
                [](const auto&) {});
        }
    }

    void close_resource(void* resource) noexcept override {
        std::unique_ptr<T> owned(static_cast<T*>(resource));
        auto zone = this->zone_ptr();
        counted_operation count(zone);
        zone_core& z = *zone;
        z.post([zone = std::move(zone), backend = backend_, owned = std::move(owned),
                count = std::move(count)]() mutable { close_on_strand(*zone, backend, *owned, std::move(count)); });
    }

    static void close_on_strand(zone_core& zone, const std::shared_ptr<Backend>& backend, T& resource,
                                counted_operation count) {
        if constexpr (has_close) {
            using close_type = decltype(backend->close(std::move(resource)));
            try {
                if constexpr (is_awaitable_v<close_type>) {
                    boost::asio::co_spawn(*zone.strand(), call_close(backend, std::move(resource)),
                                          [count = std::move(count)](
                                              const std::exception_ptr&) { /* it is closed, one way or another */ });
                } else {
                    backend->close(std::move(resource));
                }
            } catch (...) {  // NOLINT(bugprone-empty-catch): a resource that cannot be closed is destroyed all the same
            }
        }
    }

    void destroy_resource(void* resource) noexcept override { delete static_cast<T*>(resource); }

    std::shared_ptr<Backend> backend_;
};

/// Whether an operation ended midway, so that what it left behind cannot be known.
inline bool ended_midway(const error& e) noexcept {
    return e == errc::timed_out || e == errc::canceled;
}

/// What `resource_pool::with` puts around an operation.
template <class T>
class pool_policy {
public:
    pool_policy(const std::shared_ptr<pool_core>& pool, const with_options& options, const lease_place& place)
        : pool_(pool),
          place_(place),
          wait_(options.checkout_timeout.value_or(pool->checkout_timeout())),
          timeout_(options.timeout) {}

    admission admit(std::optional<error>& refusal) {
        if (timeout_ > duration::zero()) {
            until_ = saturating_add(pool_->zone().now(), timeout_);
            wait_ = std::min(wait_, timeout_);
        }
        checkout_operation<T> checkout(*pool_, wait_, place_);
        if (!checkout.decide()) {
            return admission::wait;
        }
        return take(std::move(checkout).answer(), refusal) ? admission::run : admission::refused;
    }

    template <class Executor>
    boost::asio::awaitable<std::optional<error>, Executor> wait() {
        std::optional<error> refusal;
        checkout_operation<T> checkout(*pool_, wait_, place_);
        take(co_await std::move(checkout), refusal);
        co_return refusal;
    }

    [[nodiscard]] auto leading() const noexcept {
        if constexpr (std::is_same_v<T, bulkhead_place>) {
            return std::tuple<>();  // there is nothing to a place
        } else {
            return std::tuple<T&>(*lease_);
        }
    }
    [[nodiscard]] time_point until() const noexcept { return until_; }
    [[nodiscard]] zone_core& zone() const noexcept { return pool_->zone(); }
    [[nodiscard]] call_owner owner() const noexcept { return {pool_->kind(), &pool_->name()}; }

    template <class V>
    void settle(const result<V>& r) noexcept {
        r ? lease_.reset() : settle(r.error());
    }
    void settle(const error& e) noexcept { ended_midway(e) ? lease_.discard() : lease_.reset(); }
    void drop() noexcept { lease_.discard(); }

private:
    bool take(result<lease<T>> lent, std::optional<error>& refusal) {
        if (lent) {
            lease_ = std::move(lent).value();
        } else {
            refusal.emplace(std::move(lent).error());
        }
        return static_cast<bool>(lease_);
    }

    std::shared_ptr<pool_core> pool_;
    lease_place place_;
    duration wait_;
    duration timeout_;
    time_point until_ = time_point::max();
    lease<T> lease_;
};

}  // namespace detail
}  // namespace headgate

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
