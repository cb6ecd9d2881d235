// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/abi.hpp>

// How the library is built, for the linker to compare with how its user is.

extern "C" {
// NOLINTNEXTLINE(bugprone-macro-parentheses): a name to declare cannot have any
#define HEADGATE_ABI_DEFINE(symbol) [[gnu::visibility("default")]] extern const char symbol = 1;
HEADGATE_ABI_SYMBOLS(HEADGATE_ABI_DEFINE)
#undef HEADGATE_ABI_DEFINE
}
