// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "server.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;

sql_blob bytes(std::string_view text) {
    const auto* first = reinterpret_cast<const std::byte*>(text.data());
    return {first, first + text.size()};
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: values come back as what they are") {
    auto c = connect();
    CHECK(value<std::int64_t>(c, "select 7::int2") == 7);
    CHECK(value<std::int64_t>(c, "select -7::int4") == -7);
    CHECK(value<std::int64_t>(c, "select 9223372036854775807") == std::numeric_limits<std::int64_t>::max());
    CHECK(value<std::int64_t>(c, "select 4294967295::oid") == 4294967295);
    CHECK(value<std::int64_t>(c, "select true") == 1);
    CHECK(value<std::int64_t>(c, "select false") == 0);
    CHECK(value<double>(c, "select 0.5::float4") == 0.5);
    CHECK(value<double>(c, "select 0.1::float8") == 0.1);
    CHECK(value<double>(c, "select '-Infinity'::float8") == -std::numeric_limits<double>::infinity());
    CHECK(std::isnan(value<double>(c, "select 'NaN'::float8")));
    CHECK(value<std::string>(c, "select 'Grüße'") == "Grüße");
    CHECK(value<std::string>(c, "select ''") == "");
    CHECK(value<std::string>(c, "select 1.50::numeric") == "1.50");
    CHECK(value<std::string>(c, "select '2026-01-02'::date") == "2026-01-02");
    CHECK(value<sql_blob>(c, "select '\\x00ff27'::bytea") == bytes({"\0\xff'", 3}));
    CHECK(value<sql_blob>(c, "select ''::bytea").empty());
    CHECK(value<std::monostate>(c, "select null::int") == std::monostate{});
    REQUIRE(query(c, "set bytea_output = 'escape'"));
    CHECK(value<sql_blob>(c, "select '\\x00ff27'::bytea") == bytes({"\0\xff'", 3}));
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: parameters arrive as what they are") {
    auto c = connect();
    CHECK(value<std::int64_t>(c, "select $1::int + $2::int", 40, 2) == 42);
    CHECK(value<std::int64_t>(c, "select $1::int8", std::numeric_limits<std::int64_t>::min()) ==
          std::numeric_limits<std::int64_t>::min());
    CHECK(value<std::int64_t>(c, "select $1::bool", true) == 1);
    CHECK(value<double>(c, "select $1::float8", 0.1) == 0.1);
    CHECK(value<double>(c, "select $1::float8", std::numeric_limits<double>::infinity()) ==
          std::numeric_limits<double>::infinity());
    CHECK(std::isnan(value<double>(c, "select $1::float8", std::nan(""))));
    CHECK(value<std::string>(c, "select $1::text || $2", "a'b\"c", std::string("ß")) == "a'b\"cß");
    CHECK(value<std::monostate>(c, "select $1::text", nullptr) == std::monostate{});
    CHECK(value<sql_blob>(c, "select $1", bytes({"\0\xff'", 3})) == bytes({"\0\xff'", 3}));
    CHECK(value<sql_blob>(c, "select $1", sql_blob{}).empty());
    const sql_params collected{std::int64_t{1}, std::string("x"), {}};
    const sql_rows rows = query(c, "select $1::int, $2::text, $3::text", collected).value();
    CHECK(rows.columns == std::vector<std::string>{"int4", "text", "text"});
    CHECK(rows.rows.at(0) == collected);
    CHECK(value<std::int64_t>(c, "select 1", sql_params{}) == 1);
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: special real numbers arrive as every type that has them") {
    auto c = connect();
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const double nan = std::nan("");
    const double negative_nan = std::copysign(nan, -1.0);
    for (const double n : {nan, negative_nan}) {
        CHECK(value<std::string>(c, "select $1::numeric", n) == "NaN");
        CHECK(std::isnan(value<double>(c, "select $1::float8", n)));
        CHECK(std::isnan(value<double>(c, "select $1::float4", n)));
        CHECK(value<std::string>(c, "select $1::text", n) == "NaN");
    }
    CHECK(value<std::string>(c, "select $1::numeric", infinity) == "Infinity");
    CHECK(value<std::string>(c, "select $1::numeric", -infinity) == "-Infinity");
    CHECK(value<double>(c, "select $1::float4", -infinity) == -infinity);
    CHECK(value<std::string>(c, "select $1::date::text", infinity) == "infinity");
    for (const double n : {0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
                           -1.7976931348623157e308, 9007199254740993.0, 1e22, 0.1, -1.0 / 3}) {
        CHECK(value<double>(c, "select $1::float8", n) == n);
        CHECK(value<double>(c, "select $1::numeric::float8", n) == n);
    }
    CHECK(std::signbit(value<double>(c, "select $1::float8", -0.0)));
    CHECK(value<double>(c, "select 1e-45::float4") == doctest::Approx(1.4e-45));
    CHECK(value<double>(c, "select 3.4028235e38::float4") == 3.4028235e38);
    // The server rounds this up out of the range of double. The text is better than another number.
    REQUIRE(query(c, "set extra_float_digits = -14"));
    CHECK(value<std::string>(c, "select 1.7976931348623157e308::float8") == "2e+308");
    CHECK(value<double>(c, "select 0.25::float8") == 0.2);
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: the ends of the integers, of text and of bytes") {
    auto c = connect();
    using limits = std::numeric_limits<std::int64_t>;
    for (const std::int64_t n : {limits::min(), std::int64_t{-1}, std::int64_t{0}, limits::max()}) {
        CHECK(value<std::int64_t>(c, "select $1::int8", n) == n);
        CHECK(value<std::string>(c, "select $1::numeric", n) == std::to_string(n));
    }
    CHECK(value<std::int64_t>(c, "select (-32768)::int2") == -32768);
    CHECK(value<std::int64_t>(c, "select (-2147483648)::int4") == -2147483648);
    CHECK(value<std::int64_t>(c, "select $1::bool", 0) == 0);
    CHECK(value<std::int64_t>(c, "select $1::bool", false) == 0);
    const char* const none = nullptr;
    CHECK(value<std::monostate>(c, "select $1::text", none) == std::monostate{});
    CHECK(value<std::string>(c, "select $1::text", "") == "");
    REQUIRE(query(c, "create domain pg_temp.small as int"));
    CHECK(value<std::int64_t>(c, "select 7::pg_temp.small") == 7);
    CHECK(value<std::string>(c, "select 'a'::\"char\"") == "a");
    CHECK(value<std::string>(c, "select '{1,2}'::int[]") == "{1,2}");
    for (const char* output : {"hex", "escape"}) {
        REQUIRE(query(c, std::string("set bytea_output = ") + output));
        CHECK(value<sql_blob>(c, "select $1", bytes({"\\\0'\x80\xff", 5})) == bytes({"\\\0'\x80\xff", 5}));
        CHECK(value<sql_blob>(c, "select ''::bytea").empty());
    }
    CHECK(query(c, "select $1::text", "\xff").error().code == sqlstate("22021"));
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: statements tell how many rows they changed") {
    auto c = connect();
    REQUIRE(query(c, "create temporary table t (n int primary key, s text)"));
    CHECK(query(c, "insert into t select n, 'x' from generate_series(1, 10) n").value().affected == 10);
    const sql_rows changed = query(c, "update t set s = $1 where n > $2 returning n", "y", 7).value();
    CHECK(changed.affected == 3);
    CHECK(changed.rows.size() == 3);
    const sql_rows read = query(c, "select n, s from t order by n").value();
    CHECK(read.affected == 0);
    CHECK(read.columns == std::vector<std::string>{"n", "s"});
    CHECK(read.rows.size() == 10);
    CHECK(query(c, "delete from t where n = 1").value().affected == 1);
    CHECK(query(c, "").value().rows.empty());
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: large values and many rows") {
    auto c = connect();
    const std::string large(10'000'000, 'x');
    CHECK(value<std::int64_t>(c, "select length($1)", large) == 10'000'000);
    CHECK(value<std::string>(c, "select $1::text", large) == large);
    CHECK(value<sql_blob>(c, "select $1", sql_blob(1'000'000, std::byte{7})) == sql_blob(1'000'000, std::byte{7}));
    const sql_rows rows = query(c, "select n, repeat('y', 20) from generate_series(1, 200000) n").value();
    REQUIRE(rows.rows.size() == 200'000);
    CHECK(*rows.get<std::int64_t>(199'999, 0) == 200'000);
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: errors carry the SQLSTATE and what the server said") {
    auto c = connect();
    REQUIRE(query(c, "create temporary table t (n int primary key)"));
    REQUIRE(query(c, "insert into t values (1)"));
    const auto twice = query(c, "insert into t values (1)");
    CHECK(twice.error().code == sqlstate("23505"));
    CHECK(twice.error().code.message() == "SQLSTATE 23505");
    CHECK(*twice.error().detail ==
          "duplicate key value violates unique constraint \"t_pkey\"; Key (n)=(1) already exists.");
    CHECK(query(c, "select * from nowhere").error().code == sqlstate("42P01"));
    CHECK(query(c, "select $1::int", "x").error().code == sqlstate("22P02"));
    CHECK(query(c, "selekt").error().code == sqlstate("42601"));
    CHECK(query(c, "select 1; select 2").error().code == sqlstate("42601"));
    CHECK(query(c, "select $1::int").error().code == sqlstate("08P01"));
    CHECK(query(c, "select $1::text", std::string("a\0b", 3)).error() == errc::invalid_argument);
    CHECK(query(c, std::string("select 1\0", 9)).error() == errc::invalid_argument);
    CHECK(query(c, "select 1", sql_params(70'000)).error() == errc::invalid_argument);
    CHECK(value<std::int64_t>(c, "select 1") == 1);
}

TEST_CASE("postgres: an SQLSTATE as error code") {
    CHECK(sqlstate("ZZZZZ").message() == "SQLSTATE ZZZZZ");
    CHECK(sqlstate("0A000").message() == "SQLSTATE 0A000");
    CHECK(sqlstate("0A000").category() == postgres_category());
    CHECK(sqlstate("08006") != sqlstate("08003"));
    CHECK(sqlstate("nope!").message() == "SQLSTATE XX000");
    CHECK(sqlstate("123456").message() == "SQLSTATE XX000");
    CHECK_FALSE(sqlstate("00000").failed());
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: transactions") {
    auto c = connect();
    REQUIRE(query(c, "create temporary table t (n int)"));
    REQUIRE(finish(c.begin()));
    REQUIRE(query(c, "insert into t values (1)"));
    REQUIRE(finish(c.commit()));
    REQUIRE(finish(c.begin()));
    REQUIRE(query(c, "insert into t values (2)"));
    REQUIRE(finish(c.rollback()));
    CHECK(value<std::int64_t>(c, "select sum(n) from t") == 1);

    REQUIRE(finish(c.begin()));
    CHECK(query(c, "selekt").error().code == sqlstate("42601"));
    CHECK(query(c, "select 1").error().code == sqlstate("25P02"));
    CHECK(finish(c.commit()).error().code == sqlstate("25P02"));
    CHECK(value<std::int64_t>(c, "select 1") == 1);
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: a reset leaves nothing of what the last user did") {
    auto c = connect();
    SUBCASE("an open transaction") {
        REQUIRE(finish(c.begin()));
        REQUIRE(query(c, "create table left_over (n int)"));
    }
    SUBCASE("a failed transaction") {
        REQUIRE(finish(c.begin()));
        CHECK_FALSE(query(c, "selekt"));
    }
    SUBCASE("settings and temporary tables") {
        REQUIRE(query(c, "set search_path = nowhere"));
        REQUIRE(query(c, "create temporary table left_over (n int)"));
        REQUIRE(query(c, "select pg_advisory_lock(1)"));
        REQUIRE(query(c, "listen news"));
    }
    SUBCASE("nothing") {}
    REQUIRE(finish(backend.reset(c)));
    CHECK(value<std::int64_t>(c, "select count(*) from pg_class where relname = 'left_over'") == 0);
    CHECK(value<std::int64_t>(c, "select count(*) from pg_locks where locktype = 'advisory'") == 0);
    CHECK(value<std::string>(c, "show search_path") == "\"$user\", public");
    REQUIRE(finish(backend.ping(c)));
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: notifications and notices are no trouble") {
    auto c = connect();
    auto other = connect();
    REQUIRE(query(c, "listen news"));
    REQUIRE(query(other, "notify news, 'hello'"));
    REQUIRE(query(c, "do $$ begin raise notice 'x'; end $$"));
    CHECK(value<std::int64_t>(c, "select 1") == 1);
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: COPY is refused, and breaks the connection") {
    for (const char* copy : {"copy (select generate_series(1, 1000000)) to stdout", "copy t from stdin"}) {
        auto c = connect();
        REQUIRE(query(c, "create temporary table t (n int)"));
        CHECK(query(c, copy).error().code == sqlstate("0A000"));
        CHECK_FALSE(c.is_open());
        CHECK(query(c, "select 1").error().code == sqlstate("08003"));
    }
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: one statement at a time") {
    auto c = connect();
    std::optional<result<sql_rows>> first;
    spawn(io.get_executor(), c.query("select pg_sleep(0.2), 5"), [&](auto r) { first.emplace(std::move(r)); });
    CHECK(query(c, "select 1").error() == errc::invalid_argument);
    CHECK_FALSE(finish(backend.reset(c)));
    io.restart();
    io.run_for(std::chrono::seconds(5));
    REQUIRE(first.has_value());
    CHECK(*first->value().get<std::int64_t>(0, 1) == 5);
    CHECK(value<std::int64_t>(c, "select 1") == 1);
}

TEST_CASE_FIXTURE(postgres_fixture, "postgres: a connection is moved as its pool likes") {
    auto c = connect();
    auto other = connect();
    const auto pid = value<std::int64_t>(other, "select pg_backend_pid()");
    c = std::move(other);
    CHECK(value<std::int64_t>(c, "select pg_backend_pid()") == pid);
    const postgres_connection last(std::move(c));
    CHECK(last.is_open());
}

}  // namespace
}  // namespace headgate
