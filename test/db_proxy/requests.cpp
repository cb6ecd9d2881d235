// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "commit_watch.hpp"
#include "request_reader.hpp"

using namespace db_proxy;
using namespace std::string_literals;

namespace {

std::string request(char type, const std::string& payload = {}) {
    std::string out;
    append_message(out, type, {payload});
    return out;
}

std::string parse(const std::string& sql, const std::string& name = {}) {
    return request('P', name + '\0' + sql + "\0\0\0"s);
}

/// A reader, the judge's answers in turn (forward when there are no more), and what came out.
struct client {
    request_reader reader;
    std::vector<ruling> rulings;
    std::string judged;             // the types of the messages
    std::vector<std::string> runs;  // what was forwarded, call by call
    std::size_t behind = 0;         // how many bytes the judge saw, the last time

    request_reader::progress feed(std::string_view data) {
        return reader.feed(
            data,
            [this](std::string_view bytes, const request_head& head) {
                judged += head.type;
                behind = bytes.size();
                if (rulings.empty()) {
                    return ruling{fate::forward};
                }
                const ruling next = rulings.front();
                rulings.erase(rulings.begin());
                return next;
            },
            [this](std::string_view bytes) { runs.emplace_back(bytes); });
    }

    [[nodiscard]] std::string forwarded() const {
        std::string out;
        for (const std::string& run : runs) {
            out += run;
        }
        return out;
    }
};

/// What a watch says after these messages, each with the status of the transaction before it.
bool may_have_committed(const std::string& bytes, char status) {
    commit_watch watch;
    for (std::string_view rest = bytes; !rest.empty();) {
        request_head head;
        REQUIRE(look_at_request(rest, head) == framing::whole);
        watch.request(head, rest.substr(header_size, head.payload), status);
        rest.remove_prefix(std::min(rest.size(), header_size + head.payload));
    }
    return watch.may_have_committed();
}

}  // namespace

TEST_CASE("neighbouring messages are forwarded together") {
    client s;
    const std::string segment = parse("select 1") + request('B', "\0\0"s) + request('E') + request('S');
    CHECK(s.feed(segment) == request_reader::progress::all);
    CHECK(s.judged == "PBES");
    CHECK(s.runs == std::vector<std::string>{segment});
    CHECK_FALSE(s.reader.is_inside_message());
}

TEST_CASE("a dropped message splits the run, and its replacement goes out in its turn") {
    client s;
    s.rulings = {{fate::forward}, {fate::drop, "instead"}, {fate::drop}, {fate::forward}};
    const std::string first = request('Q', "one\0"s);
    const std::string last = request('S');
    CHECK(s.feed(first + parse("two", "named") + request('E') + last) == request_reader::progress::all);
    CHECK(s.runs == std::vector<std::string>{first, "instead", last});
}

TEST_CASE("a held message is judged again with everything behind it") {
    client s;
    s.rulings = {{fate::forward}, {fate::hold}, {fate::hold}};
    const std::string first = request('S');
    const std::string held = parse("select 1");
    CHECK(s.feed(first + held) == request_reader::progress::all);
    CHECK(s.reader.held() == held.size());
    CHECK(s.forwarded() == first);
    CHECK(s.feed(request('S')) == request_reader::progress::all);
    CHECK(s.behind == held.size() + header_size);
    CHECK(s.forwarded() == first);
    CHECK(s.feed({}) == request_reader::progress::all);
    CHECK(s.judged == "SPPPS");
    CHECK(s.reader.held() == 0);
    CHECK(s.forwarded() == first + held + request('S'));
}

TEST_CASE("the rest of a message shares the fate of its beginning") {
    client s;
    s.rulings = {{fate::forward}, {fate::drop}};
    const std::string query = request('Q', std::string(100, 'x'));
    CHECK(s.feed(query.substr(0, 20)) == request_reader::progress::all);
    CHECK(s.reader.is_inside_forwarded());
    CHECK(s.feed(query.substr(20) + query.substr(0, 20)) == request_reader::progress::all);
    CHECK(s.reader.is_inside_message());
    CHECK_FALSE(s.reader.is_inside_forwarded());
    CHECK(s.feed(query.substr(20)) == request_reader::progress::all);
    CHECK_FALSE(s.reader.is_inside_message());
    CHECK(s.forwarded() == query);
    CHECK(s.judged == "QQ");
}

