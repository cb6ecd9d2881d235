// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/call_outcome.hpp>

namespace headgate {
namespace {

call_outcome outcome_of(errc e) noexcept {
    switch (e) {
        case errc::timed_out:
        case errc::connect_failed:
        case errc::operation_failed: return call_outcome::failure;
        case errc::rate_limited:
        case errc::cost_exceeds_limit:
        case errc::queue_full:
        case errc::wait_timed_out:
        case errc::exhausted:
        case errc::circuit_open:
        case errc::canceled:
        case errc::shut_down:
        case errc::invalid_argument:
        case errc::invalid_config:
        case errc::invalid_snapshot:
        case errc::unknown_name:
        case errc::name_taken:
        case errc::would_block:
        case errc::out_of_memory: return call_outcome::neutral;
    }
    return call_outcome::failure;
}

}  // namespace

call_outcome outcome_of(const error& e) noexcept {
    if (is_canceled(e)) {
        return call_outcome::neutral;
    }
    const bool ours = e.code.category() == error_category();
    return ours ? outcome_of(static_cast<errc>(e.code.value())) : call_outcome::failure;
}

}  // namespace headgate
