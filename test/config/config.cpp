// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/config.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "config/text.hpp"

using namespace headgate;
using namespace headgate::detail;
using namespace std::chrono_literals;

namespace {

std::vector<config_problem> problems_of(std::string_view text) {
    std::vector<config_problem> problems;
    const auto parsed = config::parse(text, problems);
    CHECK(parsed.has_value() == problems.empty());
    return problems;
}

// The only problem of a document whose zone "z" has these members.
config_problem problem_of(const std::string& members) {
    std::string text = R"({"zones": {"z": {)";
    text.append(members).append("}}}");
    const auto problems = problems_of(text);
    CAPTURE(members);
    REQUIRE(problems.size() == 1);
    return problems.front();
}

}  // namespace

TEST_CASE("config: durations are numbers with units, added up") {
    CHECK(parse_duration("30s") == duration(30s));
    CHECK(parse_duration("250ms") == duration(250ms));
    CHECK(parse_duration("1h30m") == duration(90min));
    CHECK(parse_duration("1d") == duration(24h));
    CHECK(parse_duration("5us7ns") == duration(5007ns));
    CHECK(parse_duration("0s") == duration(0));
    for (const char* wrong : {"", "s", "30", "30 s", "-1s", "1.5s", "1S", "s1", "99999999999999999999s",
                              "9223372036854775807s", "106751d23h47m16s854ms775us808ns", "1s "}) {
        CAPTURE(wrong);
        CHECK_FALSE(parse_duration(wrong));
    }
    for (const duration d :
         {duration(0), duration(1), duration(90s), duration(1500ms), duration(24h), duration::max()}) {
        CHECK(parse_duration(format_duration(d)) == d);
    }
    CHECK(format_duration(90s) == "90s");
    CHECK(format_duration(120s) == "2m");
}

TEST_CASE("config: quotas are texts") {
    CHECK(parse_quota("10/1m") == quota::per(10, 1min).value());
    CHECK(parse_quota("none") == quota::none());
    for (const char* wrong : {"", "10", "10/", "/1m", "0/1m", "10/0s", "x/1m", "10/1m ", "4294967296/1s"}) {
        CAPTURE(wrong);
        CHECK_FALSE(parse_quota(wrong));
    }
}

TEST_CASE("config: the nearest known name is found, when there is one") {
    constexpr std::string_view known[] = {"size", "max_overflow", "max_wait"};
    CHECK(nearest("sise", known) == "size");
    CHECK(nearest("max_wayt", known) == "max_wait");
    CHECK(nearest("overflow_max", known).empty());
    CHECK(nearest("", known).empty());
}

