// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <iostream>

#include <headgate/sqlite.hpp>

int main() {
    const auto made = headgate::sqlite_backend::create(headgate::sqlite_options());
    std::cout << (made ? "made" : "consumed") << ": " << (made ? "" : "the adapter") << '\n';
}
