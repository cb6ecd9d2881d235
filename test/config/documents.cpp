// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/config.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace headgate;
using namespace std::chrono_literals;

namespace {

std::vector<config_problem> problems_of(std::string_view text) {
    std::vector<config_problem> problems;
    const auto parsed = config::parse(text, problems);
    CHECK(parsed.has_value() == problems.empty());
    return problems;
}

std::vector<std::string> pointers_of(const std::vector<config_problem>& problems) {
    std::vector<std::string> out;
    for (const auto& p : problems) {
        out.push_back(p.pointer);
    }
    std::sort(out.begin(), out.end());
    return out;
}

std::string zone_with(const std::string& members) {
    return std::string(R"({"zones": {"z": {)").append(members).append("}}}");
}

// A valid configuration prints, and the text parses to the same configuration.
void check_round_trip(const config& c) {
    const bool valid = c.check().empty();
    std::vector<config_problem> problems;
    const auto again = config::parse(c.to_json(), problems);
    if (valid) {
        CAPTURE(to_string(problems));
        CAPTURE(c.to_json());
        REQUIRE(again);
        REQUIRE(again.value() == c);
    }
}

class random_config {
public:
    explicit random_config(std::uint64_t seed) : random_(seed) {}

    std::uint64_t below(std::uint64_t n) { return random_() % n; }
    bool one_in(std::uint64_t n) { return below(n) == 0; }

    config make() {
        config c;
        for (auto n = below(3); n > 0; --n) {
            zone_config& z = c.zones[name()];
            z.missing_breaker = one_in(2) ? missing_breaker::run : missing_breaker::refuse;
            fill(z.rate_limiters, [this](auto& o) { edit(o); });
            fill(z.resource_pools, [this](auto& o) { edit(o); });
            fill(z.circuit_breakers, [this](auto& o) { edit(o); });
            fill(z.bulkheads, [this](auto& o) { edit(o); });
            fill(z.retries, [this](auto& o) { edit(o); });
            fill(z.hedges, [this, &z](auto& o) { edit(o, z.retries); });
            fill(z.coalescers, [this](auto& o) { edit(o); });
        }
        return c;
    }

private:
    template <class Group, class Edit>
    void fill(Group& group, const Edit& edit_one) {
        for (auto n = below(3); n > 0; --n) {
            auto& options = group[name()];
            for (auto edits = below(4); edits > 0; --edits) {
                edit_one(options);
            }
        }
    }
    std::string name() {
        static const std::vector<std::string> names = {
            "a", "b/c~d", "\xc3\xa9", std::string(128, 'n'), "\xf0\x9f\x9a\xaa", "x y", "\"quoted\"\\"};
        static const std::vector<std::string> wrong = {
            "", "\xff", std::string(129, 'n'), "new\nline", std::string(1, '\0'), "\xed\xa0\x80", "\xc3"};
        return one_in(40) ? wrong[below(wrong.size())] : names[below(names.size())];
    }
    duration span() {
        switch (below(12)) {
            case 0: return duration(0);
            case 1: return duration(1);
            case 2: return duration::max();
            case 3: return -1s;
            case 4: return 24h * 36'500;
            case 5: return 24h * 36'500 + 1ns;
            default: return duration(static_cast<duration::rep>(random_() >> (2 + below(62))));
        }
    }
    double share() {
        constexpr double some[] = {0,
                                   1,
                                   0.1,
                                   0.5,
                                   1e-300,
                                   5e-324,
                                   -0.0,
                                   1.0000001,
                                   -1,
                                   std::numeric_limits<double>::quiet_NaN(),
                                   std::numeric_limits<double>::infinity()};
        return one_in(3) ? some[below(std::size(some))] : static_cast<double>(random_() >> 11U) * 0x1p-53;
    }
    std::uint32_t count() { return static_cast<std::uint32_t>((random_() >> 32U) >> below(32)); }

