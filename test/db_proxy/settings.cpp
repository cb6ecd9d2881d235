// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>

#include <headgate/bulkhead.hpp>
#include <headgate/circuit_breaker.hpp>
#include <headgate/virtual_clock.hpp>
#include <headgate/zone.hpp>

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "console.hpp"
#include "relay.hpp"
#include "settings.hpp"
#include "upstream.hpp"
#include "users.hpp"

using namespace db_proxy;
using headgate::config_problem;
namespace asio = boost::asio;

namespace {

const std::string zones = R"("zones": {"proxy": {
    "rate_limiters": {"transactions": {"quota": "10/1s"}, "failed_logins": {"quota": "10/1m"}},
    "circuit_breakers": {"main": {}}, "resource_pools": {"app": {"size": 0, "max_overflow": 3}}}})";
const std::string servers = R"("servers": {"main": {"host": "db", "port": 5433, "login_timeout": "1s"}})";
const std::string databases = R"("databases": {"app": {"server": "main"}})";

std::vector<std::string> places(const std::vector<config_problem>& problems) {
    std::vector<std::string> out;
    for (const config_problem& p : problems) {
        out.push_back(p.pointer);
    }
    return out;
}

std::vector<std::string> mistakes(const std::string& text) {
    std::vector<config_problem> problems;
    const bool right = parse_settings(text, problems).has_value();
    CHECK(right == problems.empty());
    return places(problems);
}

std::vector<std::string> mistakes_of_users(const std::string& text) {
    std::vector<config_problem> problems;
    const bool right = user_list::parse(text, {"default", "fast"}, problems).has_value();
    CHECK(right == problems.empty());
    return places(problems);
}

const std::string good_verifier = scram::verifier::of("x", "0123456789abcdef").text();

struct no_host final : console_host {
    [[nodiscard]] std::vector<console_table> tables() const override { return {{"POOLS", {"a"}, {{"1"}}}}; }
    std::string reload() override {
        ++reloads;
        return mistake;
    }
    int reloads = 0;
    std::string mistake;
};

std::string types_of(std::string_view bytes) {
    std::string out;
    message one{};
    while (take_message(bytes, 100'000, one) == framing::whole) {
        out += one.type;
        if (one.type == 'E') {
            out += read_report(one.payload).code;
        }
    }
    return out;
}

std::string ask(console& c, const std::string& sql) {
    std::string bytes;
    append_query(bytes, sql);
    std::string_view input = bytes;
    std::string out;
    CHECK(c.feed(input, out));
    return types_of(out);
}

}  // namespace

TEST_CASE("settings are read") {
    std::vector<config_problem> problems;
    const auto s =
        parse_settings("{\"proxy\": {" + servers + "," + databases +
                           R"(, "permit_wait": "250ms", "status_host_names": ["status.example.com"]},)" + zones + "}",
                       problems);
    CHECK(headgate::to_string(problems).empty());
    REQUIRE(s);
    CHECK(s.value().servers.at("main").port == 5433);
    CHECK(s.value().databases.at("app").dbname == "app");
    CHECK(s.value().permit_wait == std::chrono::milliseconds(250));
    CHECK(s.value().status_host_names == std::vector<std::string>{"status.example.com"});
}