TEST_CASE("config: everything that the primitives take") {
    const auto parsed = config::parse(R"({
        // one document, any number of zones
        "zones": {
            "shop": {
                "missing_breaker": "run",
                "rate_limiters": {
                    "updates": {"quota": "10/1m", "max_keys": 1000, "max_waiters": 5, "track_keys": true, "busiest": 16},
                    "calls": {"tiers": [
                        {"name": "free", "quota": ["10/1s", {"permits": 1000, "period": "24h", "burst": 100}]},
                        {"name": "strict", "quota": {"permits": 10, "period": 1000, "burst": 3, "algorithm": "at_most"}},
                        {"name": "hourly", "quota": {"permits": 5, "period": "1h", "algorithm": "fixed_window"}},
                        {"name": "blocked", "quota": "none"}
                    ]}
                },
                "resource_pools": {
                    "database": {"size": 4, "max_overflow": 2, "overflow_ttl": "1m", "strategy": "fifo", "max_waiters": 7,
                        "max_wait": 250, "connect_timeout": "2s", "max_connecting": 1, "backoff_min": "50ms",
                        "backoff_max": "1s", "backoff_jitter": 0.5, "max_lifetime": "1h", "lifetime_jitter": 0,
                        "idle_timeout": "5m", "ping_interval": "30s", "ping_timeout": "100ms", "leak_threshold": "10s"}
                },
                "circuit_breakers": {
                    "database": {"consecutive_failures": null, "failure_ratio": 0.5, "slow_ratio": 1, "slow_after": "1s",
                        "min_calls": 10, "window": "20s", "reset_timeout": "5s", "max_reset_timeout": "1m", "probes": 2,
                        "probe_deadline": "3s", "mode": "observe"}
                },
                "bulkheads": {"reports": {"max_concurrent": 2, "max_waiters": 10, "max_wait": "0s",
                                          "limit": {"min": 2, "max": 50, "initial": 5}}},
                "retries": {"prices": {"max_attempts": 5, "attempt_timeout": "1s", "backoff_min": "10ms",
                                       "backoff_max": "1s", "budget_ratio": 0.1, "budget_floor": 3}},
                "hedges": {"prices": {"retry": "prices", "max_hedges": 2, "delay": "20ms", "min_samples": 10,
                                      "deposits": false}},
                "coalescers": {"prices": {"keep_for": "1m", "keep_errors_for": "1s", "max_kept": 7}}
            },
            "empty": {}
        }
    })");
    REQUIRE_MESSAGE(parsed, parsed.error().message());
    const config& c = parsed.value();
    REQUIRE(c.zones.size() == 2);
    const zone_config& shop = c.zones.at("shop");
    CHECK(shop.missing_breaker == missing_breaker::run);
    CHECK(shop.rate_limiters.at("updates") ==
          rate_limiter_options{.tiers = {{"default", {quota::per(10, 1min).value()}}},
                               .max_keys = 1000,
                               .max_waiters = 5,
                               .track_keys = true,
                               .busiest = 16});
    const auto& tiers = shop.rate_limiters.at("calls").tiers;
    REQUIRE(tiers.size() == 4);
    CHECK(tiers[0].quotas == std::vector{quota::per(10, 1s).value(), quota::per(1000, 24h, 100).value()});
    CHECK(tiers[1].quotas == std::vector{quota::at_most(10, 1s, 3).value()});
    CHECK(tiers[2].quotas == std::vector{quota::fixed_window(5, 1h).value()});
    CHECK(tiers[3].quotas == std::vector{quota::none()});
    const pool_options& pool = shop.resource_pools.at("database");
    CHECK(pool.size == 4);
    CHECK(pool.strategy == pool_strategy::fifo);
    CHECK(pool.max_wait == 250ms);
    CHECK(pool.lifetime_jitter == 0);
    CHECK(pool.leak_threshold == 10s);
    const breaker_options& breaker = shop.circuit_breakers.at("database");
    CHECK_FALSE(breaker.consecutive_failures);
    CHECK(breaker.slow_ratio == 1);
    CHECK(breaker.mode == breaker_mode::observe);
    CHECK(shop.bulkheads.at("reports") == bulkhead_options{2, adaptive{2, 50, 5}, 10, 0s});
    CHECK(shop.retries.at("prices") == retry_options{5, 1s, 10ms, 1s, 0.1, 3});
    CHECK(shop.hedges.at("prices") == hedge_options{"prices", 2, 20ms, 10, false});
    CHECK(shop.coalescers.at("prices") == coalescer_options{1min, 1s, 7});
    // The printed configuration parses to the same configuration.
    const auto again = config::parse(c.to_json());
    REQUIRE_MESSAGE(again, again.error().message());
    CHECK(again.value() == c);
    CHECK(c.check().empty());
}

TEST_CASE("config: every mistake of a document with ten mistakes is reported, with its pointer") {
    const auto problems = problems_of(R"({
        "zone": {},
        "zones": {
            "a/b": {
                "missing_breaker": "maybe",
                "rate_limiters": {"l": {"quota": "10/0s"}, "m": {}},
                "resource_pools": {"p": {"sise": 3, "max_connecting": 0, "max_wait": "5 s"}},
                "circuit_breakers": {"b": {"failure_ratio": 1.5, "mode": "on"}},
                "bulkheads": {"h": {"max_concurrent": -1}, "a": {"limit": {"min": 0, "mux": 1}},
                              "o": {"limit": {"min": 10, "max": 5}}, "u": {"limit": {"initial": 2000}}, "t": {"limit": 5}},
                "retries": {"r": {"budget_ratio": 2, "backoff_min": "2s", "backoff_max": "1s"}},
                "hedges": {"h": {}, "i": {"retry": "rr", "delay": 0}, "j": {"retry": ""}, "k": {"retry": "r"}},
                "coalescers": {"c": {"max_kept": 0, "keep_for": null}}
            }
        }
    })");
    std::vector<std::string> pointers;
    for (const auto& p : problems) {
        pointers.push_back(p.pointer);
        CHECK_FALSE(p.found.empty());
        CHECK_FALSE(p.valid.empty());
    }
    std::sort(pointers.begin(), pointers.end());
    const std::string at = "/zones/a~1b/";
    std::vector<std::string> wanted = {"/zone",
                                       at + "missing_breaker",
                                       at + "rate_limiters/l/quota",
                                       at + "rate_limiters/m",
                                       at + "resource_pools/p/sise",
                                       at + "resource_pools/p/max_connecting",
                                       at + "resource_pools/p/max_wait",
                                       at + "circuit_breakers/b/failure_ratio",
                                       at + "circuit_breakers/b/mode",
                                       at + "bulkheads/h/max_concurrent",
                                       at + "bulkheads/a/limit/min",
                                       at + "bulkheads/a/limit/mux",
                                       at + "bulkheads/o/limit/max",
                                       at + "bulkheads/u/limit/initial",
                                       at + "bulkheads/t/limit",
                                       at + "retries/r/budget_ratio",
                                       at + "retries/r/backoff_max",
                                       at + "hedges/h/retry",
                                       at + "hedges/i/retry",
                                       at + "hedges/i/delay",
                                       at + "hedges/j/retry",
                                       at + "coalescers/c/max_kept",
                                       at + "coalescers/c/keep_for"};
    std::sort(wanted.begin(), wanted.end());
    CHECK(pointers == wanted);
}

