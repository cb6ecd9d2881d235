// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "refusal.hpp"

namespace db_proxy {

using headgate::errc;

namespace {

std::string seconds_of(headgate::duration span) {
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(span).count();
    std::string fraction = std::to_string(1000 + ms % 1000).substr(1);
    return std::to_string(ms / 1000) + '.' + fraction + " s";
}

bool is_full(const headgate::error& e) {
    return e == errc::queue_full || e == errc::wait_timed_out || e == errc::exhausted;
}

bool has_not_connected(const headgate::error& e) {
    return e == errc::connect_failed || e == errc::operation_failed;
}

/// Whether the server itself refused the login. Otherwise the proxy did not reach it, or the server was starting.
bool says_no(const server_error& why) {
    return !why.code.empty() && !why.code.starts_with("08") && !why.code.starts_with("57");
}

}  // namespace

refusal refusal_of(const headgate::error& e, const settings& s, server_pool& pool) {
    const std::string retry =
        e.retry_after > headgate::duration::zero() ? "retry in " + seconds_of(e.retry_after) : "retry later";
    if (e == errc::rate_limited || e == errc::cost_exceeds_limit) {
        return {s.rate_limited_code, "user \"" + pool.credentials().user + "\" has used up its transactions", retry};
    }
    if (e == errc::circuit_open) {
        return {s.circuit_open_code, "server \"" + pool.server().name() + "\" is down, and not asked at present",
                retry};
    }
    if (has_not_connected(e)) {
        const server_error& why = pool.failure();
        return {says_no(why) ? why.code : s.circuit_open_code, why.text, retry};
    }
    if (is_full(e)) {
        return {s.pool_exhausted_code, "no server connection came free, or was made, in time",
                "every connection of this user and database is in use"};
    }
    if (e == errc::shut_down) {
        return {"57P01", "the proxy is shutting down", {}};
    }
    if (e == errc::canceled) {
        return {"57014", "canceling statement due to user request", {}};
    }
    return {"XX000", e.message(), {}};
}

refusal start_up_refusal(const headgate::error& e, const settings& s, server_pool& pool) {
    refusal out = refusal_of(e, s, pool);
    if (is_full(e)) {
        out.code = "53300";
    } else if (e == errc::circuit_open || (has_not_connected(e) && !says_no(pool.failure()))) {
        out.code = "57P03";
    }
    return out;
}

}  // namespace db_proxy
