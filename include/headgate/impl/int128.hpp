// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_INT128_HPP
#define HEADGATE_IMPL_INT128_HPP

#include <cstdint>
#include <limits>

#include <headgate/time.hpp>

namespace headgate::detail {

__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

/// ceil(n / d) for n >= 0 and d > 0, with the cheap division where it is enough.
constexpr int128 ceil_div(int128 n, std::int64_t d) noexcept {
    if (d == 1) {
        return n;
    }
    if (static_cast<uint128>(n) >> 64 == 0) {
        const auto small = static_cast<std::uint64_t>(n);
        const auto by = static_cast<std::uint64_t>(d);
        return static_cast<int128>(small / by) + (small % by != 0 ? 1 : 0);
    }
    return n / d + (n % d != 0 ? 1 : 0);
}

/// floor(n / d) for n >= 0 and d > 0.
constexpr int128 floor_div(int128 n, std::int64_t d) noexcept {
    if (static_cast<uint128>(n) >> 64 == 0) {
        return static_cast<std::uint64_t>(n) / static_cast<std::uint64_t>(d);
    }
    return n / d;
}

/// Nanoseconds as a duration, held at the ends of its range.
constexpr duration to_duration(int128 ns) noexcept {
    constexpr auto top = std::numeric_limits<std::int64_t>::max();
    constexpr auto bottom = std::numeric_limits<std::int64_t>::min();
    return duration{ns > top ? top : ns < bottom ? bottom : static_cast<std::int64_t>(ns)};
}

}  // namespace headgate::detail

#endif
