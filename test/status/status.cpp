// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/circuit_breaker.hpp>
#include <headgate/status.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

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
    // Each family stands once, with the metrics of all zones.
    const std::string type = "# TYPE headgate_resource_pool_leased gauge\n";
    CHECK(text.find(type) == text.rfind(type));
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
