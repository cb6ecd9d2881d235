// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <headgate/resource_pool.hpp>
#include <headgate/virtual_clock.hpp>
#include <headgate/with_timeout.hpp>

#include "server.hpp"

// Several hosts, the check whether a connection's server is still there, and the credentials for the login.

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using asio::ip::tcp;
using clock = std::chrono::steady_clock;

/// A server that says nothing. The kernel accepts its connections, or drops them because its queue is full.
class silent_server {
public:
    enum class kind { accepts, drops };

    silent_server(asio::io_context& io, kind what) : acceptor_(io) {
        acceptor_.open(tcp::v4());
        acceptor_.bind({asio::ip::make_address("127.0.0.1"), 0});
        acceptor_.listen(what == kind::drops ? 0 : 100);
        if (what == kind::drops) {  // fills the queue
            for (int i = 0; i < 4; ++i) {
                callers_.emplace_back(io).async_connect(acceptor_.local_endpoint(), [](boost::system::error_code) {});
            }
            io.restart();
            io.run_for(20ms);
        }
    }

    [[nodiscard]] std::string port() const { return std::to_string(acceptor_.local_endpoint().port()); }

private:
    tcp::acceptor acceptor_;
    std::list<tcp::socket> callers_;
};

struct several : postgres_fixture {
    asio::io_context elsewhere;

    std::string good_port() {
        const std::string url = server_url();
        return url.substr(url.rfind(':') + 1, url.rfind('/') - url.rfind(':') - 1);
    }
    static std::string url(const std::string& hosts, const std::string& ports, const std::string& more = "") {
        return "user=headgate password=open-sesame dbname=postgres host=" + hosts + " port=" + ports + ' ' + more;
    }
    // The time that a connect to the URL `to` takes.
    clock::duration time_to_connect(const std::string& to) {
        backend = postgres_backend::create({.url = to}).value();
        const auto start = clock::now();
        auto c = connect();
        const auto took = clock::now() - start;
        CHECK(value<std::int64_t>(c, "select 1") == 1);
        return took;
    }
};

TEST_CASE_FIXTURE(several, "postgres: a silent host does not eat the time of the others") {
    const silent_server accepts(elsewhere, silent_server::kind::accepts);
    const silent_server drops(elsewhere, silent_server::kind::drops);
    CHECK(time_to_connect(url("127.0.0.1,127.0.0.1", accepts.port() + ',' + good_port())) < 2s);
    CHECK(time_to_connect(url("127.0.0.1,127.0.0.1", drops.port() + ',' + good_port())) < 1s);
    const std::string silent = drops.port() + ',' + drops.port() + ',' + drops.port() + ',';
    CHECK(time_to_connect(url("127.0.0.1,127.0.0.1,127.0.0.1,127.0.0.1", silent + good_port())) < 2s);
    CHECK(time_to_connect("user=headgate password=open-sesame dbname=postgres hostaddr=127.0.0.1,127.0.0.1 port=" +
                          drops.port() + ',' + good_port()) < 1s);
    CHECK(time_to_connect("user=headgate password=open-sesame dbname=postgres host=one,two "
                          "hostaddr=127.0.0.1,127.0.0.1 port=" +
                          drops.port() + ',' + good_port()) < 1s);
    // The same with names, each of which may have several addresses.
    CHECK(time_to_connect(url("localhost,localhost", drops.port() + ',' + good_port())) < 1500ms);
    // The first host that answers is taken, also when the silent host is not the first.
    CHECK(time_to_connect(url("127.0.0.1,127.0.0.1", good_port() + ',' + drops.port())) < 1s);
}

TEST_CASE_FIXTURE(several, "postgres: a pool connects within its own time beside a silent host") {
    const silent_server silent(elsewhere, silent_server::kind::accepts);
    zone z(io, "test");
    backend = postgres_backend::create({.url = url("127.0.0.1,127.0.0.1", silent.port() + ',' + good_port())}).value();
    auto pool =
        resource_pool<postgres_connection>::create(z, "db", {.size = 1, .max_wait = 4s, .connect_timeout = 3s}, backend)
            .value();
    const auto op = [](postgres_connection& c) { return c.query("select 1"); };
    CHECK(finish(pool.with(op)));
    z.close();
}

