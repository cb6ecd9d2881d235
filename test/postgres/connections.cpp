// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>

#include <headgate/resource_pool.hpp>
#include <headgate/with_timeout.hpp>

#include "server.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

asio::awaitable<result<sql_rows>> select_one(postgres_connection& c) {
    return c.query("select 1");
}

asio::awaitable<result<postgres_connection>> connect_to(postgres_backend& backend) {
    return backend.connect();
}

// The detail of the error that a wrong URL gives.
std::string complaint(const std::string& url) {
    const auto made = postgres_backend::create({.url = url});
    REQUIRE_FALSE(made);
    REQUIRE(made.error() == errc::invalid_argument);
    return *made.error().detail;
}

TEST_CASE("postgres: mistakes in the URL are told, but for the password") {
    CHECK(complaint("postgresql://host/db?no_such_option=1").find("\"no_such_option\"") != std::string::npos);
    CHECK(complaint("hots=localhost").find("\"hots\"") != std::string::npos);
    CHECK(complaint("postgresql://host:70000/db").find("65535") != std::string::npos);
    CHECK(complaint("postgresql://host:port/db").find("65535") != std::string::npos);
    CHECK(complaint("host=a,b,c port=1,2").find("3 hosts, but 2 ports") != std::string::npos);
    for (const char* url : {"secret", "password=open secret", "password='secret", "postgresql://u:secret%zz@host/db"}) {
        const std::string said = complaint(url);
        CAPTURE(said);
        CHECK(said.size() > 25);
        CHECK(said.find("secret") == std::string::npos);
    }
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: hosts by name, by number, several") {
    for (const char* host : {"127.0.0.1", "localhost", "no-such-host.invalid,localhost", "127.0.0.1,localhost"}) {
        CAPTURE(host);
        std::string url = server_url_with("127.0.0.1", host);
        if (std::string_view(host).find(',') != std::string_view::npos) {
            // As key=value, so that the port is given once for both.
            const auto port = url.substr(url.rfind(':') + 1, url.rfind('/') - url.rfind(':') - 1);
            url = "user=headgate password=open-sesame dbname=postgres port=" + port + " host=" + host;
        }
        backend = postgres_backend::create({.url = url, .application_name = "tests"}).value();
        auto c = connect();
        CHECK(value<std::string>(c, "show application_name") == "tests");
    }
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: a connection that is refused says why") {
    const auto code_of = [&](const std::string& url) {
        backend = postgres_backend::create({.url = url}).value();
        const auto r = finish(backend.connect());
        REQUIRE_FALSE(r);
        CHECK(r.error().message().find("sesame") == std::string::npos);
        CHECK(r.error().message().find("LOCATION") == std::string::npos);
        CHECK(r.error().message().find('\n') == std::string::npos);
        return r.error().code;
    };
    CHECK(code_of(server_url_with("open-sesame", "close-sesame")) == sqlstate("28P01"));
    CHECK(code_of(server_url_with("/postgres", "/no_such_database")) == sqlstate("3D000"));
    CHECK(code_of(server_url_with("127.0.0.1", "no-such-host.invalid")) == sqlstate("08001"));
    CHECK(code_of("postgresql://127.0.0.1:1/db") == sqlstate("08001"));
    // Of several hosts, the last one's reason counts.
    const std::string wrong = server_url_with("open-sesame@127.0.0.1", "close-sesame@127.0.0.1:1,127.0.0.1");
    CHECK(code_of(wrong) == sqlstate("28P01"));
    CHECK(code_of("host=/nowhere") == sqlstate("08001"));
    CHECK(code_of("postgresql://127.0.0.1/db?sslmode=nonsense") == sqlstate("08001"));
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: a connection that the server ends") {
    auto c = connect();
    auto other = connect();
    const auto pid = value<std::int64_t>(c, "select pg_backend_pid()");
    SUBCASE("between two statements") {
        REQUIRE(query(other, "select pg_terminate_backend($1::int, 5000)", pid));
        const auto r = query(c, "select 1");
        CHECK_MESSAGE(r.error().code == sqlstate("57P01"), r.error().message());
    }
    SUBCASE("during a statement") {
        std::optional<result<sql_rows>> r;
        spawn(io.get_executor(), c.query("select pg_sleep(10)"), [&](auto got) { r.emplace(std::move(got)); });
        REQUIRE(query(other, "select pg_terminate_backend($1::int, 5000)", pid));
        io.restart();
        io.run_for(2s);
        REQUIRE(r.has_value());
        CHECK_MESSAGE(r->error().code == sqlstate("57P01"), r->error().message());
    }
    CHECK_FALSE(c.is_open());
    CHECK(query(c, "select 1").error().code == sqlstate("08003"));
    CHECK_FALSE(finish(backend.ping(c)));
    CHECK_FALSE(finish(backend.reset(c)));
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: a pool replaces what a killed server leaves") {
    zone z(io, "test");
    auto pool = resource_pool<postgres_connection>::create(z, "db", {.size = 2, .backoff_max = 200ms}, backend).value();
    REQUIRE(finish(pool.with(select_one)));
    auto c = connect();
    std::optional<result<sql_rows>> running;
    spawn(io.get_executor(), c.query("select pg_sleep(10)"), [&](auto r) { running.emplace(std::move(r)); });
    io.restart();
    io.run_for(50ms);

    tell_server("kill");
    io.restart();
    io.run_for(200ms);
    REQUIRE(running.has_value());
    // A server process that sees its parent die before the statement's end reports that (57P02), or nothing.
    CHECK_MESSAGE((running->error().code == sqlstate("08006") || running->error().code == sqlstate("57P02")),
                  running->error().message());
    const auto down = finish(pool.with({.timeout = 300ms}, select_one));
    CHECK_FALSE(down);

    tell_server("start");
    const auto end = clock::now() + 10s;
    bool healed = false;
    while (!healed && clock::now() < end) {
        healed = finish(pool.with({.timeout = 500ms}, select_one)).has_value();
    }
    CHECK(healed);
    z.close();
    io.restart();
    io.run_for(5s);
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: a connect to a server that stands still is cancelled") {
    zone z(io, "test");
    tell_server("freeze");
    const auto start = clock::now();
    const auto r = finish(with_timeout(z, 200ms, connect_to, std::ref(backend)));
    const auto took = clock::now() - start;
    tell_server("thaw");
    CHECK(r.error() == errc::timed_out);
    CHECK(took < 1s);
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: a connection that goes while a statement runs") {
    auto observer = connect();
    std::optional<result<sql_rows>> r;
    {
        auto c = connect();
        spawn(io.get_executor(), c.query("select pg_sleep(10)"), [&](auto got) { r.emplace(std::move(got)); });
        io.restart();
        io.run_for(50ms);
        CHECK_FALSE(r.has_value());
    }
    io.restart();
    io.run_for(50ms);
    REQUIRE(r.has_value());
    CHECK(r->error().code == sqlstate("08006"));
    // After a while the statement is cancelled at the server too.
    const auto end = clock::now() + 5s;
    const std::string sleeping =
        "select count(*) from pg_stat_activity where query like '%sleep(10)%' and pid <> "
        "pg_backend_pid() and state = 'active'";
    while (value<std::int64_t>(observer, sleeping) != 0) {
        REQUIRE(clock::now() < end);
    }
}