TEST_CASE("config: a problem says what was found and what would be right") {
    CHECK(problem_of(R"("resource_pools": {"p": {"sise": 3}})") ==
          config_problem{"/zones/z/resource_pools/p/sise", "an unknown key", "\"size\""});
    CHECK(problem_of(R"("resource_pools": {"p": {"size": 0}})") ==
          config_problem{"/zones/z/resource_pools/p", "size + max_overflow is 0", "1 to 1000000"});
    CHECK(problem_of(R"("resource_pools": {"p": {"backoff_min": "9s"}})") ==
          config_problem{"/zones/z/resource_pools/p/backoff_max", "5 s", "at least backoff_min, which is 9 s"});
    CHECK(problem_of(R"("circuit_breakers": {"b": {"consecutive_failures": null}})").pointer ==
          "/zones/z/circuit_breakers/b");
    CHECK(problem_of(R"("circuit_breakers": {"b": {"slow_ratio": 0.5}})").pointer ==
          "/zones/z/circuit_breakers/b/slow_after");
    CHECK(problem_of(R"("bulkheads": {"h": {"max_wait": -5}})").found == "-5");
    CHECK(problem_of(R"("bulkheads": {"": {}})").found == "an empty name");
    CHECK(problem_of(R"("bulkheads": {"h": 3})").found == "3");
    CHECK(problem_of(R"("rate_limiters": {"l": {"quota": []}})").found == "0 quotas");
    CHECK(problem_of(R"("rate_limiters": {"l": {"quota": "1/1s", "tiers": []}})").found == "both quota and tiers");
    CHECK(problem_of(
              R"("rate_limiters": {"l": {"tiers": [{"name": "a", "quota": "1/1s"}, {"name": "a", "quota": "1/1s"}]}})")
              .pointer == "/zones/z/rate_limiters/l/tiers/1/name");
    CHECK(problem_of(R"("rate_limiters": {"l": {"tiers": [{"name": "a"}]}})").found == "no \"quota\"");
    CHECK(problem_of(R"("rate_limiters": {"l": {"quota": {"permits": 3, "period": "1s", "algorithm": "at_most"}}})")
              .pointer == "/zones/z/rate_limiters/l/quota/burst");
    CHECK(problem_of(R"("rate_limiters": {"l": {"quota": {"permits": 3}}})").found == "no \"period\"");
}

