// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_DATABASE_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_DATABASE_HPP

#include <headgate/call_context.hpp>
#include <headgate/postgres.hpp>
#include <headgate/result.hpp>
#include <headgate/sqlite.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace config_service {

namespace asio = boost::asio;
using headgate::result;

/// One version of the value under a path. A deletion is a record without a value.
struct record {
    std::string path;
    std::int64_t version = 0;
    std::optional<std::string> value;  ///< JSON text.
    std::string author;
    std::int64_t time_ms = 0;  ///< Since the Unix epoch.
};

/// A connection to either kind of database. It uses only statements that both kinds understand.
class database_connection {
public:
    explicit database_connection(headgate::sqlite_connection c) : connection_(std::move(c)) {}
    explicit database_connection(headgate::postgres_connection c) : connection_(std::move(c)) {}

    /// The latest record of a path, which may be a deletion. Nothing if the path never had a record.
    asio::awaitable<result<std::optional<record>>> latest(headgate::call_context context, std::string path);
    /// The latest record of each path that begins with `prefix` and comes after `after`, sorted by path. Leaves deleted
    /// paths out.
    asio::awaitable<result<std::vector<record>>> list(headgate::call_context context, std::string prefix,
                                                      std::string after, std::int64_t limit);
    /// All versions that are kept, the latest first.
    asio::awaitable<result<std::vector<record>>> history(headgate::call_context context, std::string path);
    /// Writes all records, or none. A record that the database already has changes nothing, so a caller that does not
    /// know whether the commit succeeded may write again.
    asio::awaitable<result<void>> write(headgate::call_context context, const std::vector<record>& records);

private:
    friend class database_backend;

    asio::awaitable<result<headgate::sql_rows>> query(headgate::call_context context, std::string sql,
                                                      headgate::sql_params params);
    template <class Connection>
    asio::awaitable<result<void>> write_on(Connection& c, headgate::call_context context,
                                           const std::vector<record>& records);
    asio::awaitable<result<void>> write_all(headgate::call_context context, const std::vector<record>& records);
    [[nodiscard]] result<void> fault() const;

    std::variant<headgate::sqlite_connection, headgate::postgres_connection> connection_;
    std::shared_ptr<const bool> broken_;
};

/// How many versions of a path are kept.
inline constexpr std::int64_t kept_versions = 100;

/// The backend of the connection pool.
class database_backend {
public:
    /// `where` is `postgresql://…`, or the path of an SQLite file. `max_pages` bounds the size of that file (zero: no
    /// bound).
    static result<database_backend> create(const std::string& where, std::uint32_t max_pages);

    /// Connects, and creates the table if it is missing.
    asio::awaitable<result<database_connection>> connect();
    asio::awaitable<result<void>> reset(database_connection& c);
    asio::awaitable<result<void>> ping(database_connection& c);

    /// For the demonstration: while `broken` is true, every connect and every statement fail.
    void set_broken(bool broken) const { *broken_ = broken; }
    [[nodiscard]] bool broken() const { return *broken_; }

private:
    using backend = std::variant<headgate::sqlite_backend, headgate::postgres_backend>;
    explicit database_backend(backend b) : backend_(std::move(b)) {}
    asio::awaitable<result<database_connection>> connect_to_it();
    template <class Ask>
    asio::awaitable<result<void>> ask(database_connection& c, Ask ask);

    backend backend_;
    std::shared_ptr<bool> broken_ = std::make_shared<bool>(false);
};

}  // namespace config_service

#endif
