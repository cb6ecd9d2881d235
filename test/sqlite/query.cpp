// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/strand.hpp>

#include <limits>
#include <thread>

#include "fixture.hpp"

namespace headgate {
namespace {

using namespace test;
using asio::awaitable;

// Every value there and back, as one row.
struct typed : fixture {
    sqlite_connection c = connect();

    template <class T>
    sql_value back(T&& value) {
        return query(c, "SELECT ?1", std::forward<T>(value)).value().rows.at(0).at(0);
    }
};

TEST_CASE_FIXTURE(typed, "sqlite: values go in and come back as they were") {
    CHECK(back(42) == sql_value(std::int64_t{42}));
    CHECK(back(true) == sql_value(std::int64_t{1}));
    CHECK(back(std::numeric_limits<std::int64_t>::min()) == sql_value(std::numeric_limits<std::int64_t>::min()));
    CHECK(back(0.5) == sql_value(0.5));
    CHECK(back("text") == sql_value(std::string("text")));
    CHECK(back(std::string_view("")) == sql_value(std::string()));
    CHECK(back(std::string("with\0NUL", 8)) == sql_value(std::string("with\0NUL", 8)));
    CHECK(back(nullptr) == sql_value());
    const sql_blob bytes = {std::byte{0}, std::byte{255}};
    CHECK(back(bytes) == sql_value(bytes));
    CHECK(back(sql_blob()) == sql_value(sql_blob()));
    CHECK(back(sql_value(std::int64_t{7})) == sql_value(std::int64_t{7}));
    CHECK(back(std::numeric_limits<double>::quiet_NaN()) == sql_value());
}

TEST_CASE_FIXTURE(typed, "sqlite: rows have their columns' names and types, and changes are counted") {
    auto made = query(c, "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)").value();
    CHECK(made.columns.empty());
    CHECK(made.affected == 0);
    CHECK(query(c, "INSERT INTO t(name) VALUES (?), (?)", "ann", nullptr).value().affected == 2);
    CHECK(query(c, "UPDATE t SET name = 'x' WHERE id = 9").value().affected == 0);
    const auto rows = query(c, "SELECT id, name FROM t ORDER BY id").value();
    CHECK(rows.columns == std::vector<std::string>{"id", "name"});
    CHECK(rows.affected == 0);
    REQUIRE(rows.rows.size() == 2);
    CHECK(*rows.get<std::int64_t>(1, 0) == 2);
    CHECK(*rows.get<std::string>(0, 1) == "ann");
    CHECK(rows.get<std::string>(1, 1) == nullptr);
    const auto none = query(c, "SELECT id FROM t WHERE id > 5").value();
    CHECK(none.columns.size() == 1);
    CHECK(none.rows.empty());
    CHECK(query(c, "DELETE FROM t RETURNING id").value().affected == 2);
}

TEST_CASE_FIXTURE(typed, "sqlite: parameters may come as one") {
    const sql_params params = {std::int64_t{20}, std::string("22")};
    CHECK(*query(c, "SELECT ? + ?", params).value().get<std::int64_t>(0, 0) == 42);
    CHECK(*finish(c.query(call_context(), "SELECT ? + ?", params)).value().get<std::int64_t>(0, 0) == 42);
    CHECK(*finish(c.query(call_context(), "SELECT ? + ?", 1, 2)).value().get<std::int64_t>(0, 0) == 3);
    const auto wrong = query(c, "SELECT ?", params);
    CHECK(code_of(wrong.error()) == SQLITE_RANGE);
    CHECK(*wrong.error().detail == "the statement has 1 parameters, but was given 2");
}

TEST_CASE_FIXTURE(typed, "sqlite: a prepared statement is used again, also after the schema has changed") {
    query(c, "CREATE TABLE t(a)").value();
    query(c, "INSERT INTO t VALUES (1)").value();
    CHECK(query(c, "SELECT * FROM t").value().columns.size() == 1);
    query(c, "ALTER TABLE t ADD COLUMN b DEFAULT 5").value();
    const auto rows = query(c, "SELECT * FROM t").value();
    CHECK(rows.columns == std::vector<std::string>{"a", "b"});
    CHECK(rows.rows.at(0).size() == 2);
    for (int i = 0; i < 40; ++i) {  // more statements than the cache keeps
        CHECK(number(c, "SELECT " + std::to_string(i)) == i);
    }
    CHECK(query(c, "SELECT * FROM t").value().columns.size() == 2);
}

TEST_CASE_FIXTURE(typed, "sqlite: connections are durable, checked and logged") {
    CHECK(*query(c, "PRAGMA journal_mode").value().get<std::string>(0, 0) == "wal");
    CHECK(number(c, "PRAGMA synchronous") == 2);
    CHECK(number(c, "PRAGMA foreign_keys") == 1);
}

TEST_CASE_FIXTURE(typed, "sqlite: errors carry the extended code and SQLite's words") {
    const auto syntax = query(c, "SELEC 1");
    CHECK(syntax.error().code == boost::system::error_code(SQLITE_ERROR, sqlite_category()));
    CHECK(syntax.error().message() == "SQL logic error: near \"SELEC\": syntax error");
    query(c, "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT UNIQUE)").value();
    query(c, "INSERT INTO t VALUES (1, 'a')").value();
    const auto twice = query(c, "INSERT INTO t VALUES (2, 'a')");
    CHECK(twice.error().code.value() == SQLITE_CONSTRAINT_UNIQUE);
    CHECK(*twice.error().detail == "UNIQUE constraint failed: t.name");
    CHECK(number(c, "SELECT count(*) FROM t") == 1);
    CHECK(std::string(sqlite_category().name()) == "sqlite");
}

TEST_CASE_FIXTURE(typed, "sqlite: a text has one statement") {
    CHECK(number(c, "SELECT 1; -- one\n /* really */ ;") == 1);
    for (const char* text : {"SELECT 1; SELECT 2", "", " -- none", "SELECT 1; garbage"}) {
        CAPTURE(text);
        CHECK(query(c, text).error() == errc::invalid_argument);
    }
    CHECK(query(c, std::string_view("SELECT 1\0, 2", 12)).error() == errc::invalid_argument);
}

TEST_CASE_FIXTURE(fixture, "sqlite: options that make no sense are refused, and the detail says why") {
    const auto refused = [](auto change) {
        sqlite_options o("x.db");
        change(o);
        const auto r = sqlite_backend::create(o);
        REQUIRE_FALSE(r);
        CHECK(r.error() == errc::invalid_argument);
        return *r.error().detail;
    };
    using options_type = sqlite_options;
    CHECK(refused([](options_type& o) { o.path = ""; }).starts_with("path is \"\""));
    CHECK(refused([](options_type& o) { o.path = ":memory:"; }).starts_with("path is \":memory:\""));
    CHECK(refused([](options_type& o) {
              o.path = std::string("a\0b", 3);
          }).starts_with("path is a text with a NUL byte;"));
    CHECK(refused([](options_type& o) { o.busy_timeout = -1ns; }).starts_with("busy_timeout is -1 ns"));
    CHECK(refused([](options_type& o) { o.max_pages = 4'294'967'295; }).starts_with("max_pages is 4294967295"));
    CHECK(refused([](options_type& o) { o.threads = 0; }).starts_with("threads is 0"));
    CHECK(refused([](options_type& o) { o.threads = 257; }).starts_with("threads is 257"));
    CHECK(refused([](options_type& o) { o.vfs = "none"; }).starts_with("vfs is \"none\""));
    CHECK(check(options()).empty());
}

TEST_CASE_FIXTURE(fixture, "sqlite: connecting to what cannot be opened is an error") {
    const auto r = finish(sqlite_backend::create(sqlite_options(directory.file("no/such/x.db"))).value().connect());
    CHECK(code_of(r.error()) == SQLITE_CANTOPEN);
}

TEST_CASE_FIXTURE(typed, "sqlite: a transaction is committed or rolled back") {
    query(c, "CREATE TABLE t(a)").value();
    auto other = connect();
    REQUIRE(finish(c.begin()));
    query(c, "INSERT INTO t VALUES (1)").value();
    CHECK(number(other, "SELECT count(*) FROM t") == 0);
    REQUIRE(finish(c.commit()));
    CHECK(number(other, "SELECT count(*) FROM t") == 1);

    REQUIRE(finish(c.begin()));
    query(c, "DELETE FROM t").value();
    REQUIRE(finish(c.rollback()));
    CHECK(number(c, "SELECT count(*) FROM t") == 1);

    CHECK(finish(c.rollback()));  // a rollback without a transaction is fine
    CHECK(code_of(finish(c.commit()).error()) == SQLITE_ERROR);
    REQUIRE(finish(c.begin(call_context())));
    CHECK(code_of(finish(c.begin()).error()) == SQLITE_ERROR);
    CHECK(finish(c.commit(call_context())));
    CHECK(finish(c.rollback(call_context())));
}

TEST_CASE_FIXTURE(typed, "sqlite: after a transaction that SQLite ended nothing runs until it is rolled back") {
    query(c, "CREATE TABLE t(a UNIQUE)").value();
    REQUIRE(finish(c.begin()));
    query(c, "INSERT INTO t VALUES (1)").value();
    const auto lost = query(c, "INSERT OR ROLLBACK INTO t VALUES (1)");
    CHECK(code_of(lost.error()) == SQLITE_CONSTRAINT);
    CHECK(lost.error().detail->ends_with("; SQLite rolled the transaction back"));
    CHECK(query(c, "INSERT INTO t VALUES (2)").error().code.value() == SQLITE_ABORT_ROLLBACK);
    CHECK(finish(c.commit()).error().code.value() == SQLITE_ABORT_ROLLBACK);
    CHECK(finish(c.begin()).error().code.value() == SQLITE_ABORT_ROLLBACK);
    REQUIRE(finish(c.rollback()));
    CHECK(number(c, "SELECT count(*) FROM t") == 0);
}

TEST_CASE_FIXTURE(typed, "sqlite: an operation while another runs is refused, and disturbs nothing") {
    asio::cancellation_signal signal;
    auto first = std::make_shared<std::optional<result<sql_rows>>>();
    spawn(io, c.query(endless), asio::bind_cancellation_slot(signal.slot(), [&](auto r) { first->emplace(r); }));
    const auto refused = finish(c.query("SELECT 2"));
    CHECK(code_of(refused.error()) == SQLITE_MISUSE);
    CHECK(*refused.error().detail == "an operation runs on this connection; await it before the next one");
    CHECK_FALSE(first->has_value());
    const auto backend = sqlite_backend::create(options()).value();
    CHECK(code_of(finish(backend.reset(c)).error()) == SQLITE_MISUSE);
    signal.emit(asio::cancellation_type::terminal);
    CHECK(wait(first).error() == errc::canceled);
    CHECK(number(c, "SELECT 3") == 3);
}

TEST_CASE_FIXTURE(typed, "sqlite: a connection moves") {
    sqlite_connection taken = std::move(c);
    CHECK(number(taken, "SELECT 1") == 1);
    CHECK(code_of(query(c, "SELECT 1").error()) == SQLITE_MISUSE);  // NOLINT(bugprone-use-after-move)
    c = std::move(taken);
    CHECK(number(c, "SELECT 1") == 1);
    c = connect();
    CHECK(number(c, "SELECT 2") == 2);
}

TEST_CASE_FIXTURE(typed, "sqlite: it completes on the executor of its coroutine, which has work meanwhile") {
    const auto strand = asio::make_strand(io);
    const auto here = std::this_thread::get_id();
    bool completed = false;
    const auto body = [&]() -> awaitable<result<void>> {
        const auto rows = co_await c.query("SELECT 1");
        completed = rows.has_value() && strand.running_in_this_thread() && std::this_thread::get_id() == here;
        co_return success();
    };
    spawn(strand, body(), [](const auto&) {});
    io.restart();
    io.run();  // ends only when nothing is left to do
    CHECK(completed);
}

TEST_CASE_FIXTURE(typed, "sqlite: a coroutine's temporaries are safe") {
    const auto body = [&]() -> awaitable<result<void>> {
        const auto rows = co_await c.query("SELECT ? || ?", std::string(100, 'a'), std::string(100, 'b'));
        CHECK(*rows.value().get<std::string>(0, 0) == std::string(100, 'a') + std::string(100, 'b'));
        const std::string name(100, 'c');
        CHECK(*(co_await c.query(std::string("SELECT ?"), name)).value().get<std::string>(0, 0) == name);
        co_return success();
    };
    CHECK(finish(body()));
}

TEST_CASE_FIXTURE(fixture, "sqlite: many connections to a new file at once") {
    auto o = options();
    o.busy_timeout = 20s;
    const auto backend = sqlite_backend::create(o).value();
    std::vector<decltype(start(backend.connect()))> all;
    for (int i = 0; i < 8; ++i) {
        all.push_back(start(backend.connect()));
    }
    for (const auto& one : all) {
        CHECK(wait(one));
    }
}

}  // namespace
}  // namespace headgate
