// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_LIMITER_HPP
#define HEADGATE_IMPL_LIMITER_HPP

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <headgate/busy_key.hpp>
#include <headgate/impl/key_hash.hpp>
#include <headgate/impl/limiter_decision.hpp>
#include <headgate/impl/waiter.hpp>
#include <headgate/impl/zone_core.hpp>
#include <headgate/key.hpp>

namespace headgate::detail {

class busiest_keys;
class limiter;
class limiter_core;
class limiter_queues;

/// What a call asks of a limiter, with its key hashed and its tier looked up.
struct limiter_request {
    std::uint64_t hash = 0;
    std::uint64_t cost = 1;
    std::uint32_t tier = 0;
};

/// A call that waits for its permits.
class HEADGATE_DECL acquire_waiter : public waiter {
public:
    acquire_waiter(std::shared_ptr<limiter> from, const limiter_request& what) noexcept
        : limiter_(std::move(from)), request(what) {}

    [[nodiscard]] result<grant> take() const;
    void on_cancel() noexcept override;

protected:
    ~acquire_waiter() = default;

private:
    friend limiter;
    friend limiter_queues;

    void on_deadline() noexcept override;

    std::shared_ptr<limiter> limiter_;
    limiter_request request;
    std::uint64_t queue_hash_ = 0;  // of the bucket that it waits for
    bool queue_overflow_ = false;
    errc outcome_{};  // none: granted
    duration retry_after_{};
    grant granted_{};
};

/// The asynchronous shell of a rate limiter: its decisions come from `limiter_core`, it keeps those who wait.
class HEADGATE_DECL limiter final : public primitive, public std::enable_shared_from_this<limiter> {
public:
    /// What a request names whose tier is not there: `decide` says so.
    static constexpr std::uint32_t unknown_tier = ~std::uint32_t{0};

    limiter(std::shared_ptr<zone_core> zone, std::string name, std::unique_ptr<limiter_core> core,
            std::uint32_t max_waiters, std::uint32_t busiest);
    ~limiter() override;

    [[nodiscard]] limiter_core& core() const noexcept { return *core_; }
    [[nodiscard]] const hash_seed& seed() const noexcept { return *seed_; }
    [[nodiscard]] result<std::uint32_t> tier(std::string_view name) const;

    /// Whether calls `note` their keys.
    [[nodiscard]] bool notes_keys() const noexcept { return busiest_ != nullptr; }
    void note(const key& key, std::uint64_t hash);
    [[nodiscard]] std::vector<busy_key> busiest_keys() const;

    /// The straight path of the core; for all else it has no answer, and `decide` says what holds.
    [[nodiscard]] straight_answer straight(const limiter_request& r, time_point now) noexcept;
    /// The same at the time on the zone's clock, whose reading overlaps with the way to the key's memory.
    [[nodiscard]] straight_answer straight(const limiter_request& r) noexcept;
    /// Decides in place, in every case. A refusal for want of permits is `rate_limited`, with those who wait counted.
    [[nodiscard]] decision decide(const limiter_request& r, time_point now) noexcept;

    /// Whether `decide` would refuse, and why; spends and counts nothing.
    [[nodiscard]] std::optional<error> look(const limiter_request& r, time_point now);

    /// Decides, or queues: completes `w` sooner or later, through its executor. `refused_before` says that `decide` has
    /// counted a refusal of this same call.
    void enqueue(acquire_waiter& w, time_point now, duration max_wait, bool refused_before);
    void expire(acquire_waiter& w) noexcept;
    void cancel(acquire_waiter& w) noexcept;

    bool reset(std::uint64_t hash);
    /// Permits may have come free otherwise than by time: looks at everyone who waits.
    void serve_all() noexcept;
    void serve_queue(std::uint64_t hash, bool overflow) noexcept;

    void close() noexcept override;
    void abandon() noexcept override;
    [[nodiscard]] primitive_snapshot snapshot() const override;
    [[nodiscard]] std::uint64_t in_use() const noexcept override { return 0; }

    /// The sweep.
    void on_timer() noexcept;

private:
    decision decide_queued(const limiter_request& r, time_point now) noexcept;
    void sweep_when_large(time_point now);

    std::unique_ptr<limiter_core> core_;
    const hash_seed* seed_;
    std::unique_ptr<detail::busiest_keys> busiest_;
    std::uint32_t max_waiters_;
    /// Refusals that the core counted of calls that then waited.
    atomic<std::uint64_t> uncounted_{0};
    std::unique_ptr<limiter_queues> queues_;
};

/// The error that a refusing verdict is.
[[nodiscard]] HEADGATE_DECL error refusal(const decision& d);

[[nodiscard]] HEADGATE_DECL result<grant> to_result(const decision& d);

[[nodiscard]] inline result<grant> to_result(const straight_answer& a) noexcept {
    if (a.granted()) [[likely]] {
        return a.as_grant();
    }
    return result<grant>(std::in_place_type<error>, errc::rate_limited, a.retry_after());
}

}  // namespace headgate::detail

#endif
