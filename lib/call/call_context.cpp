// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/call_context.hpp>

#include <boost/asio/post.hpp>
#include <boost/core/demangle.hpp>

#include <algorithm>
#include <new>
#include <utility>

namespace headgate::detail {

namespace {

// An operation that has not ended so long after it was cancelled ignores that.
constexpr duration overrun_grace = std::chrono::seconds(1);
// For lack of memory something could not be posted: try again so much later.
constexpr duration retry_after_no_memory = std::chrono::milliseconds(1);
// An overdue operation is cancelled again after the 64th part of the time by which it is overdue. So a wait that missed
// one cancellation ends that much later, and an operation that ignores cancellation costs less the longer it does.
constexpr duration shortest_repetition = std::chrono::milliseconds(1);
constexpr int repetitions_in_overdue_time = 64;
// For so many turns of the executor a cancelled wait may still end and the next wait be bound. This matters after the
// deadline, where nested coroutines may have to end one after the other, and after each repetition.
constexpr signed char looks_at_first = 32;
constexpr signed char looks_later = 8;

}  // namespace

/// Lies in the slot while nothing is bound to it that is to be cancelled. It goes when something is.
class call_deadline::tripwire {
public:
    explicit tripwire(call_deadline* call) noexcept : call_(call) { call_->wired_ = true; }
    tripwire(const tripwire&) = delete;
    tripwire& operator=(const tripwire&) = delete;
    ~tripwire() {
        call_->wired_ = false;
        if (call_->running_) {
            call_->expect_bind();  // what replaces it is not in its place yet
        }
    }
    void operator()(asio::cancellation_type /*type*/) const noexcept {}

private:
    call_deadline* call_;
};

// On the zone's strand.
void call_deadline::on_deadline() noexcept {
    try {
        if (!handed_) {
            handed_ = std::make_shared<handover>(this);
        }
        asio::post(executor_, [handed = handed_] {
            if (handed->call != nullptr) {
                handed->call->on_time();
            }
        });
    } catch (...) {
        zone_->arm(*this, saturating_add(zone_->now(), retry_after_no_memory));  // the call may go from here on
        return;
    }
    handed_over_.store(true, std::memory_order_release);  // from here on the call may go
}

// From here on: on the operation's executor.

void call_deadline::on_time() {
    await_handover();  // the strand may still be in the last line of `on_deadline`
    handed_over_.store(false, std::memory_order_relaxed);
    armed_ = false;
    if (armed_for_ >= until_ && !std::exchange(fired_, true)) {
        hold(until_);
    } else {
        looks_ = looks_later;
    }
    if (fired_ && !told_ && zone_->now() >= saturating_add(until_, overrun_grace)) {
        told_ = true;
        tell_overrun();
    }
    cancel();
}

// False when the bound handler had no memory to take notice: then the cancellation is repeated.
bool call_deadline::emit(asio::cancellation_type type) {
    try {
        signal_.emit(type);
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

void call_deadline::pass_on(asio::cancellation_type type) {
    if (type == asio::cancellation_type::none || level_) {
        return;
    }
    if ((type & asio::cancellation_type::terminal) != asio::cancellation_type::none) {
        hold(zone_->now());
    } else {
        since_ = zone_->now();
        held_ = held_ | type;
        looks_ = looks_later;
    }
    cancel();
}

// From now on it is a level.
void call_deadline::hold(time_point since) noexcept {
    if (!std::exchange(level_, true)) {
        since_ = since;
    }
    looks_ = looks_at_first;
}

// Cancels the wait that is bound now, and makes sure that the next one is noticed.
void call_deadline::cancel() {
    const std::shared_ptr<handover> here = handed_;
    if (cancel_ != nullptr) {
        cancel_(object_, asio::cancellation_type::terminal);
    } else if (level_) {
        emit(asio::cancellation_type::terminal);
    } else if (!wired_ && signal_.slot().has_handler()) {
        const auto type = std::exchange(held_, asio::cancellation_type::none);
        if (!emit(type) && here->call != nullptr) {
            held_ = type;
        }
    }
    if (here->call == nullptr || !cancels()) {
        return;  // that has ended the call, or was all
    }
    watch();
    arm_again(zone_->now());
}

// A cancelled wait may end within a few turns, and the next wait may be bound in the same turn. When no wait is bound,
// a handler of ours is bound in its place, which notices the next one; then nothing has to be polled.
void call_deadline::watch() {
    if (cancel_ == nullptr && !signal_.slot().has_handler()) {
        try {
            signal_.slot().emplace<tripwire>(this);
        } catch (...) {  // NOLINT(bugprone-empty-catch): the next repetition tries again
        }
    } else if (!wired_ && looks_ > 0) {
        --looks_;
        look_soon();
    }
}

// For the next repetition, or the deadline, or the end of the grace, whichever is first.
void call_deadline::arm_again(time_point now) noexcept {
    time_point next = time_point::max();
    if (cancels() && !wired_) {
        const duration overdue = saturating_sub(now, since_);
        next = saturating_add(now, std::max(shortest_repetition, overdue / repetitions_in_overdue_time));
    }
    if (!fired_) {
        next = std::min(next, until_);
    } else if (!told_) {
        next = std::min(next, saturating_add(until_, overrun_grace));
    }
    if (armed_ && (armed_for_ <= next || !zone_->disarm(*this))) {
        return;  // it comes soon enough, or is on its way
    }
    armed_ = next != time_point::max();
    if (armed_) {
        armed_for_ = next;
        zone_->arm(*this, next);
    }
}

// The operation is about to bind something: it goes on.
void call_deadline::expect_bind() noexcept {
    looks_ = looks_later;
    look_soon();
}

void call_deadline::look_soon() noexcept {
    if (looking_) {
        return;
    }
    try {
        asio::post(executor_, [handed = handed_] {
            if (handed->call != nullptr) {
                handed->call->looking_ = false;
                handed->call->cancel();
            }
        });
        looking_ = true;
    } catch (...) {
        arm_again(zone_->now());  // for lack of memory it is the next repetition that looks
    }
}

void call_deadline::tell_overrun() noexcept {
    try {
        event e;
        e.kind = event_kind::overrun;
        e.detail = owner_.operation != nullptr ? boost::core::demangle(owner_.operation->name()) : std::string{};
        zone_->emit(owner_.kind, owner_.name != nullptr ? *owner_.name : std::string{}, std::move(e));
    } catch (...) {  // NOLINT(bugprone-empty-catch): an event that no memory is left for is lost
    }
}

// The strand has taken the deadline out of the wheel: it is in `on_deadline`, or through with it.
void call_deadline::await_handover() const noexcept {
    while (!handed_over_.load(std::memory_order_acquire)) {
        yield_thread();
    }
}

// It has fired, or is about to: the strand has it. The strand hands over, or, when it cannot, arms it again.
void call_deadline::detach() noexcept {
    while (armed_ && !handed_over_.load(std::memory_order_acquire) && !zone_->disarm(*this)) {
        yield_thread();
    }
    if (handed_) {
        handed_->call = nullptr;
    }
    if (wired_) {
        signal_.slot().clear();
    }
}

}  // namespace headgate::detail
