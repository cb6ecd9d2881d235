// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/hedge_core.hpp>

#include <algorithm>
#include <new>
#include <utility>

#include "zone/metric.hpp"

namespace headgate::detail {

namespace {

// A call whose executor could not be told for want of memory is told so much later.
constexpr duration retry_after_no_memory = std::chrono::milliseconds(1);

}  // namespace

// Life ----------------------------------------------------------------------------------------------------------------

result<std::shared_ptr<retry_core>> hedge_core::find_budget(const zone_core& zone, const hedge_options& options) {
    auto found = zone.find(primitive_kind::retry, options.retry);
    if (!found) {
        return std::move(found).error();
    }
    return std::static_pointer_cast<retry_core>(std::move(found).value());
}

result<std::shared_ptr<hedge_core>> hedge_core::create(const std::shared_ptr<zone_core>& zone, std::string name,
                                                       const hedge_options& options) try {
    BOOST_OUTCOME_TRYV(accept(check(options)));
    BOOST_OUTCOME_TRY(auto budget, find_budget(*zone, options));
    std::shared_ptr<hedge_core> core(new hedge_core(zone, std::move(name), options, std::move(budget)));
    BOOST_OUTCOME_TRYV(zone->add(core));
    return core;
} catch (const std::bad_alloc&) {
    return errc::out_of_memory;
}

hedge_core::hedge_core(const std::shared_ptr<zone_core>& zone, std::string name, const hedge_options& options,
                       std::shared_ptr<retry_core> budget)
    : primitive(zone, primitive_kind::hedge, std::move(name)), options_(options), budget_(std::move(budget)) {}

// Calls ---------------------------------------------------------------------------------------------------------------

std::optional<duration> hedge_core::delay() const noexcept {
    if (options_.delay) {
        return options_.delay;
    }
    return successes_.count() >= options_.min_samples ? std::optional(successes_.quantile()) : std::nullopt;
}

void hedge_core::begin(time_point now) noexcept {
    std::shared_ptr<retry_core> budget;
    {
        const std::lock_guard guard(lock_);
        ++calls_;
        if (!options_.deposits) {
            return;
        }
        budget = budget_;
    }
    budget->deposit(now);
}

void hedge_core::wait(hedge_timer& call, std::uint32_t hedges, time_point now) noexcept {
    const std::lock_guard guard(lock_);
    erase(call);
    const auto after = delay();
    if (after && hedges < options_.max_hedges && !zone().refusing()) {
        call.hedges_made_ = hedges;
        insert(call, saturating_add(now, *after));
    }
}

bool hedge_core::pay(std::uint32_t hedges) noexcept {
    std::shared_ptr<retry_core> budget;
    {
        const std::lock_guard guard(lock_);
        if (hedges >= options_.max_hedges || zone().refusing()) {
            return false;
        }
        budget = budget_;
    }
    const bool paid = budget->pay();
    const std::lock_guard guard(lock_);
    ++(paid ? hedges_ : out_of_budget_);
    return paid;
}

void hedge_core::end(hedge_timer& call, const hedge_end& how) noexcept {
    const std::lock_guard guard(lock_);
    erase(call);
    if (how.sample) {
        successes_.record(*how.sample);
    }
    won_ += how.won ? 1 : 0;
}

void hedge_core::forget(hedge_timer& call) noexcept {
    const std::lock_guard guard(lock_);
    erase(call);
}

// Delays --------------------------------------------------------------------------------------------------------------

// Mostly it is the last one: the delay changes slowly.
void hedge_core::insert(hedge_timer& call, time_point due) noexcept {
    call.due_ = due;
    waiting_.insert(waiting_.end(), call);
    if (due < wakes_) {
        wake_at(due);
    }
}

void hedge_core::erase(hedge_timer& call) noexcept {
    if (call.is_linked()) {
        waiting_.erase(waiting_.iterator_to(call));
    }
}

// A call that ends leaves the deadline armed: it finds nothing, or the next call, and one arming serves many calls.
void hedge_core::wake_at(time_point when) noexcept {
    wakes_ = when;
    deadline_.arm(zone(), shared_from_this(), when);
}

void hedge_core::on_timer() noexcept {
    while (true) {
        std::shared_ptr<hedge_timer> call;
        std::uint32_t hedges = 0;
        {
            const std::lock_guard guard(lock_);
            const time_point now = zone().now();
            if (waiting_.empty() || waiting_.begin()->due_ > now) {
                if (waiting_.empty()) {
                    wakes_ = time_point::max();
                } else {
                    wake_at(waiting_.begin()->due_);
                }
                return;
            }
            hedge_timer& first = *waiting_.begin();
            waiting_.erase(waiting_.begin());
            hedges = first.hedges_made_;
            call = first.keep();
        }
        try {
            if (call) {
                call->on_due(hedges);
            }
        } catch (...) {
            const time_point later = saturating_add(zone().now(), retry_after_no_memory);
            const std::lock_guard guard(lock_);
            if (!call->is_linked() && !zone().refusing()) {
                insert(*call, later);
            }
        }
    }
}

// Control -------------------------------------------------------------------------------------------------------------

result<void> hedge_core::reconfigure(const hedge_options& options) try {
    BOOST_OUTCOME_TRYV(accept(check(options)));
    BOOST_OUTCOME_TRY(auto budget, find_budget(zone(), options));
    hedge_options wanted = options;
    {
        const std::lock_guard guard(lock_);
        std::swap(options_, wanted);
        budget_.swap(budget);
    }
    emit({.kind = event_kind::reconfigured});
    return success();
} catch (const std::bad_alloc&) {
    return errc::out_of_memory;
}

hedge_snapshot hedge_core::look() const noexcept {
    const std::lock_guard guard(lock_);
    return {.calls = calls_,
            .hedges = hedges_,
            .won = won_,
            .out_of_budget = out_of_budget_,
            .waiting = waiting_.size(),
            .delay = delay()};
}

// Calls that run go on with the attempts that they have.
void hedge_core::close() noexcept {
    const std::lock_guard guard(lock_);
    waiting_.clear();
    wakes_ = time_point::max();
    deadline_.disarm(zone());
}

void hedge_core::abandon() noexcept {
    const std::lock_guard guard(lock_);
    waiting_.clear();
    deadline_.abandon();
}

primitive_snapshot hedge_core::snapshot() const {
    const hedge_snapshot s = look();
    const double delay = s.delay ? std::chrono::duration<double>(*s.delay).count() : 0;
    return {.kind = kind(),
            .name = name(),
            .state = {},
            .metrics = {counter("calls", s.calls, "Calls that have begun."),
                        counter("hedges", s.hedges, "Attempts beside the first one."),
                        counter("won", s.won, "Calls whose result is that of an attempt beside the first one."),
                        counter("out_of_budget", s.out_of_budget, "Attempts that the budget did not pay."),
                        gauge("waiting", s.waiting, "Calls that would begin another attempt when their time comes."),
                        gauge("delay_seconds", delay, "How long after the last attempt the next begins; 0: unknown.")}};
}

}  // namespace headgate::detail
