// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_ZONE_HPP
#define HEADGATE_ZONE_HPP

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <headgate/event.hpp>
#include <headgate/impl/initiation.hpp>
#include <headgate/impl/zone_core.hpp>
#include <headgate/impl/zone_waiters.hpp>
#include <headgate/result.hpp>
#include <headgate/snapshot.hpp>
#include <headgate/virtual_clock.hpp>

namespace headgate {

class key;
struct part_names;

/// What a call does that names a circuit breaker which is not there.
enum class missing_breaker : std::uint8_t {
    refuse,  ///< It gets `unknown_name`.
    run,     ///< It runs unprotected.
};

/// What a zone may be given besides its name.
struct zone_options {
    /// Where time comes from; the steady clock when null. It outlives the zone; time stands still where it does not.
    virtual_clock* clock = nullptr;
    /// What `protect` and `make_guard` do about a breaker's name that is not there.
    headgate::missing_breaker missing_breaker = headgate::missing_breaker::refuse;
};

/// Ends a subscription to the events of a zone when it is destroyed. Move-only.
class subscription {
public:
    /// Of nothing.
    subscription() = default;
    /// What `zone::on_event` makes.
    subscription(std::weak_ptr<detail::zone_core> zone, std::uint64_t id) noexcept : zone_(std::move(zone)), id_(id) {}
    /// Takes over what `other` would end.
    subscription(subscription&& other) noexcept = default;
    /// Ends its own, and takes over what `other` would end.
    subscription& operator=(subscription&& other) noexcept {
        if (this != &other) {
            reset();
            zone_ = std::move(other.zone_);
            id_ = other.id_;
        }
        return *this;
    }
    ~subscription() { reset(); }

    /// Ends it now, from anywhere, a handler too: the handler is not called any more. Only one that another thread is
    /// in at this moment goes on to its end.
    void reset() noexcept {
        if (const auto zone = zone_.lock()) {
            zone->unsubscribe(id_);
        }
        zone_.reset();
    }

private:
    std::weak_ptr<detail::zone_core> zone_;
    std::uint64_t id_ = 0;
};

/// A namespace for primitives: a name, a strand on an io_context, a clock, a registry, an event stream.
///
/// It owns what is registered in it; two zones share nothing. Destroying it closes it without waiting. As everything in
/// Asio, it does its work only while its io_context lives: when that is destroyed, operations that wait go with it, but
/// for those that complete on another io_context, which end there with `shut_down`. All members are thread-safe; the
/// strand is never exposed.
///
/// ```cpp
/// // example: zone
/// #include <headgate/headgate.hpp>
/// #include <boost/asio/detached.hpp>
/// #include <cassert>
///
///
/// int main() {
///     boost::asio::io_context io;
///     headgate::zone zone(io, "shop");
///     auto reports = headgate::bulkhead::create(zone, "reports").value();  // the zone owns it; this is a handle
///     assert(headgate::bulkhead::find(zone, "reports"));
///     assert(headgate::bulkhead::create(zone, "reports").error() == headgate::errc::name_taken);
///
///     const auto work = [&]() -> boost::asio::awaitable<void> {
///         (void)co_await zone.sleep_for(std::chrono::milliseconds{1});
///         (void)co_await zone.close(boost::asio::use_awaitable);  // waits until nothing of it runs any more
///     };
///     boost::asio::co_spawn(io, work, boost::asio::detached);
///     io.run();
///     assert(reports.try_enter().error() == headgate::errc::shut_down);
/// }
/// ```
class zone {
public:
    /// Makes a zone on `context`. Throws `headgate::system_error` with `errc::invalid_argument` for an empty name, and
    /// `std::bad_alloc`.
    explicit zone(boost::asio::io_context& context, std::string name, zone_options options = {}) {
        if (name.empty()) {
            throw system_error(
                error(errc::invalid_argument, "the zone's name is empty; it must have at least one character"));
        }
        core_ = detail::zone_core::create(context, std::move(name), options.clock,
                                          options.missing_breaker == missing_breaker::run);
    }

    zone(const zone&) = delete;
    zone& operator=(const zone&) = delete;
    ~zone() { core_->release(); }

    /// As it was given.
    [[nodiscard]] const std::string& name() const noexcept { return core_->name(); }

    /// The executor of the zone's io_context.
    [[nodiscard]] boost::asio::io_context::executor_type get_executor() const noexcept { return core_->executor(); }

    /// The time on the zone's clock.
    [[nodiscard]] time_point now() const noexcept { return core_->now(); }

