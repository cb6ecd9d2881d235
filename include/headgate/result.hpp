// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_RESULT_HPP
#define HEADGATE_RESULT_HPP

#include <boost/outcome/basic_result.hpp>
#include <boost/outcome/policy/result_error_code_throw_as_system_error.hpp>
#include <boost/outcome/success_failure.hpp>
#include <boost/outcome/try.hpp>

#include <type_traits>

#include <headgate/error.hpp>

namespace headgate {

namespace outcome = boost::outcome_v2;

/// A value or an `error`. `value()` of a failed result throws `headgate::system_error`, which keeps the payload.
template <class T>
using result = outcome::basic_result<T, error, outcome::policy::error_code_throw_as_system_error<T, error, void>>;

using outcome::failure;
using outcome::success;

template <class T>
inline constexpr bool is_result_v = false;
template <class T>
inline constexpr bool is_result_v<result<T>> = true;

}  // namespace headgate

#endif
