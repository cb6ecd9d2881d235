// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/headgate.hpp>

const void* category_of_two();

const void* category_of_two() {
    return &headgate::error_category();
}
