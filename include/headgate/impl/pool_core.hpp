// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_POOL_CORE_HPP
#define HEADGATE_IMPL_POOL_CORE_HPP

#include <boost/asio/cancellation_signal.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <source_location>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

#include <headgate/export.hpp>
#include <headgate/impl/pool_machine.hpp>
#include <headgate/impl/spinlock.hpp>
#include <headgate/impl/waiter.hpp>
#include <headgate/impl/zone_core.hpp>
#include <headgate/latency.hpp>
#include <headgate/pool_options.hpp>
#include <headgate/pool_status.hpp>
#include <headgate/result.hpp>

namespace headgate::detail {

class pool_core;

/// A resource that is lent; null when none is. Two words, so that it is returned in registers.
struct pool_lent {
    void* resource = nullptr;
    slot_index slot = no_slot;

    [[nodiscard]] explicit operator bool() const noexcept { return resource != nullptr; }
};

/// Why nothing was lent. `wait` when the caller may.
struct pool_refusal {
    pool_verdict verdict = pool_verdict::exhausted;
    duration retry_after{};
};

/// Whom a leak is blamed on: a place, or where nobody named one, the type of the operation that holds the lease.
struct lease_place {
    std::source_location where{};
    const std::type_info* operation = nullptr;

    lease_place() = default;
    lease_place(std::source_location place) noexcept : where(place) {}
    lease_place(std::source_location place, const std::type_info& op) noexcept : where(place), operation(&op) {}

    [[nodiscard]] HEADGATE_DECL std::string text() const;
};

/// A caller in the queue of a pool. It owns what it was granted until that is taken: when its completion is destroyed
/// instead of run, the resource goes to the next in line.
class HEADGATE_DECL checkout_waiter : public waiter {
public:
    checkout_waiter(std::shared_ptr<pool_core> pool, const lease_place& place) noexcept
        : pool_(std::move(pool)), place_(place) {}

    void on_cancel() noexcept override;

protected:
    ~checkout_waiter();

    /// What was granted, once; `refusal` says why there is nothing.
    [[nodiscard]] pool_lent lent() noexcept { return std::exchange(lent_, pool_lent{}); }
    [[nodiscard]] error refusal() const { return error(refusal_, cause_, retry_after_); }

private:
    friend class pool_core;

    void on_deadline() noexcept override;

    std::shared_ptr<pool_core> pool_;
    lease_place place_;
    time_point asked_{};
    pool_lent lent_;
    duration retry_after_{};
    errc refusal_ = errc::shut_down;
    std::exception_ptr cause_;
};

/// Waits until a draining pool has nothing lent and nobody waiting.
class HEADGATE_DECL pool_drain_waiter : public waiter {
public:
    explicit pool_drain_waiter(std::shared_ptr<pool_core> pool) noexcept : pool_(std::move(pool)) {}

    [[nodiscard]] result<void> take() const;
    void on_cancel() noexcept override;

protected:
    ~pool_drain_waiter() = default;

private:
    friend class pool_core;

    void on_deadline() noexcept override;

    std::shared_ptr<pool_core> pool_;
    errc outcome_{};
    std::uint32_t left_ = 0;
};

/// Work of user code for a pool (connect, ping, reset, close) while it runs on the strand: its time limit, and its end,
/// which comes exactly once: by itself, by the limit, or because the io_context is destroyed.
class HEADGATE_DECL pool_task_run : public deadline, public std::enable_shared_from_this<pool_task_run> {
public:
    explicit pool_task_run(std::shared_ptr<pool_core> pool);
    virtual ~pool_task_run();