TEST_CASE_FIXTURE(several, "postgres: virtual time does not pass while a name is looked up") {
    virtual_clock virtual_time;
    zone z(io, "test", {.clock = &virtual_time});
    backend = postgres_backend::create({.url = url("nowhere.invalid", "5432")}).value();
    std::string order;
    z.sleep_for(5s, [&](const result<void>&) { order += "deadline "; });
    spawn(io.get_executor(), backend.connect(), [&](const result<postgres_connection>& r) {
        CHECK_FALSE(r.has_value());
        order += "unknown ";
    });
    virtual_time.run(io);
    CHECK(order == "unknown deadline ");
}

asio::awaitable<result<postgres_connection>> connect_to(postgres_backend& backend) {
    return backend.connect();
}

TEST_CASE_FIXTURE(several, "postgres: a connect to hosts that are all silent ends with its time, and leaves nothing") {
    const silent_server accepts(elsewhere, silent_server::kind::accepts);
    const silent_server drops(elsewhere, silent_server::kind::drops);
    zone z(io, "test");
    (void)connect();
    const std::size_t before = open_descriptors();
    const std::string ports = accepts.port() + ',' + drops.port() + ',' + accepts.port() + ',' + drops.port();
    for (const char* host : {"127.0.0.1", "localhost"}) {
        std::string hosts = host;
        hosts = hosts + ',' + hosts + ',' + hosts + ',' + hosts;
        backend = postgres_backend::create({.url = url(hosts, ports)}).value();
        for (const auto limit : {0ms, 1ms, 100ms, 1500ms}) {
            CHECK_FALSE(finish(with_timeout(z, limit, connect_to, std::ref(backend))));
        }
    }
    io.restart();
    io.run_for(50ms);
    const auto end = clock::now() + 5s;
    while (open_descriptors() != before && clock::now() < end) {
    }
    CHECK(open_descriptors() == before);
}

TEST_CASE_FIXTURE(several, "postgres: an io_context may go while several hosts are tried") {
    const silent_server silent(elsewhere, silent_server::kind::accepts);
    const std::string ports = silent.port() + ',' + silent.port() + ',' + silent.port();
    auto own = postgres_backend::create({.url = url("127.0.0.1,localhost,127.0.0.1", ports)}).value();
    for (const auto delay : {0ms, 1ms, 300ms, 1100ms}) {
        asio::io_context gone;
        spawn(gone, own.connect(), [](const auto&) {});
        gone.run_for(delay);
    }
}

TEST_CASE_FIXTURE(several, "postgres: which answer of several hosts counts") {
    const auto code_of = [&](const std::string& to) {
        backend = postgres_backend::create({.url = to}).value();
        const auto r = finish(backend.connect());
        return r ? boost::system::error_code() : r.error().code;
    };
    const std::string here = good_port();
    const std::string two = here + ',' + here;
    // A server that refuses the login has answered. The next host is not asked.
    CHECK(code_of("user=headgate password=wrong dbname=postgres host=127.0.0.1,127.0.0.1 port=" + two) ==
          sqlstate("28P01"));
    CHECK(code_of("user=headgate password=wrong dbname=postgres host=127.0.0.1,127.0.0.1 port=" + here + ",1") ==
          sqlstate("28P01"));
    CHECK(code_of(url("127.0.0.1,127.0.0.1", "1,1")) == sqlstate("08001"));
    CHECK_FALSE(code_of(url("127.0.0.1,/nowhere,127.0.0.1", "1,1," + here)).failed());
    CHECK_FALSE(code_of(url("127.0.0.1", here, "target_session_attrs=read-write")).failed());
    CHECK_FALSE(code_of(url("127.0.0.1,127.0.0.1", two, "target_session_attrs=prefer-standby")).failed());
    CHECK_FALSE(code_of(url("localhost", here, "target_session_attrs=prefer-standby")).failed());
    CHECK(code_of(url("127.0.0.1,127.0.0.1", two, "target_session_attrs=standby")) == sqlstate("08001"));
    const auto wrong = postgres_backend::create({.url = "host=a,b hostaddr=127.0.0.1"});
    CHECK(wrong.error() == errc::invalid_argument);
    CHECK(wrong.error().detail->find("2 hosts, but 1 addresses") != std::string::npos);
    // The error tells of all hosts.
    backend = postgres_backend::create({.url = url("127.0.0.1,no-such-host.invalid", "1,2")}).value();
    const std::string said = finish(backend.connect()).error().message();
    CHECK(said.find("port 1 failed") != std::string::npos);
    CHECK(said.find("no-such-host.invalid") != std::string::npos);
}

