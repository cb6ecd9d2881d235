// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_POOL_MACHINE_HPP
#define HEADGATE_IMPL_POOL_MACHINE_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <headgate/export.hpp>
#include <headgate/pool_options.hpp>
#include <headgate/pool_snapshot.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

using slot_index = std::uint32_t;
inline constexpr slot_index no_slot = 0xffffffff;

/// What the shell does with a resource that came back, was connected, or was pinged.
enum class pool_fate : std::uint8_t {
    hand_over,  ///< Lent already: it belongs to the first waiter, who is no longer counted.
    idle,       ///< The machine keeps it.
    close,      ///< The slot is vacant: close the resource that was in it.
};

/// Why a resource is closed.
enum class pool_loss : std::uint8_t {
    surplus,   ///< It is not needed any more; no other takes its place.
    unusable,  ///< It is broken, or in doubt.
    aged,      ///< It is past its lifetime.
    idled,     ///< It was idle for too long.
};

struct pool_settled {
    pool_fate fate;
    /// No resource lives and the backend refuses: every waiter fails with `connect_failed`; none is counted any more.
    bool fail_waiters;
    pool_loss loss = pool_loss::surplus;  ///< For `close`.
};

struct pool_connect_failure {
    bool fail_waiters;
    duration retry_after;
};

/// Why a checkout did not get a resource at once.
enum class pool_verdict : std::uint8_t { granted, wait, exhausted, queue_full, connect_failed, shut_down };

struct pool_decision {
    pool_verdict verdict;
    slot_index slot;       ///< For `granted`.
    duration retry_after;  ///< For `connect_failed`: until the next attempt to connect.
};

enum class pool_task : std::uint8_t {
    connect,       ///< Start a connect for the slot; end it with `on_connected` or `on_connect_failed`.
    ping,          ///< Ping the resource; end it with `on_ping_done`.
    ask,           ///< Ask the resource whether it is alive, for a waiter; end it with `on_ping_done`.
    retire,        ///< Close the resource: the slot is vacant.
    leak,          ///< The slot's lease is held for longer than the threshold.
    hand_over,     ///< The slot is lent to the first waiter.
    fail_waiters,  ///< As `pool_settled::fail_waiters`; there is no slot.
    no_memory,     ///< A connect failed before it began, because there is no memory; there is no slot.
};

struct pool_action {
    pool_task task;
    slot_index slot;
    pool_loss loss = pool_loss::surplus;  ///< For `retire`.
};

/// The policy of a resource pool, without I/O, clock, lock or resources: it knows slots by index, and counts waiters
/// whose queue the shell keeps.
///
/// Events come in as calls; what cannot be answered by a return value is done by `poll`. After any event
/// `claim_poll()` says whether somebody has to call `poll`. Where `needs_time()` is false, `take` and `on_return` take
/// any `now`. Time that goes backwards is held at the latest time seen.
///
/// A resource that is too old, or was idle for too long, is *outdated*: it is lent on until another has taken its
/// place. It is closed only while more than `size` live, so that a pool whose backend refuses keeps what it has.
class HEADGATE_DECL pool_machine {
public:
    /// `options` are valid. `seed` is for the jitter.
    pool_machine(const pool_options& options, std::uint64_t seed);

    /// Resources that were idle for longer than `idle` are asked whether they live before they are lent. Called before
    /// anything else, for a backend that can be asked.
    void ask_after(duration idle) noexcept;

    // Checkout --------------------------------------------------------------------------------------------------------