    /// Arms the limit; on the strand.
    void limit(duration span) noexcept;
    [[nodiscard]] boost::asio::cancellation_slot slot() noexcept { return signal_.slot(); }
    /// Emits the signal; on the strand.
    void cancel() noexcept;
    /// The io_context is gone: the limit never fires.
    void abandon() noexcept;

protected:
    /// True for the first who ends it.
    [[nodiscard]] bool end() noexcept;
    [[nodiscard]] pool_core& pool() const noexcept { return *pool_; }
    [[nodiscard]] const std::shared_ptr<pool_core>& pool_ptr() const noexcept { return pool_; }

private:
    void on_deadline() noexcept override;
    virtual void timed_out() noexcept = 0;

    std::shared_ptr<pool_core> pool_;
    std::shared_ptr<pool_task_run> self_;  // while the limit is armed
    boost::asio::cancellation_signal signal_;
    bool ended_ = false;
};

/// The asynchronous shell around `pool_machine`, for any type of resource: queue, timers, lock. Resources are untyped
/// pointers here; the class derived from it knows their type and their backend.
///
/// It is held by `shared_ptr`s with `pool_core::orphan` as deleter: leases are not counted by them, so that lending
/// costs no atomic operation; what is lent keeps the core until it came back.
class HEADGATE_DECL pool_core : public primitive, public std::enable_shared_from_this<pool_core> {
public:
    pool_core(std::shared_ptr<zone_core> zone, std::string name, const pool_options& options,
              primitive_kind kind = primitive_kind::resource_pool);

    /// The last `shared_ptr` is gone: deletes the core, now or with the return of its last lease.
    static void orphan(pool_core* core) noexcept;

    void start() noexcept { wake(); }

    // Checkout and return; any thread.

    /// Lends the next idle resource; nobody passes a waiter.
    pool_lent take(const lease_place& place) noexcept {
        const time_point now = timed_.load(std::memory_order_relaxed) ? zone().coarse_now() : time_point{};
        lock_.lock();
        const slot_index i = zone().refusing() ? no_slot : machine_.take(now);
        if (i == no_slot) {
            lock_.unlock();
            return {};
        }
        ++granted_;
        void* const resource = resources_[i];
        bool wakes = false;
        if (machine_.needs_time()) {
            places_[i] = place;
            wakes = machine_.claim_poll();
        }
        lock_.unlock();
        if (wakes) {
            wake();
        }
        return {resource, i};
    }
    /// Why `take` gave nothing, to one who does not wait.
    [[gnu::noinline]] pool_refusal refuse() noexcept;
    /// The same to one who would wait for `timeout`.
    [[gnu::noinline]] pool_refusal refuse_or_wait(duration timeout, time_point now) noexcept;
    /// The error of a refusal.
    [[nodiscard]] error to_error(const pool_refusal& refusal) const;
    /// `asked` is when the wait began.
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
        lock_.lock();
        const pool_settled settled = machine_.on_return(i, usable, now);
        // An idle resource is the end of it: from the unlock on, another thread may destroy this object.
        if (settled.fate != pool_fate::idle || machine_.wants_poll() || zone().refusing()) {
            finish(i, settled, usable);
            return;
        }
        lock_.unlock();
    }

    // Control; any thread.

    result<void> resize(std::uint32_t size, std::uint32_t max_overflow);
    /// Precondition: `options` are valid.
    void reconfigure(const pool_options& options);
    void pause() noexcept;
    void resume() noexcept;
    [[nodiscard]] pool_status status() const noexcept;
    void enqueue(pool_drain_waiter& w, duration limit) noexcept;
    [[nodiscard]] pool_options options() const noexcept {
        const std::lock_guard guard(lock_);
        return options_;
    }
    [[nodiscard]] duration checkout_timeout() const noexcept {
        return duration{checkout_timeout_.load(std::memory_order_relaxed)};
    }

    // primitive
    void close() noexcept override;
    void drain() noexcept override;
    void abandon() noexcept override;
    [[nodiscard]] primitive_snapshot snapshot() const override;
    [[nodiscard]] std::uint64_t in_use() const noexcept override;

    void on_timer();

protected:
    ~pool_core() override;

