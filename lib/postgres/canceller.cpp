// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "canceller.hpp"

#include <unistd.h>

#include <array>
#include <system_error>
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

void postgres_canceller::submit(pq_cancel whom, unique_fd done) {
    const std::lock_guard lock(mutex_);
    requests_.push_back({std::move(whom), std::move(done)});
    if (threads_ == max_threads) {
        return;
    }
    try {
        std::thread([self = shared_from_this()] { self->work(); }).detach();
        ++threads_;
    } catch (const std::system_error&) {
        if (threads_ == 0) {  // nobody would come for it
            requests_.clear();
        }
    }
}

void postgres_canceller::work() noexcept {
    while (serve_one()) {
    }
}

bool postgres_canceller::serve_one() noexcept {
    std::unique_lock lock(mutex_);
    if (requests_.empty()) {
        --threads_;
        return false;
    }
    const request next = std::move(requests_.front());
    requests_.pop_front();
    lock.unlock();
    // Why it failed does not matter: who waits sees that the statement still runs, and asks again.
    std::array<char, 256> why;
    (void)PQcancel(next.whom.get(), why.data(), static_cast<int>(why.size()));
    return true;
}

}  // namespace headgate::detail
