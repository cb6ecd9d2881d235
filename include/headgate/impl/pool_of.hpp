// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_POOL_OF_HPP
#define HEADGATE_IMPL_POOL_OF_HPP

#include <boost/asio/awaitable.hpp>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include <headgate/impl/pool_backend.hpp>
#include <headgate/impl/pool_core.hpp>
#include <headgate/pool_options.hpp>
#include <headgate/result.hpp>

#if defined(__GNUC__) && !defined(__clang__)
// g++ takes the coroutine frames of a caller's closures and local types for types of this header, and warns.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsubobject-linkage"
#endif

namespace headgate::detail {

/// The resources of a pool have this type; what `find` looks for.
template <class T>
class typed_pool : public pool_core {
public:
    using pool_core::pool_core;

protected:
    ~typed_pool() override = default;
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

}  // namespace headgate::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
