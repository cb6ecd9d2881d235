// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "commit_watch.hpp"
#include "exchange.hpp"
#include "request_reader.hpp"
#include "response_reader.hpp"

using namespace db_proxy;
using namespace std::string_literals;

namespace {

/// Plays a script of message types. Those behind '>' come from the client, those behind '<' from the server. The
/// status follows a ReadyForQuery, as in "<ZI".
exchange play(std::string_view script) {
    exchange e;
    bool client = true;
    for (std::size_t i = 0; i < script.size(); ++i) {
        const char c = script[i];
        if (c == '>' || c == '<') {
            client = c == '>';
        } else if (c == ' ') {
            continue;
        } else if (client) {
            e.request(c);
        } else if (c == 'Z') {
            e.response('Z', script[++i]);
        } else {
            e.response(c);
        }
    }
    return e;
}

std::string request(char type, const std::string& payload) {
    std::string out;
    append_message(out, type, {payload});
    return out;
}

}  // namespace

TEST_CASE("what may end a transaction") {
    for (const char* sql : {"COMMIT", "  end;", "Prepare transaction 'x'", "/* app */ COMMIT", "-- x\nSELECT 1",
                            "INSERT INTO t VALUES (1); COMMIT", "select ';'"}) {
        CAPTURE(sql);
        CHECK(may_end_transaction(sql, true));
    }
    for (const char* sql : {"", "SELECT 1", "INSERT INTO t VALUES (1);", "insert into t values (1) ; \n", "ROLLBACK"}) {
        CAPTURE(sql);
        CHECK_FALSE(may_end_transaction(sql, true));
    }
    CHECK(may_end_transaction("SELECT 1", false));
}

TEST_CASE("a Flush has its answer when everything before it is answered") {
    exchange e;
    for (const char type : {'P', 'B', 'E', 'H'}) {
        e.request(type);
    }
    CHECK_FALSE(e.server_waits());
    e.response('1');
    e.response('2');
    CHECK_FALSE(e.server_waits());
    e.response('C');
    CHECK(e.server_waits());
    CHECK_FALSE(e.settled());
    CHECK(e.completed() == 1);
    e.request('S');
    e.request('H');  // behind a Sync there is nothing to flush
    e.response('Z', 'I');
    CHECK(e.idle());
}

TEST_CASE("a server can be lent again when no answer is missing and no transaction is open") {
    CHECK(play("").idle());
    CHECK_FALSE(play(">Q").idle());
    CHECK(play(">Q <TDC ZI").idle());
    CHECK_FALSE(play(">Q <C ZT").idle());
    CHECK(play(">Q <C ZT").settled());
    CHECK_FALSE(play(">Q <E ZE").idle());
    CHECK(play(">Q <C ZT >Q <C ZI").idle());
    CHECK(play(">PBDES <12TDC ZI").idle());
    CHECK_FALSE(play(">PBDE <12TDC").idle());
    CHECK_FALSE(play(">PBDEH <12TDC").idle());
    CHECK(play(">F <V ZI").idle());
}

TEST_CASE("pipelines: each Query and Sync has its answer") {
    CHECK_FALSE(play(">QQ <CZI").idle());
    CHECK(play(">QQ <CZI CZI").idle());
    CHECK_FALSE(play(">PBES PBES <12CZI").idle());
    CHECK(play(">PBES PBES <12CZI 12CZI").idle());
    CHECK_FALSE(play(">PBES P <12CZI").idle());
}

TEST_CASE("an error in the extended protocol skips to Sync") {
    CHECK(play(">PBES <E ZI").idle());
    // Messages behind the error and before its Sync have no answer, not even a Query.
    CHECK(play(">P <E >BEQ S <ZI").idle());
    CHECK_FALSE(play(">P <E >BEQ").settled());
    CHECK_FALSE(play(">P <E >BE").at_start());
    CHECK(play(">PBES PBES <E ZI 12CZI").idle());
}

TEST_CASE("a Query behind messages without a Sync") {
    const exchange e = play(">PB Q <E ZI");
    CHECK(e.idle());
    CHECK(e.doubtful());
    CHECK(play(">PB Q <12CZI").idle());
    CHECK_FALSE(play(">PB Q <12CZI").doubtful());
}

TEST_CASE("COPY in, with a simple query") {
    CHECK_FALSE(play(">Q <G").settled());
    CHECK_FALSE(play(">Q <G >ddd").settled());
    CHECK(play(">Q <G >dddc <C ZI").idle());
    CHECK(play(">Q <G >df <E ZI").idle());
    // The COPY fails in the middle, and the client learns it later.
    const exchange failed = play(">Q <G >dd <E ZI >dd c");
    CHECK(failed.idle());
    CHECK_FALSE(failed.doubtful());
}

TEST_CASE("COPY in, with the extended protocol: the server throws a Sync inside of it away") {
    // libpq sends a Sync with the Execute, and another at the end.
    CHECK_FALSE(play(">PBES <12G >d c S").settled());
    CHECK(play(">PBES <12G >d c S <C ZI").idle());
    CHECK_FALSE(play(">PBES <12G >d c S <C ZI").doubtful());
    // Another driver sends no Sync before the end.
    CHECK(play(">PBEH <12G >d c S <C ZI").idle());
    // A client sends everything at once, before the server has begun its COPY.
    CHECK(play(">PBES d d c S <12G C ZI").idle());
    CHECK_FALSE(play(">PBES d d c S PBES <12G C ZI").idle());
    CHECK(play(">PBES d d c S PBES <12G C ZI 12C ZI").idle());
    // The statement fails before its COPY begins.
    CHECK_FALSE(play(">PBES d c S <E ZI").idle());
    CHECK(play(">PBES d c S <E ZI ZI").idle());
}

