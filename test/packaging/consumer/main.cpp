// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <iostream>

#include <headgate/headgate.hpp>

int main() {
    const headgate::result<int> refused = headgate::error(headgate::errc::rate_limited);
    std::cout << "consumed: " << refused.error().message() << '\n';
}