    quota any_quota() {
        const auto permits = 1 + below(std::uint64_t{1} << below(33));
        const auto period = std::max(duration(1), one_in(10) ? duration(24h * 40'000) : span());
        switch (below(5)) {
            case 0: return quota::none();
            case 1: return quota::fixed_window(std::min(permits, quota::max_permits), period).value();
            case 2: return quota::at_most(10, period, 1 + below(9)).value();
            case 3: return quota::per(10, period, 1 + below(20)).value();
            default: return quota::per(std::min(permits, quota::max_permits), period).value();
        }
    }
    void edit(rate_limiter_options& o) {
        if (o.tiers.empty()) {
            o.tiers = {{one_in(2) ? "default" : name(), {any_quota()}}};
        }
        switch (below(7)) {
            case 0: o.max_keys = random_() >> (30 + below(34)); break;
            case 1: o.max_waiters = count(); break;
            case 2: o.track_keys = true; break;
            case 3: o.busiest = count() >> below(32); break;
            case 4: o.tiers.push_back({name(), {any_quota()}}); break;
            case 5: o.tiers.front().quotas.push_back(any_quota()); break;
            default: o.tiers.front().quotas.assign(below(11), any_quota()); break;
        }
    }
    void edit(pool_options& o) {
        duration* const spans[] = {&o.overflow_ttl, &o.max_wait,      &o.connect_timeout, &o.backoff_min,
                                   &o.backoff_max,  &o.max_lifetime,  &o.idle_timeout,    &o.ping_interval,
                                   &o.ping_timeout, &o.leak_threshold};
        std::uint32_t* const counts[] = {&o.size, &o.max_overflow, &o.max_waiters, &o.max_connecting};
        switch (below(4)) {
            case 0: *counts[below(std::size(counts))] = count() >> below(32); break;
            case 1: (one_in(2) ? o.backoff_jitter : o.lifetime_jitter) = share(); break;
            case 2: o.strategy = static_cast<pool_strategy>(below(3)); break;
            default: *spans[below(std::size(spans))] = span(); break;
        }
    }
    void edit(breaker_options& o) {
        duration* const spans[] = {&o.window, &o.reset_timeout, &o.max_reset_timeout, &o.probe_deadline};
        switch (below(7)) {
            case 0: o.consecutive_failures = one_in(2) ? std::nullopt : std::optional(count()); break;
            case 1: o.failure_ratio = share(); break;
            case 2: o.slow_ratio = share(); break;
            case 3: o.slow_after = span(); break;
            case 4: (one_in(2) ? o.min_calls : o.probes) = count() >> below(32); break;
            case 5: o.mode = static_cast<breaker_mode>(below(5)); break;
            default: *spans[below(std::size(spans))] = span(); break;
        }
    }
    void edit(bulkhead_options& o) {
        switch (below(4)) {
            case 0: o.max_concurrent = count() >> below(32); break;
            case 1: o.max_waiters = count(); break;
            case 2: o.limit = adaptive{count() >> below(32), count() >> below(32), count() >> below(32)}; break;
            default: o.max_wait = span(); break;
        }
    }
    void edit(hedge_options& o, const std::map<std::string, retry_options>& retries) {
        o.retry = retries.empty() || one_in(10) ? "no such retry" : retries.begin()->first;
        switch (below(3)) {
            case 0: o.max_hedges = count() >> below(32); break;
            case 1: o.delay = one_in(2) ? std::nullopt : std::optional(span()); break;
            default: o.min_samples = count() >> below(32); break;
        }
    }
    void edit(coalescer_options& o) {
        switch (below(3)) {
            case 0: o.keep_for = span(); break;
            case 1: o.keep_errors_for = span(); break;
            default: o.max_kept = count() >> below(32); break;
        }
    }
    void edit(retry_options& o) {
        switch (below(5)) {
            case 0: o.max_attempts = count() >> below(32); break;
            case 1: o.attempt_timeout = one_in(2) ? std::nullopt : std::optional(span()); break;
            case 2: (one_in(2) ? o.backoff_min : o.backoff_max) = span(); break;
            case 3: o.budget_ratio = share(); break;
            default: o.budget_floor = count() >> below(32); break;
        }
    }

    std::mt19937_64 random_;
};

}  // namespace

TEST_CASE("documents: nested however deeply, they are refused with a clear error, and the stack is not needed") {
    for (const std::size_t depth : {64U, 65U, 1000U, 100'000U, 1'000'000U}) {
        for (const auto& [open, close] : {std::pair("[", "]"), {"{\"a\":", "}"}}) {
            CAPTURE(depth);
            std::string text = "{\"zones\": ";
            for (std::size_t i = 0; i < depth; ++i) {
                text += open;
            }
            text += "0";
            for (std::size_t i = 0; i < depth; ++i) {
                text += close;
            }
            const auto problems = problems_of(text + "}");
            REQUIRE(problems.size() >= 1);
            CHECK(problems[0].pointer.size() < 300);
            CHECK(problems[0].found.size() < 300);
            if (depth > 63) {
                CHECK(problems[0].found == "more than 64 levels");
                CHECK(problems[0].valid == "objects and arrays at most 64 levels deep");
            }
        }
    }
    // Such depth is fine in a section that the application reads.
    const config_section others[] = {{"mine"}};
    std::vector<config_problem> problems;
    CHECK(config::parse("{\"zones\": {}, \"mine\": " + std::string(60, '[') + std::string(60, ']') + "}", problems,
                        others));
}

TEST_CASE("documents: numbers, texts and names that are huge are mistakes of bounded length, with their pointers") {
    auto problems = problems_of(zone_with(R"("bulkheads": {"h": {"max_concurrent": 1e999}})"));
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].pointer == "/zones/z/bulkheads/h/max_concurrent");
    CHECK(problems[0].found == "1e999, a number out of range");
    problems = problems_of(zone_with(
        R"("rate_limiters": {"l": {"tiers": [{"name": "a", "quota": ["1/1s", {"permits": 1, "period": 1e999}]}]}})"));
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].pointer == "/zones/z/rate_limiters/l/tiers/0/quota/1/period");
    for (const char* number : {"18446744073709551616", "-1", "1e30", "99999999999999999999999999999999999999", "1.5"}) {
        problems = problems_of(zone_with(R"("bulkheads": {"h": {"max_concurrent": )" + std::string(number) + "}}"));
        REQUIRE(problems.size() == 1);
        CHECK(problems[0].pointer == "/zones/z/bulkheads/h/max_concurrent");
    }
    const std::string huge(3'000'000, 'x');
    problems = problems_of(zone_with(R"("bulkheads": {"h": {"max_wait": ")" + huge + "\"}}"));
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].found.size() <= 60);
    problems = problems_of(zone_with("\"bulkheads\": {\"" + huge + "\": {\"max_wait\": 1, \"max_waiters\": -1}}"));
    REQUIRE(problems.size() == 2);
    CHECK(problems[0].found == "a name of 3000000 characters");
    CHECK(problems[0].pointer.size() < 1200);
    CHECK(problems[1].pointer.size() < 1200);
    problems = problems_of(zone_with("\"" + huge + "\": 1"));
    REQUIRE(problems.size() == 1);
    CHECK(to_string(problems).size() < 2000);
    problems = problems_of("{\"zones\": \"" + huge);
    REQUIRE(problems.size() == 1);
    CHECK(to_string(problems).size() < 500);
}

