// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/bulkhead.hpp>
#include <headgate/circuit_breaker.hpp>
#include <headgate/resource_pool.hpp>
#include <headgate/status.hpp>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <new>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>

#include "status/http_rules.hpp"
#include "status/names.hpp"
#include "status/shown_zones.hpp"

using namespace headgate;
using namespace std::chrono_literals;

namespace {

zone_snapshot sample() {
    latency_histogram wait;
    wait.record(3ms);
    wait.record(2s);
    return {.name = "sh\"op\n",
            .closed = false,
            .operations = 2,
            .primitives = {{.kind = primitive_kind::resource_pool,
                            .name = "db",
                            .state = "paused",
                            .metrics = {{"leased", 3, false}, {"granted", 70, true}},
                            .latencies = {{"wait", wait}},
                            .busiest = {}},
                           {.kind = primitive_kind::rate_limiter,
                            .name = "calls",
                            .state = {},
                            .metrics = {{"granted", 5, true}},
                            .latencies = {},
                            .busiest = {{"a\xff", 9, 1}}}}};
}

bool has_line(const std::string& text, const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("status: Prometheus text has a family a name, labels escaped, histograms cumulative") {
    const std::string text = to_prometheus({sample(), sample()});
    CHECK(has_line(text, R"(headgate_resource_pool_leased{zone="sh\"op\n",name="db"} 3)"));
    CHECK(has_line(text, R"(headgate_resource_pool_granted_total{zone="sh\"op\n",name="db"} 70)"));
    CHECK(has_line(text, R"(headgate_resource_pool_state{zone="sh\"op\n",name="db",state="paused"} 1)"));
    CHECK(has_line(text, R"(headgate_resource_pool_state{zone="sh\"op\n",name="db",state="active"} 0)"));
    CHECK(has_line(text, R"(headgate_resource_pool_wait_seconds_count{zone="sh\"op\n",name="db"} 2)"));
    CHECK(has_line(text, R"(headgate_resource_pool_wait_seconds_bucket{zone="sh\"op\n",name="db",le="0.005"} 1)"));
    CHECK(has_line(text, R"(headgate_resource_pool_wait_seconds_bucket{zone="sh\"op\n",name="db",le="+Inf"} 2)"));
    CHECK(has_line(text, "# TYPE headgate_rate_limiter_granted_total counter"));
    // Each family appears once, with the metrics of all zones.
    const std::string type = "# TYPE headgate_resource_pool_leased gauge\n";
    CHECK(text.find(type) == text.rfind(type));
}

TEST_CASE("status: a sum of durations that is longer than a duration can be goes on") {
    latency_histogram wait;
    for (int i = 0; i < 3; ++i) {
        wait.record(duration::max());
    }
    zone_snapshot z = sample();
    z.primitives[0].latencies[0].durations = wait;
    const std::string text = to_prometheus({z});
    const std::string series = R"(headgate_resource_pool_wait_seconds_sum{zone="sh\"op\n",name="db"} )";
    const auto at = text.find(series);
    REQUIRE(at != std::string::npos);
    CHECK(std::stod(text.substr(at + series.size())) == doctest::Approx(3 * 9'223'372'036.854775807));
}

TEST_CASE("status: JSON has all of it, and survives bytes that are no UTF-8") {
    const std::string text = to_json({sample()});
    CHECK(text.find(R"("name":"sh\"op\n")") != std::string::npos);
    CHECK(text.find(R"("leased":3)") != std::string::npos);
    CHECK(text.find(R"("state":"paused")") != std::string::npos);
    CHECK(text.find("\"p99_ms\":") != std::string::npos);
    CHECK(text.find("\"key\":\"a\xEF\xBF\xBD\"") != std::string::npos);
    CHECK(to_json({}) == "[]");
}

TEST_CASE("status: names that are there twice are told apart, in every format") {
    zone_snapshot twins = sample();
    twins.name = "shop";
    twins.primitives[0].name = "a\xff";
    twins.primitives.push_back(twins.primitives[0]);
    twins.primitives.back().name = "a\xfe";  // the same name when it is made readable
    zone_snapshot sly = twins;
    sly.name = "shop#2";
    const std::vector<zone_snapshot> zones = {twins, twins, sly};

    std::istringstream text(to_prometheus(zones));
    std::multiset<std::string> series;
    for (std::string line; std::getline(text, line);) {
        if (!line.starts_with('#')) {
            series.insert(line.substr(0, line.rfind(' ')));
        }
    }
    CHECK(series.size() == std::set<std::string>(series.begin(), series.end()).size());
    CHECK(series.contains("headgate_resource_pool_leased{zone=\"shop#2#2\",name=\"a\xEF\xBF\xBD#2\"}"));

    const auto data = nlohmann::json::parse(to_json(zones));
    CHECK(data[0]["name"] == "shop");
    CHECK(data[1]["name"] == "shop#2");
    CHECK(data[2]["name"] == "shop#2#2");
    CHECK(data[1]["primitives"][2]["name"] == "a\xEF\xBF\xBD#2");
    CHECK(data[1]["primitives"][1]["name"] == "calls");  // another kind is another series
}

TEST_CASE("status: whatever bytes a name has, what goes out is UTF-8") {
    std::mt19937 random(7);
    constexpr char some[] = "a\"\\\n\r\t\x01\x7f\0\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xC0\xAF\xED\xA0\x80\xF5\xE0\x80";
    for (int i = 0; i < 20'000; ++i) {
        std::string bytes;
        for (auto n = random() % 12; n > 0; --n) {
            bytes += random() % 3 == 0 ? static_cast<char>(random()) : some[random() % (sizeof some - 1)];
        }
        // nlohmann::json replaces wrong bytes by the same rule, except that it keeps zero bytes.
        using json = nlohmann::json;
        auto right = json::parse(json(bytes).dump(-1, ' ', false, json::error_handler_t::replace)).get<std::string>();
        for (auto at = right.find('\0'); at != std::string::npos; at = right.find('\0')) {
            right.replace(at, 1, "\xEF\xBF\xBD");
        }
        REQUIRE(detail::readable(bytes) == right);
        zone_snapshot z = sample();
        z.name = bytes;
        CHECK_NOTHROW(static_cast<void>(json(to_prometheus({z})).dump()));
    }
}

TEST_CASE("status: the token of a header, whatever the case of its scheme") {
    for (const char* right : {"Bearer x y", "bearer x y", "BEARER  x y", "bEaReR\tx y ", "Bearer \t x y\t"}) {
        CHECK(token_of(right) == "x y");
        CHECK(bearer_token("x y")(right));
    }
    for (const char* none : {"", "Bearer", "Bearer ", "Bearerx", "Basic x", "Bearer-x x", " Bearer x", "x"}) {
        CHECK(token_of(none).empty());
        CHECK_FALSE(bearer_token("x")(none));
    }
    CHECK_FALSE(bearer_token("Secret")("Bearer secret"));
    CHECK_FALSE(bearer_token("secret")("secret"));
}

TEST_CASE("status: a host is one of this server, another, or none at all") {
    namespace ip = boost::asio::ip;
    using detail::host_verdict;
    const detail::host_rule here(ip::make_address("127.0.0.1"), {"a.example.", "B.example"});
    const detail::host_rule everywhere(ip::make_address("::"), {});
    for (const char* ours :
         {"localhost", "LocalHost.:1", "127.0.0.1", "127.255.0.1:65535", "[::1]", "[::ffff:127.0.0.1]:1"}) {
        CHECK(here.judge(ours) == host_verdict::allowed);
        CHECK(everywhere.judge(ours) == host_verdict::allowed);
        CHECK(names_this_machine(ours));
    }
    for (const char* ours : {"A.EXAMPLE", "a.example.:80", "b.example"}) {
        CHECK(here.judge(ours) == host_verdict::allowed);
        CHECK(everywhere.judge(ours) == host_verdict::foreign);
        CHECK_FALSE(names_this_machine(ours));
    }
    for (const char* address : {"192.0.2.1:80", "[2001:db8::1]", "[::ffff:192.0.2.1]"}) {
        CHECK(here.judge(address) == host_verdict::foreign);
        CHECK(everywhere.judge(address) == host_verdict::allowed);  // nobody can make an address point elsewhere
    }
    for (const char* foreign :
         {"evil.example", "x.a.example", "0.0.0.0", "[::]", "127.1", "localhost.localhost", "."}) {
        CHECK(here.judge(foreign) == host_verdict::foreign);
        CHECK(everywhere.judge(foreign) == host_verdict::foreign);
    }
    for (const char* broken : {"", ":80", "::1", "[]", "[::1", "[::1]80", "[127.0.0.1]", "a b", "a:b", "a:65536",
                               "a:80:80", "u@localhost", "localhost/", "localhost?", "\xC3\xA9", "[fe80::1%eth0]"}) {
        CAPTURE(broken);
        CHECK(here.judge(broken) == host_verdict::malformed);
        CHECK_FALSE(names_this_machine(broken));
    }
}

TEST_CASE("status: what cannot be reached or cannot be said is refused at the start") {
    for (const char* token : {"secret\n", " secret", "secret ", "se\tcret",
                              "s\xC3\xA9"
                              "cret"}) {
        CHECK(status_server::start({.admin_token = token}).error() == errc::invalid_argument);
    }
    CHECK(status_server::start({.admin_token = "two words"}));
    for (const char* name : {"", "a:80", "http://a", "a/b", "[::1]", "a b", "*"}) {
        CHECK(status_server::start({.host_names = {"a.example", name}}).error() == errc::invalid_argument);
    }
}

TEST_CASE("status: an address that is none, and a port that is taken, are errors") {
    CHECK(status_server::start({.address = "localhost"}).error() == errc::invalid_argument);
    const auto first = status_server::start();
    REQUIRE(first);
    CHECK(first.value()->url() == "http://127.0.0.1:" + std::to_string(first.value()->port()) + "/");
    const auto second = status_server::start({.port = first.value()->port()});
    REQUIRE_FALSE(second);
    CHECK(second.error().code == boost::system::errc::address_in_use);
}

TEST_CASE("status: it may go before and after what it shows is used") {
    boost::asio::io_context io;
    zone z(io, "z");
    auto breaker = circuit_breaker::create(z, "b").value();
    {
        const auto status = status_server::start().value();
        status->site().add(z);
        breaker.trip();
    }
    breaker.reset();
    io.poll();
    CHECK(breaker.state() == breaker_state::closed);
}

TEST_CASE("site: answers without a server, and only who may act acts") {
    boost::asio::io_context io;
    zone z(io, "z");
    status_site open_to_all([](std::string_view) { return true; });
    status_site shows_only;
    status_site with_token(bearer_token("secret"));
    int ran = 0;
    for (status_site* site : {&open_to_all, &shows_only, &with_token}) {
        site->add(z);
        site->add_action("Heal", [&] { ++ran; });
        CHECK(site->answer({.method = "GET", .target = "/healthz"}).status == 200);
        CHECK(site->answer({.method = "GET", .target = "/status.json?since=7"}).body.find("\"events\":[]") !=
              std::string::npos);
        CHECK(site->answer({.method = "GET", .target = "/elsewhere"}).status == 404);
        CHECK(site->answer({.method = "PUT", .target = "/"}).status == 405);
        CHECK(site->answer({.method = "GET", .target = "/admin"}).status == 405);
    }
    const auto act = [](status_site& site, std::string_view authorization, std::string_view body) {
        return site.answer({.method = "POST", .target = "/admin", .authorization = authorization, .body = body}).status;
    };
    const std::string_view heal = R"({"action": "run", "name": "Heal"})";
    CHECK(act(shows_only, "Bearer secret", heal) == 403);
    CHECK(act(with_token, "", heal) == 401);
    CHECK(act(with_token, "Bearer secre", heal) == 401);
    CHECK(ran == 0);
    CHECK(act(with_token, "Bearer secret", heal) == 200);
    CHECK(act(open_to_all, "", heal) == 200);
    CHECK(ran == 2);
    CHECK(act(open_to_all, "", R"({"action": "run", "name": "Break"})") == 404);
    CHECK(act(open_to_all, "", "{") == 400);
    const auto why = [&](std::string_view body) {
        return nlohmann::json::parse(open_to_all.answer({.method = "POST", .target = "/admin", .body = body}).body)
            .at("detail")
            .get<std::string>();
    };
    CHECK(why("{").find("the body must be a JSON object") != std::string::npos);
    CHECK(why("[]").find("the body must be a JSON object") != std::string::npos);
    for (const char* body : {R"({"action": "pause", "cost": 1e999})", R"({"action": "pause", "cost": [1, -1e999]})"}) {
        CHECK(act(open_to_all, "", body) == 400);
        CHECK(why(body).find("\"cost\" has a number out of range") != std::string::npos);
    }
    CHECK(bearer_token("") == nullptr);
    const auto tells = [](status_site& site) { return site.answer({.method = "GET", .target = "/status.json"}).body; };
    CHECK(tells(open_to_all).find("\"admin\":true,\"events\"") != std::string::npos);
    CHECK(tells(open_to_all).find("\"needs_token\":false") != std::string::npos);
    CHECK(tells(with_token).find("\"needs_token\":true") != std::string::npos);
    CHECK(tells(shows_only).find("\"admin\":false") != std::string::npos);
    CHECK(tells(shows_only).find("\"actions\":[\"Heal\"]") != std::string::npos);
    z.close([](const auto&) {});
    io.run();
    CHECK(open_to_all.answer({.method = "GET", .target = "/readyz"}).status == 503);
}

namespace {

nlohmann::json shown_by(status_site& site, const std::string& target = "/status.json") {
    return nlohmann::json::parse(site.answer({.method = "GET", .target = target}).body);
}

std::vector<std::string> names_of(const nlohmann::json& shown) {
    std::vector<std::string> out;
    for (const auto& z : shown["zones"]) {
        out.push_back(z["name"]);
    }
    return out;
}

status_answer act(status_site& site, const nlohmann::json& what) {
    const std::string body = what.dump();
    return site.answer({.method = "POST", .target = "/admin", .authorization = {}, .body = body});
}

}  // namespace

TEST_CASE("site: the history of a part is told by the id that it has in the data") {
    boost::asio::io_context io;
    zone z(io, "z");
    const auto pool = bulkhead::create(z, "reports", {.max_concurrent = 2}).value();
    const auto held = pool.try_enter();
    status_site site;
    site.add(z);
    const auto get = [&](const std::string& target) {
        return nlohmann::json::parse(site.answer({.method = "GET", .target = target}).body);
    };
    const auto id_now = [&] { return get("/status.json")["zones"][0]["primitives"][0]["id"].get<std::uint64_t>(); };
    CHECK(id_now() == 0);  // no sample yet
    site.sample();
    const std::string id = std::to_string(id_now());
    CHECK(id != "0");
    const auto told = get("/history.json?parts=7777," + id + ",x,&since=0");
    CHECK(told["last"] == 1);
    CHECK(told["times"].size() == 1);
    CHECK(told["parts"].size() == 1);
    CHECK(told["parts"][id] == nlohmann::json::parse("[[1.0], [0.0]]"));
    CHECK(get("/history.json?parts=" + id + "&since=1")["parts"][id] == nlohmann::json::parse("[[], []]"));
    CHECK(get("/history.json")["parts"].empty());
}

TEST_CASE("site: an action that throws is answered, and stands among the events; so is a check that throws") {
    status_site site([](std::string_view token) {
        return token.empty() ? true : throw std::runtime_error("no directory of users");
    });
    site.add_action("text", [] { throw std::runtime_error("a spark"); });
    site.add_action("memory", [] { throw std::bad_alloc(); });
    site.add_action("number", [] { throw 42; });
    for (const char* name : {"text", "memory", "number"}) {
        const auto answer = act(site, {{"action", "run"}, {"name", name}});
        CHECK(answer.status == 500);
        CHECK(nlohmann::json::parse(answer.body)["detail"].get<std::string>().find(name) != std::string::npos);
    }
    CHECK(site.answer({.method = "POST", .target = "/admin", .authorization = "x", .body = "{}"}).status == 500);
    const auto events = shown_by(site)["events"];
    REQUIRE(events.size() == 4);
    CHECK(events[0]["event"] == "action_failed");
    CHECK(events[0]["name"] == "text");
    CHECK(events[0]["detail"] == "a spark");
    CHECK(events[3]["event"] == "request_failed");
}

TEST_CASE("site: two zones of one name are two, and each is acted on under its own") {
    boost::asio::io_context io;
    zone one(io, "z"), other(io, "z"), bytes(io, "z\xff");
    auto first = circuit_breaker::create(one, "b").value();
    auto second = circuit_breaker::create(other, "b").value();
    auto odd = circuit_breaker::create(bytes, "b\xff\"\n").value();
    status_site site([](std::string_view) { return true; });
    for (zone* z : {&one, &other, &one, &bytes}) {
        site.add(*z);
    }
    const auto names = names_of(shown_by(site));
    REQUIRE(names == std::vector<std::string>{"z", "z#2", "z\xEF\xBF\xBD"});
    CHECK(act(site, {{"action", "force_open"}, {"zone", "z"}, {"name", "b"}}).status == 200);
    CHECK(first.state() == breaker_state::open);
    CHECK(second.state() == breaker_state::closed);
    CHECK(act(site, {{"action", "force_open"}, {"zone", "z#2"}, {"name", "b"}}).status == 200);
    CHECK(second.state() == breaker_state::open);
    const std::string shown_name = shown_by(site)["zones"][2]["primitives"][0]["name"];
    CHECK(act(site, {{"action", "force_open"}, {"zone", names[2]}, {"name", shown_name}}).status == 200);
    CHECK(odd.state() == breaker_state::open);
    io.poll();
    std::vector<std::string> heard;
    const auto events = shown_by(site)["events"];
    for (const auto& e : events) {
        if (e["event"] == "breaker_state") {
            heard.push_back(e["zone"]);
        }
    }
    CHECK(heard == names);
}

TEST_CASE("site: a zone keeps its name while it is shown, and leaves it when a reload drops it") {
    boost::asio::io_context io;
    const auto both = config::parse(R"({"zones": {"a": {}, "b": {}}})").value();
    const auto only_b = config::parse(R"({"zones": {"b": {}}})").value();
    const auto set = zone_set::create(io, both).value();
    zone outside(io, "b");
    status_site site;
    site.add(*set);
    CHECK(names_of(shown_by(site)) == std::vector<std::string>{"a", "b"});
    site.add(outside);
    CHECK(names_of(shown_by(site)) == std::vector<std::string>{"b#2", "a", "b"});
    REQUIRE(set->reload(only_b));
    CHECK(names_of(shown_by(site)) == std::vector<std::string>{"b#2", "b"});
    for (int i = 0; i < 3; ++i) {
        REQUIRE(set->reload(both));
        CHECK(names_of(shown_by(site)) == std::vector<std::string>{"b#2", "a", "b"});
        REQUIRE(set->reload(only_b));
        io.poll();
    }
}

TEST_CASE("site: a look keeps the zones of a set that a reload drops meanwhile") {
    boost::asio::io_context io;
    const auto set = zone_set::create(io, config::parse(R"({"zones": {"a": {}}})").value()).value();
    detail::shown_zones zones;
    zones.add(*set);
    const auto shown = zones.look();
    REQUIRE(set->reload(config::parse(R"({"zones": {}})").value()));
    io.poll();
    REQUIRE(shown.find("a") != nullptr);
    CHECK(shown.find("a")->name() == "a");
    CHECK(shown.snapshots().size() == 1);
    CHECK(zones.look().find("a") == nullptr);
}

TEST_CASE("site: an event has the system's time of its moment, also when the clock has stepped since") {
    virtual_clock clock;
    boost::asio::io_context io;
    zone z(io, "z", {.clock = &clock});
    auto breaker = circuit_breaker::create(z, "b").value();
    status_site site;
    site.add(z);
    const auto then = clock.system_now();
    breaker.trip();
    clock.step_system(1h);
    clock.run_for(io, 0s);
    const auto events = shown_by(site)["events"];
    REQUIRE(events.size() == 1);
    CHECK(events[0]["time"] == std::chrono::duration_cast<std::chrono::milliseconds>(then.time_since_epoch()).count());
}

TEST_CASE("site: a target is a path or a whole URL, and since may stand anywhere in its query") {
    boost::asio::io_context io;
    zone z(io, "z");
    auto breaker = circuit_breaker::create(z, "b").value();
    status_site site;
    site.add(z);
    breaker.trip();
    io.poll();
    for (const char* target : {"/status.json", "/status.json?since=0", "/status.json?x=1&since=0",
                               "/status.json?since=x", "/status.json?since=-1", "/status.json?sincere=9",
                               "http://h/status.json", "HTTPS://h:1/status.json?since=0"}) {
        CAPTURE(target);
        CHECK(shown_by(site, target)["events"].size() == 1);
    }
    for (const char* target : {"/status.json?since=1", "/status.json?x&since=1&since=0", "http://h/status.json?since=1",
                               "/status.json?since=18446744073709551615"}) {
        CHECK(shown_by(site, target)["events"].empty());
    }
    for (const char* page : {"http://h", "http://h/", "http://h?x=1", "http://h:80?/metrics"}) {
        CHECK(site.answer({.method = "GET", .target = page}).body.find("<title>headgate</title>") != std::string::npos);
    }
    for (const char* nothing :
         {"", "*", "h/status.json", "http:/status.json", "ftp://h/status.json", "//h/status.json"}) {
        CHECK(site.answer({.method = "GET", .target = nothing}).status == 404);
    }
    const auto allowed = site.answer({.method = "PUT", .target = "/"}).headers;
    CHECK(std::find(allowed.begin(), allowed.end(), std::pair<std::string, std::string>("Allow", "GET, HEAD")) !=
          allowed.end());
}
