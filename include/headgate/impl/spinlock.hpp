// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_SPINLOCK_HPP
#define HEADGATE_IMPL_SPINLOCK_HPP

#include <sched.h>

#include <atomic>
#include <cstdint>

#include <headgate/impl/sync.hpp>

namespace headgate::detail {

#if defined(HEADGATE_EXPLORE)

using spinlock = explored_mutex;

#else

/// A lock for critical sections of nanoseconds, of a few microseconds at most: a test-and-set, then a few pauses, then
/// the processor is given up. Meets BasicLockable. Nothing that blocks, allocates often, or belongs to the user runs
/// under it.
class spinlock {
public:
    void lock() noexcept {
        if (!locked_.exchange(true, std::memory_order_acquire)) {
            return;
        }
        wait();
    }

    void unlock() noexcept { locked_.store(false, std::memory_order_release); }

    /// Between two pieces of long work, while it is not locked: whoever waits comes before the next piece. Else the
    /// worker, whose cache has the line, would get the lock again and again.
    void let_others_in() const noexcept {
        for (int looks = 1; waiting_.load(std::memory_order_relaxed) != 0 && looks <= 16; ++looks) {
            stay_away(looks);
        }
    }

private:
    // Looks seldom. A waiter that keeps looking takes the line, and what the lock guards beside it, from the holder's
    // cache at every turn; one that stays away for about a microsecond lets the holder go on at full speed.
    [[gnu::noinline]] void wait() noexcept {
        waiting_.fetch_add(1, std::memory_order_relaxed);
        for (int looks = 1;; ++looks) {
            stay_away(looks);
            if (!locked_.load(std::memory_order_relaxed) && !locked_.exchange(true, std::memory_order_acquire)) {
                break;
            }
        }
        waiting_.fetch_sub(1, std::memory_order_relaxed);
    }

    static void stay_away(int looks) noexcept {
        for (int i = 0; i < 64; ++i) {
#if defined(__x86_64__) || defined(__i386__)
            __builtin_ia32_pause();
#endif
        }
        if (looks % 8 == 0) {
            ::sched_yield();
        }
    }

    std::atomic<bool> locked_{false};
    std::atomic<std::uint16_t> waiting_{0};
};

#endif

}  // namespace headgate::detail

#endif