    /// Lends the next idle resource, or gives `no_slot`: nobody passes a waiter. Allocates nothing.
    slot_index take(time_point now) noexcept {
        if (state_ != pool_state::active || waiting_ != 0 || idle_head_ == no_slot) {
            return no_slot;
        }
        const slot_index i = idle_head_;
        lend(i, now);
        return i;
    }
    /// Whether the resource just taken has to be asked whether it lives; when it does not, `on_return` follows.
    [[nodiscard]] bool must_ask(slot_index i) const noexcept {
        return saturating_sub(latest_, slots_[i].checked) > ask_after_;
    }
    /// Why `take` gave nothing; to one who `waits`, whether it may.
    [[nodiscard]] pool_decision explain(time_point now, bool waits = false) const noexcept;
    /// As `take`; counts one who `waits` as the last waiter.
    pool_decision join(time_point now, bool waits = true) noexcept;
    /// A waiter gave up.
    void leave() noexcept;

    /// A lease ended, well or `usable` no more. Allocates nothing.
    pool_settled on_return(slot_index i, bool usable, time_point now) noexcept {
        // The common case, an idle resource within `size` or a direct hand-over, stays inline.
        if (usable && slots_[i].mark == age::fresh && live() <= size_) {
            if (waiting_ == 0 && state_ <= pool_state::paused) {
                to_idle(i, now);
                return {pool_fate::idle, false};
            }
            if (waiting_ != 0 && state_ == pool_state::active) {
                --waiting_;
                lend(i, now);
                return {pool_fate::hand_over, false};
            }
        }
        return settle(i, usable, now, true);
    }
    /// The lease ended, and its resource is being reset: not a leak any more. `on_return` follows.
    void begin_reset(slot_index i) noexcept { move_to(i, slot_state::resetting); }

    // Results of actions ----------------------------------------------------------------------------------------------

    pool_settled on_connected(slot_index i, time_point now) noexcept;
    pool_connect_failure on_connect_failed(slot_index i, time_point now) noexcept;
    pool_settled on_ping_done(slot_index i, bool alive, time_point now) noexcept;

    // Control ---------------------------------------------------------------------------------------------------------

    void resize(std::uint32_t size, std::uint32_t max_overflow) noexcept;
    /// Takes other options, and keeps every resource and waiter. Lifetimes are drawn anew, from `now` on.
    void reconfigure(const pool_options& options, time_point now) noexcept;
    void pause() noexcept;
    void resume() noexcept;
    /// Refuses newcomers; those who wait are still served.
    void drain() noexcept;
    /// Ends the pool. No waiter is counted any more: the shell ends them all. `poll` retires what is idle.
    void close() noexcept;
    /// Draining is done: nobody waits, nothing is lent.
    [[nodiscard]] bool drained() const noexcept {
        return state_ >= pool_state::draining && waiting_ == 0 && leased() == 0;
    }
    /// Nothing is open, in flight or lent any more.
    [[nodiscard]] bool empty() const noexcept { return live() == 0 && connecting() == 0; }
    /// Connects in flight are for nobody.
    [[nodiscard]] bool connects_in_vain() const noexcept {
        return state_ == pool_state::closed || (state_ == pool_state::draining && waiting_ == 0);
    }

    // Work ------------------------------------------------------------------------------------------------------------

    /// Whether `claim_poll` would give true.
    [[nodiscard]] bool wants_poll() const noexcept { return dirty_ && !claimed_; }
    /// True once for each time that `poll` has to run; the caller who gets it sees to that.
    [[nodiscard]] bool claim_poll() noexcept {
        if (!dirty_ || claimed_) {
            return false;
        }
        claimed_ = true;
        return true;
    }
    /// Writes what is to be done to `out`, which is not empty, and gives how many. When it filled `out`, call it again.
    [[nodiscard]] std::size_t poll(time_point now, std::span<pool_action> out) noexcept;
    /// When `poll` is due without any event; `time_point::max()` for never. As of the last `poll`.
    [[nodiscard]] time_point next_deadline() const noexcept { return armed_; }

    // What it is like -------------------------------------------------------------------------------------------------

