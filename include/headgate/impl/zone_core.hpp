// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_ZONE_CORE_HPP
#define HEADGATE_IMPL_ZONE_CORE_HPP

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>

#include <boost/intrusive/list.hpp>

#include <time.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <headgate/event.hpp>
#include <headgate/export.hpp>
#include <headgate/impl/clock_state.hpp>
#include <headgate/impl/context_gate.hpp>
#include <headgate/impl/deadline.hpp>
#include <headgate/impl/serial_queue.hpp>
#include <headgate/impl/spinlock.hpp>
#include <headgate/result.hpp>
#include <headgate/snapshot.hpp>
#include <headgate/virtual_clock.hpp>

namespace headgate::detail {

namespace asio = boost::asio;

class zone_core;
class context_state;
class registry;
class sleep_waiter;
class idle_waiter;

/// For what an `idle_waiter` waits.
enum class idle_wait : std::uint8_t {
    close,  ///< Operations.
    drain,  ///< Leases and permits too.
    look,   ///< The same, for no longer than one look takes.
    drop,   ///< As `drain`, or for a close, whichever comes first.
};

struct registry_tag;

/// The base of everything a zone owns. Each primitive has its own lock; none of these is called under one.
class HEADGATE_DECL primitive
    : public boost::intrusive::list_base_hook<boost::intrusive::tag<registry_tag>,
                                              boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
public:
    primitive(std::shared_ptr<zone_core> zone, primitive_kind kind, std::string name);
    primitive(const primitive&) = delete;
    primitive& operator=(const primitive&) = delete;
    virtual ~primitive();

    [[nodiscard]] zone_core& zone() const noexcept { return *zone_; }
    [[nodiscard]] const std::shared_ptr<zone_core>& zone_ptr() const noexcept { return zone_; }
    [[nodiscard]] primitive_kind kind() const noexcept { return kind_; }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    /// The zone is closed: end the waiters with `shut_down`, disarm the deadlines, cancel connects. May come twice.
    virtual void close() noexcept = 0;

    /// It is no longer registered: refuse newcomers, where what is lent has to come back. Those who wait are served.
    virtual void drain() noexcept {}

    /// The io_context is being destroyed: destroy the waiters without completing them, forget the deadlines.
    virtual void abandon() noexcept = 0;

    [[nodiscard]] virtual primitive_snapshot snapshot() const = 0;

    /// Leases and permits that are out: what `drain` waits for.
    [[nodiscard]] virtual std::uint64_t in_use() const noexcept = 0;

    /// Stamps and delivers an event of this primitive; cheap when nobody listens. May be called under a lock. An event
    /// for which there is no memory is lost.
    void emit(event e) const noexcept;

private:
    friend registry;

    std::shared_ptr<zone_core> zone_;
    primitive_kind kind_;
    std::string name_;
    std::weak_ptr<primitive> self_;
};

/// What a deadline is of, for people: what runs of a virtual clock that do not end name.
class named_deadline {
public:
    /// Called before the deadline's `on_deadline`.
    [[nodiscard]] virtual std::string whose() const = 0;

protected:
    ~named_deadline() = default;
};

/// The state behind a `zone`: strand, clock, deadlines, registry, events. All members are thread-safe.
class HEADGATE_DECL zone_core : public std::enable_shared_from_this<zone_core> {
public:
    using strand_type = serial_executor<asio::io_context::executor_type>;

    static std::shared_ptr<zone_core> create(asio::io_context& context, std::string name, virtual_clock* clock,
                                             bool runs_without_breaker = false);
    ~zone_core();

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] asio::io_context::executor_type executor() const noexcept { return context_.get_executor(); }

    /// The time on its clock; when that was a virtual one that is gone, where it stood last.
    [[nodiscard]] time_point now() const noexcept {
        return clock_ != nullptr ? clock_->now() : std::chrono::steady_clock::now();
    }

    /// The time as of the last tick of the kernel, a few milliseconds ago at most: a fifth of the cost of `now()`, for
    /// what is measured in seconds. Exact on a virtual clock.
    [[nodiscard]] time_point coarse_now() const noexcept {
#if defined(CLOCK_MONOTONIC_COARSE)
        if (clock_ == nullptr) {
            ::timespec t{};
            ::clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
            return time_point{std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec}};
        }
