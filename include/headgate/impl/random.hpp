// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_RANDOM_HPP
#define HEADGATE_IMPL_RANDOM_HPP

#include <cstdint>

namespace headgate::detail {

/// The next number of a seeded sequence, whose state is `state`: splitmix64 (Steele, Lea, Flood: "Fast splittable
/// pseudorandom number generators").
constexpr std::uint64_t random_bits(std::uint64_t& state) noexcept {
    state += 0x9e3779b97f4a7c15;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/// The same, from 0 up to but not 1.
constexpr double random_share(std::uint64_t& state) noexcept {
    return static_cast<double>(random_bits(state) >> 11) * 0x1p-53;
}

}  // namespace headgate::detail

#endif