TEST_CASE("a COPY that fails after a Sync was sent leaves a doubt: the server may have thrown the Sync away") {
    CHECK(play(">PBES <12G >d <E ZI").doubtful());
    CHECK(play(">PBES <12G >d <E >S <ZI").idle());
    CHECK(play(">PBES <12G >d <E >S <ZI").doubtful());
    CHECK_FALSE(play(">PBE <12G >d <E >S <ZI").doubtful());
}

TEST_CASE("where a transaction may begin") {
    CHECK(play("").at_start());
    CHECK(play(">Q").at_start());
    CHECK(play(">PBES").at_start());
    CHECK_FALSE(play(">P").at_start());
    CHECK_FALSE(play(">PBES P").at_start());
}

TEST_CASE("looking at a request takes nothing off") {
    request_head head;
    CHECK(look_at_request("", head) == framing::incomplete);
    CHECK(look_at_request("Q\0\0"s, head) == framing::incomplete);
    CHECK(look_at_request(request('Q', "select 1\0"s), head) == framing::whole);
    CHECK(head.type == 'Q');
    CHECK(head.payload == 9);
    CHECK(look_at_request("Q\0\0\0\3"s, head) == framing::malformed);
    CHECK(look_at_request("Q\x80\0\0\0"s, head) == framing::malformed);
    const std::string named = request('P', "s\0select 1\0\0\0"s);
    CHECK(look_at_request(named, head) == framing::whole);
    CHECK(head.named);
    CHECK(look_at_request(named.substr(0, 5), head) == framing::incomplete);
    CHECK(look_at_request(request('P', "\0select 1\0\0\0"s), head) == framing::whole);
    CHECK_FALSE(head.named);
}

TEST_CASE("the cost of a transaction's first segment") {
    const std::string parse = request('P', "\0select 1\0\0\0"s);
    const std::string describe = request('D', "S\0"s);
    const std::string execute = request('E', "\0\0\0\0\0"s);
    const std::string sync = request('S', "");
    CHECK(classify_segment(request('Q', "\0"s)) == segment_kind::charged);
    CHECK(classify_segment(request('F', "\0"s)) == segment_kind::charged);
    CHECK(classify_segment(parse + execute) == segment_kind::charged);
    CHECK(classify_segment(parse + describe + sync) == segment_kind::free);
    CHECK(classify_segment(parse + describe + sync + execute) == segment_kind::free);
    CHECK(classify_segment(parse + request('H', "")) == segment_kind::charged);
    CHECK(classify_segment(parse) == segment_kind::incomplete);
    CHECK(classify_segment(parse.substr(0, 9)) == segment_kind::incomplete);
    CHECK(classify_segment("") == segment_kind::incomplete);
    // A Query counts as soon as its header is there, however long it is.
    CHECK(classify_segment("Q\0\xff\0\0"s) == segment_kind::charged);
}

TEST_CASE("command tags whose effect outlives a transaction") {
    for (const std::string& tag : {"SET"s, "LISTEN"s, "PREPARE"s, "DECLARE CURSOR"s}) {
        CHECK(leaves_session_state(tag + '\0'));
    }
    for (const std::string& tag : {"SELECT 1"s, "RESET"s, "SETTLE"s, "INSERT 0 1"s, "PREPARE_X"s, ""s}) {
        CHECK_FALSE(leaves_session_state(tag + '\0'));
    }
}

TEST_CASE("property: a server's messages are the same across any cut of their bytes") {
    std::mt19937 random(20261126);
    for (int round = 0; round < 300; ++round) {
        std::string bytes;
        std::vector<std::pair<char, std::string>> sent;
        const std::string types = "ZSCEDTN123";
        for (int i = 0; i < 12; ++i) {
            const char type = types[random() % types.size()];
            const std::string payload(random() % (random() % 4 == 0 ? 3'000 : 20), static_cast<char>('a' + i));
            append_message(bytes, type, {payload});
            const bool shown = std::string("ZSCE").find(type) != std::string::npos;
            sent.emplace_back(type, shown ? payload.substr(0, response_reader::max_shown) : "");
        }
        response_reader reader;
        std::vector<std::pair<char, std::string>> got;
        for (std::string_view rest = bytes; !rest.empty();) {
            const std::size_t n = std::min<std::size_t>(1 + random() % (round % 3 == 0 ? 3 : 900), rest.size());
            REQUIRE(reader.feed(rest.substr(0, n),
                                [&](char type, std::string_view shown) { got.emplace_back(type, shown); }));
            rest.remove_prefix(n);
        }
        CAPTURE(round);
        CHECK(reader.between_messages());
        CHECK(got == sent);
    }
}

TEST_CASE("a server that does not speak the protocol is noticed") {
    response_reader reader;
    CHECK_FALSE(reader.feed("Z\0\0\0\3"s, [](char, std::string_view) {}));
    response_reader cut;
    CHECK(cut.feed("Z\0\0"s, [](char, std::string_view) {}));
    CHECK_FALSE(cut.between_messages());
    CHECK_FALSE(cut.feed("\0\1"s, [](char, std::string_view) {}));
}