#endif
        return now();
    }

    /// To compare whether two zones are on one clock; null for the steady clock.
    [[nodiscard]] const clock_state* clock() const noexcept { return clock_.get(); }

    /// Whether a breaker's name that is not there means to run unprotected.
    [[nodiscard]] bool runs_without_breaker() const noexcept { return runs_without_breaker_; }
    void run_without_breaker(bool runs) noexcept { runs_without_breaker_ = runs; }

    /// System time minus the time on the zone's clock, no older than half a minute: the system clock may step. Costs
    /// about as much as `coarse_now`.
    [[nodiscard]] duration system_offset() const noexcept;
    /// The same as of now, for a save.
    duration read_system_offset() const noexcept;

    /// Closed: every decision and wait ends with `shut_down`. Checked under each primitive's lock.
    [[nodiscard]] bool closed() const noexcept { return stage_.load(std::memory_order_acquire) == stage_kind::closed; }

    /// Closed or draining: new work is refused with `shut_down`.
    [[nodiscard]] bool refusing() const noexcept { return stage_.load(std::memory_order_acquire) != stage_kind::open; }

    /// Arms `node` for `when`, from any thread and under any lock but the zone's own. Precondition: it is not armed.
    void arm(deadline& node, time_point when) noexcept;

    /// True: it will not fire. False: it was not armed, or the driver is about to call `on_deadline()`.
    bool disarm(deadline& node) noexcept;

    /// Runs `f` on the strand. Nothing happens when the io_context is gone. Throws `std::bad_alloc`: then nothing has
    /// happened, and `f` is destroyed. What must not fail arms a deadline.
    template <class F>
    void post(F&& f) {
        const context_gate::passage inside(gate_);
        if (inside) {
            queue_->post(serial_function<std::decay_t<F>>::make(std::forward<F>(f)));
        }
    }
    /// Empty when the io_context is gone. For use on the strand.
    [[nodiscard]] const std::optional<strand_type>& strand() const noexcept { return strand_; }

    /// An event for which there is no memory is lost. May be called under a lock.
    void emit(primitive_kind kind, const std::string& name, event e) noexcept;

    /// Asynchronous operations pending, as `close` counts them.
    void operation_started() noexcept { operations_.fetch_add(1, std::memory_order_relaxed); }
    void operation_finished() noexcept;

    /// A lease or permit came back: a drain may be complete. The primitive has counted it under its lock, which is what
    /// orders it with the drain that sets the stage and then looks at the count.
    void returned() noexcept {
        if (refusing()) {
            check_idle();
        }
    }

    /// Registers a primitive. Errors: `invalid_argument`, `name_taken`, `shut_down`.
    result<void> add(std::shared_ptr<primitive> p);
    result<std::shared_ptr<primitive>> find(primitive_kind kind, std::string_view name) const;
    /// Takes a primitive out of the registry and lets it drain; handles to it go on.
    void remove(primitive_kind kind, std::string_view name) noexcept;
    [[nodiscard]] zone_snapshot snapshot() const;

    /// What the calling thread adds from now on has its name, and is found by that thread alone until `settle_staged`:
    /// then it is found by all (`keep`), or gone. One thread at a time.
    void stage() noexcept;
    void settle_staged(bool keep) noexcept;

    /// The destructor of `p` runs.
    void forget(primitive& p) noexcept;

    void close() noexcept;
    void drain() noexcept;
    void abandon() noexcept;
    /// Closes, and gives up the primitives: handles and leases keep what they need.
    void release() noexcept;

    std::uint64_t subscribe(std::function<void(const event&)> handler);
    void unsubscribe(std::uint64_t id) noexcept;

    void enqueue(sleep_waiter& w, duration span) noexcept;
    void expire(sleep_waiter& w) noexcept;
    void cancel(sleep_waiter& w) noexcept;

    void enqueue(idle_waiter& w, idle_wait wanted, duration limit) noexcept;
    void expire(idle_waiter& w) noexcept;
    void cancel(idle_waiter& w) noexcept;

    // For the virtual clock: when the driver wants to be called, and the call.
    [[nodiscard]] time_point next_wake() const noexcept;
    void wake() noexcept;