// Whether it is alive: ---------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(postgres_fixture, "postgres: a connection is alive until the server ends it, which costs no query") {
    auto c = connect();
    CHECK(backend.is_alive(c));
    REQUIRE(query(c, "select 1"));
    REQUIRE(finish(backend.reset(c)));
    CHECK(backend.is_alive(c));
    SUBCASE("it runs a statement") {
        std::optional<result<sql_rows>> r;
        spawn(io.get_executor(), c.query("select pg_sleep(0.05)"), [&](auto got) { r.emplace(std::move(got)); });
        io.restart();
        io.run_for(10ms);
        CHECK_FALSE(backend.is_alive(c));
        io.restart();
        io.run_for(1s);
        REQUIRE(r.has_value());
        CHECK(backend.is_alive(c));
        return;
    }
    SUBCASE("it is ended") {
        auto other = connect();
        const auto pid = value<std::int64_t>(c, "select pg_backend_pid()");
        REQUIRE(query(other, "select pg_terminate_backend($1::int, 5000)", pid));
    }
    SUBCASE("the server is killed") {
        tell_server("kill");
        tell_server("start");
    }
    CHECK(c.is_open());  // as far as is known without looking
    CHECK_FALSE(backend.is_alive(c));
    CHECK_FALSE(query(c, "select 1"));
    CHECK_FALSE(backend.is_alive(c));
    const postgres_connection taken = std::move(c);
    CHECK_FALSE(backend.is_alive(c));  // NOLINT(bugprone-use-after-move): that is the question
}

// Credentials: -----------------------------------------------------------------------------------------------------

struct secretive : several {
    // Connects with a URL that has neither user nor password.
    result<postgres_connection> connect_as(postgres_credentials_source credentials) {
        backend = postgres_backend::create({.url = "dbname=postgres host=127.0.0.1 port=" + good_port(),
                                            .credentials = std::move(credentials)})
                      .value();
        return finish(backend.connect());
    }
};

const postgres_credentials right{"headgate", "open-sesame"};

asio::awaitable<postgres_credentials> fetch() {
    co_await asio::steady_timer(co_await asio::this_coro::executor, 5ms).async_wait(asio::use_awaitable);
    co_return right;
}

TEST_CASE_FIXTURE(secretive, "postgres: credentials come from a callback of any kind") {
    CHECK(connect_as([] { return right; }));
    CHECK(connect_as([] { return result<postgres_credentials>(right); }));
    CHECK(connect_as(fetch));
    CHECK(connect_as([]() -> asio::awaitable<result<postgres_credentials>> {
        const postgres_credentials got = co_await fetch();
        co_return got;
    }));
    CHECK(connect_as([moved = std::make_unique<postgres_credentials>(right)] { return *moved; }));
    CHECK(connect_as([] { return postgres_credentials{"headgate", "close-sesame"}; }).error().code ==
          sqlstate("28P01"));
    // A field that the callback leaves empty comes from the URL.
    backend = postgres_backend::create({.url = server_url_with("open-sesame", "close-sesame"),
                                        .credentials = [] { return postgres_credentials{"", "open-sesame"}; }})
                  .value();
    CHECK(finish(backend.connect()));
}

