// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/postgres.hpp>

#include <utility>

#include "connect.hpp"
#include "session.hpp"
#include "target.hpp"

namespace headgate {

namespace asio = boost::asio;

namespace {

asio::awaitable<result<void>> run(std::shared_ptr<detail::postgres_session> session, call_context context,
                                  std::string sql) {
    const result<sql_rows> rows = co_await detail::postgres_session::query(session, context, std::move(sql), {});
    if (!rows) {
        co_return rows.error();
    }
    co_return headgate::success();
}

asio::awaitable<result<void>> commit_or_tell(std::shared_ptr<detail::postgres_session> session, call_context context) {
    // The server answers a commit of a failed transaction with a rollback, and not with an error.
    const bool failed = session->transaction() == PQTRANS_INERROR;
    auto ended = co_await run(session, context, "commit");
    if (ended && failed) {
        co_return detail::sqlstate_error("25P02", "the transaction had failed and was rolled back");
    }
    co_return ended;
}

asio::awaitable<result<void>> clean(std::shared_ptr<detail::postgres_session> session) {
    if (session->transaction() != PQTRANS_IDLE) {
        auto rolled_back = co_await run(session, {}, "rollback");
        if (!rolled_back) {
            co_return rolled_back;
        }
    }
    if (!session->take_used()) {
        co_return headgate::success();
    }
    auto discarded = co_await run(session, {}, "discard all");
    (void)session->take_used();
    co_return discarded;
}

asio::awaitable<result<postgres_connection>> open(std::shared_ptr<const detail::postgres_target> target) {
    auto session = co_await detail::connect(target);
    if (!session) {
        co_return session.error();
    }
    co_return postgres_connection(std::move(session).value());
}

}  // namespace

postgres_connection::postgres_connection(std::shared_ptr<detail::postgres_session> session) noexcept
    : session_(std::move(session)) {}

postgres_connection::postgres_connection(postgres_connection&&) noexcept = default;

postgres_connection& postgres_connection::operator=(postgres_connection&& other) noexcept {
    std::swap(session_, other.session_);
    const postgres_connection old(std::exchange(other.session_, nullptr));
    return *this;
}

postgres_connection::~postgres_connection() {
    if (session_) {
        session_->close();
    }
}

asio::awaitable<result<sql_rows>> postgres_connection::query(call_context context, std::string sql, sql_params params) {
    return detail::postgres_session::query(session_, context, std::move(sql), std::move(params));
}

asio::awaitable<result<void>> postgres_connection::begin(call_context context) {
    return run(session_, context, "begin");
}

asio::awaitable<result<void>> postgres_connection::commit(call_context context) {
    return commit_or_tell(session_, context);
}

asio::awaitable<result<void>> postgres_connection::rollback(call_context context) {
    return run(session_, context, "rollback");
}

bool postgres_connection::is_open() const noexcept {
    return session_ && session_->is_open();
}

postgres_backend::postgres_backend(std::shared_ptr<const detail::postgres_target> target) noexcept
    : target_(std::move(target)) {}

result<postgres_backend> postgres_backend::create(const postgres_options& options) {
    auto parsed = detail::parse_conninfo(options.url);
    if (!parsed) {
        return parsed.error();
    }
    detail::conninfo all = std::move(parsed).value();
    all.emplace("client_encoding", "UTF8");
    if (!options.application_name.empty()) {
        all.insert_or_assign("application_name", options.application_name);
    }
    auto hosts = detail::hosts_of(all);
    if (!hosts) {
        return hosts.error();
    }
    return postgres_backend(
        std::make_shared<const detail::postgres_target>(std::move(all), std::move(hosts).value(), options.credentials));
}

asio::awaitable<result<postgres_connection>> postgres_backend::connect() {
    return open(target_);
}

asio::awaitable<result<void>> postgres_backend::reset(postgres_connection& connection) {
    return clean(connection.session_);
}

asio::awaitable<result<void>> postgres_backend::ping(postgres_connection& connection) {
    return run(connection.session_, {}, "select 1");
}

bool postgres_backend::is_alive(const postgres_connection& connection) const noexcept {
    return connection.session_ && connection.session_->is_quiet();
}

void postgres_backend::close(postgres_connection /*connection*/) noexcept {
    // Its destructor says it.
}

}  // namespace headgate
