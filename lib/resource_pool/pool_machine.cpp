// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/pool_machine.hpp>

#include <algorithm>
#include <new>
#include <utility>

#include <headgate/impl/random.hpp>

namespace headgate::detail {

namespace {

bool on(duration d) noexcept {
    return d > duration::zero();
}

/// Whether it matters since when a resource is idle or lent.
bool is_timed(const pool_options& o) noexcept {
    return on(o.idle_timeout) || on(o.ping_interval) || on(o.overflow_ttl) || on(o.leak_threshold);
}

/// The end of time is never.
bool passed(time_point t, time_point now) noexcept {
    return t <= now && t != time_point::max();
}

}  // namespace

/// What a poll writes.
class pool_machine::to_do {
public:
    explicit to_do(std::span<pool_action> out) noexcept : out_(out) {}

    [[nodiscard]] bool full() const noexcept { return count_ == out_.size(); }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    void add(pool_task task, slot_index slot, pool_loss loss = pool_loss::surplus) noexcept {
        out_[count_++] = {task, slot, loss};
    }

private:
    std::span<pool_action> out_;
    std::size_t count_ = 0;
};

pool_machine::pool_machine(const pool_options& options, std::uint64_t seed)
    : options_(options),
      size_(options.size),
      max_overflow_(options.max_overflow),
      timed_(is_timed(options)),
      random_(seed) {}

void pool_machine::ask_after(duration idle) noexcept {
    ask_after_ = idle;
    timed_ = true;
}

// Checkout ------------------------------------------------------------------------------------------------------------

pool_decision pool_machine::explain(time_point now, bool waits) const noexcept {
    if (state_ >= pool_state::draining) {
        return {pool_verdict::shut_down, no_slot, {}};
    }
    now = std::max(now, latest_);
    if (down() && now < retry_at_) {
        return {pool_verdict::connect_failed, no_slot, saturating_sub(retry_at_, now)};
    }
    if (!waits) {
        return {pool_verdict::exhausted, no_slot, {}};
    }
    return {waiting_ < options_.max_waiters ? pool_verdict::wait : pool_verdict::queue_full, no_slot, {}};
}

pool_decision pool_machine::join(time_point now, bool waits) noexcept {
    const slot_index i = take(now);
    if (i != no_slot) {
        return {pool_verdict::granted, i, {}};
    }
    const pool_decision decision = explain(now, waits);
    if (decision.verdict == pool_verdict::wait) {
        ++waiting_;
        dirty_ = dirty_ || needs_connect_poll();
    }
    return decision;
}

void pool_machine::leave() noexcept {
    --waiting_;
    dirty_ = dirty_ || state_ == pool_state::draining || has_surplus();
    if (waiting_ == 0 && outdated_ != 0) {
        look_again();
    }
}

// What becomes of a resource ------------------------------------------------------------------------------------------

pool_settled pool_machine::settle(slot_index i, bool usable, time_point now, bool returned) noexcept {
    slot& s = slots_[i];
    if (!usable) {
        return retire(i, pool_loss::unusable);
    }
    if (s.mark != age::fresh && can_spare()) {
        return retire(i, s.mark == age::aged ? pool_loss::aged : pool_loss::idled);
    }
    if (state_ == pool_state::closed || live() > most_live()) {
        return retire(i, pool_loss::surplus);
    }
    if (waiting_ != 0 && state_ != pool_state::paused) {
        --waiting_;
        lend(i, now);
        return {pool_fate::hand_over, false};
    }
    if (state_ == pool_state::draining || (s.mark == age::fresh && has_overflow())) {
        return retire(i, pool_loss::surplus);
    }
    if (returned) {
        to_idle(i, now);
        return {pool_fate::idle, false};
    }
    // A pinged resource was the coldest: it goes back to where it was, and has been idle all the time.
    move_to(i, slot_state::idle);
    if (options_.strategy == pool_strategy::lifo) {
        push_tail(i);
    } else {
        push_head(i);
    }
    due(idle_due(s));
    return {pool_fate::idle, false};
}

pool_settled pool_machine::retire(slot_index i, pool_loss why) noexcept {
    vacate(i);
    return {pool_fate::close, give_up_waiters(), why};
}

/// No resource lives and the backend refuses: no caller can be served.
bool pool_machine::give_up_waiters() noexcept {
    return down() && std::exchange(waiting_, 0) != 0;
}

void pool_machine::vacate(slot_index i) noexcept {
    slot& s = slots_[i];
    set_mark(s, age::fresh);
    move_to(i, slot_state::vacant);
    s = slot{};
    s.next = vacant_;
    vacant_ = i;
    dirty_ = true;
}

/// `no_slot` when there is no memory for another.
slot_index pool_machine::vacant_slot() noexcept {
    if (vacant_ == no_slot) {
        try {
            slots_.emplace_back();
        } catch (const std::bad_alloc&) {
            return no_slot;
        }
        ++counts_[static_cast<std::size_t>(slot_state::vacant)];
        return static_cast<slot_index>(slots_.size() - 1);
    }
    const slot_index i = vacant_;
    vacant_ = slots_[i].next;
    slots_[i] = slot{};
    return i;
}

void pool_machine::set_mark(slot& s, age mark) noexcept {
    if (s.mark == mark) {
        return;
    }
    outdated_ -= s.mark != age::fresh ? 1 : 0;
    outdated_ += mark != age::fresh ? 1 : 0;
    s.mark = mark;
    dirty_ = true;
}

void pool_machine::draw_lifetime(slot& s, time_point now) noexcept {
    s.expires = on(options_.max_lifetime)
                    ? saturating_add(now, jittered(options_.max_lifetime, options_.lifetime_jitter))
                    : time_point::max();
    due(s.expires);
}

pool_settled pool_machine::on_connected(slot_index i, time_point now) noexcept {
    now = clamp(now);
    slot& s = slots_[i];
    failures_ = 0;
    dirty_ = true;  // the way is open for more
    s.since = s.checked = now;
    draw_lifetime(s, now);
    if (outdated_ != 0) {
        look_again();  // one of them may go now
    }
    move_to(i, slot_state::resetting);  // live, and lent to no caller
    return settle(i, true, now, true);
}

pool_connect_failure pool_machine::on_connect_failed(slot_index i, time_point now) noexcept {
    now = clamp(now);
    const bool counts = slots_[i].epoch == epoch_;
    vacate(i);
    if (counts) {
        fail_connect(now);
    }
    const bool fail = give_up_waiters();
    return {fail, failures_ == 0 ? duration::zero() : std::max(duration::zero(), saturating_sub(retry_at_, now))};
}

void pool_machine::fail_connect(time_point now) noexcept {
    ++epoch_;
    duration pause = options_.backoff_min;
    for (std::uint32_t n = 0; n < failures_ && pause < options_.backoff_max; ++n) {
        pause = pause > options_.backoff_max / 2 ? options_.backoff_max : pause * 2;
    }
    ++failures_;
    retry_at_ = saturating_add(now, jittered(pause, options_.backoff_jitter));
}

pool_settled pool_machine::on_ping_done(slot_index i, bool alive, time_point now) noexcept {
    now = clamp(now);
    slots_[i].checked = now;
    due(now);  // pings are bounded: another may be due
    return settle(i, alive, now, false);
}

// Control -------------------------------------------------------------------------------------------------------------

void pool_machine::resize(std::uint32_t size, std::uint32_t max_overflow) noexcept {
    size_ = size;
    max_overflow_ = max_overflow;
    look_again();
}

void pool_machine::reconfigure(const pool_options& options, time_point now) noexcept {
    now = clamp(now);
    const bool was_timed = std::exchange(timed_, is_timed(options) || ask_after_ != duration::max());
    const duration lifetime = options_.max_lifetime;
    options_ = options;
    for (slot& s : slots_) {
        if (s.state == slot_state::vacant || s.state == slot_state::connecting) {
            continue;
        }
        if (!was_timed) {
            s.since = s.checked = now;  // was not tracked before
        }
        if (options.max_lifetime != lifetime) {
            draw_lifetime(s, now);
        }
        set_mark(s, age::fresh);  // the next poll finds resources that the new options make too old
    }
    resize(options.size, options.max_overflow);
}

void pool_machine::pause() noexcept {
    if (state_ == pool_state::active) {
        state_ = pool_state::paused;
    }
}

void pool_machine::resume() noexcept {
    if (state_ == pool_state::paused) {
        state_ = pool_state::active;
        dirty_ = true;
    }
}

void pool_machine::drain() noexcept {
    if (state_ < pool_state::draining) {
        state_ = pool_state::draining;
        dirty_ = true;
    }
}

void pool_machine::close() noexcept {
    state_ = pool_state::closed;
    waiting_ = 0;
    dirty_ = true;
}

pool_snapshot pool_machine::look() const noexcept {
    const std::uint32_t all = live();
    return {state_, size_, idle() + pinging(), all > size_ ? all - size_ : 0, leased(), waiting_, connecting()};
}

// Rules ---------------------------------------------------------------------------------------------------------------

std::uint32_t pool_machine::wanted_connects() const noexcept {
    const std::uint32_t total = live() + connecting();
    if (state_ == pool_state::closed || total > capacity()) {
        return 0;
    }
    const std::uint32_t kept = fresh() + connecting();
    const bool keeps_size = state_ <= pool_state::paused && kept < size_;
    const bool serves = state_ != pool_state::paused && waiting_ > connecting();
    const std::uint32_t want = std::max(keeps_size ? size_ - kept : 0, serves ? waiting_ - connecting() : 0);
    // At its capacity the pool replaces one at a time.
    const std::uint32_t room = total == capacity() ? most_live() - total : capacity() - total;
    return std::min(want, room);
}

/// Whether a new waiter means a new connect that neither the end of another connect nor the armed deadline will start.
bool pool_machine::needs_connect_poll() const noexcept {
    return connecting() < connect_bound() && !(failures_ != 0 && armed_ <= retry_at_) && wanted_connects() != 0;
}

bool pool_machine::can_spare() const noexcept {
    const std::uint32_t needed = size_ != 0 || waiting_ == 0 ? size_ : 1;
    return live() > needed;
}

bool pool_machine::has_overflow() const noexcept {
    return waiting_ == 0 && fresh() > size_ && !on(options_.overflow_ttl);
}

bool pool_machine::has_surplus() const noexcept {
    if (idle() == 0) {
        return false;
    }
    return state_ == pool_state::closed || live() > most_live() || (state_ == pool_state::draining && waiting_ == 0) ||
           has_overflow();
}

time_point pool_machine::overflow_due(const slot& s) const noexcept {
    const bool applies = on(options_.overflow_ttl) && s.mark == age::fresh && fresh() > size_;
    return applies ? saturating_add(s.since, options_.overflow_ttl) : time_point::max();
}

time_point pool_machine::ping_due(const slot& s) const noexcept {
    // With as many pings in flight as may be, the end of one of them looks again.
    const bool applies = on(options_.ping_interval) && pinging() < options_.max_connecting;
    return applies ? saturating_add(s.checked, options_.ping_interval) : time_point::max();
}

time_point pool_machine::idle_due(const slot& s) const noexcept {
    time_point t = std::min(overflow_due(s), ping_due(s));
    if (s.mark == age::fresh) {
        t = std::min(t, s.expires);
        if (on(options_.idle_timeout)) {
            t = std::min(t, saturating_add(s.since, options_.idle_timeout));
        }
    }
    return t;
}

// Work ----------------------------------------------------------------------------------------------------------------

std::size_t pool_machine::poll(time_point now, std::span<pool_action> actions) noexcept {
    now = clamp(now);
    claimed_ = false;
    to_do out(actions);
    serve_waiters(now, out);
    look_at_slots(now, out);
    dismiss_surplus(out);
    start_connects(now, out);
    const bool gated = failures_ != 0 && now < retry_at_;
    if (gated && !out.full() && give_up_waiters()) {
        out.add(pool_task::fail_waiters, no_slot);
    }
    armed_ = scan_at_;
    if (gated && connecting() == 0 && wanted_connects() != 0) {
        armed_ = std::min(armed_, retry_at_);
    }
    dirty_ = out.full();
    claimed_ = dirty_;  // by this caller, who calls again
    return out.count();
}

void pool_machine::serve_waiters(time_point now, to_do& out) noexcept {
    if (state_ == pool_state::paused || state_ == pool_state::closed) {
        return;
    }
    std::uint32_t asked = 0;  // each of them is meant for a waiter
    while (!out.full() && waiting_ > asked && idle() != 0) {
        const slot_index i = idle_head_;
        if (must_ask(i)) {
            move_to(i, slot_state::pinging);
            ++asked;
            out.add(pool_task::ask, i);
        } else {
            --waiting_;
            lend(i, now);
            out.add(pool_task::hand_over, i);
        }
    }
}

/// Does the upkeep that is due for each slot, and notes when the next is.
void pool_machine::look_at_slots(time_point now, to_do& out) noexcept {
    if (live() == 0) {
        scan_at_ = time_point::max();
    }
    if (now < scan_at_) {
        return;
    }
    scan_at_ = time_point::max();
    for (slot_index i = 0; i < slots_.size() && !out.full(); ++i) {
        switch (slots_[i].state) {
            case slot_state::vacant:
            case slot_state::connecting: break;
            case slot_state::idle:
                if (state_ <= pool_state::paused) {  // else it is dismissed
                    look_at_idle(i, now, out);
                }
                break;
            default: look_at_used(i, now, out); break;
        }
    }
    if (out.full()) {
        scan_at_ = now;  // it may have stopped early
    }
}

void pool_machine::look_at_idle(slot_index i, time_point now, to_do& out) noexcept {
    slot& s = slots_[i];
    if (passed(s.expires, now)) {
        set_mark(s, age::aged);
    } else if (on(options_.idle_timeout) && passed(saturating_add(s.since, options_.idle_timeout), now)) {
        set_mark(s, age::idled);
    }
    if (s.mark != age::fresh && can_spare()) {
        const pool_loss why = s.mark == age::aged ? pool_loss::aged : pool_loss::idled;
        vacate(i);
        out.add(pool_task::retire, i, why);
    } else if (passed(overflow_due(s), now)) {
        vacate(i);
        out.add(pool_task::retire, i, pool_loss::surplus);
    } else if (passed(ping_due(s), now)) {
        move_to(i, slot_state::pinging);
        out.add(pool_task::ping, i);
    } else {
        scan_at_ = std::min(scan_at_, idle_due(s));
    }
}

/// Lent, or being pinged or reset: it is judged when it comes back.
void pool_machine::look_at_used(slot_index i, time_point now, to_do& out) noexcept {
    slot& s = slots_[i];
    if (passed(s.expires, now)) {
        set_mark(s, age::aged);
    } else {
        scan_at_ = std::min(scan_at_, s.expires);
    }
    if (s.state != slot_state::leased || s.leaked || !on(options_.leak_threshold)) {
        return;
    }
    const time_point t = saturating_add(s.since, options_.leak_threshold);
    if (t > now) {
        scan_at_ = std::min(scan_at_, t);
        return;
    }
    s.leaked = true;
    out.add(pool_task::leak, i);
}

void pool_machine::dismiss_surplus(to_do& out) noexcept {
    while (!out.full() && has_surplus()) {
        const slot_index i = options_.strategy == pool_strategy::lifo ? idle_tail_ : idle_head_;
        vacate(i);
        out.add(pool_task::retire, i, pool_loss::surplus);
    }
}

void pool_machine::start_connects(time_point now, to_do& out) noexcept {
    const bool gated = failures_ != 0 && now < retry_at_;
    while (!gated && !out.full() && connecting() < connect_bound() && wanted_connects() != 0) {
        const slot_index i = vacant_slot();
        if (i == no_slot) {
            fail_connect(now);
            out.add(pool_task::no_memory, no_slot);
            return;
        }
        slots_[i].epoch = epoch_;
        move_to(i, slot_state::connecting);
        out.add(pool_task::connect, i);
    }
}

duration pool_machine::jittered(duration d, double part) noexcept {
    const double cut = static_cast<double>(d.count()) * part * random_share(random_);
    return std::max(duration{1}, duration{d.count() - static_cast<duration::rep>(cut)});
}

}  // namespace headgate::detail
