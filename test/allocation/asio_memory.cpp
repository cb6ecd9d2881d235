// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// With this file in a program, the memory that Asio takes for its handlers and coroutines may fail, too.

#include <malloc.h>

#include <cstddef>

#include "failing.hpp"

extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) {
    return headgate::allocation::fails_now() ? nullptr : memalign(alignment, size);
}
