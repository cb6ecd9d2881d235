// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_RESOURCE_POOL_HPP
#define HEADGATE_RESOURCE_POOL_HPP

#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <headgate/impl/call.hpp>
#include <headgate/impl/initiation.hpp>
#include <headgate/impl/pool_backend.hpp>
#include <headgate/impl/pool_core.hpp>
#include <headgate/operation.hpp>
#include <headgate/pool_options.hpp>
#include <headgate/pool_status.hpp>
#include <headgate/result.hpp>
#include <headgate/take.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// A resource that is lent: gives it back when it is destroyed, on any thread. Move-only; a moved-from lease is empty.
///
/// It stays valid when the pool's handles and its zone are gone, and closes its resource then. As everything in Asio,
/// a resource that belongs to an io_context must come back before that is destroyed.
template <class T>
class [[nodiscard]] lease {
public:
    lease() = default;
    /// Of a resource; made by the pool.
    lease(detail::pool_core* pool, T* value, detail::slot_index slot) noexcept
        : pool_(pool), value_(value), slot_(slot) {}
    /// Takes over what `other` holds.
    lease(lease&& other) noexcept
        : pool_(other.pool_), value_(std::exchange(other.value_, nullptr)), slot_(other.slot_) {}
    /// Gives back its own, and takes over what `other` holds.
    lease& operator=(lease&& other) noexcept {
        if (this != &other) {
            give_back(true);
            pool_ = other.pool_;
            value_ = std::exchange(other.value_, nullptr);
            slot_ = other.slot_;
        }
        return *this;
    }
    ~lease() { give_back(true); }

    /// Whether there is a resource.
    explicit operator bool() const noexcept { return value_ != nullptr; }

    /// The resource. Precondition: there is one.
    [[nodiscard]] T& operator*() const noexcept { return *value_; }
    /// Its members. Precondition: there is one.
    [[nodiscard]] T* operator->() const noexcept { return value_; }

    /// Gives the resource back now; the lease is empty afterwards.
    void reset() noexcept { give_back(true); }

    /// Throws the resource away: it is closed and replaced, and never lent again. The lease is empty afterwards.
    void discard() noexcept { give_back(false); }

private:
    void give_back(bool usable) noexcept {
        if (value_ != nullptr) {
            pool_->give_back(slot_, std::exchange(value_, nullptr), usable);
        }
    }

    detail::pool_core* pool_ = nullptr;
    T* value_ = nullptr;
    detail::slot_index slot_ = detail::no_slot;
};

/// How one checkout waits.
struct checkout_options {
    /// How long it waits at most; the pool's `checkout_timeout` when empty, `duration::max()` for no limit. Zero and
    /// less is no time left: it does not wait, `exhausted` at once.
    std::optional<duration> timeout{};
};

/// How one `with` waits and runs.
struct with_options {
    /// How long it waits for a resource; as `checkout_options::timeout`.
    std::optional<duration> checkout_timeout{};
    /// How long waiting and running may take together, `duration::max()` for no limit. Zero and less is no time left:
    /// nothing is checked out and nothing runs, `wait_timed_out` at once.
    duration timeout = duration::max();
    /// Whom a leak is blamed on.
    std::source_location where = std::source_location::current();
};

template <class T>
class resource_pool;

}  // namespace headgate

#include <headgate/impl/resource_pool.hpp>

namespace headgate {

namespace detail {

/// A `checkout` that may have to wait.
template <class T>
struct checkout_request {
    pool_core* from;
    duration timeout;
    lease_place place;
    time_point asked{};  ///< When it was decided that it waits.

