// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "client.hpp"
#include "json_text.hpp"
#include "problem.hpp"
#include "settings.hpp"
#include "store.hpp"
#include "target.hpp"
#include "users.hpp"

using namespace config_service;

namespace {

record at(std::string path, std::int64_t version, std::string value = "1") {
    return {std::move(path), version, std::move(value), "ann", 0};
}

record never(std::string path) {
    return {std::move(path), 0, {}, {}, 0};
}

}  // namespace

TEST_CASE("store: a path is looked up once, and its versions go on") {
    store s(10);
    CHECK(s.find("a") == nullptr);
    CHECK(s.learn(at("a", 7), s.forgotten()));
    CHECK(s.find("a")->version == 7);
    CHECK(s.is_durable("a"));
    CHECK(s.write("a", "2", "bob", 5).version == 8);
    CHECK_FALSE(s.is_durable("a"));
    CHECK(s.learn(at("a", 7), s.forgotten()));  // a late answer of the database changes nothing
    CHECK(s.find("a")->version == 8);
    CHECK(s.unsaved(10).size() == 1);
    CHECK(s.saved() == 0);
    s.mark_saved(1);
    CHECK(s.saved() == s.written());
    CHECK(s.is_durable("a"));
}

TEST_CASE("store: what the database said before something was forgotten is not learnt") {
    store s(1);
    const auto before = s.forgotten();
    CHECK(s.learn(never("a"), before));
    s.write("a", "1", "ann", 0);
    s.mark_saved(1);
    CHECK(s.learn(never("b"), s.forgotten()));  // the store forgets a
    CHECK(s.find("a") == nullptr);
    CHECK_FALSE(s.learn(never("a"), before));  // this look-up began before the write
    CHECK(s.learn(at("a", 1), s.forgotten()));
}

TEST_CASE("store: what is not in the database is never forgotten, and the path used last neither") {
    store s(2);
    for (const char* path : {"a", "b", "c", "d"}) {
        s.learn(never(path), s.forgotten());
        s.write(path, "1", "ann", 0);
    }
    for (const char* path : {"a", "b", "c", "d"}) {
        CHECK(s.find(path) != nullptr);
    }
    CHECK(s.learn(never("e"), s.forgotten()));
    CHECK(s.find("e") != nullptr);
    s.mark_saved(4);
    CHECK(s.find("e") != nullptr);
    CHECK(s.find("a") == nullptr);
}

TEST_CASE("store: history and pages are the database's with what it has not yet") {
    store s(10);
    s.learn(at("p/a", 2, "old"), s.forgotten());
    s.learn(never("p/c"), s.forgotten());
    s.write("p/a", "new", "ann", 0);
    s.write("p/c", "c", "ann", 0);
    const auto versions = s.merge_history("p/a", {at("p/a", 2, "old"), at("p/a", 1, "older")});
    REQUIRE(versions.size() == 3);
    CHECK(versions[0].value == "new");
    CHECK(versions[2].version == 1);

    const page all = s.merge_page("p/", "", {at("p/a", 2, "old"), at("p/b", 1)}, 10);
    REQUIRE(all.records.size() == 3);
    CHECK(all.records[0].value == "new");
    CHECK(all.next.empty());
    const page full = s.merge_page("p/", "", {at("p/a", 2, "old"), at("p/b", 1)}, 2);
    CHECK(full.records.size() == 2);  // p/c comes after the page of the database
    CHECK(full.next == "p/b");
    CHECK(s.merge_page("p/", "p/b", {}, 2).records.front().path == "p/c");
    s.write("p/a", std::nullopt, "ann", 0);
    CHECK(s.merge_page("p/", "", {at("p/a", 2, "old")}, 10).records.front().path == "p/c");
}

