// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_SPINLOCK_HPP
#define HEADGATE_IMPL_SPINLOCK_HPP

#include <sched.h>

#include <atomic>

namespace headgate::detail {

/// A lock for critical sections of nanoseconds: a test-and-set, then a bounded spin, then the processor is given up.
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
    [[gnu::noinline]] void wait() noexcept {
        constexpr int spins_before_yield = 128;
        for (;;) {
            for (int spin = 0; spin < spins_before_yield; ++spin) {
                if (!locked_.load(std::memory_order_relaxed) && !locked_.exchange(true, std::memory_order_acquire)) {
                    return;
                }
#if defined(__x86_64__) || defined(__i386__)
                __builtin_ia32_pause();
#endif
            }
            ::sched_yield();
        }
    }

    std::atomic<bool> locked_{false};
};

}  // namespace headgate::detail

#endif