TEST_CASE("config: what is no JSON is told with its place") {
    const auto problems = problems_of("{\n  \"zones\": {,}\n}");
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].pointer.empty());
    CHECK(problems[0].found.find("line 2, column 13") != std::string::npos);
    CHECK(problems_of("").size() == 1);
    // The fuzzer found this number: nlohmann::json throws no parse_error for it.
    CHECK(problems_of("1e999").front().found == "1e999, a number out of range");
    CHECK(problems_of("[]").front().valid == "an object of zones");
    CHECK(problems_of("{}").front().found == "no \"zones\"");
    CHECK(problems_of("{\"zones\": {\"\xff\": {}}}").size() == 1);
    CHECK(problems_of(std::string(100'000, '[')).size() == 1);
    const auto twice = problems_of(R"({"zones": {"a": {"bulkheads": {"h": {}, "h": {}}}}})");
    REQUIRE(twice.size() == 1);
    CHECK(twice[0] == config_problem{"/zones/a/bulkheads/h", "a key for the second time", "each key once"});
    const auto error_of = config::parse("{}");
    CHECK(error_of.error() == errc::invalid_config);
    CHECK(error_of.error().message() ==
          "the configuration has mistakes: the document: found no \"zones\"; valid is an object with zones");
}

TEST_CASE("config: one that was made by hand is checked") {
    config c;
    c.zones["z"].resource_pools["p"].size = 0;
    c.zones["z"].rate_limiters["l"];
    const auto problems = c.check();
    REQUIRE(problems.size() == 2);
    CHECK(problems[0].pointer == "/zones/z/rate_limiters/l");
    CHECK(problems[1].pointer == "/zones/z/resource_pools/p");
}

namespace {

enum class colour : std::uint8_t { red, green };

struct inner_settings {
    double part = 0.5;
};

struct own_settings {
    std::uint8_t count = 1;
    std::optional<std::uint64_t> most = 7;
    headgate::duration patience = 1s;
    inner_settings inner{};
    bool loud = false;
    colour paint = colour::red;
    std::string name = "none";
    std::vector<std::string> words{};
};

bool is_short(std::string_view text) {
    return text.size() < 4;
}

constexpr std::string_view colours[] = {"red", "green"};

constexpr member_table own_members{
    make_member<&own_settings::count>("count", accepts::whole_number{.least = 1, .of = "cups"}, ""),
    make_member<&own_settings::most>("most", accepts::whole_number{.least = 1}, ""),
    make_member<&own_settings::patience>("patience", accepts::time_span{.least = 1ms, .most = 24h}, ""),
    make_member<&own_settings::inner, &inner_settings::part>("part", accepts::share{}, ""),
    make_member<&own_settings::loud>("loud", accepts::flag{}, ""),
    make_member<&own_settings::paint>("paint", accepts::choice{colours}, ""),
    make_member<&own_settings::name>("name", accepts::text{"a short text", is_short}, ""),
    make_member<&own_settings::words>("words", accepts::text_list{"an array of short texts", is_short, 1}, ""),
};

// Reads a section "mine" whose objects are in "all".
std::vector<config_problem> read_own(const std::string& members, own_settings& to) {
    const config_section sections[] = {
        {"mine", [&to](const config_object& from, const config& /*zones*/) {
             from.each("all",
                       [&to](const std::string& /*name*/, const config_object& one) { one.read(own_members, to); });
         }}};
    std::vector<config_problem> problems;
    const auto parsed =
        config::parse(R"({"mine": {"all": {"a/b": )" + members + R"(}}, "zones": {}})", problems, sections);
    CHECK(parsed.has_value() == problems.empty());
    return problems;
}

}  // namespace

TEST_CASE("config: a section's members are read with a table, whatever their kind") {
    own_settings s;
    CHECK(read_own(R"({"count": 255, "most": null, "patience": 1500, "part": 1, "loud": true, "paint": "green",
                       "name": "abc", "words": ["", "b"]})",
                   s)
              .empty());
    CHECK(s.count == 255);
    CHECK_FALSE(s.most);
    CHECK(s.patience == 1500ms);
    CHECK(s.inner.part == 1);
    CHECK(s.loud);
    CHECK(s.paint == colour::green);
    CHECK(s.name == "abc");
    CHECK(s.words == std::vector<std::string>{"", "b"});
    CHECK(read_own("{}", s).empty());
    CHECK(s.count == 255);
}

TEST_CASE("config: a value of a section that breaks its rule changes nothing, and is reported with its place") {
    const std::string milliseconds =
        "a duration such as \"30s\", or a whole number of milliseconds, from 1ms up; at most 1d";
    const std::tuple<const char*, const char*, std::string> wrong[] = {
        {"count", "0", "a whole number of cups from 1 to 255"},
        {"count", "256", "a whole number of cups from 1 to 255"},
        {"count", "-1", "a whole number of cups from 1 to 255"},
        {"count", "null", "a whole number of cups from 1 to 255"},
        {"most", "0", "a whole number, at least 1, or null for off"},
        {"patience", "\"999us\"", milliseconds},
        {"patience", "86400001", milliseconds},
        {"patience", "true", milliseconds},
        {"part", "1.5", "a number from 0 to 1"},
        {"loud", "1", "true or false"},
        {"paint", "\"blue\"", "one of \"red\", \"green\""},
        {"paint", "1", "one of \"red\", \"green\""},
        {"name", "\"abcd\"", "a short text"},
        {"name", "[]", "a short text"},
        {"words", "[]", "an array of short texts"},
        {"words", "[1]", "an array of short texts"},
        {"words", "[\"abcd\"]", "an array of short texts"},
        {"words", "\"abc\"", "an array of short texts"},
        {"words", "{\"a\":\"abc\"}", "an array of short texts"},
    };
    for (const auto& [name, value, valid] : wrong) {
        CAPTURE(name);
        CAPTURE(value);
        own_settings s;
        CHECK(read_own("{\"" + std::string(name) + "\": " + value + '}', s) ==
              std::vector<config_problem>{{"/mine/all/a~1b/" + std::string(name), value, valid}});
        for (const member& m : own_members.members) {
            const own_settings before;
            CHECK(m.get(&s) == m.get(&before));
        }
    }
    own_settings s;
    CHECK(read_own(R"({"coun": 1})", s).front() ==
          config_problem{"/mine/all/a~1b/coun", "an unknown key", "\"count\""});
    CHECK(read_own("7", s).front() == config_problem{"/mine/all/a~1b", "7", "an object of settings"});
}

TEST_CASE("config: a section is read after the zones, and gets all that are named; one that is missing is empty") {
    std::vector<std::string> said;
    config_section section{"mine", [&said](const config_object& from, const config& zones) {
                               said.push_back(std::to_string(zones.zones.size()) + " zones");
                               for (const auto& [name, z] : zones.zones) {
                                   said.back() += ", " + std::to_string(z.bulkheads.size()) + " in " + name;
                               }
                               from.report("/a", "found", "valid");
                           }};
    std::vector<config_problem> problems;
    const auto pointers = [&](const char* text) {
        CHECK_FALSE(config::parse(text, problems, {&section, 1}));
        std::vector<std::string> out;
        for (const config_problem& p : problems) {
            out.push_back(p.pointer);
        }
        return out;
    };
    using all = std::vector<std::string>;
    CHECK(pointers(R"({"mine": {}, "zones": {"x": 5, "y": {"bulkheads": {"h": 1}}, "z": {"bulkheads": 1}}})") ==
          all{"/zones/x", "/zones/y/bulkheads/h", "/zones/z/bulkheads", "/mine/a"});
    CHECK(said == all{"3 zones, 0 in x, 1 in y, 0 in z"});
    CHECK(problems.back() == config_problem{"/mine/a", "found", "valid"});
    CHECK(pointers("{}") == all{"", "/mine/a"});
    CHECK(pointers(R"({"mine": 3, "zones": {}})") == all{"/mine", "/mine/a"});
    section.required = true;
    CHECK(pointers(R"({"zones": {}})") == all{"", "/mine/a"});
    CHECK(problems.front().found == "no \"mine\"");
}

TEST_CASE("config: named objects of a section are read whole or not, and their names are as those of zones") {
    std::vector<std::string> named;
    const config_section sections[] = {
        {"mine", [&named](const config_object& from, const config& /*zones*/) {
             from.each("all", [&named](const std::string& name, const config_object&) { named.push_back(name); });
         }}};
    std::vector<config_problem> problems;
    CHECK_FALSE(config::parse(R"({"mine": {"all": {"a": 5, "": {}}}, "zones": {}})", problems, sections));
    CHECK(named == std::vector<std::string>{"a", ""});
    REQUIRE(problems.size() == 2);
    CHECK(problems[0] == config_problem{"/mine/all/a", "5", "an object of settings"});
    CHECK(problems[1].found == "an empty name");
    for (const char* none : {R"({"mine": {}, "zones": {}})", R"({"mine": {"all": {}}, "zones": {}})"}) {
        CHECK_FALSE(config::parse(none, problems, sections));
        REQUIRE(problems.size() == 1);
        CHECK(problems[0].pointer == "/mine/all");
    }
}

TEST_CASE("config: members of the document that somebody else reads are let be, and offered where one is misspelt") {
    const config_section others[] = {{"service"}};
    std::vector<config_problem> problems;
    REQUIRE(config::parse(R"({"service": {"port": 1}, "zones": {"z": {}}})", problems, others));
    CHECK_FALSE(config::parse(R"({"servise": {}, "zones": {"z": {}}})", problems, others));
    REQUIRE(problems.size() == 1);
    CHECK(problems.front() == config_problem{"/servise", "an unknown key", "\"service\""});
}
