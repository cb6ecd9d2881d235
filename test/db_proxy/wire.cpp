// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "startup.hpp"
#include "wire.hpp"

using namespace db_proxy;
using namespace std::string_literals;

namespace {

std::string packet(const std::string& body) {
    std::string out;
    append_uint32(out, static_cast<std::uint32_t>(body.size() + 4));
    return out + body;
}

std::string code(std::uint32_t value) {
    std::string out;
    append_uint32(out, value);
    return out;
}

const std::string version_3_0 = code(3U << 16U);

first_packet take(std::string bytes) {
    std::string_view input = bytes;
    return take_first_packet(input);
}

start_parameters start(const parameters& values, const parameter_policies& policies = {}) {
    return read_parameters(values, policies);
}

}  // namespace

TEST_CASE("only a whole message is taken") {
    std::string bytes;
    append_query(bytes, "select 1");
    append_ready(bytes, 'T');
    CHECK(bytes == "Q\0\0\0\x0dselect 1\0Z\0\0\0\x05T"s);
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
        std::string_view input = std::string_view(bytes).substr(0, cut);
        message one{};
        const framing first = take_message(input, 100, one);
        CHECK(first == (cut < 14 ? framing::incomplete : framing::whole));
        if (first == framing::whole) {
            CHECK(one.type == 'Q');
            CHECK(one.payload == "select 1\0"s);
            CHECK(take_message(input, 100, one) == framing::incomplete);
        }
    }
}

TEST_CASE("lengths below four and over the limit are malformed") {
    for (const std::string& length : {code(0), code(3), code(0x80000000), code(0xFFFFFFFF), code(105)}) {
        const std::string bytes = 'Q' + length + std::string(200, 'x');
        std::string_view input = bytes;
        message one{};
        CHECK(take_message(input, 100, one) == framing::malformed);
    }
}

TEST_CASE("an error's fields are read back") {
    std::string bytes;
    append_error(bytes, {"ERROR", "53400", "used up", "retry later"});
    std::string_view input = bytes;
    message one{};
    REQUIRE(take_message(input, 1000, one) == framing::whole);
    const report what = read_report(one.payload);
    CHECK(what.severity == "ERROR");
    CHECK(what.code == "53400");
    CHECK(what.text == "used up");
    CHECK(what.hint == "retry later");
    // An error that ends too early gives the fields before its end.
    CHECK(read_report("SERROR\0C57P0").code.empty());
    CHECK(read_report({}).code.empty());
}

TEST_CASE("a table as a simple query answers it") {
    std::string bytes;
    append_table(bytes, {"a", "b"}, {{"1", ""}, {"", "2"}});
    std::string_view input = bytes;
    std::string types;
    message one{};
    while (take_message(input, 1000, one) == framing::whole) {
        types += one.type;
    }
    CHECK(types == "TDDC");
    CHECK(input.empty());
}

TEST_CASE("first packets: encryption, cancel, start") {
    CHECK(take(packet(code(80877103))).what == first_packet::kind::encryption);
    CHECK(take(packet(code(80877104))).what == first_packet::kind::encryption);
    const first_packet cancel = take(cancel_request({7, 0xFFFFFFFE}));
    CHECK(cancel.what == first_packet::kind::cancel);
    CHECK(cancel.key == cancel_key{7, 0xFFFFFFFE});
    const first_packet plain = take(packet(version_3_0 + "user\0ann\0database\0app\0\0"s));
    CHECK(plain.what == first_packet::kind::start);
    CHECK(plain.minor == 0);
    CHECK(plain.values == parameters{{"user", "ann"}, {"database", "app"}});
}

TEST_CASE("a first packet in pieces is incomplete until its last byte") {
    const std::string bytes = packet(version_3_0 + "user\0ann\0\0"s);
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
        CHECK(take(bytes.substr(0, cut)).what == first_packet::kind::incomplete);
    }
    CHECK(take(bytes).what == first_packet::kind::start);
}

