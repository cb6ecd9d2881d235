// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <headgate/resource_pool.hpp>
#include <headgate/with_timeout.hpp>

#include "fixture.hpp"

// What one user of a connection must not get from another: settings, the database's file, threads.

namespace headgate {
namespace {

using namespace test;
namespace fs = std::filesystem;
using asio::awaitable;

std::string text_of(const result<sql_rows>& r) {
    if (!r) {
        return "error: " + r.error().message();
    }
    std::string out;
    for (const auto& row : r.value().rows) {
        for (const auto& value : row) {
            if (const auto* number = std::get_if<std::int64_t>(&value)) {
                out += std::to_string(*number) + ' ';
            } else if (const auto* text = std::get_if<std::string>(&value)) {
                out += *text + ' ';
            } else {
                out += "? ";
            }
        }
    }
    return out;
}

struct isolated : fixture {
    zone z{io, "test"};
    sqlite_backend backend = sqlite_backend::create(options()).value();

    // The answer to `probe` on a new connection.
    std::string fresh(const std::string& probe) {
        auto c = connect(backend);
        return text_of(query(c, probe));
    }
};

struct legacy {
    std::vector<std::string> left;  // statements of one user
    std::string probe;              // query of the next user
};

const std::vector<legacy> legacies = {
    {{"PRAGMA foreign_keys=OFF"}, "PRAGMA foreign_keys"},
    {{"pragma Foreign_Keys(off)"}, "PRAGMA foreign_keys"},
    {{"PRAGMA synchronous=OFF"}, "PRAGMA synchronous"},
    {{"PRAGMA cache_size=7"}, "PRAGMA cache_size"},
    {{"PRAGMA main.cache_size=7"}, "PRAGMA main.cache_size"},
    {{"PRAGMA query_only=1"}, "PRAGMA query_only"},
    {{"PRAGMA busy_timeout=7"}, "PRAGMA busy_timeout"},
    {{"PRAGMA recursive_triggers=1"}, "PRAGMA recursive_triggers"},
    {{"PRAGMA max_page_count=77"}, "PRAGMA max_page_count"},
    {{"PRAGMA case_sensitive_like=1"}, "SELECT 'a' LIKE 'A'"},
    {{"PRAGMA locking_mode=EXCLUSIVE"}, "PRAGMA locking_mode"},
    {{"PRAGMA ignore_check_constraints=1"}, "PRAGMA ignore_check_constraints"},
    {{"PRAGMA temp_store=MEMORY"}, "PRAGMA temp_store"},
    {{"EXPLAIN PRAGMA cache_size=9", "PRAGMA cache_size=9"}, "PRAGMA cache_size"},
    {{"ATTACH 'OTHER' AS other"}, "SELECT count(*) FROM pragma_database_list"},
    {{"ATTACH ':memory:' AS other", "CREATE TABLE other.x(a)", "DETACH other", "ATTACH ':memory:' AS again"},
     "SELECT name FROM pragma_database_list"},
    {{"CREATE TEMP TABLE mine(a)"}, "SELECT * FROM mine"},
    {{"CREATE TEMP TABLE t(a)", "INSERT INTO temp.t VALUES (99)"}, "SELECT sum(a) FROM t"},
    {{"CREATE TABLE temp.mine AS SELECT 1"}, "SELECT * FROM mine"},
    {{"CREATE TEMP VIEW mine AS SELECT 1"}, "SELECT * FROM mine"},
    {{"CREATE TEMP TRIGGER mine AFTER INSERT ON t BEGIN SELECT RAISE(ABORT, 'no'); END"},
     "SELECT count(*) FROM sqlite_temp_schema"},
    {{"CREATE VIRTUAL TABLE temp.mine USING fts5(a)"}, "SELECT * FROM mine"},
    {{"BEGIN", "CREATE TEMP TABLE mine(a)", "COMMIT"}, "SELECT * FROM mine"},
    {{"BEGIN IMMEDIATE", "INSERT INTO t VALUES (2)"}, "SELECT sum(a) FROM t"},
    {{"SAVEPOINT a", "INSERT INTO t VALUES (2)"}, "SELECT sum(a) FROM t"},
    {{"INSERT INTO u VALUES (NULL)"}, "SELECT last_insert_rowid()"},
};

TEST_CASE_FIXTURE(isolated, "sqlite: a lease finds nothing of the one before in its connection") {
    auto setup = connect(backend);
    query(setup, "CREATE TABLE t(a)").value();
    query(setup, "INSERT INTO t VALUES (1)").value();
    query(setup, "CREATE TABLE u(a INTEGER PRIMARY KEY)").value();
    for (const auto& [left, probe] : legacies) {
        CAPTURE(left.front());
        auto c = connect(backend);
        const std::string wanted = fresh(probe);
        for (int round = 0; round < 2; ++round) {  // in the second round all statements are compiled already
            for (const auto& sql : left) {
                std::string statement = sql;
                if (const auto at = statement.find("OTHER"); at != std::string::npos) {
                    statement.replace(at, 5, directory.file("other.db"));
                }
                const auto done = query(c, statement);
                CHECK_MESSAGE(done, statement << ": " << text_of(done));
            }
            REQUIRE(finish(backend.reset(c)));
            CHECK(text_of(query(c, probe)) == wanted);
            REQUIRE(finish(backend.reset(c)));
        }
        query(setup, "DELETE FROM t WHERE a = 2").value();
    }
}

TEST_CASE_FIXTURE(isolated, "sqlite: what a lease has left in its connection is gone also after a failed statement") {
    auto c = connect(backend);
    CHECK_FALSE(query(c, "PRAGMA cache_size=7; SELECT 1"));  // two statements; the first was compiled
    CHECK_FALSE(query(c, "CREATE TEMP TABLE x(a, a)"));
    REQUIRE(finish(backend.reset(c)));
    CHECK(text_of(query(c, "PRAGMA cache_size")) == fresh("PRAGMA cache_size"));
}

TEST_CASE_FIXTURE(isolated, "sqlite: a lease that leaves nothing behind costs no new connection") {
    auto c = connect(backend);
    query(c, "CREATE TABLE t(a)").value();
    query(c, "INSERT INTO t VALUES (1)").value();
    for (const char* looks :
         {"SELECT * FROM t", "PRAGMA table_info(t)", "PRAGMA cache_size", "SELECT * FROM pragma_table_info('t')",
          "PRAGMA integrity_check(3)", "PRAGMA wal_checkpoint(PASSIVE)", "SELECT max(a) FROM t"}) {
        query(c, looks).value();
        REQUIRE(finish(backend.reset(c)));
        CAPTURE(looks);
        CHECK(number(c, "SELECT total_changes()") == 1);  // a new connection would have made none
    }
}

TEST_CASE_FIXTURE(isolated, "sqlite: a lease that kept the whole file to itself lets go of it") {
    auto c = connect(backend);
    query(c, "CREATE TABLE t(a)").value();
    query(c, "PRAGMA locking_mode=EXCLUSIVE").value();
    query(c, "INSERT INTO t VALUES (1)").value();
    REQUIRE(finish(backend.reset(c)));
    auto other = connect(backend);
    CHECK(number(other, "SELECT count(*) FROM t") == 1);
}

TEST_CASE_FIXTURE(isolated, "sqlite: a pool's leases do not share a temporary table") {
    auto pool = resource_pool<sqlite_connection>::create(z, "db", {.size = 1}, backend).value();
    const auto make = [](sqlite_connection& c) { return c.query("CREATE TEMP TABLE mine(a)"); };
    for (int i = 0; i < 3; ++i) {
        CHECK(finish(pool.with(make).as_awaitable()));
    }
    z.close();
}

// The database's file: --------------------------------------------------------------------------------------------

struct move {
    const char* name;
    void (*make)(const fs::path&);
};

const std::vector<move> moves = {
    {"deleted", [](const fs::path& p) { fs::remove(p); }},
    {"renamed", [](const fs::path& p) { fs::rename(p, p.string() + ".old"); }},
    {"replaced",
     [](const fs::path& p) {
         std::ofstream(p.string() + ".new").close();
         fs::rename(p.string() + ".new", p);
     }},
    {"in a directory that was renamed",
     [](const fs::path& p) { fs::rename(p.parent_path(), p.parent_path().string() + ".old"); }},
};

TEST_CASE("sqlite: a file that was deleted, renamed or replaced is not served on") {
    for (const auto& [name, make] : moves) {
        CAPTURE(name);
        fixture f;
        fs::create_directory(f.directory.file("in"));
        const fs::path path = f.directory.file("in/test.db");
        const auto backend = sqlite_backend::create(sqlite_options(path)).value();
        auto c = f.connect(backend);
        auto writer = f.connect(backend);
        f.query(c, "CREATE TABLE t(a)").value();
        REQUIRE(f.finish(writer.begin()));
        f.query(writer, "INSERT INTO t VALUES (1)").value();
        CHECK(backend.is_alive(c));

        make(path);
        CHECK_FALSE(backend.is_alive(c));
        const auto read = f.query(c, "SELECT count(*) FROM t");
        CHECK(read.error().code.value() == SQLITE_READONLY_DBMOVED);
        CHECK(read.error().code == std::errc::no_such_file_or_directory);
        CHECK(f.finish(writer.commit()).error().code.value() == SQLITE_READONLY_DBMOVED);
        CHECK_FALSE(f.finish(backend.ping(c)));
        CHECK_FALSE(f.finish(backend.reset(c)));
        CHECK(f.finish(writer.rollback()));
        CHECK_FALSE(f.finish(backend.reset(writer)));
    }
}

TEST_CASE_FIXTURE(fixture, "sqlite: a symbolic link that names another file now") {
    const fs::path link = directory.file("link.db");
    fs::create_symlink(directory.file("one.db"), link);
    const auto backend = sqlite_backend::create(sqlite_options(link)).value();
    auto c = connect(backend);
    CHECK(backend.is_alive(c));
    std::ofstream(directory.file("two.db")).close();
    fs::remove(link);
    fs::create_symlink(directory.file("two.db"), link);
    CHECK_FALSE(backend.is_alive(c));
    CHECK_FALSE(query(c, "SELECT 1"));
}

TEST_CASE_FIXTURE(isolated, "sqlite: a pool goes on with the file that is there now") {
    auto pool = resource_pool<sqlite_connection>::create(z, "db", {.size = 1}, backend).value();
    const auto use = [](sqlite_connection& c) { return c.query("CREATE TABLE t(a)"); };
    REQUIRE(finish(pool.with(use).as_awaitable()));
    for (const char* ending : {"", "-wal", "-shm"}) {
        fs::remove(options().path + ending);
    }
    CHECK_FALSE(finish(pool.with(use).as_awaitable()));
    CHECK(finish(pool.with(use).as_awaitable()));
    CHECK(fs::exists(options().path));
    z.close();
}

TEST_CASE_FIXTURE(fixture, "sqlite: a relative path means the same file from everywhere") {
    const fs::path before = fs::current_path();
    fs::current_path(directory.file(""));
    const auto backend = sqlite_backend::create(sqlite_options("test.db")).value();
    auto c = connect(backend);
    query(c, "CREATE TABLE t(a)").value();
    fs::current_path(before);
    CHECK(backend.is_alive(c));
    auto other = connect(backend);
    CHECK(number(other, "SELECT count(*) FROM t") == 0);
}

TEST_CASE_FIXTURE(isolated, "sqlite: a connection that is not alive") {
    auto c = connect(backend);
    CHECK(backend.is_alive(c));
    const auto running = start(c.query(endless));
    io.restart();
    io.poll();
    CHECK_FALSE(backend.is_alive(c));  // it is not idle
    const auto other = std::move(c);
    CHECK_FALSE(backend.is_alive(c));  // NOLINT(bugprone-use-after-move): that is the question
}

// Threads: --------------------------------------------------------------------------------------------------------

// Keeps all threads for statements busy while it exists.
struct busy_threads {
    explicit busy_threads(fixture& f, sqlite_options o) : f_(f), backend(sqlite_backend::create(o).value()) {
        for (std::uint32_t i = 0; i < o.threads; ++i) {
            connections_.push_back(f.connect(backend));
            running_.push_back(f.start(connections_.back().query(endless)));
        }
        f.io.restart();
        f.io.poll();
    }
    ~busy_threads() {
        connections_.clear();
        for (const auto& r : running_) {
            CHECK(f_.wait(r).error() == errc::canceled);
        }
    }