TEST_CASE("all mistakes in settings are reported at once, with their places") {
    CHECK(mistakes("{}") == std::vector<std::string>{"", "", "/proxy/servers", "/proxy/databases", "/zones"});
    CHECK(mistakes("{\"proxy\": {" + servers + "," + databases + R"(, "lisen": 1, "permit_wait": -5},)" + zones +
                   "}") == std::vector<std::string>{"/proxy/lisen", "/proxy/permit_wait"});
    CHECK(mistakes("{\"proxy\": {" + servers +
                   R"(, "databases": {"app": {"server": "mian", "pool_mode": "statement"}}},)" + zones + "}") ==
          std::vector<std::string>{"/proxy/databases/app/pool_mode", "/proxy/databases/app/server"});
    CHECK(mistakes("{\"proxy\": {" + servers + R"(, "databases": {"app": {"server": 5}}},)" + zones + "}") ==
          std::vector<std::string>{"/proxy/databases/app/server"});
    CHECK(mistakes(R"({"proxy": {"servers": {"main": {"port": 0}}, )" + databases +
                   R"(, "rate_limited_code": "5340"},)" + zones + "}") ==
          std::vector<std::string>{"/proxy/servers/main/port", "/proxy/rate_limited_code"});
    CHECK(mistakes("{\"proxy\": {" + servers +
                   R"(, "databases": {"app": {"server": "main"}, "other": {"server": "main"}}},)" + zones + "}") ==
          std::vector<std::string>{"/zones/proxy/resource_pools"});
    CHECK(mistakes("{\"proxy\": {" + servers + "," + databases + R"(, "admin_database": "app"},)" + zones + "}") ==
          std::vector<std::string>{"/proxy/databases/app"});
    CHECK(mistakes("{\"proxy\": {" + servers + "," + databases + R"(, "status_host_names": ["a", ""]},)" + zones +
                   "}") == std::vector<std::string>{"/proxy/status_host_names"});
    CHECK(mistakes("{\"proxy\": {" + servers + "," + databases + R"(, "max_client_connections": 1e999},)" + zones +
                   "}") == std::vector<std::string>{"/proxy/max_client_connections"});
}

TEST_CASE("what another host name of the page needs is a restart") {
    settings from, to;
    to.status_host_names = {"status.example.com"};
    CHECK(places(fixed_while_running(from, to)) == std::vector<std::string>{"/proxy/status_host_names"});
    CHECK(fixed_while_running(to, to).empty());
    from = to;
    from.servers["a/b~c"] = {};
    CHECK(places(fixed_while_running(from, to)) == std::vector<std::string>{"/proxy/servers/a~1b~0c"});
}

TEST_CASE("a new login timeout bounds the wait for a place among a server's connections too") {
    asio::io_context io;
    headgate::virtual_clock clock;
    headgate::zone zone(io, "proxy", {.clock = &clock});
    relay wires(io);
    server_settings s{.max_connections = 1, .login_timeout = std::chrono::seconds(20)};
    upstream server(zone, wires, "main", s, headgate::circuit_breaker::create(zone, "main").value());
    headgate::bulkhead places_left = server.connections();
    const auto held = places_left.try_enter();
    REQUIRE(held);
    s.login_timeout = std::chrono::milliseconds(300);
    server.reconfigure(s);
    const auto begun = clock.now();
    headgate::duration waited{};
    places_left.enter(headgate::wait_options{}, [&](const headgate::result<headgate::bulkhead_permit>& r) {
        CHECK(r.error() == headgate::errc::wait_timed_out);
        waited = clock.now() - begun;
    });
    clock.run_for(io, std::chrono::seconds(30));
    CHECK(waited == std::chrono::milliseconds(300));
}

TEST_CASE("users are read, and a report of mistakes contains no secret") {
    const std::string begin = R"({"mock_secret": "0123456789abcdef", "users": [)";
    CHECK(mistakes_of_users(begin + R"({"name": "ann", "verifier": ")" + good_verifier + R"(", "tier": "fast"}]})")
              .empty());
    CHECK(mistakes_of_users(begin + R"({"name": "ann", "verifier": "md5abc"}]})") ==
          std::vector<std::string>{"/users/0/verifier"});
    CHECK(mistakes_of_users(begin + R"({"name": "ann"}]})") == std::vector<std::string>{"/users/0/verifier"});
    CHECK(mistakes_of_users(begin + R"({"name": "ann", "trust": true, "console": "see"}]})") ==
          std::vector<std::string>{"/users/0/trust"});
    CHECK(mistakes_of_users(begin + R"({"name": "a", "trust": true}, {"name": "a", "trust": true, "tier": "x"}]})") ==
          std::vector<std::string>{"/users/1/tier", "/users/1/name"});
    CHECK(mistakes_of_users(R"({"mock_secret": "short", "users": 3, "usres": []})") ==
          std::vector<std::string>{"/mock_secret", "/users", "/usres"});
    for (const char* wrong : {R"({"name": "ann", "verifier": "hunter2"}]})", R"({"server_password": "hunter2)",
                              R"({"server_password": "hunter2"}, hunter2)"}) {
        std::vector<config_problem> problems;
        CHECK_FALSE(user_list::parse(begin + wrong, {}, problems));
        CHECK(headgate::to_string(problems).find("hunter2") == std::string::npos);
    }
}

