// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_RATE_LIMITER_HPP
#define HEADGATE_RATE_LIMITER_HPP

#include <boost/asio/async_result.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <headgate/export.hpp>
#include <headgate/grant.hpp>
#include <headgate/impl/limiter.hpp>
#include <headgate/key.hpp>
#include <headgate/operation.hpp>
#include <headgate/quota.hpp>
#include <headgate/result.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// Quotas under a name. The first tier of a limiter is what calls use that name none.
struct tier {
    /// What calls name it by.
    std::string name;
    /// 1 to 8, judged together: all pass and all are charged, or none is.
    std::vector<quota> quotas;
};

/// How a `rate_limiter` behaves.
struct rate_limiter_options {
    /// At least one. State belongs to a key within the limiter: a call that names another tier keeps what was used.
    std::vector<tier> tiers{};
    /// Keys remembered at once. Past it new keys share one bucket, and an event says so.
    std::uint64_t max_keys = std::uint64_t{1} << 20;
    /// Calls that may wait for one key at once.
    std::uint32_t max_waiters = 1024;
    /// Keeps created, last update and refusals for each key: 24 bytes more, and a slower decision.
    bool track_keys = false;
};

/// What a call asks for. Trivially destructible.
struct acquire_options {
    /// Permits; at least 1.
    std::uint64_t cost = 1;
    /// How long `acquire` may wait for them; zero refuses at once.
    duration max_wait{};
    /// Which tier of the limiter; empty is the first. Looked up by name.
    std::string_view tier{};
    /// The time now, when the caller has read the zone's clock already; it is read when this is `time_point::min()`.
    time_point now = time_point::min();
};

/// One quota as it stands for a key.
struct quota_usage {
    std::uint64_t limit = 0;      ///< The most that can pass at once.
    std::uint64_t used = 0;       ///< Permits not yet back, rounded up.
    std::uint64_t remaining = 0;  ///< Permits that could pass now.
    duration reset_after{};       ///< Until all are back, or the next window; rounded up.
};

/// What a limiter knows of a key.
struct key_info {
    bool known = false;                      ///< Whether it is remembered; an unknown key is as good as new.
    std::string tier{};                      ///< The tier that it is in.
    quota_usage tightest{};                  ///< The quota with the fewest permits left.
    std::vector<quota_usage> quotas{};       ///< All quotas, in their order.
    std::optional<time_point> created{};     ///< With `track_keys`.
    std::optional<time_point> updated{};     ///< With `track_keys`: the last grant.
    std::optional<std::uint64_t> refused{};  ///< With `track_keys`.
};

class rate_limiter;

/// What `rate_limiter::acquire` gives without a completion token; await it where it is made.
class [[nodiscard]] acquire_operation : public operation<acquire_operation, result<grant>> {
public:
    /// In place: true when it is granted, or refused for good.
    bool decide() {
        const bool reads_clock = now_ == time_point::min();
        straight_ = reads_clock ? limiter_->straight(request_) : limiter_->straight(request_, now_);
        if (straight_) [[likely]] {
            refused_ = !straight_.granted();
        } else {
            decision_ = limiter_->decide(request_, reads_clock ? limiter_->zone().now() : now_);
            refused_ = decision_.what == detail::verdict::rate_limited;
        }
        return !refused_ || max_wait_ <= duration::zero();
    }

    /// The result, once `decide` was true.
    result<grant> answer() && { return straight_ ? detail::to_result(straight_) : detail::to_result(decision_); }

    /// Starts it with a completion token.
    template <class Token>
    auto start(Token&& token) && {
        return boost::asio::async_initiate<Token, void(result<grant>)>(
            [](auto handler, std::shared_ptr<detail::limiter> limiter, detail::limiter_request request, time_point now,
               duration max_wait, bool refused_before) {
                using waiter = detail::waiter_operation<detail::acquire_waiter, decltype(handler)>;
                if (now == time_point::min()) {
                    now = limiter->zone().now();
                }
                auto& w = waiter::create(limiter->zone_ptr(), std::move(handler), limiter, request);
                limiter->enqueue(w, now, max_wait, refused_before);
            },
            token, limiter_->shared_from_this(), request_, now_, max_wait_, refused_);
    }

private:
    friend rate_limiter;
    acquire_operation(detail::limiter& limiter, const detail::limiter_request& request,
                      const acquire_options& options) noexcept
        : limiter_(&limiter), request_(request), now_(options.now), max_wait_(options.max_wait) {}

