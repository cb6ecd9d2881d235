// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/address_key.hpp>
#include <headgate/impl/whole_key.hpp>

#include <doctest/doctest.h>

#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include <random>
#include <string>

namespace headgate {
namespace {

namespace ip = boost::asio::ip;
using ip::make_address;

const detail::hash_seed seed{3};

bool same(const key& a, const key& b) {
    const bool whole = detail::whole_key(a, seed) == detail::whole_key(b, seed);
    CHECK((a.hash(seed) == b.hash(seed)) == whole);
    return whole;
}

TEST_CASE("address_key: clients of one network have one key") {
    CHECK(same(address_key(make_address("192.0.2.1")), address_key(make_address("192.0.2.1"))));
    CHECK_FALSE(same(address_key(make_address("192.0.2.1")), address_key(make_address("192.0.2.2"))));
    CHECK(same(address_key(make_address("192.0.2.1"), 24), address_key(make_address("192.0.2.2"), 24)));
    CHECK(same(address_key(make_address("2001:db8::1")), address_key(make_address("2001:db8::ffff:1"))));
    CHECK_FALSE(
        same(address_key(make_address("2001:db8::1"), 32, 128), address_key(make_address("2001:db8::2"), 32, 128)));
    CHECK_FALSE(same(address_key(make_address("2001:db8::1")), address_key(make_address("2001:db8:0:1::1"))));
    CHECK(same(address_key(make_address("::ffff:192.0.2.1")), address_key(make_address("192.0.2.1"))));
    CHECK(same(address_key(make_address("fe80::1%1")), address_key(make_address("fe80::1%2"))));
    // Networks of different lengths are different, and so are the two protocols.
    CHECK_FALSE(same(address_key(make_address("192.0.2.0"), 24), address_key(make_address("192.0.2.0"), 25)));
    CHECK_FALSE(same(address_key(make_address("0.0.0.0"), 0), address_key(make_address("::"), 32, 0)));
    CHECK_FALSE(same(address_key(make_address("0.0.0.7")), address_key(make_address("::7"), 32, 128)));
    CHECK_FALSE(same(address_key(make_address("0.0.0.7")), key(7)));
}

TEST_CASE("address_key: people read the network") {
    CHECK(address_key(make_address("192.0.2.1")).text() == "192.0.2.1");
    CHECK(address_key(make_address("::ffff:192.0.2.1"), 24).text() == "192.0.2.0/24");
    CHECK(address_key(make_address("2001:db8::1")).text() == "2001:db8::/64");
    CHECK(address_key(make_address("2001:db8::1"), 32, 128).text() == "2001:db8::1");
    CHECK(address_key(make_address("1.2.3.4"), 0).text() == "0.0.0.0/0");
    CHECK(address_key(make_address("1.2.3.4"), 1'000).text() == "1.2.3.4");
    CHECK(address_key(make_address("::1"), 32, 1'000).text() == "::1");
    const std::string longest = "1111:2222:3333:4444:5555:6666:7777:8888";
    CHECK(address_key(make_address(longest), 32, 127).text() == longest + "/127");
    CHECK(address_key(make_address(longest), 32, 127).label().view() == longest + "/127");
}

TEST_CASE("address_key: every length gives the network that Asio gives") {
    std::mt19937_64 random(5);
    for (int turn = 0; turn < 200; ++turn) {
        ip::address_v6::bytes_type bytes;
        for (auto& b : bytes) {
            b = static_cast<unsigned char>(random());
        }
        const ip::address_v6 six(bytes);
        for (unsigned short bits = 0; bits <= 128; ++bits) {
            const auto network = ip::network_v6(six, bits).canonical().address().to_string();
            REQUIRE(address_key(six, 32, bits).text() == network + (bits == 128 ? "" : "/" + std::to_string(bits)));
        }
        const ip::address_v4 four(static_cast<std::uint32_t>(random()));
        for (unsigned short bits = 0; bits <= 32; ++bits) {
            const auto network = ip::network_v4(four, bits).canonical().address().to_string();
            REQUIRE(address_key(four, bits).text() == network + (bits == 32 ? "" : "/" + std::to_string(bits)));
        }
    }
}

}  // namespace
}  // namespace headgate