    template <class Handler>
    void initiate(Handler handler) {
        using operation = waiter_operation<lease_waiter<T>, Handler>;
        // A token that starts later, such as deferred, begins to wait then.
        const time_point begin = asked == time_point{} ? from->zone().now() : asked;
        detail::initiate<result<lease<T>>>(from->zone().executor(), std::move(handler), [&](Handler&& then) {
            from->enqueue(operation::create(from->zone_ptr(), std::move(then), from->shared_from_this(), place),
                          timeout, begin);
        });
    }
};

}  // namespace detail

/// What `resource_pool::checkout` gives without a completion token; await it in the expression that makes it.
template <class T>
class [[nodiscard]] checkout_operation : public operation<checkout_operation<T>, result<lease<T>>> {
public:
    /// What `checkout` makes.
    checkout_operation(detail::pool_core& pool, duration timeout, const detail::lease_place& place) noexcept
        : request_{&pool, timeout, place} {}

    /// Of a checkout that was decided before, at `asked`: it waits.
    checkout_operation(detail::pool_core& pool, duration timeout, const detail::lease_place& place,
                       time_point asked) noexcept
        : request_{&pool, timeout, place, asked} {}

    /// In place: true when there is a resource, or a refusal.
    bool decide() noexcept {
        if (request_.asked != time_point{}) {
            return false;
        }
        lent_ = request_.from->take(request_.place, request_.timeout, refusal_);
        if (lent_ || refusal_.verdict != detail::pool_verdict::wait) {
            return true;
        }
        request_.asked = request_.from->zone().now();
        return false;
    }
    /// When it was decided that it waits.
    [[nodiscard]] time_point asked() const noexcept { return request_.asked; }
    /// The result, once `decide` was true.
    result<lease<T>> answer() && {
        if (lent_) {
            return detail::lease_of<T>(*request_.from, lent_);
        }
        return request_.from->to_error(refusal_);
    }

    /// What starts it, and what that refers to.
    [[nodiscard]] detail::checkout_request<T>& request() noexcept { return request_; }
    /// Keeps the pool.
    [[nodiscard]] std::shared_ptr<void> owner() const { return request_.from->shared_from_this(); }

private:
    detail::checkout_request<T> request_;
    detail::pool_lent lent_;
    detail::pool_refusal refusal_;
};

/// A pool of resources of one type, for example connections: keeps some open, lends them one at a time, makes more
/// under load, replaces what is broken, and queues who has to wait, first come, first served.
///
/// A handle: copies refer to the same pool, which the zone owns. All members are thread-safe.
///
/// The backend is an object with these members, of which only `connect` is required; `X` is `void`, `bool` or
/// `result<void>`, and false, an error, or an exception mean that the resource is not usable:
///
///     awaitable<T> connect();                 // or awaitable<result<T>>; throws or gives an error when it cannot
///     X reset(T&) or awaitable<X> reset(T&);  // on return; a plain one runs on the thread that returns the lease
///     awaitable<X> ping(T&);                  // of idle resources, each ping_interval
///     bool is_alive(T&);                      // at the loan of one that was idle for longer than 500 ms
///     void close(T) or awaitable<…> close(T); // destruction is what follows anyhow
///
/// A member of one of these names and another shape does not compile. All but a plain `reset` and `is_alive` run on the
/// zone's strand, never two of them for one resource at once. `is_alive` runs on the thread that checks out, or on the
/// strand; it is to be cheap, a poll of a socket for example. What it finds dead is closed and replaced, and the next
/// resource is tried.
///
/// A coroutine has a time limit: `connect` and `close` the `connect_timeout`, a `close` no more than `max_pool_close`,
/// 30 s; `ping` and `reset` the `ping_timeout`. Then it is cancelled (terminal) and its slot is free; the resource that
/// it was given is closed when it has ended. `connect`, `ping` and `reset` are cancelled when the zone closes, too. One
/// that ignores its cancellation for a second raises an `overrun` event, and no close waits for it any more. No user
/// code runs under a lock.
template <class T>
class resource_pool {
    static_assert(std::is_object_v<T> && !std::is_const_v<T> && std::is_nothrow_destructible_v<T>);

public:
    /// What is lent.
    using value_type = T;