    detail::limiter* limiter_;
    detail::limiter_request request_;
    time_point now_;
    duration max_wait_;
    bool refused_ = false;  // for want of permits, by `decide`
    detail::straight_answer straight_{nullptr, 0};
    union {  // written by `decide` where the straight path has no answer
        detail::decision decision_;
    };
};

/// Limits how often something happens, for each key. A cheap handle to what its zone owns.
///
/// State lives in small slots without text: a keyed 64-bit hash. Two of a million keys share a bucket with probability
/// 3e-8. All members are thread-safe; a key's text need only live until the call returns.
class rate_limiter {
public:
    /// Makes a limiter in `zone`. Errors: `invalid_argument`, `name_taken`, `shut_down`.
    [[nodiscard]] HEADGATE_DECL static result<rate_limiter> create(zone& zone, std::string name,
                                                                   rate_limiter_options options);

    /// The same with one tier, "default", of one quota.
    [[nodiscard]] static result<rate_limiter> create(zone& zone, std::string name, const quota& only) {
        return create(zone, std::move(name), rate_limiter_options{.tiers = {{"default", {only}}}});
    }

    /// The limiter of that name. Errors: `unknown_name`.
    [[nodiscard]] HEADGATE_DECL static result<rate_limiter> find(const zone& zone, std::string_view name);

    /// Takes `options.cost` permits of `key` now, or refuses; `options.max_wait` counts for nothing.
    ///
    /// All quotas pass and are charged, or none is. While others wait for the key it refuses. Errors: `rate_limited`
    /// with `retry_after` (exact when nobody waits for the key, else an upper bound that counts them as served),
    /// `cost_exceeds_limit`, `invalid_argument` (a cost of zero, an unknown tier), `shut_down`.
    [[nodiscard]] result<grant> try_acquire(const key& key, const acquire_options& options = {}) {
        detail::limiter_request request{key.hash(impl_->seed()), options.cost, 0};
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
    [[nodiscard]] acquire_operation acquire(const key& key, const acquire_options& options = {}) {
        detail::limiter_request request{key.hash(impl_->seed()), options.cost, 0};
        if (!options.tier.empty()) [[unlikely]] {
            const auto found = impl_->tier(options.tier);
            request.tier = found ? found.value() : unknown_tier;
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
    HEADGATE_DECL bool reset(const key& key);

    /// Takes new tiers and quotas; keys keep what they used. The first tier keeps its name. Errors: `invalid_argument`.
    HEADGATE_DECL result<void> reconfigure(const std::vector<tier>& tiers);

    /// Writes the state to a file of mode 0600, replaced in one step. It holds the hash's seed: a secret. Blocks.
    /// Errors: `operation_failed`, whose detail names the file.
    HEADGATE_DECL result<void> save(const std::string& path) const;

    /// Goes on from a saved state; before the first use only. Errors: `invalid_snapshot` (truncated, foreign, newer),
    /// with nothing changed. Blocks.
    HEADGATE_DECL result<void> load(const std::string& path);

    /// Counters and gauges: granted, refused, keys, bytes, waiting, overflowing.
    [[nodiscard]] primitive_snapshot snapshot() const { return impl_->snapshot(); }

    /// The name that it was created with.
    [[nodiscard]] const std::string& name() const noexcept { return impl_->name(); }

private:
    static constexpr std::uint32_t unknown_tier = ~std::uint32_t{0};

    explicit rate_limiter(std::shared_ptr<detail::limiter> impl) noexcept : impl_(std::move(impl)) {}

    std::shared_ptr<detail::limiter> impl_;
};

}  // namespace headgate

#endif
