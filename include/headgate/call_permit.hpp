// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_CALL_PERMIT_HPP
#define HEADGATE_CALL_PERMIT_HPP

#include <utility>

#include <headgate/breaker_options.hpp>
#include <headgate/call_outcome.hpp>
#include <headgate/impl/breaker_core.hpp>
#include <headgate/time.hpp>

namespace headgate {

/// A circuit breaker's yes: the call may run, and the permit tells the breaker how it ended.
///
/// Move-only. A permit that is destroyed, assigned to, or moved over without `success` or `failure` ends neutral: the
/// call counts for nothing, and a probe gives its place back. It may outlive every handle, its zone and the io_context.
/// One thread at a time; the end may come on another thread than the beginning.
class [[nodiscard]] call_permit {
public:
    /// Takes over what `other` has to tell.
    call_permit(call_permit&& other) noexcept : core_(std::exchange(other.core_, nullptr)), ticket_(other.ticket_) {}
    /// Ends its own call neutral, and takes over what `other` has to tell.
    call_permit& operator=(call_permit&& other) noexcept {
        if (this != &other) {
            release();
            core_ = std::exchange(other.core_, nullptr);
            ticket_ = other.ticket_;
        }
        return *this;
    }
    ~call_permit() { release(); }

    /// The call succeeded. `stale` when the breaker has changed its state since the call began, and the result counted
    /// for nothing; so does anything that a permit is told after its end.
    call_record success() noexcept { return end(call_outcome::success); }

    /// The call failed. With a positive `trip_for` the breaker opens at once for that long, as a 429 with Retry-After
    /// asks for; zero and less is no such time. `stale` as with `success`.
    call_record failure(duration trip_for = {}) noexcept { return end(call_outcome::failure, trip_for); }

    /// The call says nothing about the callee; what the destructor does. An ended permit stays as it is.
    void release() noexcept { end(call_outcome::neutral); }

    /// Ends as `verdict` says.
    call_record end(const call_verdict& verdict) noexcept { return end(verdict.outcome, verdict.trip_for); }

private:
    friend class circuit_breaker;

    call_permit(detail::breaker_core& core, const detail::breaker_ticket& ticket) noexcept
        : core_(&core), ticket_(ticket) {}

    call_record end(call_outcome outcome, duration trip_for = {}) noexcept {
        detail::breaker_core* core = std::exchange(core_, nullptr);
        return core != nullptr ? core->end(ticket_, outcome, trip_for) : call_record::stale;
    }

    detail::breaker_core* core_;
    detail::breaker_ticket ticket_;
};

}  // namespace headgate

#endif
