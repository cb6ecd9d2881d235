// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// A program that links this file also fails allocations of Asio's handlers and coroutines.

#include <malloc.h>

#include <cstddef>

#include "failing.hpp"

extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) {
    return headgate::allocation::fails_now() ? nullptr : memalign(alignment, size);
}