TEST_CASE("store: random writes, savings and look-ups against a plain database") {
    const auto seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937 random(seed);
    store s(5);
    std::map<std::string, record> database, truth;
    for (int step = 0; step < 100'000; ++step) {
        std::string path = "p";
        path += std::to_string(random() % 20);
        switch (random() % 4) {
            case 0: {
                if (s.find(path) == nullptr) {
                    const auto found = database.find(path);
                    REQUIRE(s.learn(found == database.end() ? never(path) : found->second, s.forgotten()));
                }
                truth[path] = s.write(path, std::to_string(step), "ann", step);
                break;
            }
            case 1: {
                const auto some = s.unsaved(random() % 5);
                for (const record& r : some) {
                    REQUIRE(database[r.path].version == r.version - 1);
                    database[r.path] = r;
                }
                s.mark_saved(some.size());
                break;
            }
            default: {
                const record* r = s.find(path);
                const auto there = r != nullptr ? truth.find(path) : database.find(path);
                const auto right = truth.find(path);
                if (r != nullptr && r->version > 0) {
                    REQUIRE(r->version == right->second.version);
                } else if (r == nullptr && right != truth.end()) {
                    REQUIRE(there != database.end());  // the store forgot it, so the database has it
                    REQUIRE(there->second.version == right->second.version);
                }
            }
        }
        REQUIRE(s.saved() + s.unsaved_count() == s.written());
    }
}

TEST_CASE("json: the text is checked, and no value is built of it") {
    for (const char* right :
         {"1", "null", "[]", R"({"a": [1, {"b": null}]})", " 1 ", "12345678901234567890123", "\"\xC3\xA9\"", "1e999",
          "-1e999", "1e-999", "-0.5E+10", "[true,false , {}]", R"("\ud83d\ude00\u0000\/\b")", "{\"\":1,\"\":2}"}) {
        CAPTURE(right);
        CHECK_FALSE(check_json(right));
    }
    const std::string deepest = std::string(100, '[') + std::string(100, ']');
    CHECK_FALSE(check_json(deepest));
    for (const std::string& wrong : {std::string(),
                                     std::string("{"),
                                     std::string("1 2"),
                                     std::string("\"\xFF\""),
                                     std::string("1e"),
                                     '[' + deepest + ']',
                                     std::string(1'000'000, '['),
                                     std::string("nan"),
                                     std::string("// 1"),
                                     std::string("1\0", 2),
                                     std::string("\xEF\xBB\xBF"
                                                 "1"),
                                     std::string("[1,]"),
                                     std::string("{\"a\":1,}"),
                                     std::string("\"\n\""),
                                     std::string("\"\\x\""),
                                     std::string("\"\\ud800\""),
                                     std::string("\"\\udc00\""),
                                     std::string("01"),
                                     std::string("-"),
                                     std::string("\"\xED\xA0\x80\"")}) {
        CAPTURE(wrong.substr(0, 20));
        CHECK(check_json(wrong));
    }
    CHECK(check_json("[1,]")->position == 4);
}

