// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "resource_pool/pool_change.hpp"

#include <string>
#include <utility>

namespace headgate::detail {

namespace {

const char* reason(pool_loss why) noexcept {
    switch (why) {
        case pool_loss::unusable: return "returned in doubt, or dead";
        case pool_loss::aged: return "past its lifetime";
        case pool_loss::idled: return "idle for too long";
        case pool_loss::surplus: break;
    }
    return "";
}

std::string text_of(const std::exception_ptr& cause) {
    try {
        std::rethrow_exception(cause);
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) {
        return "an exception that is no std::exception";
    }
}

}  // namespace

pool_core::change::~change() {
    pool_core& pool = pool_;
    if (pool.machine_.drained()) {
        end_drains(errc{});
    }
    const bool wakes = pool.machine_.claim_poll();
    if (!wakes && !needs_pool()) {
        // The pool may go with the unlock: waiters are completed without it.
        held_.unlock();
        decided_.complete();
        return;
    }
    const auto keeps = pool.weak_from_this().lock();
    if (!keeps) {
        ++pool.pins_;  // there are only leases
    }
    held_.unlock();
    act(wakes);
    if (!keeps) {
        pool.unpin();
    }
}

bool pool_core::change::needs_pool() const noexcept {
    return !lost_.empty() || !leaks_.empty() || told_ || came_back_;
}

void pool_core::change::act(bool wakes) noexcept {
    decided_.complete();
    for (const lost& l : lost_) {
        if (l.resource != nullptr) {
            pool_.close_resource(l.resource);
        }
    }
    tell_all();
    if (wakes) {
        pool_.wake();
    }
    if (came_back_) {
        pool_.zone().returned();
    }
}

void pool_core::change::hand_over(slot_index i) noexcept {
    checkout_waiter& w = pool_.queue_.front();
    ++pool_.granted_;
    pool_.wait_.record(saturating_sub(pool_.zone().now(), w.asked_));
    w.lent_ = {pool_.resources_[i], i};
    pool_.places_[i] = w.place_;
    pool_.queue_.settle(w, pool_.zone(), decided_);
}

void pool_core::change::end_waiters(errc why) noexcept {
    if (pool_.queue_.empty()) {
        return;
    }
    const bool down = why == errc::connect_failed;
    const duration retry_after = down ? pool_.machine_.explain(pool_.zone().now()).retry_after : duration{};
    pool_.queue_.settle_all(pool_.zone(), decided_, [&](checkout_waiter& w) {
        w.refusal_ = why;
        w.retry_after_ = retry_after;
        if (down) {
            ++pool_.refused_down_;
            w.cause_ = pool_.cause_;
        }
    });
}

void pool_core::change::end_drains(errc why) noexcept {
    pool_.drains_.settle_all(pool_.zone(), decided_, [&](pool_drain_waiter& w) { w.outcome_ = why; });
}

void pool_core::change::settle(slot_index i, const pool_settled& settled) noexcept {
    if (settled.fate == pool_fate::hand_over) {
        hand_over(i);
    } else if (settled.fate == pool_fate::close) {
        lose(i, settled.loss);
    }
    if (settled.fail_waiters) {
        end_waiters(errc::connect_failed);
    }
}

void pool_core::change::lose(slot_index i, pool_loss why) noexcept {
    ++pool_.closed_;
    // A resource that is closed because the pool ends is not replaced.
    const bool tells = pool_.machine_.state() <= pool_state::paused;
    lost_.push_back({std::exchange(pool_.resources_[i], nullptr), tells ? why : pool_loss::surplus});
}

void pool_core::change::leave_behind(slot_index i) noexcept {
    pool_.resources_[i] = nullptr;
    lose(i, pool_loss::unusable);
}

void pool_core::change::tell(event_kind what, std::exception_ptr cause) noexcept {
    told_ = what;
    cause_ = std::move(cause);
}

void pool_core::change::tell_all() const noexcept {
    // A failed allocation cannot be reported here.
    try {
        if (told_) {
            tell_one(*told_, "", cause_, nullptr);
        }
        for (const lost& l : lost_) {
            if (l.why != pool_loss::surplus) {
                tell_one(event_kind::resource_replaced, reason(l.why), nullptr, nullptr);
            }
        }
        for (const lease_place& place : leaks_) {
            tell_one(event_kind::lease_leaked, "", nullptr, &place);
        }
    } catch (...) {  // NOLINT(bugprone-empty-catch)
    }
}

void pool_core::change::tell_one(event_kind what, const char* text, const std::exception_ptr& cause,
                                 const lease_place* place) const {
    event e;
    e.kind = what;
    if (cause) {
        e.detail = text_of(cause);
    } else if (place != nullptr) {
        e.detail = place->text();
        e.where = place->where;
    } else {
        e.detail = text;
    }
    pool_.emit(std::move(e));
}

}  // namespace headgate::detail