TEST_CASE("documents: keys that stand twice are told with their pointers, through arrays too, and so is all else") {
    const auto problems = problems_of(zone_with(
        R"("rate_limiters": {"l": {"tiers": [{"name": "a", "quota": "1/1s"}, {"name": "b", "name": "c", "quota": "x"}]}},
           "bulkheads": {"h": {"max_wait": "5 s"}}, "bulkheads": {"h": {"max_waiters": -1}})"));
    CHECK(pointers_of(problems) == std::vector<std::string>{"/zones/z/bulkheads", "/zones/z/bulkheads/h/max_wait",
                                                            "/zones/z/bulkheads/h/max_waiters",
                                                            "/zones/z/rate_limiters/l/tiers/1/name",
                                                            "/zones/z/rate_limiters/l/tiers/1/quota"});
}

TEST_CASE("documents: what is no UTF-8, and a NUL, are told with their place; a byte order mark is allowed") {
    CHECK(problems_of("\xef\xbb\xbf{\"zones\": {}}").empty());
    CHECK(problems_of("\xef\xbb{\"zones\": {}}").size() == 1);
    for (const char* bad : {"\xff", "\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80"}) {
        const auto problems = problems_of(zone_with("\"bulkheads\": {\"" + std::string(bad) + "\": {}}"));
        REQUIRE(problems.size() == 1);
        CHECK(problems[0].found.find("line 1, column ") != std::string::npos);
        CHECK(problems[0].found.find("UTF-8") != std::string::npos);
        CHECK(problems[0].found.find(bad) == std::string::npos);
    }
    const std::string text = "{\"zones\": {}}";
    for (const std::string& nul :
         {text + '\0', text + '\0' + "{ no JSON", '\0' + text, "{\"zo" + std::string(1, '\0') + "nes\": {}}"}) {
        const auto problems = problems_of(nul);
        REQUIRE(problems.size() == 1);
        CHECK(problems[0].found.find("a NUL byte at line 1, column ") != std::string::npos);
    }
    for (const char* escaped : {"\\u0000", "\\n", "\\u007f"}) {
        const auto problems = problems_of(zone_with("\"bulkheads\": {\"a" + std::string(escaped) + "\": {}}"));
        REQUIRE(problems.size() == 1);
        CHECK(problems[0].found == "a name with a control character");
        CHECK(to_string(problems).find('\n') == std::string::npos);
    }
}

TEST_CASE("documents: mistakes of single members do not hide those of members together, nor one of these another") {
    CHECK(pointers_of(problems_of(zone_with(
              R"("resource_pools": {"p": {"size": 0, "backoff_min": "9s", "strategy": "fast", "unknown": 1}})"))) ==
          std::vector<std::string>{"/zones/z/resource_pools/p", "/zones/z/resource_pools/p/backoff_max",
                                   "/zones/z/resource_pools/p/strategy", "/zones/z/resource_pools/p/unknown"});
    CHECK(pointers_of(problems_of(zone_with(
              R"("circuit_breakers": {"b": {"consecutive_failures": null, "slow_ratio": 0.5, "reset_timeout": "10m",
                 "min_calls": 0}})"))) == std::vector<std::string>{"/zones/z/circuit_breakers/b/max_reset_timeout",
                                                                   "/zones/z/circuit_breakers/b/min_calls",
                                                                   "/zones/z/circuit_breakers/b/slow_after"});
    // A member that is wrong by itself is not reported again for its relation to other members.
    CHECK(problems_of(zone_with(R"("resource_pools": {"p": {"backoff_min": "9s", "backoff_max": "soon"}})")).size() ==
          1);
    CHECK(problems_of(zone_with(R"("circuit_breakers": {"b": {"consecutive_failures": 0, "failure_ratio": null}})"))
              .size() == 1);
    CHECK(
        pointers_of(problems_of(zone_with(
            R"("rate_limiters": {"l": {"quota": {"permits": 0, "period": "1s", "burst": 3, "algorithm": "fixed_window"},
                 "max_keys": 0}})"))) == std::vector<std::string>{"/zones/z/rate_limiters/l/max_keys",
                                                                  "/zones/z/rate_limiters/l/quota/burst",
                                                                  "/zones/z/rate_limiters/l/quota/permits"});
    CHECK(pointers_of(problems_of(zone_with(
              R"("rate_limiters": {"": {"tiers": [{"name": "", "quota": "1/40000d"}, 3, {"quota": []}]}})"))) ==
          std::vector<std::string>{"/zones/z/rate_limiters/", "/zones/z/rate_limiters//tiers/0/name",
                                   "/zones/z/rate_limiters//tiers/0/quota", "/zones/z/rate_limiters//tiers/1",
                                   "/zones/z/rate_limiters//tiers/2", "/zones/z/rate_limiters//tiers/2/quota"});
}

