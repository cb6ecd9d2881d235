// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/pool_machine.hpp>

#include <algorithm>
#include <utility>

namespace headgate::detail {

namespace {

bool on(duration d) noexcept {
    return d > duration::zero();
}

/// Whether it matters since when a resource is idle or lent.
bool is_timed(const pool_options& o) noexcept {
    return on(o.idle_timeout) || on(o.ping_interval) || on(o.overflow_ttl) || on(o.leak_threshold);
}

}  // namespace

pool_machine::pool_machine(const pool_options& options, std::uint64_t seed)
    : options_(options),
      size_(options.size),
      max_overflow_(options.max_overflow),
      timed_(is_timed(options)),
      random_(seed) {}

// Checkout ------------------------------------------------------------------------------------------------------------

pool_decision pool_machine::explain(time_point now) const noexcept {
    if (state_ >= pool_state::draining) {
        return {pool_verdict::shut_down, no_slot, {}};
    }
    now = std::max(now, latest_);
    if (down() && now < retry_at_) {
        return {pool_verdict::connect_failed, no_slot, saturating_sub(retry_at_, now)};
    }
    return {pool_verdict::exhausted, no_slot, {}};
}

pool_decision pool_machine::join(time_point now) noexcept {
    const slot_index i = take(now);
    if (i != no_slot) {
        return {pool_verdict::granted, i, {}};
    }
    const pool_decision refusal = explain(now);
    if (refusal.verdict != pool_verdict::exhausted) {
        return refusal;
    }
    if (waiting_ >= options_.max_waiters) {
        return {pool_verdict::queue_full, no_slot, {}};
    }
    ++waiting_;
    dirty_ = dirty_ || needs_connect_poll();
    return {pool_verdict::wait, no_slot, {}};
}

void pool_machine::leave() noexcept {
    --waiting_;
    dirty_ = dirty_ || state_ == pool_state::draining || has_surplus();
}

// What becomes of a resource ------------------------------------------------------------------------------------------

pool_settled pool_machine::settle(slot_index i, bool usable, time_point now, bool fresh) noexcept {
    slot& s = slots_[i];
    if (!usable || s.doomed || state_ == pool_state::closed || live_ > capacity()) {
        return retire(i);
    }
    if (waiting_ != 0 && state_ != pool_state::paused) {
        --waiting_;
        lend(i, now);
        return {pool_fate::hand_over, false};
    }
    if (state_ == pool_state::draining || (live_ > size_ && waiting_ == 0 && !on(options_.overflow_ttl))) {
        return retire(i);
    }
    if (fresh) {
        to_idle(i, now);
        return {pool_fate::idle, false};
    }
    // A pinged resource was the coldest: it goes back to where it was, and has been idle all the time.
    s.state = slot_state::idle;
    if (options_.strategy == pool_strategy::lifo) {
        push_tail(i);
    } else {
        push_head(i);
    }
    due(idle_due(s));
    return {pool_fate::idle, false};
}

pool_settled pool_machine::retire(slot_index i) noexcept {
    --live_;
    vacate(i);
    const bool fail = down() && waiting_ != 0;
    if (fail) {
        waiting_ = 0;
    }
    return {pool_fate::close, fail};
}

void pool_machine::vacate(slot_index i) noexcept {
    slot& s = slots_[i];
    s = slot{};
    s.next = vacant_;
    vacant_ = i;
    dirty_ = true;
}

slot_index pool_machine::vacant_slot() {
    if (vacant_ == no_slot) {
        slots_.emplace_back();
        return static_cast<slot_index>(slots_.size() - 1);
    }
    const slot_index i = vacant_;
    vacant_ = slots_[i].next;
    slots_[i] = slot{};
    return i;
}

pool_settled pool_machine::on_connected(slot_index i, time_point now) noexcept {
    now = clamp(now);
    slot& s = slots_[i];
    --connecting_;
    ++live_;
    failures_ = 0;
    dirty_ = true;  // the way is open for more
    s.since = s.checked = now;
    if (on(options_.max_lifetime)) {
        s.expires = saturating_add(now, jittered(options_.max_lifetime, options_.lifetime_jitter));
        due(s.expires);
    }
    return settle(i, true, now, true);
}

pool_connect_failure pool_machine::on_connect_failed(slot_index i, time_point now) noexcept {
    now = clamp(now);
    --connecting_;
    if (slots_[i].epoch == epoch_) {
        ++epoch_;
        duration pause = options_.backoff_min;
        for (std::uint32_t n = 0; n < failures_ && pause < options_.backoff_max; ++n) {
            pause = pause > options_.backoff_max / 2 ? options_.backoff_max : pause * 2;
        }
        ++failures_;
        retry_at_ = saturating_add(now, jittered(pause, options_.backoff_jitter));
    }
    vacate(i);
    const bool fail = down() && waiting_ != 0;
    if (fail) {
        waiting_ = 0;
    }
    return {fail, std::max(duration::zero(), failures_ == 0 ? duration::zero() : saturating_sub(retry_at_, now))};
}

pool_settled pool_machine::on_ping_done(slot_index i, bool alive, time_point now) noexcept {
    now = clamp(now);
    --pinging_;
    slots_[i].checked = now;
    due(now);  // pings are bounded: another may be due
    return settle(i, alive, now, false);
}

// Control -------------------------------------------------------------------------------------------------------------

void pool_machine::resize(std::uint32_t size, std::uint32_t max_overflow) noexcept {
    size_ = size;
    max_overflow_ = max_overflow;
    scan_at_ = time_point::min();
    dirty_ = true;
}

void pool_machine::reconfigure(const pool_options& options, time_point now) noexcept {
    now = clamp(now);
    const bool was_timed = std::exchange(timed_, is_timed(options));
    const duration lifetime = options_.max_lifetime;
    options_ = options;
    for (slot& s : slots_) {
        if (s.state == slot_state::vacant || s.state == slot_state::connecting) {
            continue;
        }
        if (!was_timed) {
            s.since = s.checked = now;  // nobody noted it before
        }
        if (options.max_lifetime != lifetime) {
            s.expires = on(options.max_lifetime)
                            ? saturating_add(now, jittered(options.max_lifetime, options.lifetime_jitter))
                            : time_point::max();
            s.doomed = false;
        }
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

pool_status pool_machine::status() const noexcept {
    return {state_, size_, idle_ + pinging_, live_ > size_ ? live_ - size_ : 0, leased_, waiting_, connecting_};
}

// Work ----------------------------------------------------------------------------------------------------------------

std::uint32_t pool_machine::wanted_connects() const noexcept {
    const std::uint32_t total = live_ + connecting_;
    if (state_ == pool_state::closed || total >= capacity()) {
        return 0;
    }
    const bool keeps_size = state_ <= pool_state::paused && total < size_;
    const bool serves = state_ != pool_state::paused && waiting_ > connecting_;
    const std::uint32_t want = std::max(keeps_size ? size_ - total : 0, serves ? waiting_ - connecting_ : 0);
    return std::min(want, capacity() - total);
}

/// Whether a new waiter means a new connect that neither the end of another connect nor the armed deadline will start.
bool pool_machine::needs_connect_poll() const noexcept {
    const std::uint32_t bound = failures_ != 0 ? 1 : options_.max_connecting;
    return connecting_ < bound && !(failures_ != 0 && armed_ <= retry_at_) && wanted_connects() != 0;
}

bool pool_machine::has_surplus() const noexcept {
    if (idle_ == 0) {
        return false;
    }
    return state_ == pool_state::closed || live_ > capacity() ||
           (waiting_ == 0 && (state_ == pool_state::draining || (live_ > size_ && !on(options_.overflow_ttl))));
}

time_point pool_machine::idle_due(const slot& s) const noexcept {
    time_point t = s.expires;
    if (on(options_.idle_timeout)) {
        t = std::min(t, saturating_add(s.since, options_.idle_timeout));
    }
    if (on(options_.overflow_ttl) && live_ > size_) {
        t = std::min(t, saturating_add(s.since, options_.overflow_ttl));
    }
    // With as many pings in flight as may be, the end of one of them looks again.
    if (on(options_.ping_interval) && pinging_ < options_.max_connecting) {
        t = std::min(t, saturating_add(s.checked, options_.ping_interval));
    }
    return t;
}

/// Does what is due for one slot, or notes when something will be.
bool pool_machine::look_at(slot_index i, time_point now, pool_action& action) noexcept {
    slot& s = slots_[i];
    if (s.state == slot_state::idle) {
        const time_point t = idle_due(s);
        if (t > now) {
            scan_at_ = std::min(scan_at_, t);
            return false;
        }
        unlink_idle(i);
        const bool old =
            s.expires <= now || (on(options_.idle_timeout) && saturating_add(s.since, options_.idle_timeout) <= now) ||
            (on(options_.overflow_ttl) && live_ > size_ && saturating_add(s.since, options_.overflow_ttl) <= now);
        if (old) {
            --live_;
            vacate(i);
            action = {pool_task::retire, i};
            return true;
        }
        s.state = slot_state::pinging;
        ++pinging_;
        action = {pool_task::ping, i};
        return true;
    }
    if (s.state == slot_state::vacant || s.state == slot_state::connecting) {
        return false;
    }
    // Lent or pinged: it is judged when it comes back.
    if (s.expires <= now) {
        s.doomed = true;
    } else {
        scan_at_ = std::min(scan_at_, s.expires);
    }
    if (s.state != slot_state::leased || s.leaked || !on(options_.leak_threshold)) {
        return false;
    }
    const time_point t = saturating_add(s.since, options_.leak_threshold);
    if (t > now) {
        scan_at_ = std::min(scan_at_, t);
        return false;
    }
    s.leaked = true;
    action = {pool_task::leak, i};
    return true;
}

std::size_t pool_machine::poll(time_point now, std::span<pool_action> out) {
    now = clamp(now);
    claimed_ = false;
    std::size_t n = 0;

    while (n < out.size() && waiting_ != 0 && idle_ != 0 && state_ != pool_state::paused &&
           state_ != pool_state::closed) {
        const slot_index i = idle_head_;
        unlink_idle(i);
        --waiting_;
        lend(i, now);
        out[n++] = {pool_task::hand_over, i};
    }
    while (n < out.size() && has_surplus()) {
        const slot_index i = options_.strategy == pool_strategy::lifo ? idle_tail_ : idle_head_;
        unlink_idle(i);
        --live_;
        vacate(i);
        out[n++] = {pool_task::retire, i};
    }
    if (now >= scan_at_) {
        scan_at_ = time_point::max();
        for (slot_index i = 0; i < slots_.size() && n < out.size(); ++i) {
            n += look_at(i, now, out[n]) ? 1 : 0;
        }
        if (n == out.size()) {
            scan_at_ = now;  // it may have stopped early
        }
    }
    const bool gated = failures_ != 0 && now < retry_at_;
    const std::uint32_t bound = failures_ != 0 ? 1 : options_.max_connecting;
    while (!gated && n < out.size() && connecting_ < bound && wanted_connects() != 0) {
        const slot_index i = vacant_slot();
        slots_[i].state = slot_state::connecting;
        slots_[i].epoch = epoch_;
        ++connecting_;
        out[n++] = {pool_task::connect, i};
    }
    if (gated && n < out.size() && down() && waiting_ != 0) {
        waiting_ = 0;
        out[n++] = {pool_task::fail_waiters, no_slot};
    }
    armed_ = scan_at_;
    if (gated && connecting_ == 0 && wanted_connects() != 0) {
        armed_ = std::min(armed_, retry_at_);
    }
    dirty_ = n == out.size();
    claimed_ = dirty_;  // by this caller, who calls again
    return n;
}

duration pool_machine::jittered(duration d, double part) noexcept {
    // splitmix64
    random_ += 0x9e3779b97f4a7c15u;
    std::uint64_t z = random_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    const double unit = static_cast<double>(z >> 11) * 0x1.0p-53;
    const double cut = static_cast<double>(d.count()) * part * unit;
    return std::max(duration{1}, duration{d.count() - static_cast<duration::rep>(cut)});
}

}  // namespace headgate::detail