private:
    friend class context_state;
    friend class driver;

    enum class stage_kind : std::uint8_t { open, draining, closed };
    struct state;
    class delivery;

    zone_core(asio::io_context& context, std::string name, virtual_clock* clock, bool runs_without_breaker);

    void detach() noexcept;
    void check_idle() noexcept;
    [[nodiscard]] std::uint64_t what_is_left() const noexcept;
    void end_looks(std::uint64_t last) noexcept;

    asio::io_context& context_;
    std::string name_;
    std::shared_ptr<clock_state> clock_;
    atomic<bool> runs_without_breaker_;
    context_gate gate_;
    std::shared_ptr<serial_queue> queue_;
    std::optional<strand_type> strand_;
    atomic<stage_kind> stage_{stage_kind::open};
    atomic<std::uint64_t> operations_{0};
    mutable atomic<duration::rep> offset_ns_{0};
    mutable atomic<duration::rep> offset_read_ns_{0};
    std::shared_ptr<context_state> home_;
    std::unique_ptr<state> state_;
};

/// Counts an operation of the zone while it lives.
class counted_operation {
public:
    explicit counted_operation(std::shared_ptr<zone_core> zone) noexcept : zone_(std::move(zone)) {
        zone_->operation_started();
    }
    counted_operation(counted_operation&&) noexcept = default;
    counted_operation& operator=(counted_operation&&) = delete;
    ~counted_operation() {
        if (zone_) {
            zone_->operation_finished();
        }
    }

private:
    std::shared_ptr<zone_core> zone_;
};

/// A deadline that is a member of a primitive (or of anything shared) and keeps it alive while it is armed: calls
/// `owner.on_timer()` on the strand, under no lock, perhaps once too often: the owner looks at the time itself.
template <class Owner>
class owned_deadline final : public deadline, public named_deadline {
public:
    /// (Re)arms. Called under the owner's lock.
    void arm(zone_core& zone, std::shared_ptr<Owner> owner, time_point when) noexcept {
        const bool was_armed = zone.disarm(*this);
        armed_ = when;
        {
            const std::lock_guard guard(lock_);
            owner_ = std::move(owner);
            released_ = false;
            pending_ += was_armed ? 0 : 1;
        }
        zone.arm(*this, when);
    }

    /// Called under the owner's lock. The owner may only go when no reference of it is left here.
    void disarm(zone_core& zone) noexcept {
        armed_ = time_point::max();
        std::shared_ptr<Owner> gone;
        const bool was_armed = zone.disarm(*this);
        const std::lock_guard guard(lock_);
        released_ = true;
        pending_ -= was_armed ? 1 : 0;
        if (pending_ == 0) {
            gone = std::move(owner_);
        }
    }

    /// The io_context is gone: nothing will fire any more.
    void abandon() noexcept {
        std::shared_ptr<Owner> gone;
        const std::lock_guard guard(lock_);
        pending_ = 0;
        gone = std::move(owner_);
    }

    /// What it was armed for last; `time_point::max()` when it was disarmed.
    [[nodiscard]] time_point armed() const noexcept { return armed_; }

    [[nodiscard]] std::string whose() const override {
        std::shared_ptr<Owner> owner;
        {
            const std::lock_guard guard(lock_);
            owner = owner_;
        }
        if constexpr (requires { owner->kind(); }) {
            return owner ? std::string(to_string(owner->kind())) + " \"" + owner->name() + '"' : std::string();
        } else {
            return {};
        }
    }

private:
    void on_deadline() noexcept override {
        std::shared_ptr<Owner> owner;
        bool released = false;
        {
            const std::lock_guard guard(lock_);
            released = released_;
            owner = --pending_ == 0 ? std::move(owner_) : owner_;  // it may be armed again already
        }
        if (owner && !released) {
            owner->on_timer();
        }
    }

    mutable spinlock lock_;
    std::shared_ptr<Owner> owner_;
    time_point armed_ = time_point::max();
    int pending_ = 0;  // armed, or given out by the driver and about to fire
    bool released_ = true;
};

}  // namespace headgate::detail

#endif
