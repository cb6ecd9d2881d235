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

struct {
    std::atomic<std::int64_t> left{0};  // allocations until the first that fails
    std::int64_t in_a_row = 1;
    std::atomic<bool> failed{false};
    bool (*where)() = nullptr;
    std::atomic<std::int64_t> live{0};
    std::atomic<bool> armed{false};  // on all threads
} heap;
thread_local constinit bool armed_here = false;

void* allocate(std::size_t size, std::size_t alignment) noexcept {
    if (headgate::allocation::fails_now()) {
        return nullptr;
    }
    void* const p =
        alignment <= alignof(std::max_align_t) ? std::malloc(size == 0 ? 1 : size) : memalign(alignment, size);
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

failing::failing(threads whose) {
    armed_here = true;
    heap.armed = whose == threads::all;
}

failing::~failing() {
    stop();
}

void failing::stop() noexcept {
    armed_here = false;
    heap.armed = false;
}

void fail_only(bool (*where)()) noexcept {
    heap.where = where;
}

bool fails_now() noexcept {
    if ((!armed_here && !heap.armed) || (heap.where != nullptr && !heap.where())) {
        return false;
    }
    const std::int64_t left = --heap.left;
    if (left > 0 || left <= -heap.in_a_row) {
        return false;
    }
    heap.failed = true;
    return true;
}

bool has_failed() noexcept {
    return heap.failed;
}

namespace {

constexpr std::int64_t none = std::int64_t{1} << 62;

/// Returns the number of blocks that are allocated afterwards.
std::int64_t run(const std::function<void()>& scenario, std::int64_t first_that_fails) {
    heap.failed = false;
    heap.left = first_that_fails;
    scenario();
    return heap.live;
}

std::uint64_t each(const std::function<void(std::int64_t)>& run_with) {
    for (std::int64_t n = 1;; ++n) {
        CAPTURE(n);
        run_with(n);
        REQUIRE(n < 10'000);
        if (!heap.failed) {
            MESSAGE((n - 1) << " allocations, each failed once");
            return static_cast<std::uint64_t>(n - 1);
        }
    }
}

}  // namespace

std::uint64_t every_allocation(const std::function<void()>& scenario, std::uint64_t in_a_row) {
    heap.in_a_row = static_cast<std::int64_t>(in_a_row);
    run(scenario, none);
    return each([&](std::int64_t n) {
        // Twice: blocks that stay for good, such as a thread's caches, are allocated before the second run.
        const std::int64_t before = run(scenario, n);
        CHECK(run(scenario, n) == before);
    });
}

std::uint64_t every_allocation_of_threads(const std::function<void()>& scenario) {
    heap.in_a_row = 1;
    return each([&](std::int64_t n) { run(scenario, n); });
}

}  // namespace headgate::allocation