    /// Whether `take` and `on_return` use the time.
    [[nodiscard]] bool needs_time() const noexcept { return timed_; }
    /// The counts of this moment; what was counted since it was made is the shell's.
    [[nodiscard]] pool_snapshot look() const noexcept;
    [[nodiscard]] pool_state state() const noexcept { return state_; }
    [[nodiscard]] std::uint32_t waiting() const noexcept { return waiting_; }
    [[nodiscard]] std::uint32_t leased() const noexcept {
        return count(slot_state::leased) + count(slot_state::resetting);
    }
    /// Live resources whose place another is to take.
    [[nodiscard]] std::uint32_t outdated() const noexcept { return outdated_; }
    /// The last connect that ended failed.
    [[nodiscard]] bool failing() const noexcept { return failures_ != 0; }
    /// One more than the largest index given out so far.
    [[nodiscard]] std::size_t slots() const noexcept { return slots_.size(); }

private:
    enum class slot_state : std::uint8_t { vacant, connecting, idle, leased, pinging, resetting };
    enum class age : std::uint8_t { fresh, idled, aged };
    class to_do;

    struct slot {
        slot_index prev = no_slot;  // the idle list
        slot_index next = no_slot;  // the idle list, or the list of vacant slots
        std::uint32_t epoch = 0;    // of failures, when its connect began
        slot_state state = slot_state::vacant;
        age mark = age::fresh;  // outdated, and why
        bool leaked = false;    // already told
        time_point since{};     // lent, or idle, since
        time_point checked{};   // known to be alive at
        time_point expires = time_point::max();
    };

    /// The one transition: keeps the counts, and takes a slot that was idle out of the idle list.
    void move_to(slot_index i, slot_state to) noexcept {
        slot& s = slots_[i];
        if (s.state == slot_state::idle) {
            unlink_idle(s);
        }
        --counts_[static_cast<std::size_t>(s.state)];
        ++counts_[static_cast<std::size_t>(to)];
        s.state = to;
    }
    void lend(slot_index i, time_point now) noexcept {
        slot& s = slots_[i];
        move_to(i, slot_state::leased);
        if (timed_) {
            s.leaked = false;
            s.since = clamp(now);
            if (s.mark == age::idled) {
                set_mark(s, age::fresh);  // it is in use again
            }
            if (options_.leak_threshold > duration::zero()) {
                due(saturating_add(s.since, options_.leak_threshold));
            }
        }
    }
    void to_idle(slot_index i, time_point now) noexcept {
        slot& s = slots_[i];
        move_to(i, slot_state::idle);
        if (options_.strategy == pool_strategy::lifo) {
            push_head(i);
        } else {
            push_tail(i);
        }
        if (timed_) {
            s.since = s.checked = clamp(now);
            due(idle_due(s));
        }
    }
    void push_head(slot_index i) noexcept {
        slot& s = slots_[i];
        s.prev = no_slot;
        s.next = idle_head_;
        (idle_head_ == no_slot ? idle_tail_ : slots_[idle_head_].prev) = i;
        idle_head_ = i;
    }
    void push_tail(slot_index i) noexcept {
        slot& s = slots_[i];
        s.next = no_slot;
        s.prev = idle_tail_;
        (idle_tail_ == no_slot ? idle_head_ : slots_[idle_tail_].next) = i;
        idle_tail_ = i;
    }
    void unlink_idle(const slot& s) noexcept {
        (s.prev == no_slot ? idle_head_ : slots_[s.prev].next) = s.next;
        (s.next == no_slot ? idle_tail_ : slots_[s.next].prev) = s.prev;
    }
    /// Sees to it that `poll` looks at the slots at `t`.
    void due(time_point t) noexcept {
        if (t < scan_at_) {
            scan_at_ = t;
            dirty_ = dirty_ || t < armed_;
        }
    }
    /// The same, as soon as may be.
    void look_again() noexcept {
        scan_at_ = time_point::min();
        dirty_ = true;
    }

