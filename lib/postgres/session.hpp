// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_POSTGRES_SESSION_HPP
#define HEADGATE_POSTGRES_SESSION_HPP

#include <boost/asio/awaitable.hpp>

#include <memory>
#include <string>

#include <headgate/call_context.hpp>
#include <headgate/result.hpp>
#include <headgate/sql.hpp>

#include "helper_threads.hpp"
#include "libpq.hpp"
#include "watch.hpp"

namespace headgate::detail {

class pq_params;

/// An open connection, and the statement that runs on it. Coroutines hold it, so that the handle may go at any time.
class postgres_session : public std::enable_shared_from_this<postgres_session> {
public:
    postgres_session(pq_conn conn, watched_fd socket, std::shared_ptr<helper_threads> cancellers) noexcept
        : conn_(std::move(conn)), socket_(std::move(socket)), cancellers_(std::move(cancellers)) {}

    /// Runs a statement.
    [[nodiscard]] static boost::asio::awaitable<result<sql_rows>> query(std::shared_ptr<postgres_session> self,
                                                                        call_context context, std::string sql,
                                                                        sql_params params);

    /// Whether a statement may be sent.
    [[nodiscard]] bool is_open() const noexcept { return conn_ && PQstatus(conn_.get()) == CONNECTION_OK; }
    /// Whether it is open, nothing runs on it, and the server has not sent anything, as it does when it ends the
    /// connection. One system call.
    [[nodiscard]] bool is_quiet() const noexcept;
    /// Where it stands in a transaction.
    [[nodiscard]] PGTransactionStatusType transaction() const noexcept {
        return conn_ ? PQtransactionStatus(conn_.get()) : PQTRANS_UNKNOWN;
    }
    /// Whether a statement was sent since this was last asked.
    [[nodiscard]] bool take_used() noexcept { return std::exchange(used_, false); }

    /// Closes the connection; a statement that runs is cancelled at the server, without waiting for that.
    void close() noexcept;

private:
    class statement;

    [[nodiscard]] result<void> check(const call_context& context) const;
    [[nodiscard]] result<void> send(const std::string& sql, const pq_params& params);
    [[nodiscard]] boost::asio::awaitable<result<sql_rows>> finish();
    [[nodiscard]] boost::asio::awaitable<bool> exchange(steady_time until);
    void read_last_words();
    void keep(pq_result r);
    [[nodiscard]] boost::asio::awaitable<void> cancel();
    [[nodiscard]] boost::asio::awaitable<void> request_cancel(steady_time until);
    [[nodiscard]] boost::asio::awaitable<bool> interrupted(steady_time until);
    [[nodiscard]] result<sql_rows> answer();

    pq_conn conn_;  // null: closed
    watched_fd socket_;
    std::shared_ptr<helper_threads> cancellers_;

    // Of the statement that runs:
    bool running_ = false;
    bool cancel_requested_ = false;  // by the deadline
    bool cancelling_ = false;
    pq_result answer_;

    bool used_ = false;
};

}  // namespace headgate::detail

#endif
