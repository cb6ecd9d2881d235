// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_LIMITER_CORE_HPP
#define HEADGATE_IMPL_LIMITER_CORE_HPP

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <headgate/impl/key_hash.hpp>
#include <headgate/impl/limiter_decision.hpp>
#include <headgate/impl/sync.hpp>
#include <headgate/impl/waiter.hpp>
#include <headgate/impl/zone_core.hpp>
#include <headgate/key.hpp>
#include <headgate/limiter_options.hpp>

namespace headgate::detail {

class busiest_keys;
class key_queue;
class limiter_core;
class limiter_machine;
class limiter_queues;
class queue_line;

/// What a call asks of a limiter, with its key hashed and its tier looked up.
struct limiter_request {
    std::uint64_t hash = 0;
    std::uint64_t cost = 1;
    std::uint32_t tier = 0;
};

/// The error that a refusing verdict is.
[[nodiscard]] HEADGATE_DECL error refusal(const decision& d) noexcept;

[[nodiscard]] HEADGATE_DECL result<grant> to_result(const decision& d) noexcept;

/// A call that waits for its permits.
class HEADGATE_DECL acquire_waiter : public waiter {
public:
    acquire_waiter(std::shared_ptr<limiter_core> from, const limiter_request& what) noexcept
        : limiter_(std::move(from)), request(what) {}

    [[nodiscard]] result<grant> take() const noexcept { return to_result(decision_); }
    void on_cancel() noexcept override;

protected:
    ~acquire_waiter() = default;

private:
    friend limiter_core;
    friend limiter_queues;
    friend key_queue;
    friend queue_line;

    void on_deadline() noexcept override;

    std::shared_ptr<limiter_core> limiter_;
    limiter_request request;
    // Of the bucket that it waits for.
    std::uint64_t queue_hash_ = 0;
    bool queue_overflow_ = false;
    std::uint64_t number_ = 0;  // counts up in its queue
    time_point expected_{};     // when those before it and it are served, as far as is known
    decision decision_{};
};

/// The asynchronous shell of a rate limiter: its decisions come from `limiter_machine`, it keeps those who wait.
class HEADGATE_DECL limiter_core final : public primitive, public std::enable_shared_from_this<limiter_core> {
public:
    /// What a request names whose tier is not there: `decide` says so.
    static constexpr std::uint32_t unknown_tier = ~std::uint32_t{0};

    /// Precondition: `machine` was made from `options`.
    limiter_core(std::shared_ptr<zone_core> zone, std::string name, std::unique_ptr<limiter_machine> machine,
                 const rate_limiter_options& options);
    ~limiter_core() override;

    [[nodiscard]] limiter_machine& machine() const noexcept { return *machine_; }
    [[nodiscard]] const hash_seed& seed() const noexcept { return *seed_; }
    [[nodiscard]] result<std::uint32_t> tier(std::string_view name) const;

    /// Whether calls `note` their keys.
    [[nodiscard]] bool notes_keys() const noexcept { return busiest_ != nullptr; }
    void note(const key& key, std::uint64_t hash) noexcept;

    // A refusal for want of permits is counted when it is final: with `max_wait`, when the wait is longer.

    /// The straight path of the machine; for all else it has no answer, and `decide` says what holds.
    [[nodiscard]] straight_answer straight(const limiter_request& r, time_point now, duration max_wait = {}) noexcept;
    /// The same at the time on the zone's clock, whose reading overlaps with the way to the key's memory.
    [[nodiscard]] straight_answer straight(const limiter_request& r) noexcept;
    [[nodiscard]] straight_answer straight_or_wait(const limiter_request& r, duration max_wait) noexcept;
    /// Decides in place, in every case. A refusal for want of permits is `rate_limited`, with those who wait counted.
    /// With a `max_wait` it may be `queued`: somebody waits near by, and `enqueue` decides.
    [[nodiscard]] decision decide(const limiter_request& r, time_point now, duration max_wait = {}) noexcept;

    /// Whether `decide` would refuse, and why; spends and counts nothing.
    [[nodiscard]] std::optional<error> look(const limiter_request& r, time_point now);

    /// Decides, or queues: completes `w` sooner or later, through its executor.
    void enqueue(acquire_waiter& w, time_point now, duration max_wait) noexcept;
    void expire(acquire_waiter& w) noexcept;
    void cancel(acquire_waiter& w) noexcept;

    bool forget(std::uint64_t hash) noexcept;
    result<void> reconfigure(const rate_limiter_options& options);
    /// Permits may have come free otherwise than by time: looks at everyone who waits.
    void serve_all() noexcept;
    void serve_queue(std::uint64_t hash, bool overflow) noexcept;

    void close() noexcept override;
    void abandon() noexcept override;
    [[nodiscard]] rate_limiter_snapshot look() const;
    [[nodiscard]] primitive_snapshot snapshot() const override;
    [[nodiscard]] std::uint64_t in_use() const noexcept override { return 0; }

    /// Delivers an event, unless there is no memory for it.
    void tell(event_kind kind) const noexcept;

    /// The sweep.
    void on_timer() noexcept;

private:
    class change;

    decision decide_queued(const limiter_request& r, time_point now) noexcept;
    decision join(acquire_waiter& w, time_point now, duration max_wait, change& c) noexcept;
    bool serve(key_queue& queue, time_point now, change& c) noexcept;
    [[nodiscard]] bool needs_sweep() const noexcept;

    std::unique_ptr<limiter_machine> machine_;
    const hash_seed* seed_;
    std::unique_ptr<detail::busiest_keys> busiest_;
    detail::mutex reconfiguring_;  // so that of two changes one is whole; before all other locks
    std::uint32_t max_waiters_;    // under the lock of the queues
    std::unique_ptr<limiter_queues> queues_;
};

[[nodiscard]] inline result<grant> to_result(const straight_answer& a) noexcept {
    if (a.granted()) [[likely]] {
        return a.as_grant();
    }
    return result<grant>(std::in_place_type<error>, errc::rate_limited, a.retry_after());
}

}  // namespace headgate::detail

#endif
