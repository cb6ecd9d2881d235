// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_ERROR_HPP
#define HEADGATE_ERROR_HPP

#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>

#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <headgate/export.hpp>
#include <headgate/time.hpp>

namespace headgate {

/// Why headgate refused or could not do something.
enum class errc {
    rate_limited = 1,    ///< A limiter has no permits now, or not within the bound on waiting.
    cost_exceeds_limit,  ///< The cost is larger than the limiter could ever grant.
    queue_full,          ///< The wait queue is at its bound.
    wait_timed_out,      ///< The deadline passed while waiting; nothing ran.
    timed_out,           ///< The deadline passed while the operation ran.
    exhausted,           ///< The pool has nothing free and the caller would not wait.
    connect_failed,      ///< No live resource, and connecting fails; the cause is attached.
    circuit_open,        ///< The breaker refuses calls.
    canceled,            ///< The caller cancelled the operation.
    shut_down,           ///< The zone is closed.
    operation_failed,    ///< The protected operation failed; the cause is attached.
    invalid_argument,    ///< A parameter is out of its range; the detail says which, and what would be right.
    invalid_config,      ///< A configuration document has mistakes.
    invalid_snapshot,    ///< A saved state is truncated, foreign or newer than this library.
    unknown_name,        ///< Nothing of that kind has that name in the zone.
    name_taken,          ///< Something of that kind has that name in the zone already.
    would_block,         ///< Only a round trip could answer a `try_` call.
    out_of_memory,       ///< Memory was not there; nothing has happened.
};

namespace detail {

/// A final class and one constant object of it, both visible here, so that making an error code takes no call.
class HEADGATE_DECL errc_category final : public boost::system::error_category {
public:
    constexpr errc_category() noexcept = default;

    const char* name() const noexcept override;
    std::string message(int value) const override;
    boost::system::error_condition default_error_condition(int value) const noexcept override;
    bool failed(int value) const noexcept override { return value != 0; }
};

HEADGATE_DECL extern const errc_category the_errc_category;

}  // namespace detail

/// The category of `errc`: its name is "headgate"; its messages are one sentence each.
inline const boost::system::error_category& error_category() noexcept {
    return detail::the_errc_category;
}

/// Makes an error code of `errc`; found by argument-dependent lookup.
inline boost::system::error_code make_error_code(errc e) noexcept {
    return {static_cast<int>(e), detail::the_errc_category};
}

}  // namespace headgate

/// @cond
template <>
struct boost::system::is_error_code_enum<headgate::errc> : std::true_type {};
/// @endcond

namespace headgate {

/// What a failed operation gives: the code, and the payload as data.
///
/// Comparable with `std::errc` and `boost::system::errc` through `code`: `rate_limited`, `queue_full`, `exhausted`,
/// `circuit_open` and `would_block` are `resource_unavailable_try_again`; `wait_timed_out` and `timed_out` are
/// `timed_out`; `canceled` is `operation_canceled`; `invalid_argument` is `invalid_argument`; `out_of_memory` is
/// `not_enough_memory`.
struct error {
    /// What went wrong; of `error_category()`, except where another library's code is passed on.
    boost::system::error_code code;
    /// How long to wait before asking again makes sense; zero when that is not known, negative for never.
    duration retry_after{};
    /// The exception behind `operation_failed` and `connect_failed`; null otherwise.
    std::exception_ptr cause;
    /// What was wrong, where, and what would be right; null where nothing is to be added to the code.
    std::shared_ptr<const std::string> detail;

    error() = default;
    /// `e`, and how long to wait.
    error(errc e, duration retry = {}) noexcept : code(make_error_code(e)), retry_after(retry) {}
    /// `e`, and the exception behind it.
    error(errc e, std::exception_ptr why, duration retry = {}) noexcept
        : code(make_error_code(e)), retry_after(retry), cause(std::move(why)) {}
    /// `e`, and what is to be added to its message.
    error(errc e, std::string_view text) : code(make_error_code(e)), detail(std::make_shared<std::string>(text)) {}
    /// The code of another library.
    error(boost::system::error_code ec) noexcept : code(ec) {}

    /// The code's message, then the detail or what the cause says, when there is any.
    [[nodiscard]] HEADGATE_DECL std::string message() const;

    friend bool operator==(const error& e, errc c) noexcept { return e.code == make_error_code(c); }
};

/// Whether `e` says that the operation was cancelled, by whatever name: `errc::canceled`, Asio's `operation_aborted`,
/// or `operation_canceled` of the generic category; as its code, or as what the exception behind it carries. Such an
/// end is neutral for a circuit breaker, and leaves a resource in doubt.
[[nodiscard]] HEADGATE_DECL bool is_canceled(const error& e) noexcept;

/// Lets Outcome see that an `error` carries an error code; found by argument-dependent lookup.
inline boost::system::error_code make_error_code(const error& e) noexcept {
    return e.code;
}

/// What `result<T>::value()` throws for an error: a `boost::system::system_error` that keeps the payload.
class HEADGATE_DECL system_error : public boost::system::system_error {
public:
    /// Keeps `e` whole.
    explicit system_error(error e);

    /// The whole error, with `retry_after`, cause and detail.
    [[nodiscard]] const error& payload() const noexcept { return payload_; }

private:
    error payload_;
};

/// Throws `e` as a `headgate::system_error`; what Outcome calls, found by argument-dependent lookup.
[[noreturn]] HEADGATE_DECL void outcome_throw_as_system_error_with_payload(error e);

}  // namespace headgate

#endif
