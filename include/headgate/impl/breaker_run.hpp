// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_BREAKER_RUN_HPP
#define HEADGATE_IMPL_BREAKER_RUN_HPP

#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include <headgate/call_outcome.hpp>
#include <headgate/impl/breaker_core.hpp>
#include <headgate/impl/call.hpp>

namespace headgate::detail {

template <class T>
inline constexpr bool is_call_options_v = false;
template <class Judge>
inline constexpr bool is_call_options_v<call_options<Judge>> = true;
template <class T>
inline constexpr bool is_call_options = is_call_options_v<std::remove_cvref_t<T>>;

/// What `circuit_breaker::run` puts around an operation.
template <class Judge>
class breaker_policy {
public:
    breaker_policy(const std::shared_ptr<breaker_core>& core, const call_options<Judge>& options) noexcept
        : core_(core), options_(options) {}

    admission admit(std::optional<error>& refusal) noexcept {
        if (options_.timeout <= duration::zero()) [[unlikely]] {
            refusal.emplace(errc::wait_timed_out);
            return admission::refused;
        }
        running_ = core_->begin_closed(core_->times_calls() ? core_->zone().now() : time_point{}, ticket_);
        return running_ ? admission::run : admit_slowly(refusal);
    }

    [[nodiscard]] std::tuple<> leading() const noexcept { return {}; }
    [[nodiscard]] time_point until() const noexcept {
        return options_.timeout == duration::max() ? time_point::max()
                                                   : saturating_add(core_->zone().now(), options_.timeout);
    }
    [[nodiscard]] zone_core& zone() const noexcept { return core_->zone(); }
    [[nodiscard]] call_owner owner() const noexcept { return {core_->kind(), &core_->name()}; }

    template <class T>
    void settle(const result<T>& r) {
        end(options_.judge(r));
    }
    void settle(const error& e) noexcept { end(outcome_of(e)); }
    void drop() noexcept { end(call_outcome::neutral); }

private:
    admission admit_slowly(std::optional<error>& refusal) noexcept {
        const breaker_decision decision = core_->begin();
        if (!decision.admission.admitted) [[unlikely]] {
            refusal.emplace(decision.why(), decision.admission.retry_after);
            return admission::refused;
        }
        ticket_ = decision.admission.ticket;
        running_ = true;
        return admission::run;
    }

    void end(const call_verdict& verdict) noexcept {
        if (std::exchange(running_, false)) {
            core_->end(ticket_, verdict.outcome, verdict.trip_for);
        }
    }

    std::shared_ptr<breaker_core> core_;
    [[no_unique_address]] call_options<Judge> options_;
    breaker_ticket ticket_{};
    bool running_ = false;
};

}  // namespace headgate::detail

#endif