TEST_CASE("malformed first packets") {
    CHECK(take(code(7) + version_3_0).what == first_packet::kind::malformed);
    CHECK(take(code(10'001) + version_3_0).what == first_packet::kind::malformed);
    CHECK(take(code(0) + version_3_0).what == first_packet::kind::malformed);
    CHECK(take("GET / HTTP/1.1\r\n\r\n").what == first_packet::kind::malformed);
    CHECK(take(packet(code(2U << 16U))).what == first_packet::kind::malformed);
    CHECK(take(packet(code(80877102) + "short")).what == first_packet::kind::malformed);
    CHECK(take(packet(code(80877103) + "more")).what == first_packet::kind::malformed);
    CHECK(take(packet(version_3_0)).what == first_packet::kind::malformed);
    CHECK(take(packet(version_3_0 + "user\0ann\0"s)).what == first_packet::kind::malformed);
    CHECK(take(packet(version_3_0 + "user\0ann"s)).what == first_packet::kind::malformed);
    CHECK(take(packet(version_3_0 + "user\0ann\0\0x"s)).what == first_packet::kind::malformed);
    CHECK(take(packet(version_3_0 + "user\0ann\0user\0bob\0\0"s)).what == first_packet::kind::malformed);
}

TEST_CASE("protocol 3.2 and its options are negotiated down") {
    const first_packet newer = take(packet(code((3U << 16U) | 2U) + "user\0ann\0_pq_.x\0y\0\0"s));
    CHECK(newer.what == first_packet::kind::start);
    CHECK(newer.minor == 2);
    CHECK(newer.values == parameters{{"user", "ann"}});
    CHECK(newer.unknown_options == std::vector<std::string>{"_pq_.x"});
    std::string answer;
    append_negotiation(answer, newer.unknown_options);
    CHECK(answer == "v\0\0\0\x13\0\3\0\0\0\0\0\1_pq_.x\0"s);
}

TEST_CASE("start parameters") {
    const start_parameters tracked =
        start({{"user", "ann"}, {"datestyle", "ISO"}, {"application_name", "psql"}, {"extra_float_digits", "2"}});
    CHECK(tracked.problem.empty());
    CHECK(tracked.tracked[tracked_index("DateStyle")] == "ISO");
    CHECK(tracked.tracked[tracked_index("APPLICATION_NAME")] == "psql");
    CHECK(start({{"user", "ann"}, {"search_path", "x"}}).problem == "unsupported startup parameter \"search_path\"");
    CHECK(start({{"user", "ann"}, {"geqo", "off"}}).problem == "unsupported startup parameter \"geqo\"");
    CHECK(start({{"user", "ann"}, {"replication", "false"}}).problem.empty());
    CHECK(start({{"user", "ann"}, {"replication", "database"}}).code == "0A000");
    parameter_policies lax{parameter_policy::reject, parameter_policy::ignore, parameter_policy::ignore,
                           parameter_policy::ignore};
    CHECK(start({{"user", "ann"}, {"search_path", "x"}, {"geqo", "off"}, {"options", "-z"}}, lax).problem.empty());
    CHECK_FALSE(start({{"user", "ann"}, {"extra_float_digits", "2"}}, lax).problem.empty());
}

TEST_CASE("options are read as the server reads them") {
    const auto options = [](const std::string& text) { return start({{"user", "ann"}, {"options", text}}); };
    CHECK(options("-c DateStyle=ISO").tracked[tracked_index("DateStyle")] == "ISO");
    CHECK(options("  -cTimeZone=UTC ").tracked[tracked_index("TimeZone")] == "UTC");
    CHECK(options("--application-name=a\\ b").tracked[tracked_index("application_name")] == "a b");
    CHECK(options("-c extra_float_digits=3").problem.empty());
    CHECK(options("-c geqo=off").problem == "unsupported startup parameter \"geqo\"");
    CHECK(options("-B 7").problem.find("\"-B\"") != std::string::npos);
    CHECK(options("-c nothing").problem.find("not name=value") != std::string::npos);
    CHECK(options("-c").problem.find("not name=value") != std::string::npos);
}