    // For the typed half. `resource` is what `connected` was given.
    virtual void start_connect(slot_index i) = 0;
    virtual void start_ping(slot_index i, void* resource) = 0;
    /// Resets in place, and says whether the resource is usable; user code, on the thread of the return.
    virtual bool reset_now(void* resource) noexcept = 0;
    /// Ends with `settle_return`.
    virtual void start_reset(slot_index i, void* resource) = 0;
    /// Closes it on the strand; called on any thread, the core may be on its way out.
    virtual void close_resource(void* resource) noexcept = 0;
    /// Only destroys it: there is no strand any more.
    virtual void destroy_resource(void* resource) noexcept = 0;

    enum class reset_kind : std::uint8_t { none, now, on_strand };
    void set_reset(reset_kind kind) noexcept {
        reset_ = kind;
        resets_ = kind != reset_kind::none;
    }

    /// The ends of what `start_…` began; on the strand, or while the io_context is being destroyed.
    void connected(slot_index i, void* resource) noexcept;
    void connect_failed(slot_index i, std::exception_ptr cause) noexcept;
    void pinged(slot_index i, bool alive) noexcept;

    /// Does what the machine wants done; on the strand, or before anybody else knows this object.
    void run(bool fired) noexcept;

    /// What is left in the slots; for the destructor of the typed half, and under no lock.
    void destroy_resources() noexcept;

private:
    friend class checkout_waiter;
    friend class pool_drain_waiter;
    friend class pool_task_run;
    class last_run;

    [[gnu::noinline]] void give_back_reset(slot_index i, void* resource) noexcept;
    /// Does what follows from an event; called under the lock, and releases it.
    [[gnu::noinline]] void finish(slot_index i, pool_settled settled, bool usable) noexcept;
    void unpin() noexcept;

    void wake() noexcept;
    /// Kept, because one that ends leaves `tasks_`. On the strand.
    [[nodiscard]] std::vector<std::shared_ptr<pool_task_run>> running_tasks() const;

    // Under the lock.
    pool_refusal count_refusal(pool_decision why) noexcept;
    [[nodiscard]] checkout_waiter* hand_over(slot_index i) noexcept;
    void end_waiters(errc why, waiter_list<checkout_waiter>& ended) noexcept;
    void end_drains(errc why, waiter_list<pool_drain_waiter>& ended) noexcept;
    void set_timer(bool fired);
    void tell(event_kind what, std::string detail, std::source_location where = {}) const;

    void expire(checkout_waiter& w) noexcept;
    void cancel(checkout_waiter& w) noexcept;
    void expire(pool_drain_waiter& w) noexcept;
    void cancel(pool_drain_waiter& w) noexcept;
    /// Under the lock, and releases it: what may follow when a waiter has left.
    void left() noexcept;

    mutable spinlock lock_;
    pool_machine machine_;
    atomic<bool> timed_;                      // the machine's, for a look without the lock
    atomic<duration::rep> checkout_timeout_;  // of the options, likewise
    bool resets_ = false;
    bool orphaned_ = false;
    reset_kind reset_ = reset_kind::none;
    std::uint32_t pins_ = 0;  // returns that still use this object after the lock
    std::uint64_t granted_ = 0;
    std::vector<void*> resources_;
    std::vector<lease_place> places_;
    waiter_list<checkout_waiter> queue_;
    waiter_list<pool_drain_waiter> drains_;
    std::exception_ptr cause_;  // of the last failed connect
    owned_deadline<pool_core> timer_;
    pool_options options_;
    std::vector<pool_task_run*> tasks_;  // on the strand

    latency_histogram wait_;  // of those who were queued
    std::uint64_t queued_ = 0, timed_out_ = 0, canceled_ = 0, exhausted_ = 0, queue_full_ = 0, refused_down_ = 0;
    std::uint64_t connects_ = 0, connect_failures_ = 0, closed_ = 0, leaks_ = 0;
};

}  // namespace headgate::detail

#endif
