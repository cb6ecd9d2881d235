// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_ADDRESS_KEY_HPP
#define HEADGATE_ADDRESS_KEY_HPP

#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <cstdint>

#include <headgate/key.hpp>

namespace headgate {

/// The key of a client by its network: the first `v4_bits` of an address of IPv4, the first `v6_bits` of one of IPv6. A
/// user of IPv6 has a /64 at least, and could use another address for each request. IPv4 addresses mapped into IPv6
/// (`::ffff:192.0.2.1`), as a server that listens on both gets them, are addresses of IPv4. An address's scope is not a
/// part of it.
///
/// Makes no text: that comes only where somebody reads the key, as "192.0.2.1" or "2001:db8::/64". More bits than an
/// address has are all of its bits. Thread-safe.
///
/// ```cpp
/// // example: address_key
/// #include <headgate/headgate.hpp>
/// #include <cassert>
///
///
/// int main() {
///     using boost::asio::ip::make_address;
///     using headgate::address_key;
///     boost::asio::io_context io;
///     headgate::zone zone(io, "web");
///     auto limiter = headgate::rate_limiter::create(
///         zone, "requests", headgate::quota::per(1, std::chrono::minutes{1}).value()).value();
///     assert(limiter.try_acquire(address_key(make_address("2001:db8::1"))));
///     assert(!limiter.try_acquire(address_key(make_address("2001:db8::2"))));  // the same /64
///     assert(limiter.try_acquire(address_key(make_address("192.0.2.1"))));
///     assert(!limiter.try_acquire(address_key(make_address("::ffff:192.0.2.1"))));
///     assert(address_key(make_address("192.0.2.77"), 24).text() == "192.0.2.0/24");
/// }
/// ```
[[nodiscard]] inline key address_key(const boost::asio::ip::address& address, unsigned v4_bits = 32,
                                     unsigned v6_bits = 64) noexcept {
    const auto prefix = [](std::uint64_t word, unsigned bits) {
        return bits == 0 ? 0 : bits >= 64 ? word : word & ~std::uint64_t{0} << (64 - bits);
    };
    const auto of_v4 = [&](std::uint64_t word) {
        const unsigned bits = std::min(v4_bits, 32U);
        return key::of_network(0, prefix(word << 32, bits) >> 32, bits, true);
    };
    if (address.is_v4()) {
        return of_v4(address.to_v4().to_uint());
    }
    const auto bytes = address.to_v6().to_bytes();
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    for (std::size_t i = 0; i < 8; ++i) {
        high = high << 8 | bytes[i];
        low = low << 8 | bytes[i + 8];
    }
    if (high == 0 && low >> 32 == 0xffff) {
        return of_v4(low & 0xffff'ffff);
    }
    const unsigned bits = std::min(v6_bits, 128U);
    return key::of_network(prefix(high, bits), prefix(low, bits <= 64 ? 0 : bits - 64), bits, false);
}

}  // namespace headgate

#endif