TEST_CASE("a number of a users' file that is out of range is told with its place, and is not called no JSON") {
    std::vector<config_problem> problems;
    CHECK_FALSE(user_list::parse(R"({"users": [{"name": "a"}, {"statement_timeout": 1e999}]})", {}, problems));
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].pointer == "/users/1/statement_timeout");
    CHECK(problems[0].found == "a number out of range");
    problems.clear();
    CHECK_FALSE(user_list::parse("{,", {}, problems));
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].found == "no JSON at byte 2");
}

TEST_CASE("a user's timeout that is missing or zero is none") {
    std::vector<config_problem> problems;
    const auto users = user_list::parse(
        R"({"mock_secret": "0123456789abcdef", "users": [{"name": "ann", "trust": true, "statement_timeout": "0s"},
            {"name": "bob", "trust": true, "idle_transaction_timeout": "30s"}]})",
        {}, problems);
    REQUIRE(users);
    CHECK(users.value().find("ann")->statement_timeout == headgate::duration::max());
    CHECK(users.value().find("ann")->idle_transaction_timeout == headgate::duration::max());
    CHECK(users.value().find("bob")->statement_timeout == headgate::duration::max());
    CHECK(users.value().find("bob")->idle_transaction_timeout == std::chrono::seconds(30));
}

TEST_CASE("a trusted user is trusted on the loopback only") {
    std::vector<config_problem> problems;
    const auto users = user_list::parse(
        R"({"mock_secret": "0123456789abcdef", "users": [{"name": "local", "trust": true}]})", {}, problems);
    REQUIRE(users);
    CHECK_FALSE(users.value().check("local", true).check);
    CHECK_FALSE(users.value().check("local", true).refused);
    CHECK(users.value().check("local", false).check);
    CHECK(users.value().check("local", false).refused);
    CHECK(users.value().check("nobody", true).check);
    CHECK(users.value().check("nobody", true).refused);
}

TEST_CASE("the console") {
    no_host host;
    console sees(host, console_right::see);
    CHECK(ask(sees, "show  pools ;") == "TDCZ");
    CHECK(ask(sees, "") == "IZ");
    CHECK(ask(sees, "select 1") == "E42601Z");
    CHECK(ask(sees, "RELOAD") == "E42501Z");
    CHECK(host.reloads == 0);
    console acts(host, console_right::act);
    CHECK(ask(acts, "reload") == "CZ");
    CHECK(host.reloads == 1);
    host.mistake = "/proxy: wrong";
    CHECK(ask(acts, "reload") == "EF0000Z");
    // The extended protocol gets one error, and nothing else up to the Sync.
    std::string bytes;
    for (const char type : {'P', 'B', 'E', 'S'}) {
        append_message(bytes, type, {});
    }
    std::string_view input = bytes;
    std::string out;
    CHECK(acts.feed(input, out));
    CHECK(types_of(out) == "E0A000Z");
    std::string end;
    append_message(end, 'X', {});
    input = end;
    CHECK_FALSE(acts.feed(input, out));
    input = std::string_view("Q\0\0\0\1", 5);
    CHECK_FALSE(acts.feed(input, out));
}