    /// The zone and all of its primitives as plain data. Throws `std::bad_alloc`.
    [[nodiscard]] zone_snapshot snapshot() const { return core_->snapshot(); }

    /// Calls `handler(const event&)` on the zone's strand for every event from now on, in order, until the subscription
    /// is destroyed; one that is destroyed on another thread may still be in a call that began before. A handler may
    /// end subscriptions, its own too, and make new ones, which hear of what comes after. An exception of the handler
    /// leaves through `io_context::run`; the events behind it, and this one for the subscribers behind it, are
    /// delivered when the io_context goes on. Throws `std::bad_alloc`.
    [[nodiscard]] subscription on_event(std::function<void(const event&)> handler) {
        return {core_, core_->subscribe(std::move(handler))};
    }

    /// Completes after `span` on the zone's clock; at once, through the executor, when it is not positive; never by
    /// time when it is `duration::max()`. A zone that is closed or drains starts no sleep.
    ///
    /// Signature: `void(result<void>)`. Completes on the token's associated executor, by default the io_context's.
    /// Cancellation: terminal, partial and total end it with `canceled`. Errors: `canceled`, `shut_down`,
    /// `out_of_memory`; `use_awaitable` may throw `std::bad_alloc` before it is awaited. Thread-safe.
    template <class Token = boost::asio::use_awaitable_t<>>
    auto sleep_for(duration span, Token&& token = {}) {
        return boost::asio::async_initiate<Token, void(result<void>)>(
            [core = core_](auto handler, duration length) { detail::start_sleep(core, std::move(handler), length); },
            token, span);
    }

    /// Closes the zone and completes when no operation, timer or connect of it is left.
    ///
    /// Decisions made before the call stand; every waiter ends with `shut_down`; leases stay valid, and a late return
    /// closes the resource. Closing twice is harmless. Signature: `void(result<void>)`. Errors: `canceled`, which stops
    /// only this wait; `shut_down` when the io_context is destroyed first. Thread-safe. Without a token nothing waits:
    /// `close()`.
    template <class Token>
    auto close(Token&& token) {
        return end(detail::idle_wait::close, {}, std::forward<Token>(token));
    }

    /// Closes the zone without waiting for the end of what runs. Thread-safe.
    void close() noexcept { core_->close(); }

    /// Refuses new work with `shut_down`, sleeps too, and completes when what runs has ended, leases and permits too,
    /// or after `limit` with `wait_timed_out`, whose detail says what was left. Those who wait are served; pools close
    /// what is idle. What left the registry counts as well. The zone is not closed by it; when it is closed meanwhile,
    /// this goes on to wait for leases and permits.
    ///
    /// A limit that is not positive looks once; `duration::max()` is none. Signature: `void(result<void>)`.
    /// Cancellation: terminal, partial and total end only this wait. Errors: `wait_timed_out`, `canceled`,
    /// `out_of_memory`, `shut_down` when the io_context is destroyed first; `use_awaitable` may throw `std::bad_alloc`
    /// before it is awaited. Thread-safe.
    template <class Token = boost::asio::use_awaitable_t<>>
    auto drain(duration limit, Token&& token = {}) {
        return end(detail::idle_wait::drain, limit, std::forward<Token>(token));
    }

    /// Runs `op` protected by the parts that `names` names, as a `guard` of them would: `guard::run` says how. Looks
    /// the names up at each call; `make_guard` does it once. `Resource` is the type of the pool's resources, where one
    /// is named. Needs `<headgate/guard.hpp>`.
    ///
    /// Further errors: `unknown_name`, `invalid_argument`, when it is awaited.
    template <class Resource = void, class Op, class... Args>
    [[nodiscard]] auto protect(const part_names& names, const key& key, Op&& op, Args&&... args) const;

    /// For headgate's own primitives.
    [[nodiscard]] const std::shared_ptr<detail::zone_core>& core() const noexcept { return core_; }

private:
    template <class Token>
    auto end(detail::idle_wait what, duration limit, Token&& token) {
        return boost::asio::async_initiate<Token, void(result<void>)>(
            [core = core_](auto handler, detail::idle_wait wanted, duration span) {
                using operation = detail::waiter_operation<detail::idle_waiter, decltype(handler)>;
                detail::initiate<result<void>>(core->executor(), std::move(handler), [&](decltype(handler)&& then) {
                    core->enqueue(operation::create(core, std::move(then), *core), wanted, span);
                });
            },
            token, what, limit);
    }

    std::shared_ptr<detail::zone_core> core_;
};

}  // namespace headgate

#endif