TEST_CASE_FIXTURE(secretive, "postgres: a password that changes is asked for at each connect") {
    int asked = 0;
    const auto rotating = [&asked] {
        return postgres_credentials{"headgate", ++asked == 2 ? "expired" : "open-sesame"};
    };
    CHECK(connect_as(rotating));
    CHECK(finish(backend.connect()).error().code == sqlstate("28P01"));
    const postgres_backend copy = backend;
    backend = copy;
    CHECK(finish(backend.connect()));
    CHECK(asked == 3);
}

asio::awaitable<postgres_credentials> throw_later() {
    co_await fetch();
    throw std::runtime_error("no token");
}
asio::awaitable<postgres_credentials> hang() {
    asio::steady_timer never(co_await asio::this_coro::executor, std::chrono::hours(1));
    co_await never.async_wait(asio::use_awaitable);
    co_return right;
}
// Catches its cancellation and goes on.
asio::awaitable<result<postgres_credentials>> hang_and_go_on() {
    try {
        co_await hang();
    } catch (const boost::system::system_error&) {
    }
    co_return right;
}

void check_no_token(const result<postgres_connection>& r) {
    REQUIRE_FALSE(r);
    CHECK(r.error() == errc::operation_failed);
    CHECK(r.error().message().find("no token") != std::string::npos);
}

TEST_CASE_FIXTURE(secretive, "postgres: a callback for credentials that fails is the error of the connect") {
    check_no_token(connect_as([]() -> postgres_credentials { throw std::runtime_error("no token"); }));
    check_no_token(connect_as(throw_later));
    CHECK(connect_as([] { return result<postgres_credentials>(errc::rate_limited); }).error() == errc::rate_limited);
    CHECK(connect_as([]() -> postgres_credentials { throw std::bad_alloc(); }).error() == errc::out_of_memory);
    CHECK(connect_as([]() -> postgres_credentials {
              throw boost::system::system_error(asio::error::operation_aborted);
          }).error() == errc::canceled);
    CHECK(connect_as([] { return postgres_credentials{"headgate", std::string("open-sesame\0", 12)}; }).error() ==
          errc::invalid_argument);
}

TEST_CASE_FIXTURE(secretive, "postgres: the time of the credentials counts to the connect, which cancels them") {
    zone z(io, "test");
    const std::string to = "dbname=postgres host=127.0.0.1 port=" + good_port();
    for (const postgres_credentials_source& slow :
         {postgres_credentials_source(hang), postgres_credentials_source(hang_and_go_on)}) {
        backend = postgres_backend::create({.url = to, .credentials = slow}).value();
        const auto start = clock::now();
        CHECK(finish(with_timeout(z, 50ms, connect_to, std::ref(backend))).error() == errc::timed_out);
        CHECK(clock::now() - start < 1s);
    }
    auto pool = resource_pool<postgres_connection>::create(
                    z, "db", {.size = 1, .max_wait = 2s, .connect_timeout = 50ms}, backend)
                    .value();
    CHECK(finish(pool.checkout().as_awaitable()).error() == errc::connect_failed);
    z.close();
    io.restart();
    io.run_for(100ms);
}

TEST_CASE_FIXTURE(secretive, "postgres: what a callback keeps lives until its last call has ended") {
    const auto kept = std::make_shared<int>(7);
    std::optional<result<postgres_connection>> out;
    {
        auto own = postgres_backend::create({.url = "dbname=postgres host=127.0.0.1 port=" + good_port(),
                                             .credentials = [kept]() -> asio::awaitable<postgres_credentials> {
                                                 co_await fetch();
                                                 CHECK(*kept == 7);
                                                 co_return right;
                                             }})
                       .value();
        spawn(io, own.connect(), [&](auto r) { out.emplace(std::move(r)); });
    }
    io.restart();
    io.run_for(2s);
    REQUIRE(out.has_value());
    CHECK(*out);
    out.reset();
    CHECK(kept.use_count() == 1);
}

}  // namespace
}  // namespace headgate
