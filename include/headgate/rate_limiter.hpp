// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_RATE_LIMITER_HPP
#define HEADGATE_RATE_LIMITER_HPP

#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <headgate/export.hpp>
#include <headgate/grant.hpp>
#include <headgate/impl/acquire_operation.hpp>
#include <headgate/impl/limiter_core.hpp>
#include <headgate/key.hpp>
#include <headgate/limiter_options.hpp>
#include <headgate/result.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// Limits how often something happens, for each key. A cheap handle to what its zone owns.
///
/// State lives in small slots without text: a keyed 64-bit hash. Two of a million keys share a bucket with probability
/// 3e-8. All members are thread-safe; a key's text need only live until the call returns.
///
/// ```cpp
/// // example: rate_limiter
/// #include <headgate/headgate.hpp>
/// #include <cassert>
///
///
/// int main() {
///     boost::asio::io_context io;
///     headgate::zone zone(io, "shop");
///     const auto ten_a_minute = headgate::quota::per(10, std::chrono::minutes{1}).value();
///     auto limiter = headgate::rate_limiter::create(zone, "updates", ten_a_minute).value();
///
///     for (int i = 0; i < 10; ++i) {
///         assert(limiter.try_acquire("ann"));
///     }
///     const auto refused = limiter.try_acquire("ann");  // co_await limiter.acquire("ann") would wait
///     assert(refused.error() == headgate::errc::rate_limited);
///     assert(refused.error().retry_after <= std::chrono::seconds{6});
///     assert(limiter.try_acquire("ben"));  // each key has its own permits
/// }
/// ```
class rate_limiter {
    // Not made anew at each call: g++ copies what it makes inside of a coroutine, at half the cost of a decision.
    static constexpr acquire_options defaults{};

public:
    /// Makes a limiter in `owner`. Errors: `invalid_argument`, `name_taken`, `shut_down`.
    [[nodiscard]] HEADGATE_DECL static result<rate_limiter> create(const zone& owner, std::string name,
                                                                   rate_limiter_options options);

    /// The same with one tier, "default", of one quota.
    [[nodiscard]] static result<rate_limiter> create(const zone& owner, std::string name, const quota& only) {
        return create(owner, std::move(name), rate_limiter_options{.tiers = {{"default", {only}}}});
    }

    /// The limiter of that name. Errors: `unknown_name`.
    [[nodiscard]] HEADGATE_DECL static result<rate_limiter> find(const zone& owner, std::string_view name);

    /// Takes `options.cost` permits of `key` now, or refuses; `options.max_wait` counts for nothing.
    ///
    /// All quotas pass and are charged, or none is. While others wait for the key it refuses. Errors: `rate_limited`
    /// with `retry_after` (exact when nobody waits for the key, else an upper bound that counts them as served),
    /// `cost_exceeds_limit`, `invalid_argument` (a cost of zero, an unknown tier), `shut_down`, `out_of_memory` (for a
    /// key that is not known, or comes from another tier; nothing has happened). `retry_after` is right whatever tiers
    /// and live changes the key went through before.
    [[nodiscard]] result<grant> try_acquire(const key& key, const acquire_options& options = defaults) {
        detail::limiter_request request{hash_of(key), options.cost, 0};
        if (!options.tier.empty()) [[unlikely]] {
            const auto found = impl_->tier(options.tier);
            if (!found) {
                return found.error();
            }
            request.tier = found.value();
        }
        const bool reads_clock = options.now == time_point::min();
        if (const auto a = reads_clock ? impl_->straight(request) : impl_->straight(request, options.now)) [[likely]] {
            return detail::to_result(a);
        }
        return detail::to_result(impl_->decide(request, reads_clock ? impl_->zone().now() : options.now));
    }

    /// As `try_acquire`, but waits for up to `options.max_wait`, in order of arrival: `co_await limiter.acquire(key)`.
    ///
    /// Permits are spent when they are granted, so a cancelled wait has cost nothing and the next in line moves up.
    /// Further errors: `queue_full`, `wait_timed_out`, `canceled`; `rate_limited` at once when `max_wait` is shorter
    /// than any possible wait. Signature with a token: `void(result<grant>)`; completes on its associated executor, by
    /// default the io_context's, never inside this call. Cancellation: terminal, partial, total.
    [[nodiscard]] acquire_operation acquire(const key& key, const acquire_options& options = defaults) {
        detail::limiter_request request{hash_of(key), options.cost, 0};
        if (!options.tier.empty()) [[unlikely]] {
            const auto found = impl_->tier(options.tier);
            request.tier = found ? found.value() : detail::limiter_core::unknown_tier;
        }
        return {*impl_, request, options};
    }

    /// The same with a completion token.
    template <class Token>
    auto acquire(const key& key, const acquire_options& options, Token&& token) {
        return acquire(key, options).start(std::forward<Token>(token));
    }

    /// The same with a completion token and without options.
    template <class Token>
        requires(!std::is_convertible_v<Token, const acquire_options&>)
    auto acquire(const key& key, Token&& token) {
        return acquire(key).start(std::forward<Token>(token));
    }

    /// What is known of a key; changes nothing.
    [[nodiscard]] HEADGATE_DECL key_info inspect(const key& key) const;

    /// Forgets a key, so that its next call is the first; false when there was nothing to forget.
    HEADGATE_DECL bool forget(const key& key);

    /// Takes other tiers, quotas and `max_waiters`, as often as wanted; keys keep what they used, as between tiers. The
    /// first tier keeps its name. A removed tier gives its keys to the first one; calls that wait under it end with
    /// `invalid_argument`. Errors: `invalid_argument`, also when another member differs from what the limiter was made
    /// with; `out_of_memory`. Then nothing has changed, nor when it throws `std::bad_alloc`.
    HEADGATE_DECL result<void> reconfigure(const rate_limiter_options& options);

    /// Writes the state to a file of mode 0600, replaced in one step. It holds the hash's seed: a secret. Blocks the
    /// calling thread; other threads go on deciding. A symbolic link stays, and what it leads to is
    /// replaced. Errors: those of the system, as codes of `boost::system::system_category()`, whose detail names the
    /// file; a directory, a device and a pipe are refused. Then nothing has changed.
    HEADGATE_DECL result<void> save(const std::string& path) const;

    /// Goes on from a saved state; before the first use only. What was saved under a clock ahead of this one counts as
    /// saved now. Errors: `invalid_snapshot` (truncated, foreign, newer, more keys than `max_keys`), `invalid_argument`
    /// (in use already), `out_of_memory`, and those of the system; with nothing changed. Blocks.
    HEADGATE_DECL result<void> load(const std::string& path);

    /// What it is doing and has done. The counts of the busiest keys are estimates in bounded memory (Metwally,
    /// Agrawal, El Abbadi: Space-Saving).
    [[nodiscard]] rate_limiter_snapshot snapshot() const { return impl_->look(); }

    /// The name that it was created with.
    [[nodiscard]] const std::string& name() const noexcept { return impl_->name(); }

    /// For headgate's own layers.
    [[nodiscard]] const std::shared_ptr<detail::limiter_core>& core() const noexcept { return impl_; }

private:
    std::uint64_t hash_of(const key& key) {
        const std::uint64_t hash = key.hash(impl_->seed());
        if (impl_->notes_keys()) [[unlikely]] {
            impl_->note(key, hash);
        }
        return hash;
    }

    explicit rate_limiter(std::shared_ptr<detail::limiter_core> impl) noexcept : impl_(std::move(impl)) {}

    std::shared_ptr<detail::limiter_core> impl_;
};

}  // namespace headgate

#endif
