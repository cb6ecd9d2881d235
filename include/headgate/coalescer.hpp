// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_COALESCER_HPP
#define HEADGATE_COALESCER_HPP

#include <concepts>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <headgate/coalescer_options.hpp>
#include <headgate/impl/call.hpp>
#include <headgate/impl/coalescer_core.hpp>
#include <headgate/impl/coalescer_run.hpp>
#include <headgate/key.hpp>
#include <headgate/result.hpp>
#include <headgate/take.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// Makes one call of many that ask for the same at once, and gives all of them its result: what Go calls singleflight.
/// When a cache entry expires, one caller asks the database, and not all of them.
///
/// `T` says how a result is shared. Of `coalescer<std::string>` each caller gets a copy, of
/// `coalescer<std::shared_ptr<const std::string>>` all get the same object.
///
/// Keys are compared whole, never by a hash alone. Whoever runs the same key must want the same result: the operations
/// of those who join are not run.
///
/// A handle: a cheap reference to the coalescer that the zone owns. Every member may be called from any thread.
///
/// ```cpp
/// // example: coalescer
/// #include <headgate/headgate.hpp>
/// #include <boost/asio/detached.hpp>
/// #include <boost/asio/experimental/awaitable_operators.hpp>
/// #include <cassert>
///
///
/// boost::asio::awaitable<headgate::result<int>> price(headgate::zone* shop, int* asked) {
///     ++*asked;
///     (void)co_await shop->sleep_for(std::chrono::milliseconds{1});
///     co_return 42;
/// }
///
/// int main() {
///     using boost::asio::experimental::awaitable_operators::operator&&;
///     boost::asio::io_context io(1);
///     headgate::zone zone(io, "shop");
///     auto prices = headgate::coalescer<int>::create(zone, "prices").value();
///     int asked = 0;
///
///     auto work = [&]() -> boost::asio::awaitable<void> {
///         const auto [mine, yours] = co_await (prices.run("apple", price, &zone, &asked).as_awaitable() &&
///                                              prices.run("apple", price, &zone, &asked).as_awaitable());
///         assert(mine.value() == 42 && yours.value() == 42);
///     };
///     boost::asio::co_spawn(io, work, boost::asio::detached);
///     io.run();
///     assert(asked == 1);
/// }
/// ```
template <class T>
class coalescer {
    static_assert(std::is_void_v<T> || std::is_copy_constructible_v<T>,
                  "headgate: each caller of a coalescer gets a copy of the result; share what cannot be copied as "
                  "std::shared_ptr<const T>");

public:
    /// What each caller gets.
    using value_type = T;

    /// Makes a coalescer in `owner`. Errors: `invalid_argument`, whose detail says which option or that the name is
    /// empty; `name_taken`; `shut_down`.
    [[nodiscard]] static result<coalescer> create(const zone& owner, std::string name,
                                                  const coalescer_options& options = {}) {
        auto core = detail::coalescer_core::create(owner.core(), std::move(name), options, &typeid(T));
        if (!core) {
            return std::move(core).error();
        }
        return coalescer(std::move(core).value());
    }

    /// The coalescer of that name in `owner`. One that a configuration has made gets its type with the first `find`.
    /// Errors: `unknown_name`, also for a coalescer of another type.
    [[nodiscard]] static result<coalescer> find(const zone& owner, std::string_view name) {
        auto found = owner.core()->find(primitive_kind::coalescer, name);
        if (!found) {
            return std::move(found).error();
        }
        auto core = std::static_pointer_cast<detail::coalescer_core>(std::move(found).value());
        if (auto same = core->settle_type(typeid(T)); !same) {
            return std::move(same).error();
        }
        return coalescer(std::move(core));
    }

    /// The name that it was created with.
    [[nodiscard]] const std::string& name() const noexcept { return core_->name(); }

