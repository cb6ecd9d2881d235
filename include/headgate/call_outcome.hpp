// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_CALL_OUTCOME_HPP
#define HEADGATE_CALL_OUTCOME_HPP

#include <headgate/breaker_options.hpp>
#include <headgate/export.hpp>
#include <headgate/result.hpp>
#include <headgate/time.hpp>

namespace headgate {

/// How a call ended, and for how long its breaker should open because of that.
struct call_verdict {
    call_outcome outcome;  ///< What the call counts as.
    /// Of a failure: opens the breaker at once for that long; zero and less for not.
    duration trip_for;

    /// From an outcome, so that a judge may return one.
    constexpr call_verdict(call_outcome how, duration open_for = {}) noexcept : outcome(how), trip_for(open_for) {}
};

/// What an error counts as, unless the call has its own opinion: neutral for cancellation by whatever name
/// (`is_canceled`), for headgate's own refusals, and for `out_of_memory`; a failure for everything else, `timed_out`,
/// `connect_failed` and `operation_failed` among them.
[[nodiscard]] HEADGATE_DECL call_outcome outcome_of(const error& e) noexcept;

/// The default of `call_options::judge`: a value is a success, an error is what `outcome_of` says.
struct default_judge {
    /// Judges `r`.
    template <class T>
    constexpr call_verdict operator()(const result<T>& r) const noexcept {
        return r ? call_outcome::success : outcome_of(r.error());
    }
};

/// How one call runs.
template <class Judge = default_judge>
struct call_options {
    /// The time that the operation has, `duration::max()` for no limit. Zero and less is no time left: the operation
    /// does not run, and the call is `wait_timed_out`.
    duration timeout = duration::max();
    /// Called with the `const result<T>&` of the call; returns a `call_verdict` or a `call_outcome`. An exception of it
    /// is one of the operation.
    Judge judge{};
};

}  // namespace headgate

#endif
