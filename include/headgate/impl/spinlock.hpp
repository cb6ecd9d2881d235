// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_SPINLOCK_HPP
#define HEADGATE_IMPL_SPINLOCK_HPP

#include <sched.h>

#include <atomic>

#include <headgate/impl/sync.hpp>

namespace headgate::detail {

#if defined(HEADGATE_EXPLORE)

using spinlock = explored_mutex;

#else

/// A lock for critical sections of nanoseconds: a test-and-set, then a few pauses, then the processor is given up.
/// Meets BasicLockable. Nothing that blocks, allocates often, or belongs to the user runs under it.
class spinlock {
public:
    void lock() noexcept {
        if (!locked_.exchange(true, std::memory_order_acquire)) {
            return;
        }
        wait();
    }

    void unlock() noexcept { locked_.store(false, std::memory_order_release); }

private:
    // Looks seldom. A waiter that keeps looking takes the line, and what the lock guards beside it, from the holder's
    // cache at every turn; one that stays away for about a microsecond lets the holder go on at full speed.
    [[gnu::noinline]] void wait() noexcept {
        for (int looks = 1;; ++looks) {
            for (int i = 0; i < 64; ++i) {
#if defined(__x86_64__) || defined(__i386__)
                __builtin_ia32_pause();
#endif
            }
            if (!locked_.load(std::memory_order_relaxed) && !locked_.exchange(true, std::memory_order_acquire)) {
                return;
            }
            if (looks % 8 == 0) {
                ::sched_yield();
            }
        }
    }

    std::atomic<bool> locked_{false};
};

#endif

}  // namespace headgate::detail

#endif
