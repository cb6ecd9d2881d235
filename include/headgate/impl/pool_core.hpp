// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_POOL_CORE_HPP
#define HEADGATE_IMPL_POOL_CORE_HPP

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <headgate/export.hpp>
#include <headgate/impl/pool_machine.hpp>
#include <headgate/impl/pool_tasks.hpp>
#include <headgate/impl/pool_waiters.hpp>
#include <headgate/impl/spinlock.hpp>
#include <headgate/impl/sync.hpp>
#include <headgate/impl/wait_queue.hpp>
#include <headgate/impl/zone_core.hpp>
#include <headgate/latency.hpp>
#include <headgate/pool_options.hpp>
#include <headgate/pool_snapshot.hpp>
#include <headgate/result.hpp>

namespace headgate::detail {

/// The asynchronous shell around `pool_machine`, for any type of resource: queue, timers, lock. Resources are untyped
/// pointers here; the class derived from it knows their type and their backend.
///
/// The hot paths, `take` and `settle_return`, hold the lock themselves and are done with it. Everything else is a
/// `change`: a scope that locks, collects what follows, and does that after it has unlocked.
///
/// It is held by `shared_ptr`s with `pool_core::orphan` as deleter: leases are not counted by them, so that lending
/// costs no atomic operation; what is lent keeps the core until it came back.
class HEADGATE_DECL pool_core : public primitive, public std::enable_shared_from_this<pool_core> {
public:
    /// A resource that was idle for longer is asked whether it is alive, where its backend can say so.
    static constexpr duration ask_after = std::chrono::milliseconds(500);

    pool_core(std::shared_ptr<zone_core> zone, std::string name, const pool_options& options);

    /// The last `shared_ptr` is gone: deletes the core, now or with the return of its last lease.
    static void orphan(pool_core* core) noexcept;

    void start() noexcept { wake(); }

    // Checkout and return; any thread ---------------------------------------------------------------------------------

    /// Lends the next idle resource; nobody passes a waiter. Else `why` says why not, to one who would wait for `wait`.
    pool_lent take(const lease_place& place, duration wait, pool_refusal& why) noexcept {
        aftermath after{};
        const pool_lent lent = take_next(place, wait, why, after);
        if (after.wakes || after.asks) [[unlikely]] {
            return finish_take(lent, place, wait, why, after);
        }
        return lent;
    }
    /// The error of a refusal.
    [[nodiscard]] error to_error(const pool_refusal& refusal) const noexcept;
    /// Lends to `w`, or lets it wait for `timeout`, or refuses it. `asked` is when the wait began.
    void enqueue(checkout_waiter& w, duration timeout, time_point asked) noexcept;

    void give_back(slot_index i, void* resource, bool usable) noexcept {
        if (usable && resets_) {
            give_back_reset(i, resource);
            return;
        }
        settle_return(i, usable);
    }
    /// `give_back` after the reset.
    void settle_return(slot_index i, bool usable) noexcept {
        const time_point now = timed_.load(std::memory_order_relaxed) ? zone().coarse_now() : time_point{};
        std::unique_lock held(lock_);
        const pool_settled settled = machine_.on_return(i, usable, now);
        // An idle resource is the end of it: from the unlock on, another thread may destroy this object.
        if (settled.fate != pool_fate::idle || machine_.wants_poll() || zone().refusing()) {
            finish_return(std::move(held), i, settled);
        }
    }

    // Control; any thread ---------------------------------------------------------------------------------------------

    result<void> resize(std::uint32_t size, std::uint32_t max_overflow);
    /// Precondition: `options` are valid.
    void reconfigure(const pool_options& options) noexcept;
    void pause() noexcept;
    void resume() noexcept;
    [[nodiscard]] pool_snapshot look() const noexcept {
        const std::lock_guard guard(lock_);
        return counts();
    }
    void enqueue(pool_drain_waiter& w, duration limit) noexcept;
    [[nodiscard]] pool_options options() const noexcept {
        const std::lock_guard guard(lock_);
        return options_;
    }
    [[nodiscard]] duration max_wait() const noexcept { return duration{max_wait_.load(std::memory_order_relaxed)}; }

    // primitive
    void close() noexcept override;
    void drain() noexcept override;
    void abandon() noexcept override;
    [[nodiscard]] primitive_snapshot snapshot() const override;
    [[nodiscard]] std::uint64_t in_use() const noexcept override;

    void on_timer() { run(true); }

protected:
    ~pool_core() override;

    // For the typed half. `resource` is what `connected` was given. What a `start_…` begins always ends, also when it
    // cannot be begun.
    virtual void start_connect(slot_index i) noexcept = 0;
    virtual void start_ping(slot_index i, void* resource) noexcept = 0;
    /// Ends with `settle_return`.
    virtual void start_reset(slot_index i, void* resource) noexcept = 0;
    /// Resets in place, and says whether the resource is usable; user code, on the thread of the return.
    virtual bool reset_now(void* resource) noexcept = 0;
    /// User code, on the thread of the checkout.
    virtual bool is_alive_now(void* resource) noexcept = 0;
    /// Closes it on the strand; called on any thread, the core may be on its way out.
    virtual void close_resource(void* resource) noexcept = 0;
    /// Only destroys it: there is no strand any more.
    virtual void destroy_resource(void* resource) noexcept = 0;