    /// Makes a pool named `name` in `zone` and starts to connect.
    ///
    /// Errors: `invalid_argument`, whose detail says which option and what would be right; `name_taken`; `shut_down`.
    template <class Backend>
    [[nodiscard]] static result<resource_pool> create(const zone& z, std::string name, const pool_options& options,
                                                      Backend backend) {
        if (auto valid = validate(options); !valid) {
            return valid.error();
        }
        using core_type = detail::pool_of<T, Backend>;
        std::shared_ptr<detail::typed_pool<T>> core(
            new core_type(z.core(), std::move(name), options, std::move(backend)),
            [](detail::pool_core* c) { detail::pool_core::orphan(c); });
        if (auto added = z.core()->add(core); !added) {
            return added.error();
        }
        core->start();
        return resource_pool(std::move(core));
    }

    /// The pool named `name` in `zone`. Errors: `unknown_name`, also when its resources are of another type.
    [[nodiscard]] static result<resource_pool> find(const zone& z, std::string_view name) {
        auto found = z.core()->find(primitive_kind::resource_pool, name);
        if (!found) {
            return found.error();
        }
        auto core = std::dynamic_pointer_cast<detail::typed_pool<T>>(found.value());
        if (!core) {
            return error(errc::unknown_name, "resource_pool \"" + std::string(name) + "\" in zone \"" + z.name() +
                                                 "\" is there, but its resources are of another type");
        }
        return resource_pool(std::move(core));
    }

    /// Lends a free resource, now. Never waits, never passes those who wait.
    ///
    /// Errors: `exhausted`; `connect_failed` with the cause while no resource lives and the backend refuses, with
    /// `retry_after` the time to the next attempt; `shut_down`. Does not allocate.
    [[nodiscard]] result<lease<T>> try_checkout(std::source_location where = std::source_location::current()) const {
        detail::pool_refusal why;
        if (const detail::pool_lent lent = core_->take(where, duration::zero(), why)) [[likely]] {
            return detail::lease_of<T>(*core_, lent);
        }
        return core_->to_error(why);
    }

    /// Lends a free resource, or waits for one in a FIFO queue: `co_await pool.checkout()`.
    ///
    /// Completes with `result<lease<T>>`: at once when a resource is free or the refusal is known, without allocation.
    /// Terminal, partial and total cancellation all leave the queue with `canceled`; a resource that was handed over at
    /// the same moment goes to the next waiter. A connect begun for a waiter goes on.
    ///
    /// Errors: those of `try_checkout`, where `exhausted` is only for a timeout that is not positive; `queue_full`;
    /// `wait_timed_out`; `canceled`; `out_of_memory`, when there is none to wait with.
    checkout_operation<T> checkout(std::source_location where = std::source_location::current()) const {
        return {*core_, core_->checkout_timeout(), where};
    }
    /// The same with options.
    checkout_operation<T> checkout(const checkout_options& options,
                                   std::source_location where = std::source_location::current()) const {
        return {*core_, options.timeout.value_or(core_->checkout_timeout()), where};
    }

    /// The same with a completion token. Signature: `void(result<lease<T>>)`. Completes on the token's associated
    /// executor, by default the io_context's, never inside this call, unless there is no memory to post an
    /// `out_of_memory`.
    template <class Token>
    auto checkout(const checkout_options& options, Token&& token,
                  std::source_location where = std::source_location::current()) const {
        return checkout(options, where).start(std::forward<Token>(token));
    }
    /// The same with a completion token and without options.
    template <class Token>
        requires(!std::convertible_to<Token, checkout_options> && !std::convertible_to<Token, std::source_location>)
    auto checkout(Token&& token, std::source_location where = std::source_location::current()) const {
        return checkout(where).start(std::forward<Token>(token));
    }

