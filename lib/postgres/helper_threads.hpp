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

/// Both ends of a pipe. The coroutine that waits for a helper watches `read`, which ends when the helper has closed
/// `write`.
struct pipe_ends {
    unique_fd read;
    unique_fd write;

    /// None where the process has no descriptors left.
    [[nodiscard]] static std::optional<pipe_ends> make();
};

/// Makes blocking calls (PQcancel, getaddrinfo) on threads of its own, at most four at once.
///
/// A server that hangs keeps a thread for as long as it hangs, so the threads are not joined: each lives while there
/// are calls to make, and uses nothing but what those calls own.
class helper_threads : public std::enable_shared_from_this<helper_threads> {
public:
    /// Makes `call`, then closes `done`; closes it too when `call` could not be made. Releases `hold` last: the
    /// coroutine that waits for the pipe has a hold of its own.
    void submit(std::function<void()> call, unique_fd done, clock_hold hold);
    /// Cancels the statement that runs on a connection. A failure is not reported: the caller sees that the statement
    /// still runs, and asks again.
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
