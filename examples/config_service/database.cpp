// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "database.hpp"

#include <boost/system/errc.hpp>

#include <string_view>

namespace config_service {

namespace {

// Paths must compare byte by byte. SQLite does so by default; PostgreSQL needs the collation "C".
std::string schema(bool postgres) {
    std::string text = "CREATE TABLE IF NOT EXISTS config_history (path TEXT ";
    text += postgres ? "COLLATE \"C\" " : "";
    text +=
        "NOT NULL, version BIGINT NOT NULL, value TEXT, author TEXT NOT NULL, time_ms BIGINT NOT NULL, "
        "PRIMARY KEY (path, version))";
    return text;
}

bool is_postgres(const std::string& where) {
    return where.starts_with("postgresql://") || where.starts_with("postgres://");
}

std::int64_t integer(const headgate::sql_value& v) {
    const auto* i = std::get_if<std::int64_t>(&v);
    return i != nullptr ? *i : 0;
}

std::string text(const headgate::sql_value& v) {
    const auto* s = std::get_if<std::string>(&v);
    return s != nullptr ? *s : std::string();
}

std::vector<record> records_of(const headgate::sql_rows& rows) {
    std::vector<record> out;
    for (const auto& row : rows.rows) {
        record r{text(row[0]), integer(row[1]), {}, text(row[3]), integer(row[4])};
        if (const auto* value = std::get_if<std::string>(&row[2])) {
            r.value = *value;
        }
        out.push_back(std::move(r));
    }
    return out;
}

constexpr std::string_view columns = "SELECT path, version, value, author, time_ms FROM config_history ";

std::string select(std::string_view rest) {
    return std::string(columns).append(rest);
}

}  // namespace

result<void> database_connection::fault() const {
    if (*broken_) {
        return headgate::error(boost::system::errc::make_error_code(boost::system::errc::connection_reset));
    }
    return headgate::success();
}

asio::awaitable<result<headgate::sql_rows>> database_connection::query(headgate::call_context context, std::string sql,
                                                                       headgate::sql_params params) {
    if (auto well = fault(); !well) {
        co_return std::move(well).error();
    }
    if (auto* sqlite = std::get_if<headgate::sqlite_connection>(&connection_)) {
        co_return co_await sqlite->query(context, sql, std::move(params));
    }
    co_return co_await std::get<headgate::postgres_connection>(connection_)
        .query(context, std::move(sql), std::move(params));
}

asio::awaitable<result<std::optional<record>>> database_connection::latest(headgate::call_context context,
                                                                           std::string path) {
    auto params = headgate::sql_params{std::move(path)};
    auto rows = co_await query(context, select("WHERE path = $1 ORDER BY version DESC LIMIT 1"), std::move(params));
    if (!rows) {
        co_return std::move(rows).error();
    }
    auto found = records_of(rows.value());
    co_return found.empty() ? std::optional<record>() : std::move(found.front());
}

asio::awaitable<result<std::vector<record>>> database_connection::list(headgate::call_context context,
                                                                       std::string prefix, std::string after,
                                                                       std::int64_t limit) {
    // Paths are ASCII, so the prefix with 0x7f comes after every path that begins with the prefix.
    std::string end = prefix + '\x7f';
    headgate::sql_params params;
    params.emplace_back(std::move(prefix));
    params.emplace_back(std::move(end));
    params.emplace_back(std::move(after));
    params.emplace_back(limit);
    auto rows =
        co_await query(context,
                       select("AS h WHERE path >= $1 AND path < $2 AND path > $3 AND value IS NOT NULL AND version = "
                              "(SELECT MAX(version) FROM config_history AS latest WHERE latest.path = h.path) "
                              "ORDER BY path LIMIT $4"),
                       std::move(params));
    if (!rows) {
        co_return std::move(rows).error();
    }
    co_return records_of(rows.value());
}

asio::awaitable<result<std::vector<record>>> database_connection::history(headgate::call_context context,
                                                                          std::string path) {
    headgate::sql_params params;
    params.emplace_back(std::move(path));
    params.emplace_back(kept_versions);
    auto rows = co_await query(context, select("WHERE path = $1 ORDER BY version DESC LIMIT $2"), std::move(params));
    if (!rows) {
        co_return std::move(rows).error();
    }
    co_return records_of(rows.value());
}

asio::awaitable<result<void>> database_connection::write_all(headgate::call_context context,
                                                             const std::vector<record>& records) {
    for (const record& r : records) {
        headgate::sql_params params;
        params.emplace_back(r.path);
        params.emplace_back(r.version);
        r.value ? params.emplace_back(*r.value) : params.emplace_back();
        params.emplace_back(r.author);
        params.emplace_back(r.time_ms);
        auto wrote = co_await query(context,
                                    "INSERT INTO config_history (path, version, value, author, time_ms) "
                                    "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (path, version) DO NOTHING",
                                    std::move(params));
        if (!wrote) {
            co_return std::move(wrote).error();
        }
        if (r.version > kept_versions) {
            headgate::sql_params old;
            old.emplace_back(r.path);
            old.emplace_back(r.version - kept_versions);
            auto cut =
                co_await query(context, "DELETE FROM config_history WHERE path = $1 AND version <= $2", std::move(old));
            if (!cut) {
                co_return std::move(cut).error();
            }
        }
    }
    co_return headgate::success();
}

template <class Connection>
asio::awaitable<result<void>> database_connection::write_on(Connection& c, headgate::call_context context,
                                                            const std::vector<record>& records) {
    // The pool rolls back a failed transaction when the connection returns to it.
    auto step = co_await c.begin(context);
    if (step) {
        step = co_await write_all(context, records);
    }
    if (step) {
        step = co_await c.commit(context);
    }
    co_return step;
}

asio::awaitable<result<void>> database_connection::write(headgate::call_context context,
                                                         const std::vector<record>& records) {
    if (auto well = fault(); !well) {
        co_return std::move(well).error();
    }
    if (auto* sqlite = std::get_if<headgate::sqlite_connection>(&connection_)) {
        co_return co_await write_on(*sqlite, context, records);
    }
    co_return co_await write_on(std::get<headgate::postgres_connection>(connection_), context, records);
}

result<database_backend> database_backend::create(const std::string& where, std::uint32_t max_pages) {
    if (is_postgres(where)) {
        BOOST_OUTCOME_TRY(auto made,
                          headgate::postgres_backend::create({.url = where, .application_name = "config_service"}));
        return database_backend(backend(std::move(made)));
    }
    headgate::sqlite_options options(where);
    options.max_pages = max_pages;
    BOOST_OUTCOME_TRY(auto made, headgate::sqlite_backend::create(options));
    return database_backend(backend(std::move(made)));
}

asio::awaitable<result<database_connection>> database_backend::connect_to_it() {
    if (auto* sqlite = std::get_if<headgate::sqlite_backend>(&backend_)) {
        auto made = co_await sqlite->connect();
        if (!made) {
            co_return std::move(made).error();
        }
        co_return database_connection(std::move(made).value());
    }
    auto made = co_await std::get<headgate::postgres_backend>(backend_).connect();
    if (!made) {
        co_return std::move(made).error();
    }
    co_return database_connection(std::move(made).value());
}

asio::awaitable<result<database_connection>> database_backend::connect() {
    auto c = co_await connect_to_it();
    if (!c) {
        co_return c;
    }
    c.value().broken_ = broken_;
    const std::string create = schema(std::holds_alternative<headgate::postgres_backend>(backend_));
    auto made = co_await c.value().query({}, create, {});
    if (!made && made.error().code == headgate::sqlstate("23505")) {
        // Another connection made the table at the same moment, and was faster.
        made = co_await c.value().query({}, create, {});
    }
    if (!made) {
        co_return std::move(made).error();
    }
    co_return c;
}

template <class Ask>
asio::awaitable<result<void>> database_backend::ask(database_connection& c, Ask ask) {
    if (auto well = c.fault(); !well) {
        co_return well;
    }
    if (auto* sqlite = std::get_if<headgate::sqlite_backend>(&backend_)) {
        co_return co_await ask(*sqlite, std::get<headgate::sqlite_connection>(c.connection_));
    }
    co_return co_await ask(std::get<headgate::postgres_backend>(backend_),
                           std::get<headgate::postgres_connection>(c.connection_));
}

asio::awaitable<result<void>> database_backend::reset(database_connection& c) {
    return ask(c, [](auto& of, auto& connection) { return of.reset(connection); });
}

asio::awaitable<result<void>> database_backend::ping(database_connection& c) {
    return ask(c, [](auto& of, auto& connection) { return of.ping(connection); });
}

}  // namespace config_service