    /// Gives the result for `key` that is kept, or that of an operation that runs for `key` already, or runs
    /// `op(args...)`. Await what it returns, plainly, in a coroutine on the executor type of the operation's own
    /// awaitable.
    ///
    /// `op` gets a `call_context` first, where it takes one, and returns `awaitable<result<T>>` or `awaitable<T>`. It
    /// and `args` are stored by value, see `take`, and are used only when this caller's operation is the one that runs.
    ///
    /// A caller that is cancelled or out of time leaves at once, and the operation goes on for the others; so it must
    /// not refer to what its caller owns. When the last caller has left, the operation is cancelled, through the slot
    /// of its `call_context` or whatever it waits for, and runs to its end within the zone's count of operations. The
    /// operation of a caller that can be neither cancelled nor out of time runs in that caller's coroutine, without a
    /// frame of its own; any other runs as a coroutine of its own on the caller's executor, which is made serial as
    /// `with_timeout` says.
    ///
    /// An operation must not ask for its own key: it would wait for itself. Throws `std::bad_alloc` before it is
    /// awaited for want of memory for a key of more than 15 bytes.
    ///
    /// Errors: those of the operation, which all of its callers get; `operation_failed` with the exception that it
    /// threw as cause; `timed_out`, `canceled` for this caller alone; `out_of_memory` for one whose copy had no memory;
    /// `shut_down` when the zone takes no new work, or is closed meanwhile, or when the coroutine of the caller whose
    /// operation runs is destroyed.
    template <class Op, class... Args>
        requires(!std::same_as<std::remove_cvref_t<Op>, coalescer_call_options>)
    [[nodiscard]] auto run(const key& key, Op&& op, Args&&... args) const {
        return call(key, {}, std::forward<Op>(op), std::forward<Args>(args)...);
    }

    /// The same with options: `prices.run("apple", {.timeout = 2s}, op, args...)`.
    template <class Op, class... Args>
    [[nodiscard]] auto run(const key& key, const coalescer_call_options& options, Op&& op, Args&&... args) const {
        return call(key, options, std::forward<Op>(op), std::forward<Args>(args)...);
    }

    /// `run` with a completion token, which comes first. An operation that is to be run runs on the handler's
    /// associated executor, by default the zone's, which is made serial. Signature: `void(result<T>)`. Never completes
    /// inside the call, unless there is no memory to post it. Cancellation: any type that the token's slot gets makes
    /// the caller leave.
    template <class Token, class... Call>
    auto async_run(Token&& token, const key& key, Call&&... call) const {
        return detail::start_call(core_->zone_ptr(), std::forward<Token>(token), run(key, std::forward<Call>(call)...));
    }
    /// The same with options in braces.
    template <class Token, class Op, class... Args>
    auto async_run(Token&& token, const key& key, const coalescer_call_options& options, Op&& op,
                   Args&&... args) const {
        return detail::start_call(core_->zone_ptr(), std::forward<Token>(token),
                                  run(key, options, std::forward<Op>(op), std::forward<Args>(args)...));
    }

    /// The next caller of `key` has its operation run: a kept result goes, and an operation that runs is not joined any
    /// more. It goes on for those who have joined it, and its result is not kept. For use when what the key stands for
    /// has changed. Throws `std::bad_alloc` for a key that needs memory.
    void forget(const key& key) const { core_->forget(detail::whole_key(key, core_->seed())); }

    /// Takes other options, for kept results too. Errors: `invalid_argument`, with nothing changed.
    result<void> reconfigure(const coalescer_options& options) { return core_->reconfigure(options); }

    /// What it is doing and has done.
    [[nodiscard]] coalescer_snapshot snapshot() const noexcept { return core_->look(); }

    /// For headgate's own layers.
    [[nodiscard]] const std::shared_ptr<detail::coalescer_core>& core() const noexcept { return core_; }

private:
    template <class Op, class... Args>
    auto call(const key& key, const coalescer_call_options& options, Op&& op, Args&&... args) const {
        detail::check_temporaries<Op, Args...>();
        static_assert(std::same_as<detail::call_result<detail::stored_t<Op>, detail::stored_t<Args>...>, result<T>>,
                      "headgate: the operation of a coalescer<T> must return awaitable<result<T>> or awaitable<T>");
        return detail::coalesced_call<T, detail::stored_t<Op>, detail::stored_t<Args>...>(
            core_, detail::whole_key(key, core_->seed()), options.timeout, detail::unwrap(std::forward<Op>(op)),
            detail::unwrap(std::forward<Args>(args))...);
    }

    explicit coalescer(std::shared_ptr<detail::coalescer_core> core) noexcept : core_(std::move(core)) {}

    std::shared_ptr<detail::coalescer_core> core_;
};

}  // namespace headgate

#endif
