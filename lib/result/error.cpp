// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/error.hpp>

#include <boost/system/errc.hpp>

namespace headgate {
namespace detail {

constinit const errc_category the_errc_category;

const char* errc_category::name() const noexcept {
    return "headgate";
}

std::string errc_category::message(int value) const {
    switch (static_cast<errc>(value)) {
        case errc::rate_limited: return "the rate limit is reached";
        case errc::cost_exceeds_limit: return "the cost is larger than the limit could ever grant";
        case errc::queue_full: return "the wait queue is full";
        case errc::wait_timed_out: return "the deadline passed while waiting";
        case errc::timed_out: return "the deadline passed while the operation ran";
        case errc::exhausted: return "the pool has nothing free";
        case errc::connect_failed: return "the pool cannot connect";
        case errc::circuit_open: return "the circuit is open";
        case errc::canceled: return "the operation was canceled";
        case errc::shut_down: return "the zone is closed";
        case errc::operation_failed: return "the protected operation failed";
        case errc::invalid_argument: return "a parameter is out of its range";
        case errc::invalid_config: return "the configuration has mistakes";
        case errc::invalid_snapshot: return "the saved state cannot be read";
        case errc::unknown_name: return "nothing has that name";
        case errc::name_taken: return "the name is taken already";
        case errc::would_block: return "only a round trip could answer";
        case errc::out_of_memory: return "memory is out";
    }
    return "unknown headgate error " + std::to_string(value);
}

boost::system::error_condition errc_category::default_error_condition(int value) const noexcept {
    namespace generic = boost::system::errc;
    switch (static_cast<errc>(value)) {
        case errc::rate_limited:
        case errc::queue_full:
        case errc::exhausted:
        case errc::circuit_open:
        case errc::would_block: return make_error_condition(generic::resource_unavailable_try_again);
        case errc::wait_timed_out:
        case errc::timed_out: return make_error_condition(generic::timed_out);
        case errc::canceled: return make_error_condition(generic::operation_canceled);
        case errc::out_of_memory: return make_error_condition(generic::not_enough_memory);
        case errc::cost_exceeds_limit:
        case errc::invalid_argument: return make_error_condition(generic::invalid_argument);
        default: return {value, *this};
    }
}

}  // namespace detail

std::string error::message() const {
    std::string text = code.message();
    if (detail) {
        return text + ": " + *detail;
    }
    if (!cause) {
        return text;
    }
    try {
        std::rethrow_exception(cause);
    } catch (const std::exception& e) {
        return text + ": " + e.what();
    } catch (...) {
        return text + ": an exception that is no std::exception";
    }
}

bool is_canceled(const error& e) noexcept {
    // `errc::canceled` and Asio's code are equivalent to the generic condition.
    if (e.code == boost::system::errc::operation_canceled) {
        return true;
    }
    if (!e.cause || e.code != make_error_code(errc::operation_failed)) {
        return false;
    }
    try {
        std::rethrow_exception(e.cause);
    } catch (const boost::system::system_error& thrown) {
        return thrown.code() == boost::system::errc::operation_canceled;
    } catch (const std::system_error& thrown) {
        return thrown.code() == std::errc::operation_canceled;
    } catch (...) {
        return false;
    }
}

namespace {

// A prefix that is empty would leave its colon.
boost::system::system_error told(const error& e) {
    return e.detail ? boost::system::system_error(e.code, *e.detail) : boost::system::system_error(e.code);
}

}  // namespace

system_error::system_error(error e) : boost::system::system_error(told(e)), payload_(std::move(e)) {}

void outcome_throw_as_system_error_with_payload(error e) {
    throw system_error(std::move(e));
}

}  // namespace headgate