    enum class reset_kind : std::uint8_t { none, now, on_strand };
    void set_reset(reset_kind kind) noexcept {
        reset_ = kind;
        resets_ = kind != reset_kind::none;
    }
    void set_asks() noexcept;

    /// The ends of what `start_…` began; on the strand, or while the io_context is being destroyed.
    void connected(slot_index i, void* resource) noexcept;
    void connect_failed(slot_index i, std::exception_ptr cause) noexcept;
    void pinged(slot_index i, bool alive) noexcept;
    /// A ping or reset has not ended in time: the slot is free, and the resource is whose coroutine has it.
    void overdue(slot_index i) noexcept;

    /// What is left in the slots; for the destructor of the typed half, and under no lock.
    void destroy_resources() noexcept;

private:
    friend class checkout_waiter;
    friend class pool_drain_waiter;
    friend class pool_task_run;
    class change;
    class strand_run;
    struct to_begin;

    /// The caller has the lock.
    [[nodiscard]] pool_snapshot counts() const noexcept;

    /// What a checkout has to do after the lock.
    struct aftermath {
        bool wakes;
        bool asks;
    };

    pool_lent take_next(const lease_place& place, duration wait, pool_refusal& why, aftermath& after) noexcept {
        const time_point now = timed_.load(std::memory_order_relaxed) ? zone().coarse_now() : time_point{};
        const std::lock_guard guard(lock_);
        const slot_index i = zone().refusing() ? no_slot : machine_.take(now);
        if (i == no_slot) [[unlikely]] {
            why = refuse(wait);
            return {};
        }
        ++granted_;
        if (machine_.needs_time()) {
            places_[i] = place;
            after = {machine_.claim_poll(), machine_.must_ask(i)};
        }
        return {resources_[i], i};
    }
    [[gnu::noinline]] pool_lent finish_take(pool_lent lent, const lease_place& place, duration wait, pool_refusal& why,
                                            aftermath after) noexcept;
    [[gnu::noinline]] void finish_return(std::unique_lock<spinlock> held, slot_index i,
                                         const pool_settled& settled) noexcept;
    [[gnu::noinline]] void give_back_reset(slot_index i, void* resource) noexcept;
    /// What was lent turned out to be dead: nobody had it.
    void found_dead(slot_index i) noexcept;
    void unpin() noexcept;

    // The caller holds the lock.
    [[gnu::noinline]] pool_refusal refuse(duration wait) noexcept;
    pool_refusal count_refusal(const pool_decision& why) noexcept;
    bool decide(checkout_waiter& w, duration timeout) noexcept;
    void set_timer(bool fired);
    bool make_room(slot_index i) noexcept;
    void fail_drain(pool_drain_waiter& w, change& c) noexcept;

    // On the strand.
    void wake() noexcept;
    void run(bool fired) noexcept;
    bool run_some(bool fired) noexcept;
    void begin(const to_begin& b) noexcept;
    void cancel_tasks(bool connects_only) noexcept;
    void watch(pool_task_run& task) noexcept;
    void forget(pool_task_run& task) noexcept;

    // While the io_context is being destroyed.
    void abandon_tasks(pool_task_list& list) noexcept;
    bool destroy_idle() noexcept;

    void expire(checkout_waiter& w) noexcept;
    void cancel(checkout_waiter& w) noexcept;
    void expire(pool_drain_waiter& w) noexcept;
    void cancel(pool_drain_waiter& w) noexcept;

    mutable spinlock lock_;
    pool_machine machine_;
    atomic<bool> timed_;              // the machine's, for a look without the lock
    atomic<duration::rep> max_wait_;  // of the options, likewise
    bool resets_ = false;
    bool orphaned_ = false;
    reset_kind reset_ = reset_kind::none;
    std::uint32_t pins_ = 0;  // changes that still use this object after the lock
    std::uint64_t granted_ = 0;
    std::vector<void*> resources_;
    std::vector<lease_place> places_;
    wait_queue<checkout_waiter> queue_;
    wait_queue<pool_drain_waiter> drains_;
    std::exception_ptr cause_;  // of the last failed connect
    owned_deadline<pool_core> timer_;
    pool_options options_;
    pool_task_list tasks_;     // that a close cancels
    pool_task_list canceled_;  // that it has canceled

    latency_histogram wait_;  // of those who were queued, whether they got something or their time was up
    std::uint64_t queued_ = 0, timed_out_ = 0, canceled_waits_ = 0, exhausted_ = 0, queue_full_ = 0, refused_down_ = 0;
    std::uint64_t connects_ = 0, connect_failures_ = 0, closed_ = 0, leaks_ = 0;
};

}  // namespace headgate::detail

#endif
