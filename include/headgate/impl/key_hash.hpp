// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_KEY_HASH_HPP
#define HEADGATE_IMPL_KEY_HASH_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <headgate/impl/int128.hpp>
#include <headgate/impl/random.hpp>

namespace headgate::detail {

constexpr std::uint64_t fold(std::uint64_t x, std::uint64_t y) noexcept {
    const uint128 product = static_cast<uint128>(x) * y;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

/// The secret of a limiter, spread over the words of the hash. No word is a public constant: who doesn't know the seed
/// can't choose keys that multiply with zero.
struct hash_seed {
    std::uint64_t a;
    std::uint64_t b;
    std::uint64_t c;

    explicit constexpr hash_seed(std::uint64_t seed) noexcept
        : a(random_bits(seed)), b(random_bits(seed)), c(random_bits(seed)) {}
};

constexpr std::uint64_t hash_end(const hash_seed& s, std::uint64_t start, std::uint64_t x, std::uint64_t y,
                                 std::uint64_t length) noexcept {
    const uint128 product = static_cast<uint128>(x ^ s.b) * (y ^ start);
    return fold(static_cast<std::uint64_t>(product) ^ s.c ^ length, static_cast<std::uint64_t>(product >> 64) ^ s.b);
}

template <class Word>
std::uint64_t read(const char* p) noexcept {
    Word w;
    std::memcpy(&w, p, sizeof w);
    return w;
}

/// A keyed hash by folded 128-bit multiplications, after wyhash (Wang Yi, public domain), with all words secret.
inline std::uint64_t hash_bytes(const hash_seed& s, std::uint64_t start, const char* p, std::size_t n) noexcept {
    std::uint64_t x = 0;
    std::uint64_t y = 0;
    if (n <= 16) [[likely]] {
        if (n >= 8) {
            x = read<std::uint64_t>(p);
            y = read<std::uint64_t>(p + n - 8);
        } else if (n >= 4) {
            x = read<std::uint32_t>(p);
            y = read<std::uint32_t>(p + n - 4);
        } else if (n > 0) {
            x = read<std::uint8_t>(p) << 16 | read<std::uint8_t>(p + n / 2) << 8 | read<std::uint8_t>(p + n - 1);
        }
    } else {
        std::size_t left = n;
        const char* at = p;
        for (; left > 16; left -= 16, at += 16) {
            start = fold(read<std::uint64_t>(at) ^ s.b, read<std::uint64_t>(at + 8) ^ start);
        }
        x = read<std::uint64_t>(p + n - 16);
        y = read<std::uint64_t>(p + n - 8);
    }
    return hash_end(s, start, x, y, n);
}

}  // namespace headgate::detail

#endif