    fixture& f_;
    sqlite_backend backend;
    std::vector<sqlite_connection> connections_;
    std::vector<std::shared_ptr<std::optional<result<sql_rows>>>> running_;
};

awaitable<result<sql_rows>> select_within(call_context context, sqlite_connection& c) {
    co_return co_await c.query(context, "SELECT 1");
}
awaitable<result<sql_rows>> select_without(sqlite_connection& c) {
    co_return co_await c.query("SELECT 1");
}

TEST_CASE_FIXTURE(isolated, "sqlite: a deadline ends an operation that waits for a thread, and the next one works") {
    auto o = options();
    o.threads = 2;
    std::optional<sqlite_connection> c;
    {
        busy_threads busy(*this, o);
        c.emplace(connect(busy.backend));
        CHECK(finish(with_timeout(z, 20ms, select_within, std::ref(*c))).error() == errc::timed_out);
        CHECK(finish(with_timeout(z, 20ms, select_without, std::ref(*c))).error() == errc::timed_out);
        CHECK(finish(busy.backend.reset(*c)));  // nothing runs on it
        const auto last = start(c->query("SELECT 1"));
        io.restart();
        io.poll();
        CHECK_FALSE(last->has_value());
    }
    result<sql_rows> next = query(*c, "SELECT 1");
    while (!next) {  // while the last statement has its turn
        REQUIRE(code_of(next.error()) == SQLITE_MISUSE);
        next = query(*c, "SELECT 1");
    }
}

TEST_CASE_FIXTURE(isolated, "sqlite: connects, pings and resets do not wait for a thread behind long statements") {
    auto o = options();
    o.threads = 1;
    busy_threads busy(*this, o);
    auto c = connect(busy.backend);
    auto d = connect(busy.backend);
    CHECK(finish(busy.backend.ping(c)));
    CHECK(finish(busy.backend.ping(d)));
    busy.backend.close(std::move(d));
    {
        auto pool = resource_pool<sqlite_connection>::create(z, "db", {.size = 1}, busy.backend).value();
        CHECK(finish(pool.checkout().as_awaitable()));
        z.close();
    }
}

struct lock_case {
    const char* name;
    std::vector<std::string> holder;   // statements of the holder's transaction
    std::string waiter;                // a statement that waits for the holder
    std::vector<std::string> release;  // the holder's next statements
};

const std::vector<lock_case> lock_cases = {
    {"the write lock", {"BEGIN IMMEDIATE", "INSERT INTO t VALUES (1)"}, "BEGIN IMMEDIATE", {"COMMIT"}},
    {"the write lock of an attached file",
     {"ATTACH 'OTHER' AS o", "BEGIN", "INSERT INTO o.t VALUES (1)"},
     "INSERT INTO o.t VALUES (2)",
     {"SELECT 1", "COMMIT"}},
    {"a snapshot", {"BEGIN", "SELECT * FROM t"}, "PRAGMA wal_checkpoint(TRUNCATE)", {"SELECT 1", "COMMIT"}},
};

TEST_CASE("sqlite: who waits for a lock never keeps its holder from a thread, whichever lock it is") {
    for (const auto& [name, holder, waiter, release] : lock_cases) {
        CAPTURE(name);
        fixture f;
        auto o = f.options();
        o.threads = 1;
        o.busy_timeout = 5s;
        const auto backend = sqlite_backend::create(o).value();
        const std::string other_path = f.directory.file("other.db");
        {
            auto setup = f.connect(sqlite_backend::create(sqlite_options(other_path)).value());
            f.query(setup, "CREATE TABLE t(a)").value();
            auto main = f.connect(backend);
            f.query(main, "CREATE TABLE t(a)").value();
        }
        auto a = f.connect(backend);
        auto b = f.connect(backend);
        auto writer = f.connect(backend);
        f.query(b, "ATTACH ? AS o", other_path).value();
        f.query(b, "SELECT * FROM t, o.t").value();
        for (std::string sql : holder) {
            if (const auto at = sql.find("OTHER"); at != std::string::npos) {
                sql.replace(at, 5, other_path);
            }
            f.query(a, sql).value();
        }
        // One statement waits on the shared thread. The other has its own thread.
        const auto first = f.start(writer.query(waiter.find("o.") != std::string::npos ? "SELECT 1" : waiter));
        const auto second = f.start(b.query(waiter));
        f.io.restart();
        f.io.run_for(20ms);
        const auto begun = std::chrono::steady_clock::now();
        for (const auto& sql : release) {
            CHECK(f.query(a, sql));
        }
        CHECK(std::chrono::steady_clock::now() - begun < 2s);
        f.finish(backend.reset(a)).value();
        backend.close(std::move(a));
        (void)f.wait(first);
        writer = f.connect(backend);  // frees the old connection's lock, if it has one
        (void)f.wait(second);
    }
}

TEST_CASE_FIXTURE(isolated, "sqlite: a transaction that has written nothing but a temporary table waits for the lock") {
    auto o = options();
    o.threads = 1;
    o.busy_timeout = 1h;
    const auto own = sqlite_backend::create(o).value();
    auto a = connect(own);
    auto b = connect(own);
    query(a, "CREATE TABLE t(a)").value();
    query(a, "CREATE TEMP TABLE scratch(a)").value();
    query(a, "BEGIN").value();
    query(a, "INSERT INTO scratch VALUES (1)").value();
    REQUIRE(finish(b.begin()));
    query(b, "INSERT INTO t VALUES (1)").value();
    const auto waiting = start(a.query("INSERT INTO t VALUES (2)"));
    io.restart();
    io.run_for(20ms);
    CHECK_FALSE(waiting->has_value());
    REQUIRE(finish(b.commit()));
    CHECK(wait(waiting));
    REQUIRE(finish(a.commit()));
    CHECK(number(b, "SELECT sum(a) FROM t") == 3);
}

}  // namespace
}  // namespace headgate