TEST_CASE("messages before the end of a session are forwarded first") {
    const std::string query = request('Q', "x\0"s);
    for (const auto& [last, progress] : {std::pair(request('X'), request_reader::progress::terminated),
                                         std::pair(request('p'), request_reader::progress::malformed),
                                         std::pair("Q\0\0\0\3"s, request_reader::progress::malformed)}) {
        client s;
        CHECK(s.feed(query + last) == progress);
        CHECK(s.judged == "Q");
        CHECK(s.forwarded() == query);
    }
    client stopped;
    stopped.rulings = {{fate::stop}};
    CHECK(stopped.feed(query + query) == request_reader::progress::stopped);
    CHECK(stopped.judged == "Q");
    CHECK(stopped.forwarded().empty());
}

TEST_CASE("property: a client's messages meet the same fate across any cut of their bytes") {
    std::mt19937 random(20261127);
    for (int round = 0; round < 300; ++round) {
        std::string bytes;
        std::string types;
        std::string expected;
        std::vector<ruling> rulings;
        for (int i = 0; i < 12; ++i) {
            types += "QPBDECSHFdcf"[random() % 12];
            const std::string payload(random() % (random() % 4 == 0 ? 3'000 : 20), static_cast<char>('a' + i));
            const std::string message = request(types.back(), payload);
            const fate what = random() % 3 == 0 ? fate::drop : fate::forward;
            rulings.push_back({what, what == fate::drop && random() % 2 == 0 ? "another" : ""});
            bytes += message;
            expected += what == fate::forward ? message : std::string(rulings.back().instead);
        }
        client s;
        s.rulings = rulings;
        for (std::string_view rest = bytes; !rest.empty();) {
            const std::size_t n = std::min<std::size_t>(1 + random() % (round % 3 == 0 ? 3 : 900), rest.size());
            REQUIRE(s.feed(rest.substr(0, n)) == request_reader::progress::all);
            rest.remove_prefix(n);
        }
        CAPTURE(round);
        CHECK(s.judged == types);
        CHECK(s.forwarded() == expected);
        CHECK(s.reader.held() == 0);
        CHECK_FALSE(s.reader.is_inside_message());
    }
}

TEST_CASE("which unanswered requests may have committed something") {
    const std::string bind = request('B', "\0\0"s);
    const std::string bind_named = request('B', "\0done\0"s);
    const std::string execute = request('E', "\0"s);
    // Outside of a transaction each statement commits by itself. Parse alone does nothing.
    CHECK(may_have_committed(request('Q', "select 1\0"s), 'I'));
    CHECK(may_have_committed(parse("select 1") + bind + execute, 'I'));
    CHECK_FALSE(may_have_committed(parse("select 1") + bind, 'I'));
    CHECK_FALSE(may_have_committed(request('S'), 'I'));
    // Inside, only what may end the transaction.
    CHECK_FALSE(may_have_committed(request('Q', "select 1\0"s), 'T'));
    CHECK(may_have_committed(request('Q', "commit\0"s), 'T'));
    CHECK_FALSE(may_have_committed(parse("select 1") + bind + execute, 'T'));
    CHECK(may_have_committed(parse("commit"), 'T'));
    // A statement that was parsed before may be anything.
    CHECK(may_have_committed(bind, 'T'));
    CHECK(may_have_committed(parse("select 1") + bind_named, 'T'));
    CHECK(may_have_committed(execute, 'T'));
    CHECK(may_have_committed(request('F'), 'T'));
    // A Query of which the end has not come yet.
    CHECK(may_have_committed("Q\0\0\1\0select"s, 'T'));
}

TEST_CASE("an answered request leaves no doubt") {
    commit_watch watch;
    watch.request({'Q', 7}, "commit\0"s, 'T');
    CHECK(watch.may_have_committed());
    watch.settled();
    CHECK_FALSE(watch.may_have_committed());
    // The text of a statement is forgotten with its answer.
    watch.request({'P', 12}, "\0select 1\0\0\0"s, 'T');
    watch.settled();
    watch.request({'B', 2}, "\0\0"s, 'T');
    CHECK(watch.may_have_committed());
}
