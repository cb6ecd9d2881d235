// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "watch.hpp"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <fcntl.h>

#include <cerrno>

#include "helper_threads.hpp"

namespace headgate::detail {

namespace asio = boost::asio;

watched_fd watch_duplicate(const asio::any_io_executor& executor, int fd) {
    unique_fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (copy.get() < 0) {
        throw boost::system::system_error(errno, boost::system::system_category(), "headgate-postgres: dup");
    }
    auto out = std::make_shared<asio::posix::stream_descriptor>(executor);
    out->assign(copy.get());
    (void)copy.release();
    return out;
}

void wake(asio::posix::stream_descriptor& fd) noexcept {
    boost::system::error_code ec;
    fd.cancel(ec);  // NOLINT(bugprone-unused-return-value): it is the same as ec
}

asio::awaitable<void> wait_on(watched_fd fd, asio::posix::stream_descriptor::wait_type what, steady_time until) {
    asio::steady_timer limit(co_await asio::this_coro::executor);
    if (until != steady_time::max()) {
        limit.expires_at(until);
        limit.async_wait([weak = std::weak_ptr(fd)](boost::system::error_code ec) {
            if (const watched_fd alive = weak.lock(); alive && !ec) {
                wake(*alive);
            }
        });
    }
    boost::system::error_code ec;
    co_await fd->async_wait(what, asio::redirect_error(asio::use_awaitable, ec));
}

asio::awaitable<bool> was_cancelled() {
    const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
    co_return state.cancelled() != asio::cancellation_type::none;
}

}  // namespace headgate::detail
