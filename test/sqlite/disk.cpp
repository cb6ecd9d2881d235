// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <headgate/resource_pool.hpp>

#include "faulty_vfs.hpp"
#include "fixture.hpp"

namespace headgate {
namespace {

using namespace test;

// A database on a disk that may be full.
struct disk : fixture {
    disk() { register_faulty_vfs(); }
    disk(const disk&) = delete;
    disk& operator=(const disk&) = delete;
    ~disk() { set_full_files({}); }

    sqlite_connection connect_with_table() {
        auto c = connect();
        query(c, "CREATE TABLE t(a)").value();
        query(c, "INSERT INTO t VALUES (1)").value();
        return c;
    }
};

void check_full(const error& e) {
    CHECK(code_of(e) == SQLITE_FULL);
    CHECK(e.code == std::errc::no_space_on_device);
}

TEST_CASE_FIXTURE(disk, "sqlite: a full disk under the log refuses writes, and loses nothing that was committed") {
    auto c = connect_with_table();
    set_full_files({"-wal"});
    check_full(query(c, "INSERT INTO t VALUES (2)").error());
    CHECK(number(c, "SELECT count(*) FROM t") == 1);

    REQUIRE(finish(c.begin()));
    auto inserted = query(c, "INSERT INTO t VALUES (3)");
    const auto committed = finish(c.commit());
    CHECK_FALSE(committed);
    REQUIRE(finish(c.rollback()));
    CHECK(number(c, "SELECT count(*) FROM t") == 1);

    set_full_files({});
    query(c, "INSERT INTO t VALUES (4)").value();
    auto other = connect();
    CHECK(number(other, "SELECT sum(a) FROM t") == 5);
    CHECK(*query(other, "PRAGMA integrity_check").value().get<std::string>(0, 0) == "ok");
}

TEST_CASE_FIXTURE(disk, "sqlite: a full disk under the database leaves what is committed in the log") {
    auto c = connect_with_table();
    set_full_files({".db"});
    query(c, "INSERT INTO t VALUES (2)").value();  // the log has room
    check_full(query(c, "PRAGMA wal_checkpoint(TRUNCATE)").error());
    CHECK(number(c, "SELECT count(*) FROM t") == 2);
    set_full_files({});
    CHECK(number(c, "PRAGMA wal_checkpoint(TRUNCATE)") == 0);
    auto other = connect();
    CHECK(number(other, "SELECT count(*) FROM t") == 2);
}

TEST_CASE_FIXTURE(disk, "sqlite: a new database cannot be made on a full disk, and can when there is space") {
    for (const char* ending : {".db", "-journal", "-wal"}) {
        CAPTURE(ending);
        const temporary_directory empty;
        const auto backend = sqlite_backend::create(sqlite_options(empty.file("new.db"))).value();
        set_full_files({ending});
        auto refused = finish(backend.connect());
        if (refused) {  // the log is empty until the first write
            check_full(query(refused.value(), "CREATE TABLE t(a)").error());
        } else {
            check_full(refused.error());
        }
        set_full_files({});
        auto c = connect(backend);
        query(c, "CREATE TABLE t(a)").value();
        CHECK(number(c, "SELECT count(*) FROM t") == 0);
    }
}

TEST_CASE_FIXTURE(disk, "sqlite: a transaction that a full disk ended is noticed") {
    auto c = connect_with_table();
    REQUIRE(finish(c.begin()));
    query(c, "PRAGMA cache_size=1").value();  // so that SQLite writes before the commit
    query(c, "INSERT INTO t VALUES (2)").value();
    set_full_files({"-wal"});
    const auto full =
        query(c,
              "INSERT INTO t WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 99) "
              "SELECT randomblob(4000) FROM n");
    check_full(full.error());
    set_full_files({});
    const auto next = query(c, "INSERT INTO t VALUES (3)");
    CHECK((next || next.error().code.value() == SQLITE_ABORT_ROLLBACK));
    REQUIRE(finish(c.rollback()));
    CHECK(number(c, "SELECT count(*) FROM t") == 1);
}

TEST_CASE_FIXTURE(disk, "sqlite: a database has at most so many pages") {
    auto o = options();
    o.max_pages = 10;
    auto c = connect(sqlite_backend::create(o).value());
    query(c, "CREATE TABLE t(a)").value();
    result<sql_rows> r = sql_rows();
    int kept = 0;
    while (r) {
        r = query(c, "INSERT INTO t VALUES (zeroblob(3000))");
        kept += r ? 1 : 0;
    }
    check_full(r.error());
    CHECK(kept > 0);
    CHECK(number(c, "SELECT count(*) FROM t") == kept);
    CHECK(number(c, "PRAGMA page_count") <= 10);
    query(c, "DELETE FROM t").value();
    CHECK(query(c, "INSERT INTO t VALUES (zeroblob(3000))"));
}

TEST_CASE_FIXTURE(disk, "sqlite: a file tells the faulty VFS what is full") {
    const char* control = std::getenv("HEADGATE_FAULTY_VFS");
    if (control == nullptr) {
        MESSAGE("HEADGATE_FAULTY_VFS is not set, as Meson does: not tested");
        return;
    }
    auto c = connect_with_table();
    std::ofstream(control) << "-journal\n-wal\n";
    check_full(query(c, "INSERT INTO t VALUES (2)").error());
    std::filesystem::remove(control);
    CHECK(query(c, "INSERT INTO t VALUES (2)"));
}

TEST_CASE_FIXTURE(disk, "sqlite: a pool recovers when there is space again") {
    zone z(io, "test");
    const auto backend = sqlite_backend::create(options()).value();
    set_full_files({"-journal"});
    auto pool =
        resource_pool<sqlite_connection>::create(z, "db", {.size = 1, .backoff_min = 1ms, .backoff_max = 1ms}, backend)
            .value();
    const auto refused = finish(pool.checkout().as_awaitable());
    REQUIRE_FALSE(refused);
    CHECK(refused.error() == errc::connect_failed);
    set_full_files({});
    const auto use = [&](sqlite_connection& c) { return c.query("CREATE TABLE t(a)"); };
    for (auto made = finish(pool.with(use).as_awaitable()); !made;) {
        CHECK(made.error() == errc::connect_failed);
        made = finish(pool.with(use).as_awaitable());
    }
    // The pool also recovers when the disk is full while a connection is lent.
    set_full_files({"-wal"});
    const auto insert = [&](sqlite_connection& c) { return c.query("INSERT INTO t VALUES (1)"); };
    check_full(finish(pool.with(insert).as_awaitable()).error());
    set_full_files({});
    CHECK(finish(pool.with(insert).as_awaitable()));
    z.close();
}

}  // namespace
}  // namespace headgate