    /// Checks out, runs `op(resource, args...)` or `op(call_context, resource, args...)`, and gives the resource back.
    ///
    /// `op` returns `awaitable<result<U>>`, `awaitable<U>` or `awaitable<void>`; this gives the awaitable of
    /// `result<U>`. `op` and `args` are stored by value; see `take` for what some compilers refuse. An exception
    /// becomes `operation_failed` with the exception as cause, and the resource is returned. With a `timeout`, the
    /// operation is cancelled when it has passed, and the result is `timed_out`; a resource whose operation timed out,
    /// was cancelled (by whatever name, see `is_canceled`), or never ended is in doubt and closed.
    ///
    /// Cancelling the awaiting coroutine, with any of the three types, leaves the queue, and reaches whatever the
    /// operation waits for as the type that it is; in the form that takes a `call_context`, what is bound to its slot
    /// as well. An operation with a timeout or a `call_context` runs on one serial executor: see `with_timeout`.
    ///
    /// A lease that it holds past `leak_threshold` is blamed on the type of `op`, which for a closure names the
    /// function that it stands in; `with_options` names the place of the call.
    ///
    /// Errors: those of `checkout`, `timed_out`, `operation_failed`, and what `op` gives.
    template <class Op, class... Args>
        requires(!std::same_as<std::remove_cvref_t<Op>, with_options>)
    [[nodiscard]] auto with(Op&& op, Args&&... args) const {
        return run_with({}, detail::lease_place({}, typeid(Op)), std::forward<Op>(op), std::forward<Args>(args)...);
    }
    /// The same with options.
    template <class Op, class... Args>
    [[nodiscard]] auto with(with_options options, Op&& op, Args&&... args) const {
        return run_with(options, options.where, std::forward<Op>(op), std::forward<Args>(args)...);
    }

    /// `with`, started with a completion token. Signature: `void(result<U>)`.
    template <class Token, class Op, class... Args>
    auto async_with(Token&& token, with_options options, Op&& op, Args&&... args) const {
        return detail::start_call(core_->zone_ptr(), std::forward<Token>(token),
                                  with(options, std::forward<Op>(op), std::forward<Args>(args)...));
    }

    /// Changes the size under load: grows by connecting, shrinks by closing idle resources now and lent ones when they
    /// come back. Errors: `invalid_argument`.
    result<void> resize(std::uint32_t size, std::uint32_t max_overflow) { return core_->resize(size, max_overflow); }

    /// Takes other options under load, and keeps every resource, lease and waiter; as `resize` where the size changes.
    /// Lifetimes are drawn anew when `max_lifetime` changes. Errors: `invalid_argument`, with nothing changed.
    result<void> reconfigure(const pool_options& options) {
        if (auto valid = validate(options); !valid) {
            return valid;
        }
        core_->reconfigure(options);
        return headgate::success();
    }

    /// Lends nothing until `resume`; who asks waits, and what comes back stays.
    void pause() { core_->pause(); }
    /// Lends again, first to those who wait.
    void resume() { core_->resume(); }

    /// Refuses newcomers with `shut_down`, serves those who wait, closes what comes back, and completes when nothing is
    /// lent any more. After `limit` (`duration::max()`: never; not positive: at once) it gives `wait_timed_out`, whose
    /// detail says how many leases are left, and those who still wait get `shut_down`. The pool does not lend again.
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

    /// The counts of this moment.
    [[nodiscard]] pool_status status() const { return core_->status(); }
    /// The name that it was created with.
    [[nodiscard]] const std::string& name() const noexcept { return core_->name(); }

    /// For the guard: the state behind the handle.
    [[nodiscard]] const std::shared_ptr<detail::pool_core>& core() const noexcept { return core_; }

private:
    explicit resource_pool(std::shared_ptr<detail::pool_core> core) noexcept : core_(std::move(core)) {}

    template <class Op, class... Args>
    auto run_with(const with_options& options, const detail::lease_place& place, Op&& op, Args&&... args) const {
        detail::check_temporaries<Op, Args...>();
        using policy = detail::lender_policy<detail::pool_lender<T>>;
        return detail::policy_call<policy, detail::stored_t<Op>, detail::stored_t<Args>...>(
            [&] { return policy(core_, options, place); }, detail::unwrap(std::forward<Op>(op)),
            detail::unwrap(std::forward<Args>(args))...);
    }

    std::shared_ptr<detail::pool_core> core_;
};

}  // namespace headgate

#endif
