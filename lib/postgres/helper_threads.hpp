// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_POSTGRES_HELPER_THREADS_HPP
#define HEADGATE_POSTGRES_HELPER_THREADS_HPP

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include <headgate/virtual_clock.hpp>

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

/// Both ends of a pipe. Whoever waits for a helper watches `read`, which ends when the helper has closed `write`.
struct pipe_ends {
    unique_fd read;
    unique_fd write;

    /// None where the process has no descriptors left.
    [[nodiscard]] static std::optional<pipe_ends> make();
};

/// Makes calls that block, on threads of its own, at most four at once: PQcancel, and getaddrinfo.
///
/// A server that hangs keeps a thread for as long, so that nobody joins them: each lives while there are calls to make,
/// and touches nothing but what those own.
class helper_threads : public std::enable_shared_from_this<helper_threads> {
public:
    /// Makes `call`, and closes `done` after that, or when it could not be made. Then it lets go of `hold`: whoever
    /// waits for the pipe has one of the io_context that watches it.
    void submit(std::function<void()> call, unique_fd done, clock_hold hold);
    /// Cancels what runs on a connection. Why it failed does not matter: who waits sees that the statement still runs,
    /// and asks again.
    void cancel(pq_cancel whom, unique_fd done, clock_hold hold);

private:
    struct request {
        clock_hold hold;  // the last to go
        std::function<void()> call;
        unique_fd done;
    };

    void work() noexcept;
    bool serve_one() noexcept;
    [[nodiscard]] std::optional<request> take();

    std::mutex mutex_;
    std::deque<request> requests_;
    int threads_ = 0;
};

}  // namespace headgate::detail

#endif
