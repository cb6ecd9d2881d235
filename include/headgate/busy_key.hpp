// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_BUSY_KEY_HPP
#define HEADGATE_BUSY_KEY_HPP

#include <cstdint>
#include <string>

namespace headgate {

/// A key that was asked for often: between `count - error` and `count` times.
struct busy_key {
    std::string text;         ///< Its parts with a colon between them; cut at 128 bytes, with its hash at the end.
    std::uint64_t count = 0;  ///< How often it came, granted or refused, at most.
    std::uint64_t error = 0;  ///< By how much that may be too many.
};

}  // namespace headgate

#endif
