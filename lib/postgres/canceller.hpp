// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_POSTGRES_CANCELLER_HPP
#define HEADGATE_POSTGRES_CANCELLER_HPP

#include <deque>
#include <memory>
#include <mutex>
#include <utility>

#include "libpq.hpp"

namespace headgate::detail {

/// A file descriptor that is closed once.
class unique_fd {
public:
    explicit unique_fd(int fd = -1) noexcept : fd_(fd) {}
    unique_fd(unique_fd&& other) noexcept : fd_(other.release()) {}
    unique_fd& operator=(unique_fd&&) = delete;
    ~unique_fd();

    [[nodiscard]] int get() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }

private:
    int fd_;
};

/// Sends cancel requests on threads of its own, at most four at once, because PQcancel blocks: it opens a connection to
/// the server, and returns when the server has closed that.
///
/// A server that hangs keeps a thread for as long, so that nobody joins them: each lives while there are requests, and
/// touches nothing but those.
class postgres_canceller : public std::enable_shared_from_this<postgres_canceller> {
public:
    /// Cancels what runs on a connection, and closes `done` when the server has been told, or could not be.
    void submit(pq_cancel whom, unique_fd done);

private:
    struct request {
        pq_cancel whom;
        unique_fd done;
    };

    void work() noexcept;
    bool serve_one() noexcept;

    std::mutex mutex_;
    std::deque<request> requests_;
    int threads_ = 0;
};

}  // namespace headgate::detail

#endif
