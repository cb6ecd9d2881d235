// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_RESOURCE_POOL_HPP
#define HEADGATE_RESOURCE_POOL_HPP

#include <concepts>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <headgate/any_resource_pool.hpp>
#include <headgate/impl/call.hpp>
#include <headgate/impl/checkout_operation.hpp>
#include <headgate/impl/lender_policy.hpp>
#include <headgate/impl/pool_of.hpp>
#include <headgate/lease.hpp>
#include <headgate/pool_options.hpp>
#include <headgate/result.hpp>
#include <headgate/take.hpp>
#include <headgate/wait_options.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// A pool of resources of one type, for example connections: keeps some open, lends them one at a time, makes more
/// under load, replaces what is broken, and queues further callers, first come, first served.
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
///
/// ```cpp
/// // example: resource_pool
/// #include <headgate/headgate.hpp>
/// #include <boost/asio/detached.hpp>
/// #include <cassert>
///
///
/// struct connection {
///     int queries = 0;
/// };
/// struct database {
///     boost::asio::awaitable<connection> connect() { co_return connection{}; }
/// };
///
/// int main() {
///     boost::asio::io_context io;
///     headgate::zone zone(io, "shop");
///     auto pool = headgate::resource_pool<connection>::create(zone, "database", {.size = 2}, database{}).value();
///
///     auto work = [pool, &zone]() mutable -> boost::asio::awaitable<void> {
///         auto lease = co_await pool.checkout({.max_wait = std::chrono::seconds{1}});
///         assert(lease);
///         ++lease.value()->queries;
///         lease.value().give_back();  // or at the end of its scope
///         (void)co_await zone.close(boost::asio::use_awaitable);
///     };
///     boost::asio::co_spawn(io, work, boost::asio::detached);
///     io.run();
/// }
/// ```
template <class T>
class resource_pool : public any_resource_pool {
    static_assert(std::is_object_v<T> && !std::is_const_v<T> && std::is_nothrow_destructible_v<T>);

public:
    /// What is lent.
    using value_type = T;

    /// Makes a pool named `name` in `owner` and starts to connect.
    ///
    /// Errors: `invalid_argument`, whose detail says which option and what would be right; `name_taken`; `shut_down`.
    template <class Backend>
    [[nodiscard]] static result<resource_pool> create(const zone& owner, std::string name, const pool_options& options,
                                                      Backend backend) {
        BOOST_OUTCOME_TRYV(detail::accept(check(options)));
        using core_type = detail::pool_of<T, Backend>;
        std::shared_ptr<detail::typed_pool<T>> core(
            new core_type(owner.core(), std::move(name), options, std::move(backend)),
            [](detail::pool_core* c) { detail::pool_core::orphan(c); });
        if (auto added = owner.core()->add(core); !added) {
            return added.error();
        }
        core->start();
        return resource_pool(std::move(core));
    }

    /// The pool named `name` in `owner`. Errors: `unknown_name`, also when its resources are of another type.
    [[nodiscard]] static result<resource_pool> find(const zone& owner, std::string_view name) {
        auto found = owner.core()->find(primitive_kind::resource_pool, name);
        if (!found) {
            return found.error();
        }
        auto core = std::dynamic_pointer_cast<detail::typed_pool<T>>(found.value());
        if (!core) {
            return error(errc::unknown_name, "resource_pool \"" + std::string(name) + "\" in zone \"" + owner.name() +
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
        if (const detail::pool_lent lent = core()->take(where, duration::zero(), why)) [[likely]] {
            return detail::lease_of<T>(*core(), lent);
        }
        return core()->to_error(why);
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
        return {*core(), core()->max_wait(), where};
    }
    /// The same with options.
    checkout_operation<T> checkout(const wait_options& options,
                                   std::source_location where = std::source_location::current()) const {
        return {*core(), options.max_wait.value_or(core()->max_wait()), where};
    }

    /// The same with a completion token. Signature: `void(result<lease<T>>)`. Completes on the token's associated
    /// executor, by default the io_context's, never inside this call, unless there is no memory to post an
    /// `out_of_memory`.
    template <class Token>
    auto checkout(const wait_options& options, Token&& token,
                  std::source_location where = std::source_location::current()) const {
        return checkout(options, where).start(std::forward<Token>(token));
    }
    /// The same with a completion token and without options.
    template <class Token>
        requires(!std::convertible_to<Token, wait_options> && !std::convertible_to<Token, std::source_location>)
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

    /// `with` with a completion token, which comes first. Signature: `void(result<U>)`.
    template <class Token, class... Call>
    auto async_with(Token&& token, Call&&... call) const {
        return detail::start_call(core()->zone_ptr(), std::forward<Token>(token), with(std::forward<Call>(call)...));
    }
    /// The same with options in braces.
    template <class Token, class Op, class... Args>
    auto async_with(Token&& token, with_options options, Op&& op, Args&&... args) const {
        return detail::start_call(core()->zone_ptr(), std::forward<Token>(token),
                                  with(options, std::forward<Op>(op), std::forward<Args>(args)...));
    }

private:
    explicit resource_pool(std::shared_ptr<detail::pool_core> core) noexcept : any_resource_pool(std::move(core)) {}

    template <class Op, class... Args>
    auto run_with(const with_options& options, const detail::lease_place& place, Op&& op, Args&&... args) const {
        detail::check_temporaries<Op, Args...>();
        using policy = detail::lender_policy<detail::pool_lender<T>>;
        return detail::policy_call<policy, detail::stored_t<Op>, detail::stored_t<Args>...>(
            [&] { return policy(core(), options, place); }, detail::unwrap(std::forward<Op>(op)),
            detail::unwrap(std::forward<Args>(args))...);
    }
};

}  // namespace headgate

#endif
