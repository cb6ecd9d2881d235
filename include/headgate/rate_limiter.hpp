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

#include <headgate/busy_key.hpp>
#include <headgate/export.hpp>
#include <headgate/grant.hpp>
#include <headgate/impl/initiation.hpp>
#include <headgate/impl/limiter_core.hpp>
#include <headgate/key.hpp>
#include <headgate/operation.hpp>
#include <headgate/quota.hpp>
#include <headgate/result.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// Quotas under a name. A call that names no tier uses the first one of its limiter.
struct tier {
    /// What calls name it by.
    std::string name;
    /// 1 to 8, judged together: all pass and all are charged, or none is.
    std::vector<quota> quotas;

    friend bool operator==(const tier&, const tier&) = default;
};

/// How a `rate_limiter` behaves.
struct rate_limiter_options {
    /// At least one. State belongs to a key within the limiter: a call that names another tier keeps what was used. A
    /// quota takes the state of the one with the same algorithm and period; where the other tier has none, that of the
    /// nearest period: of a longer one by the share that is used (if that is fewer permits), of a shorter one by the
    /// permits. What a tier does not mention is kept, and ages, for up to 8 quotas of the longest periods.
    std::vector<tier> tiers{};
    /// Keys remembered at once. Past it new keys share one bucket, and an event says so. Who waits for the shared
    /// bucket is served from it; as long as anybody waits there no new key gets a bucket of its own.
    std::uint64_t max_keys = std::uint64_t{1} << 20;
    /// Calls that may wait for one key at once.
    std::uint32_t max_waiters = 1024;
    /// Keeps created, last update and refusals for each key: 24 bytes more, and a slower decision.
    bool track_keys = false;
    /// How many of the busiest keys `busiest_keys` tells, with up to 128 bytes of text; 0 to 1,000. Zero: off. Each
    /// call then searches so many words under a lock that all keys share: some 10 ns for 16 keys on one thread.
    std::uint32_t busiest = 0;

    friend bool operator==(const rate_limiter_options&, const rate_limiter_options&) = default;
};

/// Says what is wrong with `options`: `invalid_argument`, whose detail names the member and what would be right.
[[nodiscard]] HEADGATE_DECL result<void> validate(const rate_limiter_options& options);

/// What a call asks for. Trivially destructible.
struct acquire_options {
    /// Permits; at least 1.
    std::uint64_t cost = 1;
    /// How long `acquire` may wait for them. `duration::max()` is without end; what is not positive is no time at all:
    /// it is tried once, and refused at once with `rate_limited`.
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

namespace detail {

/// An `acquire` that may have to wait.
struct acquire_request {
    limiter_core* from;
    limiter_request what;
    time_point now;
    duration max_wait;

    template <class Handler>
    void initiate(Handler handler) {
        using operation = waiter_operation<acquire_waiter, Handler>;
        detail::initiate<result<grant>>(from->zone().executor(), std::move(handler), [&](Handler&& then) {
            auto& w = operation::create(from->zone_ptr(), std::move(then), from->shared_from_this(), what);
            from->enqueue(w, now == time_point::min() ? from->zone().now() : now, max_wait);
        });
    }
};

}  // namespace detail

/// What `rate_limiter::acquire` gives without a completion token; await it where it is made.
class [[nodiscard]] acquire_operation : public operation<acquire_operation, result<grant>> {
public:
    /// In place: true when it is granted, or refused for good. A refusal that may end in a wait is not counted.
    bool decide() {
        detail::limiter_core& from = *request_.from;
        const bool reads_clock = request_.now == time_point::min();
        const duration max_wait = request_.max_wait;
        straight_ = reads_clock ? max_wait <= duration::zero() ? from.straight(request_.what)
                                                               : from.straight_or_wait(request_.what, max_wait)
                                : from.straight(request_.what, request_.now, max_wait);
        if (straight_) [[likely]] {
            return straight_.granted() || max_wait <= duration::zero() ||
                   detail::is_final(straight_.retry_after(), max_wait);
        }
        decision_ = from.decide(request_.what, reads_clock ? from.zone().now() : request_.now, max_wait);
        return decision_.what != detail::verdict::queued &&
               (decision_.what != detail::verdict::rate_limited || detail::is_final(decision_.retry_after, max_wait));
    }

    /// The result, once `decide` was true.
    result<grant> answer() && { return straight_ ? detail::to_result(straight_) : detail::to_result(decision_); }

    /// What starts it, and what that refers to.
    [[nodiscard]] detail::acquire_request& request() noexcept { return request_; }
    /// Keeps the limiter.
    [[nodiscard]] std::shared_ptr<void> owner() const { return request_.from->shared_from_this(); }

private:
    friend rate_limiter;
    acquire_operation(detail::limiter_core& limiter, const detail::limiter_request& what,
                      const acquire_options& options) noexcept
        : request_{&limiter, what, options.now, options.max_wait} {}

    detail::acquire_request request_;
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
    // Not made anew at each call: g++ copies what it makes inside of a coroutine, at half the cost of a decision.
    static constexpr acquire_options defaults{};

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

    /// The keys that came most often since the limiter was made, the busiest first; empty unless `busiest` is on. Their
    /// counts are estimates in bounded memory (Metwally, Agrawal, El Abbadi: Space-Saving).
    [[nodiscard]] std::vector<busy_key> busiest_keys() const { return impl_->busiest_keys(); }

    /// Forgets a key, so that its next call is the first; false when there was nothing to forget.
    HEADGATE_DECL bool reset(const key& key);

    /// Takes new tiers and quotas, in any number of changes; keys keep what they used, as between tiers. The first tier
    /// keeps its name. A tier that is no more gives its keys to the first one; calls that wait under it end with
    /// `invalid_argument`. Errors: `invalid_argument`, `out_of_memory`; then nothing has changed, nor when it throws
    /// `std::bad_alloc`.
    HEADGATE_DECL result<void> reconfigure(const std::vector<tier>& tiers);

    /// Writes the state to a file of mode 0600, replaced in one step. It holds the hash's seed: a secret. Blocks the
    /// calling thread; decisions go on meanwhile, on other threads. A symbolic link stays, and what it leads to is
    /// replaced. Errors: those of the system, as codes of `boost::system::system_category()`, whose detail names the
    /// file; a directory, a device and a pipe are refused. Then nothing has changed.
    HEADGATE_DECL result<void> save(const std::string& path) const;

    /// Goes on from a saved state; before the first use only. What was saved under a clock ahead of this one counts as
    /// saved now. Errors: `invalid_snapshot` (truncated, foreign, newer, more keys than `max_keys`), `invalid_argument`
    /// (in use already), `out_of_memory`, and those of the system; with nothing changed. Blocks.
    HEADGATE_DECL result<void> load(const std::string& path);

    /// Counters and gauges: granted, refused, keys, bytes, waiting, overflowing. A call counts once, with its last
    /// word: one that waits and is granted was not refused.
    [[nodiscard]] primitive_snapshot snapshot() const { return impl_->snapshot(); }

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
