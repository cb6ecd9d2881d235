// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "failing.hpp"

#include <doctest/doctest.h>
#include <malloc.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

// Allocations fail on the thread of the scenario alone; other threads are only counted.
struct {
    bool failed = false;
    std::uint64_t left = 0;  // until the one that fails
    bool (*where)() = nullptr;
    std::atomic<std::int64_t> live{0};
} heap;
thread_local constinit bool armed = false;

void* allocate(std::size_t size, std::size_t alignment) noexcept {
    if (headgate::allocation::fails_now()) {
        return nullptr;
    }
    void* const p = alignment <= alignof(std::max_align_t)
                        ? std::malloc(size == 0 ? 1 : size)
                        : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    heap.live += p != nullptr ? 1 : 0;
    return p;
}

void* allocate_or_throw(std::size_t size, std::size_t alignment) {
    if (void* const p = allocate(size, alignment)) {
        return p;
    }
    throw std::bad_alloc();
}

void release(void* p) noexcept {
    heap.live -= p != nullptr ? 1 : 0;
    std::free(p);
}

}  // namespace

void* operator new(std::size_t size) {
    return allocate_or_throw(size, 0);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    return allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return allocate(size, 0);
}
void operator delete(void* p) noexcept {
    release(p);
}
void operator delete(void* p, std::size_t) noexcept {
    release(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
    release(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
    release(p);
}
void operator delete(void* p, const std::nothrow_t&) noexcept {
    release(p);
}

namespace headgate::allocation {

failing::failing() {
    armed = true;
}

failing::~failing() {
    armed = false;
}

void fail_only(bool (*where)()) noexcept {
    heap.where = where;
}

bool fails_now() noexcept {
    if (!armed || heap.failed || (heap.where != nullptr && !heap.where()) || --heap.left != 0) {
        return false;
    }
    heap.failed = true;
    return true;
}

bool has_failed() noexcept {
    return heap.failed;
}

void every_allocation(const std::function<void()>& scenario) {
    const auto run = [&](std::uint64_t n) {
        heap.failed = n == 0;
        heap.left = n;
        scenario();
        return heap.live.load();
    };
    run(0);
    for (std::uint64_t n = 1;; ++n) {
        CAPTURE(n);
        // Twice: what was made once and is kept, such as what a thread caches, is there the second time.
        const std::int64_t before = run(n);
        CHECK(run(n) == before);
        REQUIRE(n < 10'000);
        if (!heap.failed) {
            MESSAGE((n - 1) << " allocations, each failed once");
            return;
        }
    }
}

}  // namespace headgate::allocation