TEST_CASE("json: random texts are judged as nlohmann::json judges them, but for numbers that are too large for it") {
    const auto seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const std::vector<std::string> parts = {"{",
                                            "}",
                                            "[",
                                            "]",
                                            ",",
                                            ":",
                                            "\"a\"",
                                            "\"",
                                            "\\",
                                            "1",
                                            "0",
                                            "-",
                                            ".",
                                            "e",
                                            "+",
                                            "true",
                                            "null",
                                            "fals",
                                            " ",
                                            "\n",
                                            "\\u00e9",
                                            "\\ud83d\\ude00",
                                            "\\ud83d",
                                            "\xC3\xA9",
                                            "\xC3",
                                            "\xE2\x82\xAC",
                                            "\xF0\x9F\x98\x80",
                                            "\x01"};
    int right = 0;
    for (int i = 0; i < 200'000; ++i) {
        std::string text;
        for (auto n = 1 + random() % 9; n > 0; --n) {
            text += parts[random() % parts.size()];
        }
        if (random() % 2 == 0) {
            text = "[" + text + "]";
        }
        CAPTURE(text);
        const bool is_json = nlohmann::json::accept(text);
        right += is_json ? 1 : 0;
        REQUIRE(is_json == !check_json(text));
    }
    CHECK(right > 1'000);
}

TEST_CASE("client: networks are read strictly, and hold what begins as they do") {
    const auto in = [](const char* net, const char* address) {
        return network::parse(net).value().contains(ip::make_address(address));
    };
    CHECK(in("10.0.0.0/8", "10.255.0.1"));
    CHECK_FALSE(in("10.0.0.0/8", "11.0.0.1"));
    CHECK(in("192.0.2.128/25", "192.0.2.200"));
    CHECK_FALSE(in("192.0.2.128/25", "192.0.2.127"));
    CHECK(in("192.0.2.1", "192.0.2.1"));
    CHECK(in("0.0.0.0/0", "1.2.3.4"));
    CHECK_FALSE(in("::/0", "1.2.3.4"));
    CHECK_FALSE(in("0.0.0.0/0", "::1"));
    CHECK(in("2001:db8::/33", "2001:db8:7fff::1"));
    CHECK_FALSE(in("2001:db8::/33", "2001:db8:8000::1"));
    CHECK(in("::ffff:192.0.2.1", "192.0.2.1"));
    for (const char* wrong :
         {"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8", "10.0.0/8", "::/129", "::1/64", "10.0.0.0/-1",
          "10.0.0.0/8 ", "10.0.0.0/8/8", "fe80::1%lo", "localhost", "[::1]", "10.0.0.0:80"}) {
        CAPTURE(wrong);
        CHECK_FALSE(network::parse(wrong));
    }
}

TEST_CASE("client: only trusted proxies are believed, each about the one before it") {
    const std::vector<network> trusted = {network::parse("10.0.0.0/8").value(), network::parse("fd00::/8").value()};
    const auto of = [&](const char* peer, const char* x, const char* f) {
        return client_address(ip::make_address(peer), x, f, trusted).to_string();
    };
    CHECK(of("192.0.2.9", "192.0.2.1", "for=192.0.2.1") == "192.0.2.9");
    CHECK(of("10.0.0.1", "", "") == "10.0.0.1");
    CHECK(of("::ffff:10.0.0.1", "192.0.2.1", "") == "192.0.2.1");
    CHECK(of("fd00::1", "1.1.1.1, 192.0.2.1, 10.0.0.2", "") == "192.0.2.1");
    CHECK(of("10.0.0.1", "10.0.0.3, 10.0.0.2", "") == "10.0.0.3");
    CHECK(of("10.0.0.1", "1.1.1.1, unknown, 10.0.0.2", "") == "10.0.0.2");
    CHECK(of("10.0.0.1", "[2001:db8::1]:80", "") == "2001:db8::1");
    CHECK(of("10.0.0.1", "2001:db8::1", "for=\"[2001:db8::1]\"") == "2001:db8::1");
    CHECK(of("10.0.0.1", "", "for=1.1.1.1;secret=\"a,b;for=9.9.9.9\", For=\"192.0.2.1:_port\"") == "10.0.0.1");
    CHECK(of("10.0.0.1", "", "for=1.1.1.1, by=10.0.0.1;FOR=\"192\\.0.2.1:8\" ; proto=http") == "192.0.2.1");
    CHECK(of("10.0.0.1", "192.0.2.1", "for=192.0.2.2") == "10.0.0.1");
    for (const char* nobody : {",", "x", "1.2.3.4.5", "1.2.3.4:x", "1.2.3.4:99999", "[1.2.3.4]", "[::1", "::1]",
                               "fe80::1%lo", "192.0.2.1,"}) {
        CAPTURE(nobody);
        CHECK(of("10.0.0.1", nobody, "") == "10.0.0.1");
    }
    for (const char* nobody : {"for", "for=", "for=_x", "for=unknown", "proto=http", "for=1.1.1.1;for=2.2.2.2",
                               "for=\"1.1.1.1", "for=1.1.1.1,"}) {
        CAPTURE(nobody);
        CHECK(of("10.0.0.1", "", nobody) == "10.0.0.1");
    }
}

TEST_CASE("problem: bytes that are no UTF-8 break no answer") {
    const auto answer = problem(422, "x", "a\xff", {{"found", "b\xfe"}});
    CHECK(nlohmann::json::parse(answer.body)["found"] == "b\xEF\xBF\xBD");
}

TEST_CASE("target: paths and queries are decoded once, and checked afterwards") {
    CHECK(percent_decoded("a%2Fb") == "a/b");
    CHECK(percent_decoded("%252e") == "%2e");
    for (const char* broken : {"%", "%4", "%zz", "a%", "%00"}) {
        CHECK_FALSE(percent_decoded(broken));
    }
    for (const char* right : {"a", "a/b", "a.b/..c", "A-z_0~@:+=,/x"}) {
        CHECK(path_mistake(right).empty());
    }
    for (const char* wrong : {"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a b", "a\\b", "a\nb", "\xC3\xA9",
                              "a%2e", "history", "a/history"}) {
        CAPTURE(wrong);
        CHECK_FALSE(path_mistake(wrong).empty());
    }
    CHECK(path_mistake("history/a").empty());
    CHECK(split_url("HTTP://h:1/a?b").value().target == "/a?b");
    CHECK(split_url("https://h?b").value().target == "/?b");
    CHECK(split_url("http://u@h:1").value().authority == "u@h:1");
    CHECK_FALSE(split_url("/http://h"));
    CHECK_FALSE(split_url("http:/h"));
    CHECK(port_of("h:81", "80") == "81");
    CHECK(port_of("[::1]", "80") == "80");
    CHECK(port_of("[::1]:81", "80") == "81");
    CHECK(port_of("h:", "80") == "80");
    CHECK(query_value("/x?a=1&b=2%263&c", "b") == "2&3");
    CHECK(query_value("/x?a=1&b=2&c", "c") == "");
    CHECK_FALSE(query_value("/x?ab=1", "a"));
    CHECK_FALSE(query_value("/x", "a"));
    CHECK(matches("\"1\", W/\"2\"", "\"2\"", true));
    CHECK_FALSE(matches("\"12\"", "\"1\"", true));
    CHECK(matches("*", "\"1\"", true));
    CHECK_FALSE(matches("*", "\"0\"", false));
}

TEST_CASE("users: tokens are known by their digest") {
    std::vector<headgate::config_problem> problems;
    // sha256 of "secret"
    const auto all = users::parse(
        R"({"users": [{"name": "ann", "sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
                       "tier": "trusted", "admin": true}]})",
        {"default", "trusted"}, problems);
    REQUIRE(all);
    REQUIRE(all.value().find("secret") != nullptr);
    CHECK(all.value().find("secret")->name == "ann");
    CHECK(all.value().find("secret")->admin);
    CHECK(all.value().find("Secret") == nullptr);
    CHECK(all.value().find("") == nullptr);
    CHECK_FALSE(users::parse("[]", {}, problems));
    problems.clear();
    CHECK_FALSE(users::parse(R"({"users": [{"name": 1e999}]})", {}, problems));
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].pointer == "/users/0/name");
    CHECK(problems[0].found == "a number out of range");
    problems.clear();
    CHECK_FALSE(users::parse("{,", {}, problems));
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].found == "no JSON at byte 2");
    problems.clear();
    CHECK_FALSE(users::parse(R"({"users": [{"name": "", "sha256": "x", "tier": "gold", "admin": 1, "more": 2}, 7]})",
                             {}, problems));
    CHECK(problems.size() == 6);
    problems.clear();
    // sha256 of "", as from a variable that is not set
    CHECK_FALSE(users::parse(
        R"({"users": [{"name": "ann", "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]})",
        {}, problems));
    CHECK(problems.size() == 1);
}

TEST_CASE("settings: all mistakes of both halves at once") {
    std::vector<headgate::config_problem> problems;
    CHECK_FALSE(parse_settings(R"({"service": {"max_entries": 1e999}})", problems));
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].pointer == "/service/max_entries");
    CHECK(problems[0].valid == "a number of at most 1.7e308");
    problems.clear();
    CHECK_FALSE(parse_settings(R"({"service": {"port": 1, "max_body": 1, "sync_interval": "0s", "parser_command": []},
                                   "zones": {"config": {"bulkheads": {"sync": {"max_wait": "x"}}}}})",
                               problems));
    std::vector<std::string> at_;
    for (const auto& p : problems) {
        at_.push_back(p.pointer);
        CHECK_FALSE(p.valid.empty());
    }
    for (const char* pointer : {"/service/port", "/service/max_body", "/service/sync_interval",
                                "/service/parser_command", "/zones/config/bulkheads/sync/max_wait"}) {
        CAPTURE(pointer);
        CHECK(std::find(at_.begin(), at_.end(), pointer) != at_.end());
    }
    problems.clear();
    CHECK_FALSE(parse_settings(R"({"zones": {}})", problems));
    CHECK(problems.size() == 2);  // the zones that the service uses
}