// The connection lives in the coroutine's frame.
asio::awaitable<void> sleep_with_own(postgres_backend backend) {
    auto made = co_await backend.connect();
    postgres_connection c = std::move(made).value();
    (void)co_await c.query("select pg_sleep(10)");
}

TEST_CASE("postgres: an io_context that goes while something runs, and no descriptor is left") {
    auto backend = postgres_backend::create({.url = server_url()}).value();
    {
        asio::io_context first;  // Asio keeps some descriptors of its own
    }
    std::this_thread::sleep_for(300ms);  // an earlier test's cancellations may still run
    const std::size_t before = open_descriptors();
    for (const auto delay : {0ms, 1ms, 3ms, 10ms, 100ms}) {
        asio::io_context io;
        asio::co_spawn(io, sleep_with_own(backend), asio::detached);
        io.run_for(delay);
    }
    {
        asio::io_context io;
        zone z(io, "test");
        auto pool = resource_pool<postgres_connection>::create(z, "db", {.size = 3}, backend).value();
        const auto sleep = [](postgres_connection& c) { return c.query("select pg_sleep(10)"); };
        spawn(io, pool.with({.timeout = 50ms}, sleep).as_awaitable(), asio::detached);
        io.run_for(60ms);  // in the middle of the cancellation, or after it
    }
    const auto end = clock::now() + 5s;
    while (open_descriptors() != before && clock::now() < end) {  // the threads that cancel
    }
    CHECK(open_descriptors() == before);
}

}  // namespace
}  // namespace headgate
