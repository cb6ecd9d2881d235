// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <exception>
#include <filesystem>
#include <new>
#include <utility>

#include <headgate/spawn.hpp>
#include <headgate/sqlite.hpp>

#include "sqlite/database.hpp"
#include "sqlite/session.hpp"
#include "sqlite/threads.hpp"

namespace headgate {

namespace asio = boost::asio;

using detail::lane;
using detail::on_thread;
using detail::sqlite_database;
using detail::sqlite_session;
using detail::sqlite_threads;

namespace {

/// A statement without rows, as work.
auto statement(const char* sql) {
    return [sql](sqlite_database& database) -> result<void> {
        if (auto done = database.query(sql, {}); !done) {
            return done.error();
        }
        return success();
    };
}

asio::awaitable<result<sqlite_connection>> open(std::shared_ptr<sqlite_threads> threads,
                                                std::shared_ptr<const sqlite_options> options) {
    auto session = std::make_shared<sqlite_session>(std::move(threads), std::move(options));
    auto opening =
        on_thread<void>(session, {}, lane::at_once, [](sqlite_database& database) { return database.open(); });
    const result<void> opened = co_await std::move(opening);
    if (!opened) {
        co_return opened.error();
    }
    co_return sqlite_connection(std::move(session));
}

// As long as the working directory may change, the path means the file that it means now.
sqlite_options with_absolute_path(sqlite_options options) {
    if (options.vfs.empty() && !options.path.starts_with("file:")) {
        options.path = std::filesystem::absolute(options.path).string();
    }
    return options;
}

asio::awaitable<result<void>> nothing_to_do() {
    co_return success();
}

}  // namespace

sqlite_connection::sqlite_connection(std::shared_ptr<sqlite_session> session) noexcept : session_(std::move(session)) {}

sqlite_connection::sqlite_connection(sqlite_connection&& other) noexcept = default;

sqlite_connection& sqlite_connection::operator=(sqlite_connection&& other) noexcept {
    sqlite_connection old(std::move(*this));
    session_ = std::move(other.session_);
    return *this;
}

sqlite_connection::~sqlite_connection() {
    if (session_) {
        session_->database()->abandon();  // an operation that runs has the session too
    }
}

asio::awaitable<result<sql_rows>> sqlite_connection::run(const call_context& context, std::string sql,
                                                         sql_params params) {
    return on_thread<sql_rows>(session_, context, lane::shared,
                               [sql = std::move(sql), params = std::move(params)](sqlite_database& database) {
                                   return database.query(sql, params);
                               });
}

asio::awaitable<result<void>> sqlite_connection::begin(const call_context& context) {
    return on_thread<void>(session_, context, lane::shared, statement("BEGIN IMMEDIATE"));
}

asio::awaitable<result<void>> sqlite_connection::commit(const call_context& context) {
    return on_thread<void>(session_, context, lane::shared, statement("COMMIT"));
}

asio::awaitable<result<void>> sqlite_connection::rollback(const call_context& context) {
    return on_thread<void>(session_, context, lane::shared,
                           [](sqlite_database& database) { return database.rollback(); });
}

sqlite_backend::sqlite_backend(std::shared_ptr<sqlite_threads> threads, const sqlite_options& options)
    : threads_(std::move(threads)), options_(std::make_shared<sqlite_options>(options)) {}

result<sqlite_backend> sqlite_backend::create(const sqlite_options& options) {
    BOOST_OUTCOME_TRYV(detail::accept(check(options)));
    try {
        return sqlite_backend(std::make_shared<sqlite_threads>(options.threads), with_absolute_path(options));
    } catch (const std::bad_alloc&) {
        return errc::out_of_memory;
    } catch (...) {
        return detail::error_of(std::current_exception());
    }
}

asio::awaitable<result<sqlite_connection>> sqlite_backend::connect() const {
    return open(threads_, options_);
}

asio::awaitable<result<void>> sqlite_backend::reset(sqlite_connection& connection) const {
    if (connection.session_ && connection.session_->database()->take_clean()) {
        return nothing_to_do();
    }
    return on_thread<void>(connection.session_, {}, lane::at_once,
                           [](sqlite_database& database) { return database.reset(); });
}

asio::awaitable<result<void>> sqlite_backend::ping(sqlite_connection& connection) const {
    return on_thread<void>(connection.session_, {}, lane::at_once, statement("PRAGMA schema_version"));
}

bool sqlite_backend::is_alive(const sqlite_connection& connection) const noexcept {
    return connection.session_ && connection.session_->database()->alive();
}

void sqlite_backend::close(sqlite_connection connection) const noexcept {
    const sqlite_connection last = std::move(connection);
}

}  // namespace headgate
