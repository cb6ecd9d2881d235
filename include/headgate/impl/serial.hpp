// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_SERIAL_HPP
#define HEADGATE_IMPL_SERIAL_HPP

#include <boost/asio/any_io_executor.hpp>

#include <type_traits>

#include <headgate/export.hpp>

namespace headgate::detail {

/// Whether two handlers of `executor` never run at the same time, as far as that can be known: it is a strand, or of an
/// io_context that was made for one thread (`io_context(1)`).
[[nodiscard]] HEADGATE_DECL bool is_serial(const boost::asio::any_io_executor& executor) noexcept;

/// `executor` when it is serial, else a strand over it.
[[nodiscard]] HEADGATE_DECL boost::asio::any_io_executor make_serial(const boost::asio::any_io_executor& executor);

/// An executor of a type of its own cannot be replaced by a strand: whoever chose it has chosen a serial one.
template <class Executor>
inline constexpr bool chosen_serial = !std::is_same_v<Executor, boost::asio::any_io_executor>;

}  // namespace headgate::detail

#endif
