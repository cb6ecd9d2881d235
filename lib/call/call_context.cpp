// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/call_context.hpp>

#include <boost/asio/post.hpp>
#include <boost/core/demangle.hpp>

namespace headgate::detail {

namespace {

// An operation that has not ended so long after it was cancelled ignores that.
constexpr duration overrun_grace = std::chrono::seconds(1);

}  // namespace

void call_deadline::on_deadline() noexcept {
    if (!handed_) {
        handed_ = std::make_shared<handover>(this);
    }
    boost::asio::post(executor_, [handed = handed_] {
        if (handed->call != nullptr) {
            handed->call->cancel();
        }
    });
    // From here on the call may go.
    handed_over_.store(true, std::memory_order_release);
}

void call_deadline::cancel() {
    await_handover();  // the strand may still be in the last line of `on_deadline`
    if (!std::exchange(fired_, true)) {
        handed_over_.store(false, std::memory_order_relaxed);
        zone_->arm(*this, saturating_add(until_, overrun_grace));
        signal_.emit(boost::asio::cancellation_type::terminal);  // the last thing: it may end the call
        return;
    }
    event e;
    e.kind = event_kind::overrun;
    e.detail = owner_.operation != nullptr ? boost::core::demangle(owner_.operation->name()) : std::string{};
    zone_->emit(owner_.kind, owner_.name != nullptr ? *owner_.name : std::string{}, std::move(e));
}

// The strand has taken the deadline out of the wheel: it is in `on_deadline`, or through with it.
void call_deadline::await_handover() const noexcept {
    while (!handed_over_.load(std::memory_order_acquire)) {
        yield_thread();
    }
}

void call_deadline::detach() noexcept {
    await_handover();
    handed_->call = nullptr;
}

}  // namespace headgate::detail
