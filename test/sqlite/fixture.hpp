// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_SQLITE_FIXTURE_HPP
#define HEADGATE_TEST_SQLITE_FIXTURE_HPP

#include <boost/asio/io_context.hpp>

#include <stdlib.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <headgate/spawn.hpp>
#include <headgate/sqlite.hpp>

namespace headgate::test {

namespace asio = boost::asio;
using namespace std::chrono_literals;

/// A temporary directory, which the destructor removes.
class temporary_directory {
public:
    temporary_directory() {
        std::string name = (std::filesystem::temp_directory_path() / "headgate-sqlite-XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error("no temporary directory");
        }
        path_ = name;
    }
    temporary_directory(const temporary_directory&) = delete;
    temporary_directory& operator=(const temporary_directory&) = delete;
    ~temporary_directory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    [[nodiscard]] std::string file(const char* name) const { return (path_ / name).string(); }

private:
    std::filesystem::path path_;
};

/// A query that ends only when it is cancelled.
inline constexpr const char* endless =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";

/// A directory, a context, and a database in it.
struct fixture {
    temporary_directory directory;
    asio::io_context io;

    [[nodiscard]] sqlite_options options() const { return sqlite_options(directory.file("test.db")); }

    // Starts an operation. The optional gets its result later.
    template <class Operation>
    auto start(Operation operation) {
        auto out = std::make_shared<std::optional<typename Operation::value_type>>();
        spawn(io.get_executor(), std::move(operation), [out](auto r) { out->emplace(std::move(r)); });
        return out;
    }

    // Runs the context until there is a result.
    template <class T>
    T wait(const std::shared_ptr<std::optional<T>>& out) {
        while (!out->has_value()) {
            io.restart();
            io.run_one();
        }
        return std::move(**out);
    }

    template <class Operation>
    auto finish(Operation operation) {
        return wait(start(std::move(operation)));
    }

    sqlite_connection connect(const sqlite_backend& backend) { return finish(backend.connect()).value(); }
    sqlite_connection connect() { return connect(sqlite_backend::create(options()).value()); }

    template <class... Args>
    result<sql_rows> query(sqlite_connection& c, std::string_view sql, Args&&... args) {
        return finish(c.query(sql, std::forward<Args>(args)...));
    }

    std::int64_t number(sqlite_connection& c, std::string_view sql) {
        return *query(c, sql).value().get<std::int64_t>(0, 0);
    }
};

/// The primary code of an SQLite error. 0 for any other error.
inline int code_of(const error& e) {
    return e.code.category() == sqlite_category() ? e.code.value() & 0xff : 0;
}

}  // namespace headgate::test

#endif
