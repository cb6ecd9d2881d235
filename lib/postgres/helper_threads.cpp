// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "helper_threads.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <thread>
#include <utility>

namespace headgate::detail {

namespace {

constexpr int max_threads = 4;

}  // namespace

unique_fd::~unique_fd() {
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

std::optional<pipe_ends> pipe_ends::make() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
        return std::nullopt;
    }
    return pipe_ends{unique_fd(ends[0]), unique_fd(ends[1])};
}

void helper_threads::submit(std::function<void()> call, unique_fd done, clock_hold hold) {
    const std::lock_guard lock(mutex_);
    requests_.push_back({std::move(hold), std::move(call), std::move(done)});
    if (threads_ == max_threads) {
        return;
    }
    try {
        std::thread([self = shared_from_this()] { self->work(); }).detach();
        ++threads_;
    } catch (...) {           // no thread, or no memory for one
        if (threads_ == 0) {  // no thread would take the call
            requests_.clear();
        }
    }
}

void helper_threads::cancel(pq_cancel whom, unique_fd done, clock_hold hold) {
    submit(
        [shared = std::shared_ptr<PGcancel>(std::move(whom))] {
            std::array<char, 256> why;
            (void)PQcancel(shared.get(), why.data(), static_cast<int>(why.size()));
        },
        std::move(done), std::move(hold));
}

void helper_threads::work() noexcept {
    while (serve_one()) {
    }
}

bool helper_threads::serve_one() noexcept {
    const auto next = take();
    if (next) {
        next->call();
    }
    return next.has_value();
}

// None: the thread ends.
std::optional<helper_threads::request> helper_threads::take() {
    const std::lock_guard lock(mutex_);
    if (requests_.empty()) {
        --threads_;
        return std::nullopt;
    }
    std::optional<request> next(std::move(requests_.front()));
    requests_.pop_front();
    return next;
}

}  // namespace headgate::detail
