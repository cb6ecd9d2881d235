// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_POSTGRES_SERVER_HPP
#define HEADGATE_TEST_POSTGRES_SERVER_HPP

#include <headgate/postgres.hpp>

#include <doctest/doctest.h>

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include <headgate/spawn.hpp>

namespace headgate {

/// The server that run.py has started for the tests.
std::string server_url();
/// The server's URL with `other` in place of `what`.
std::string server_url_with(std::string_view what, std::string_view other);
/// Makes run.py do something with the server: kill, start, freeze, thaw.
void tell_server(std::string_view command);

/// The number of open descriptors of this process.
std::size_t open_descriptors();

/// An io_context, and connections of a backend.
struct postgres_fixture {
    boost::asio::io_context io;
    postgres_backend backend = postgres_backend::create({.url = server_url()}).value();

    /// Runs an operation to its end.
    template <class Operation>
    auto finish(Operation operation) {
        std::optional<typename Operation::value_type> out;
        spawn(io.get_executor(), std::move(operation), [&](auto r) {
            out.emplace(std::move(r));
            io.stop();
        });
        io.restart();
        io.run_for(std::chrono::seconds(60));
        REQUIRE_MESSAGE(out.has_value(), "an operation hangs");
        return std::move(*out);
    }

    postgres_connection connect() { return finish(backend.connect()).value(); }

    template <class... Args>
    result<sql_rows> query(postgres_connection& c, std::string sql, const Args&... args) {
        return finish(c.query(std::move(sql), args...));
    }
    /// The only value of a statement.
    template <class T, class... Args>
    T value(postgres_connection& c, std::string sql, const Args&... args) {
        const sql_rows rows = query(c, std::move(sql), args...).value();
        REQUIRE(rows.rows.size() == 1);
        const T* found = rows.get<T>(0, 0);
        REQUIRE(found != nullptr);
        return *found;
    }
    std::string code(const result<sql_rows>& r) { return r ? "no error" : r.error().code.message(); }
};

}  // namespace headgate

#endif