TEST_CASE("documents: a configuration that code has made has all of its mistakes told, each at its place") {
    config c;
    auto& pool = c.zones["z"].resource_pools["p"];
    pool.size = 0;
    pool.max_wait = duration::max();
    pool.backoff_jitter = std::nan("");
    pool.strategy = static_cast<pool_strategy>(7);
    auto& limiter = c.zones["z"].rate_limiters["l"];
    limiter.max_keys = (std::uint64_t{1} << 32) + 1;
    limiter.tiers = {{"", {}}, {"b", {quota::per(1, 24h * 40'000).value(), quota::none()}}};
    c.zones["\xff"];
    const std::string at = "/zones/z/";
    CHECK(pointers_of(c.check()) ==
          std::vector<std::string>{at + "rate_limiters/l/max_keys", at + "rate_limiters/l/tiers/0/name",
                                   at + "rate_limiters/l/tiers/0/quota", at + "rate_limiters/l/tiers/1/quota/0/period",
                                   at + "resource_pools/p", at + "resource_pools/p/backoff_jitter",
                                   at + "resource_pools/p/max_wait", at + "resource_pools/p/strategy", "/zones/\xff"});
}

TEST_CASE("documents: what is accepted prints back and parses to the same, over 20,000 random configurations") {
    const auto seed = std::random_device{}();
    CAPTURE(seed);
    random_config source(seed);
    int valid = 0;
    for (int i = 0; i < 20'000; ++i) {
        const config c = source.make();
        valid += c.check().empty() ? 1 : 0;
        check_round_trip(c);
    }
    CHECK(valid > 1000);
}

TEST_CASE("documents: random edits of a document are judged without a crash, and what is accepted round-trips") {
    const auto seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    random_config source(seed);
    constexpr std::string_view pieces[] = {"{", "}",     "[",    "]", ",",    ":",    "\"",      "\\",
                                           "0", "1e999", "null", "-", "/**/", "\xff", "\\u0000", " "};
    int accepted = 0;
    for (int i = 0; i < 5'000; ++i) {
        std::string text = source.make().to_json();
        for (auto edits = random() % 4; edits > 0 && !text.empty(); --edits) {
            const std::size_t at = random() % text.size();
            switch (random() % 4) {
                case 0: text.erase(at, random() % 5); break;
                case 1: text.insert(at, pieces[random() % std::size(pieces)]); break;
                case 2: text[at] = static_cast<char>(random()); break;
                default: text.insert(at, text.substr(random() % text.size(), random() % 40)); break;
            }
        }
        std::vector<config_problem> problems;
        const auto parsed = config::parse(text, problems);
        REQUIRE(parsed.has_value() == problems.empty());
        if (parsed) {
            ++accepted;
            REQUIRE(parsed.value().check().empty());
            check_round_trip(parsed.value());
        }
    }
    CHECK(accepted > 100);
}
