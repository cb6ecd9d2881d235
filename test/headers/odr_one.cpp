// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>

#include <headgate/headgate.hpp>

const void* category_of_two();

TEST_CASE("two translation units with every public header link, and share one error category") {
    CHECK(category_of_two() == &headgate::error_category());
}
