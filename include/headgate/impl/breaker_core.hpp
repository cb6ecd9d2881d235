// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_BREAKER_CORE_HPP
#define HEADGATE_IMPL_BREAKER_CORE_HPP

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include <headgate/impl/breaker_machine.hpp>
#include <headgate/impl/spinlock.hpp>
#include <headgate/impl/zone_core.hpp>
#include <headgate/latency.hpp>

namespace headgate::detail {

/// A refusal or an admission, before it is made a `result`.
struct breaker_decision {
    breaker_admission admission{};
    bool shut_down{};

    [[nodiscard]] errc why() const noexcept { return shut_down ? errc::shut_down : errc::circuit_open; }
};

/// The state behind a `circuit_breaker`: the machine under a lock, the timer of its probes, its events.
///
/// It lives as long as the zone, a handle, or a running call needs it. A running call counts without a reference of its
/// own: when the last reference goes while calls run, the last of these calls destroys it.
class HEADGATE_DECL breaker_core final : public primitive,
                                         public std::enable_shared_from_this<breaker_core>,
                                         private deadline {
public:
    static result<std::shared_ptr<breaker_core>> create(const std::shared_ptr<zone_core>& zone, std::string name,
                                                        const breaker_options& options);

    /// Precondition: the caller has a reference. After an admission `end` must be called, once.
    [[nodiscard]] breaker_decision begin() noexcept {
        if (times_calls()) {
            const time_point now = zone().now();  // not under the lock
            return decide([now] { return now; });
        }
        return decide([this] { return zone().now(); });
    }

    /// As `begin`, at a time that the caller has read; the call is timed.
    [[nodiscard]] breaker_decision begin(time_point now) noexcept {
        breaker_decision decision = decide([now] { return now; });
        decision.admission.ticket.began = now;
        return decision;
    }

    /// `begin` of a closed breaker, into the caller's ticket: a decision that is returned whole costs as much as it.
    /// False when `begin` has to be asked. A call is timed unless `now` is the origin.
    [[nodiscard]] bool begin_closed(time_point now, breaker_ticket& ticket) noexcept {
        const std::lock_guard guard(lock_);
        const bool closed = machine_.state() == breaker_state::closed && !zone().refusing();
        if (closed) [[likely]] {
            machine_.admit_closed(ticket, now);
        }
        return closed;
    }

    /// Whether every call is timed.
    [[nodiscard]] bool times_calls() const noexcept { return times_calls_.load(std::memory_order_relaxed); }

    /// Ends the call of `ticket`. It may be the end of this breaker too: the caller does not touch it afterwards.
    call_record end(const breaker_ticket& ticket, call_outcome outcome, duration trip_for) noexcept {
        // A success of a closed breaker only goes into a slice of the window, and a tick of the kernel is enough for
        // that.
        const bool exact = outcome == call_outcome::failure || ticket.probe != breaker_ticket::no_probe ||
                           ticket.began != time_point{} || exact_ends_.load(std::memory_order_relaxed);
        const time_point now = exact ? zone().now() : zone().coarse_now();
        change scope(*this);
        scope.ends_a_call = true;
        if (ticket.began != time_point{}) {
            run_.record(saturating_sub(now, ticket.began));
        }
        return machine_.end(ticket, outcome, now, trip_for, scope.transitions);
    }

    bool trip(duration how_long);
    void reset();
    void set_mode(breaker_mode mode);
    result<void> reconfigure(const breaker_options& options);
    [[nodiscard]] breaker_snapshot look();

    void close() noexcept override;
    void abandon() noexcept override;
    [[nodiscard]] primitive_snapshot snapshot() const override;
    [[nodiscard]] std::uint64_t in_use() const noexcept override;

private:
    breaker_core(const std::shared_ptr<zone_core>& zone, std::string name, const breaker_options& options,
                 std::uint64_t seed);
    ~breaker_core() override = default;

    /// The scope of whatever may change the machine. It locks; when it ends, what follows from the change is done in
    /// one order: the events, in the order of the changes; the timer; unlock; then whatever runs without the lock.
    /// After it the breaker may have gone, unless the caller has a reference.
    class change {
    public:
        explicit change(breaker_core& core) noexcept : core_(core) {
            core_.lock_.lock();
            refusing = core_.zone().refusing();
        }
        change(const change&) = delete;
        change& operator=(const change&) = delete;
        ~change() {
            if (core_.has_consequences(*this)) [[unlikely]] {
                follow();
            } else {
                core_.lock_.unlock();
            }
        }

        breaker_transitions transitions;
        bool refusing;             // the zone takes no new work
        bool ends_a_call = false;  // for which the zone may wait

    private:
        void follow() noexcept;

        breaker_core& core_;
    };

    static void last_reference_gone(breaker_core* core) noexcept;

    // Built in place: a copy of the decision costs as much as the decision.
    template <class Clock>
    breaker_decision decide(const Clock& clock) noexcept {
        change scope(*this);
        if (scope.refusing) [[unlikely]] {
            return {{}, true};
        }
        if (machine_.state() == breaker_state::open) {
            const time_point about = zone().coarse_now();
            if (machine_.stays_open(about)) {
                return {machine_.refuse(about), false};
            }
        }
        return {machine_.begin(clock, scope.transitions), false};
    }

    // Whether a change has consequences outside of the machine. Caller holds the lock.
    [[nodiscard]] bool has_consequences(const change& c) const noexcept {
        return !c.transitions.empty() || machine_.next_deadline() != armed_for_ || orphaned_ || c.refusing;
    }

    void on_deadline() noexcept override;
    void follow_options() noexcept;
    void tell(const breaker_transitions& changes) const noexcept;
    std::shared_ptr<breaker_core> follow_deadline() noexcept;
    template <class Event>
    auto changing(Event event);

    alignas(64) mutable spinlock lock_;
    bool orphaned_ = false;
    bool armed_ = false;  // in the zone's wheel, or on the way to on_deadline
    // The machine's, for a look without the lock.
    atomic<bool> times_calls_;
    atomic<bool> exact_ends_;
    time_point armed_for_ = time_point::max();
    breaker_machine machine_;
    latency_histogram run_;               // of the calls that are timed
    std::shared_ptr<breaker_core> self_;  // while armed
};

}  // namespace headgate::detail

#endif