    [[nodiscard]] std::uint32_t count(slot_state s) const noexcept { return counts_[static_cast<std::size_t>(s)]; }
    [[nodiscard]] std::uint32_t idle() const noexcept { return count(slot_state::idle); }
    [[nodiscard]] std::uint32_t connecting() const noexcept { return count(slot_state::connecting); }
    [[nodiscard]] std::uint32_t pinging() const noexcept { return count(slot_state::pinging); }
    [[nodiscard]] std::uint32_t live() const noexcept { return idle() + leased() + pinging(); }
    /// Live, and not outdated.
    [[nodiscard]] std::uint32_t fresh() const noexcept { return live() - outdated_; }
    [[nodiscard]] std::uint32_t capacity() const noexcept { return size_ + max_overflow_; }
    /// What may live at once: one more than the capacity while an outdated resource and its replacement both do.
    [[nodiscard]] std::uint32_t most_live() const noexcept { return capacity() + (outdated_ != 0 ? 1 : 0); }
    [[nodiscard]] std::uint32_t connect_bound() const noexcept { return failures_ != 0 ? 1 : options_.max_connecting; }
    [[nodiscard]] bool down() const noexcept { return failures_ != 0 && live() == 0 && connecting() == 0; }
    [[nodiscard]] std::uint32_t wanted_connects() const noexcept;
    /// Whether an outdated resource may go: the pool lives on without it.
    [[nodiscard]] bool can_spare() const noexcept;
    /// Whether what is above `size` goes at once.
    [[nodiscard]] bool has_overflow() const noexcept;
    [[nodiscard]] bool has_surplus() const noexcept;
    [[nodiscard]] bool needs_connect_poll() const noexcept;
    [[nodiscard]] time_point idle_due(const slot& s) const noexcept;
    [[nodiscard]] time_point overflow_due(const slot& s) const noexcept;
    [[nodiscard]] time_point ping_due(const slot& s) const noexcept;

    /// The one place where it is decided what becomes of a live resource that nobody holds.
    pool_settled settle(slot_index i, bool usable, time_point now, bool returned) noexcept;
    pool_settled retire(slot_index i, pool_loss why) noexcept;
    void vacate(slot_index i) noexcept;
    slot_index vacant_slot() noexcept;
    void set_mark(slot& s, age mark) noexcept;
    void draw_lifetime(slot& s, time_point now) noexcept;
    void fail_connect(time_point now) noexcept;
    bool give_up_waiters() noexcept;

    // The parts of `poll`.
    void serve_waiters(time_point now, to_do& out) noexcept;
    void look_at_slots(time_point now, to_do& out) noexcept;
    void look_at_idle(slot_index i, time_point now, to_do& out) noexcept;
    void look_at_used(slot_index i, time_point now, to_do& out) noexcept;
    void dismiss_surplus(to_do& out) noexcept;
    void start_connects(time_point now, to_do& out) noexcept;

    duration jittered(duration d, double part) noexcept;
    time_point clamp(time_point now) noexcept { return latest_ = now < latest_ ? latest_ : now; }

    pool_options options_;
    std::uint32_t size_;
    std::uint32_t max_overflow_;
    duration ask_after_ = duration::max();
    pool_state state_ = pool_state::active;
    bool timed_;
    bool dirty_ = true;  // the first poll connects
    bool claimed_ = false;

    std::vector<slot> slots_;
    slot_index idle_head_ = no_slot;  // lent next
    slot_index idle_tail_ = no_slot;
    slot_index vacant_ = no_slot;

    std::array<std::uint32_t, 6> counts_{};  // of the slots in each state
    std::uint32_t outdated_ = 0;
    std::uint32_t waiting_ = 0;

    std::uint32_t failures_ = 0;  // in a row
    std::uint32_t epoch_ = 0;     // a connect that began before the last failure counted is not counted again
    time_point retry_at_ = time_point::min();
    time_point scan_at_ = time_point::max();  // no slot is due before
    time_point armed_ = time_point::max();
    time_point latest_ = time_point::min();
    std::uint64_t random_;
};

}  // namespace headgate::detail

#endif
