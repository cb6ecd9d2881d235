// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_WAIT_OPTIONS_HPP
#define HEADGATE_WAIT_OPTIONS_HPP

#include <optional>
#include <source_location>

#include <headgate/time.hpp>

namespace headgate {

/// How one caller of a pool or a bulkhead waits.
struct wait_options {
    /// How long it waits at most; the `max_wait` of the pool or bulkhead when empty, `duration::max()` for no limit.
    /// Zero and less is no time left: it does not wait, `exhausted` at once.
    std::optional<duration> max_wait{};
};

/// How one `with` waits and runs.
struct with_options {
    /// How long it waits for a resource; as `wait_options::max_wait`.
    std::optional<duration> max_wait{};
    /// How long waiting and running may take together, `duration::max()` for no limit. Zero and less is no time left:
    /// nothing is checked out and nothing runs, `wait_timed_out` at once.
    duration timeout = duration::max();
    /// Whom a leak is blamed on.
    std::source_location where = std::source_location::current();
};

}  // namespace headgate

#endif
