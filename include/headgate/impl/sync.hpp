// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_SYNC_HPP
#define HEADGATE_IMPL_SYNC_HPP

// The locks and atomics that threads of the library share, under one name each. Built for exploration
// (HEADGATE_EXPLORE), each use of one is a scheduling point: a deterministic scheduler runs one thread at a time and
// tries every order. `./dev explore` builds and runs that.

#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

#include <headgate/export.hpp>

namespace headgate::detail {

#if defined(HEADGATE_EXPLORE)

/// Where the scheduler may switch threads. Nothing on a thread that it does not run.
HEADGATE_DECL void scheduling_point(const void* where) noexcept;
/// The calling thread waits until `wake_waiting(where)`.
HEADGATE_DECL void wait_at(const void* where) noexcept;
HEADGATE_DECL void wake_waiting(const void* where) noexcept;

/// A mutex that the scheduler knows. One thread runs at a time, so that a plain flag is enough.
class explored_mutex {
public:
    void lock() noexcept {
        scheduling_point(this);
        while (locked_) {
            wait_at(this);
        }
        locked_ = true;
    }
    bool try_lock() noexcept {
        scheduling_point(this);
        return !std::exchange(locked_, true);
    }
    void unlock() noexcept {
        locked_ = false;
        wake_waiting(this);
    }
    void let_others_in() const noexcept { scheduling_point(this); }

private:
    bool locked_ = false;
};

/// `std::atomic` with a scheduling point before each operation.
template <class T>
class explored_atomic {
public:
    explored_atomic() = default;
    constexpr explored_atomic(T value) noexcept : value_(value) {}
    explored_atomic(const explored_atomic&) = delete;
    explored_atomic& operator=(const explored_atomic&) = delete;

    T load(std::memory_order order = std::memory_order_seq_cst) const noexcept { return at().load(order); }
    void store(T value, std::memory_order order = std::memory_order_seq_cst) noexcept { at().store(value, order); }
    T exchange(T value, std::memory_order order = std::memory_order_seq_cst) noexcept {
        return at().exchange(value, order);
    }
    bool compare_exchange_strong(T& expected, T desired, std::memory_order order = std::memory_order_seq_cst) noexcept {
        return at().compare_exchange_strong(expected, desired, order);
    }
    bool compare_exchange_strong(T& expected, T desired, std::memory_order good, std::memory_order bad) noexcept {
        return at().compare_exchange_strong(expected, desired, good, bad);
    }
    bool compare_exchange_weak(T& expected, T desired, std::memory_order order = std::memory_order_seq_cst) noexcept {
        return at().compare_exchange_strong(expected, desired, order);
    }
    bool compare_exchange_weak(T& expected, T desired, std::memory_order good, std::memory_order bad) noexcept {
        return at().compare_exchange_strong(expected, desired, good, bad);
    }
    T fetch_add(T by, std::memory_order order = std::memory_order_seq_cst) noexcept {
        return at().fetch_add(by, order);
    }
    T fetch_sub(T by, std::memory_order order = std::memory_order_seq_cst) noexcept {
        return at().fetch_sub(by, order);
    }
    T fetch_or(T bits, std::memory_order order = std::memory_order_seq_cst) noexcept {
        return at().fetch_or(bits, order);
    }
    T fetch_and(T bits, std::memory_order order = std::memory_order_seq_cst) noexcept {
        return at().fetch_and(bits, order);
    }
    T operator=(T value) noexcept {
        store(value);
        return value;
    }
    operator T() const noexcept { return load(); }

private:
    std::atomic<T>& at() noexcept {
        scheduling_point(this);
        return value_;
    }
    const std::atomic<T>& at() const noexcept {
        scheduling_point(this);
        return value_;
    }

    std::atomic<T> value_{};
};

using mutex = explored_mutex;
template <class T>
using atomic = explored_atomic<T>;

/// Another thread has to go on first.
inline void yield_thread() noexcept {
    scheduling_point(nullptr);
}

#else

using mutex = std::mutex;
template <class T>
using atomic = std::atomic<T>;

inline void yield_thread() noexcept {
    std::this_thread::yield();
}

#endif

}  // namespace headgate::detail

#endif
