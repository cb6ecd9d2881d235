// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_POSTGRES_WATCH_HPP
#define HEADGATE_POSTGRES_WATCH_HPP

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/this_coro.hpp>

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

namespace headgate::detail {

using steady_time = std::chrono::steady_clock::time_point;

/// A descriptor that Asio waits on. Shared with the timers that wake such a wait, because the handler of a timer may be
/// on its way when the descriptor goes.
using watched_fd = std::shared_ptr<boost::asio::posix::stream_descriptor>;

/// Watches a duplicate of `fd`: libpq closes its own, when and as often as it likes. Throws when there is none.
[[nodiscard]] watched_fd watch_duplicate(const boost::asio::any_io_executor& executor, int fd);

/// Waits until the descriptor is ready, until `until`, or until the coroutine or the descriptor's operations are
/// cancelled. It does not say which: the caller looks.
[[nodiscard]] boost::asio::awaitable<void> wait_on(watched_fd fd, boost::asio::posix::stream_descriptor::wait_type what,
                                                   steady_time until = steady_time::max());

/// Ends the waits on a descriptor, if there are any.
void wake(boost::asio::posix::stream_descriptor& fd) noexcept;

/// Whether the awaiting coroutine was cancelled.
[[nodiscard]] boost::asio::awaitable<bool> was_cancelled();

/// Awaits `body` so that it goes on after a cancellation, for which Asio would throw at its next co_await.
template <class T>
boost::asio::awaitable<T> without_throwing(boost::asio::awaitable<T> body) {
    const bool throws = co_await boost::asio::this_coro::throw_if_cancelled();
    co_await boost::asio::this_coro::throw_if_cancelled(false);
    std::optional<T> out;
    std::exception_ptr thrown;
    try {
        out.emplace(co_await std::move(body));
    } catch (...) {
        thrown = std::current_exception();
    }
    co_await boost::asio::this_coro::throw_if_cancelled(throws);
    if (thrown) {
        std::rethrow_exception(thrown);
    }
    co_return std::move(*out);
}

}  // namespace headgate::detail

#endif
