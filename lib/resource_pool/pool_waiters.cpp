// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/pool_waiters.hpp>

#include <boost/core/demangle.hpp>

#include <new>

#include <headgate/impl/pool_core.hpp>
#include <headgate/resource_pool.hpp>

#include "resource_pool/pool_change.hpp"

namespace headgate::detail {

errc code_of(pool_verdict verdict) noexcept {
    switch (verdict) {
        case pool_verdict::queue_full: return errc::queue_full;
        case pool_verdict::connect_failed: return errc::connect_failed;
        case pool_verdict::shut_down: return errc::shut_down;
        default: return errc::exhausted;
    }
}

std::string lease_place::text() const {
    if (operation != nullptr) {
        return boost::core::demangle(operation->name());
    }
    return std::string(where.file_name()) + ":" + std::to_string(where.line());
}

checkout_waiter::~checkout_waiter() {
    if (lent_) {
        pool_->settle_return(lent_.slot, true);
    }
}

void checkout_waiter::on_cancel() noexcept {
    pool_->cancel(*this);
}

void checkout_waiter::on_deadline() noexcept {
    pool_->expire(*this);
}

result<void> pool_drain_waiter::take() const noexcept {
    if (outcome_ == errc{}) {
        return headgate::success();
    }
    if (outcome_ == errc::wait_timed_out) {
        try {
            return error(outcome_, std::to_string(left_) + " leases are left");
        } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): then without the number
        }
    }
    return outcome_;
}

void pool_drain_waiter::on_cancel() noexcept {
    pool_->cancel(*this);
}

void pool_drain_waiter::on_deadline() noexcept {
    pool_->expire(*this);
}

// The queues of a pool ------------------------------------------------------------------------------------------------

void pool_core::enqueue(checkout_waiter& w, duration timeout, time_point asked) noexcept {
    w.asked_ = asked;
    for (;;) {
        void* asks = nullptr;
        {
            change c(*this);
            if (!decide(w, timeout)) {
                return;
            }
            if (!w.lent_ || !machine_.must_ask(w.lent_.slot)) {
                (void)w.settle(zone());
                c.decided().add(w);
                return;
            }
            asks = w.lent_.resource;
        }
        // The waiter is in no list yet.
        const pool_lent lent = std::exchange(w.lent_, pool_lent{});
        if (is_alive_now(asks)) {
            w.lent_ = lent;
            (void)w.settle(zone());
            w.complete();
            return;
        }
        found_dead(lent.slot);
    }
}

/// False: it waits.
bool pool_core::decide(checkout_waiter& w, duration timeout) noexcept {
    if (zone().refusing()) {
        w.refusal_ = errc::shut_down;
        return true;
    }
    if (w.canceled_early()) {
        w.refusal_ = errc::canceled;
        return true;
    }
    const pool_decision d = machine_.join(w.asked_, timeout > duration::zero());
    switch (d.verdict) {
        case pool_verdict::granted:
            ++granted_;
            w.lent_ = {resources_[d.slot], d.slot};
            places_[d.slot] = w.place_;
            return true;
        case pool_verdict::wait:
            ++queued_;
            queue_.join(w, zone(), saturating_add(w.asked_, timeout));
            return false;
        default:
            w.retry_after_ = count_refusal(d).retry_after;
            w.refusal_ = code_of(d.verdict);
            w.cause_ = d.verdict == pool_verdict::connect_failed ? cause_ : nullptr;
            return true;
    }
}

void pool_core::expire(checkout_waiter& w) noexcept {
    change c(*this);
    if (queue_.expire(w, c.decided())) {
        w.refusal_ = errc::wait_timed_out;
        ++timed_out_;
        wait_.record(saturating_sub(zone().now(), w.asked_));
        machine_.leave();
    }
}

void pool_core::cancel(checkout_waiter& w) noexcept {
    change c(*this);
    if (queue_.cancel(w, zone(), c.decided())) {
        w.refusal_ = errc::canceled;
        ++canceled_waits_;
        machine_.leave();
    }
}

void pool_core::enqueue(pool_drain_waiter& w, duration limit) noexcept {
    change c(*this);
    machine_.drain();
    if (w.canceled_early()) {
        w.outcome_ = errc::canceled;
        (void)w.settle(zone());
        c.decided().add(w);
        return;
    }
    drains_.join(w, zone(), limit > duration::zero() ? saturating_add(zone().now(), limit) : time_point::max());
    if (limit <= duration::zero() && !machine_.drained()) {
        drains_.settle(w, zone(), c.decided());
        fail_drain(w, c);
    }
}

// Callers that still wait are told. Resources that are still lent are closed when they come back.
void pool_core::fail_drain(pool_drain_waiter& w, change& c) noexcept {
    w.outcome_ = errc::wait_timed_out;
    w.left_ = machine_.leased();
    for (auto n = machine_.waiting(); n > 0; --n) {
        machine_.leave();
    }
    c.end_waiters(errc::shut_down);
}

void pool_core::expire(pool_drain_waiter& w) noexcept {
    change c(*this);
    if (drains_.expire(w, c.decided())) {
        fail_drain(w, c);
    }
}

void pool_core::cancel(pool_drain_waiter& w) noexcept {
    change c(*this);
    if (drains_.cancel(w, zone(), c.decided())) {
        w.outcome_ = errc::canceled;
    }
}

// What a call leaves behind -------------------------------------------------------------------------------------------

bool ended_midway(const error& e) noexcept {
    const auto timed_out = [](const boost::system::error_code& code) {
        // A wait that timed out inside an operation touched nothing.
        return code == boost::system::errc::timed_out && code != make_error_code(errc::wait_timed_out);
    };
    if (timed_out(e.code) || is_canceled(e)) {
        return true;
    }
    if (!e.cause || e.code != make_error_code(errc::operation_failed)) {
        return false;
    }
    try {
        std::rethrow_exception(e.cause);
    } catch (const boost::system::system_error& thrown) {
        return timed_out(thrown.code());
    } catch (const std::system_error& thrown) {
        return thrown.code() == std::errc::timed_out;
    } catch (...) {
        return false;
    }
}

}  // namespace headgate::detail
