// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "session.hpp"

#include <boost/asio/execution/context.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/this_coro.hpp>

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <exception>
#include <new>
#include <optional>
#include <utility>

#include <headgate/postgres.hpp>

#include "values.hpp"

namespace headgate::detail {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using wait_type = asio::posix::stream_descriptor::wait_type;

namespace {

constexpr auto cancel_limit = 3s;
constexpr auto first_cancel_pause = 50ms;

bool is_copy(ExecStatusType status) noexcept {
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

// The statement has ended, whether there is memory for its rows or not: not `out_of_memory`, after which it could be
// run again.
result<sql_rows> rows_of(const PGresult* answer) {
    try {
        return to_rows(answer);
    } catch (const std::bad_alloc&) {
        return error(errc::operation_failed, std::current_exception());
    }
}

bool is_error(ExecStatusType status) noexcept {
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE || status == PGRES_NONFATAL_ERROR;
}

}  // namespace

/// Stands for the statement that runs, and lets the deadline reach it. One that is given up before it has ended, with
/// its coroutine, leaves its answer unread: the connection is closed.
class postgres_session::statement {
public:
    statement(postgres_session& session, const call_context& context) : session_(session), slot_(context.slot()) {
        if (slot_.is_connected()) {
            slot_.assign([&session](asio::cancellation_type) {
                session.cancel_requested_ = true;
                wake(*session.socket_);
            });
        }
        session_.running_ = true;
        session_.cancel_requested_ = false;
        session_.cancelling_ = false;
        session_.used_ = true;
    }
    statement(const statement&) = delete;
    statement& operator=(const statement&) = delete;
    ~statement() {
        if (slot_.is_connected()) {
            slot_.clear();
        }
        if (!ended_) {
            session_.close();
        }
        session_.running_ = false;
        session_.answer_.reset();
    }

    void ended() noexcept { ended_ = true; }

private:
    postgres_session& session_;
    asio::cancellation_slot slot_;
    bool ended_ = false;
};

asio::awaitable<result<sql_rows>> postgres_session::query(std::shared_ptr<postgres_session> self, call_context context,
                                                          std::string sql, sql_params params) {
    if (auto allowed = self->check(context); !allowed) {
        co_return allowed.error();
    }
    auto made = pq_params::make(params);
    if (!made) {
        co_return made.error();
    }
    statement running(*self, context);
    if (auto sent = self->send(sql, made.value()); !sent) {
        running.ended();
        co_return sent.error();
    }
    auto out = co_await without_throwing(self->finish());
    running.ended();
    co_return out;
}

result<void> postgres_session::check(const call_context& context) const {
    if (running_) {
        return error(errc::invalid_argument, "a statement runs on this connection already; await it first");
    }
    if (!is_open()) {
        return sqlstate_error("08003", "the connection is closed");
    }
    if (context.time_left() == duration::zero()) {
        return error(errc::timed_out);  // its slot was fired, and will not be again
    }
    return headgate::success();
}

bool postgres_session::is_quiet() const noexcept {
    if (!is_open() || running_) {
        return false;
    }
    pollfd socket{PQsocket(conn_.get()), POLLIN, 0};
    int ready = ::poll(&socket, 1, 0);
    while (ready < 0 && errno == EINTR) {
        ready = ::poll(&socket, 1, 0);
    }
    return ready == 0;
}

result<void> postgres_session::send(const std::string& sql, const pq_params& p) {
    if (sql.find('\0') != std::string::npos) {
        return error(errc::invalid_argument, "the statement has a zero byte in it");
    }
    if (PQsendQueryParams(conn_.get(), sql.c_str(), p.size(), p.types(), p.values(), p.lengths(), p.formats(), 0) ==
        1) {
        return headgate::success();
    }
    const std::string_view why = trimmed(PQerrorMessage(conn_.get()));
    if (is_open() && why.find("memory") != std::string_view::npos) {  // libpq's only word for it
        return error(errc::out_of_memory, why);
    }
    if (is_open()) {
        return error(errc::invalid_argument, why);
    }
    return sqlstate_error("08006", why);
}

asio::awaitable<result<sql_rows>> postgres_session::finish() {
    const bool ended = co_await exchange(steady_time::max());
    if (!ended) {
        co_await cancel();
    }
    while (const pq_memory<PGnotify> ignored{conn_ ? PQnotifies(conn_.get()) : nullptr}) {
    }
    co_return answer();
}

// Sends the rest of the statement and takes results until the statement has ended. False when it was interrupted, by
// cancellation or at `until`.
asio::awaitable<bool> postgres_session::exchange(steady_time until) {
    while (is_open()) {
        // The server reads a whole message before it answers, so that writing need not wait for reading.
        if (PQflush(conn_.get()) == 1) {
            co_await wait_on(socket_, wait_type::wait_write, until);
        } else if (PQisBusy(conn_.get()) == 0) {
            pq_result r(PQgetResult(conn_.get()));
            if (!r) {
                co_return true;
            }
            keep(std::move(r));
            continue;
        } else {
            co_await wait_on(socket_, wait_type::wait_read, until);
        }
        const bool stop = co_await interrupted(until);
        if (stop) {
            co_return false;
        }
        if (is_open() && PQconsumeInput(conn_.get()) == 0) {
            read_last_words();
        }
    }
    co_return true;
}

asio::awaitable<bool> postgres_session::interrupted(steady_time until) {
    if (cancelling_) {
        co_return std::chrono::steady_clock::now() >= until;
    }
    const bool cancelled = co_await was_cancelled();
    co_return cancelled || cancel_requested_;
}

// The server may have said why it closed the connection. Does not block: there is no socket to wait for any more.
void postgres_session::read_last_words() {
    if (PQstatus(conn_.get()) != CONNECTION_BAD) {
        close();
        return;
    }
    while (pq_result r{PQgetResult(conn_.get())}) {
        keep(std::move(r));
    }
}

// The first error counts, else the last result.
void postgres_session::keep(pq_result r) {
    if (!answer_ || !is_error(PQresultStatus(answer_.get()))) {
        answer_ = std::move(r);
    }
    if (is_copy(PQresultStatus(answer_.get()))) {
        close();
    }
}

result<sql_rows> postgres_session::answer() {
    const ExecStatusType status = PQresultStatus(answer_.get());  // of none: an error
    if (is_copy(status)) {
        return sqlstate_error("0A000", "COPY from or to the client is not supported; the connection is closed");
    }
    if (!answer_ && cancelling_) {
        return error(errc::canceled, "the server did not confirm the cancellation; the connection is closed");
    }
    if (!answer_) {
        return sqlstate_error("08006", "the connection was closed");
    }
    if (!is_error(status)) {
        return rows_of(answer_.get());
    }
    error failed = error_of_result(answer_.get());
    if (cancelling_ && failed.code == sqlstate("57014")) {
        return error(errc::canceled);
    }
    return failed;
}

// Cancels the statement at the server, and reads the rest of its answer.
//
// A cancel request goes over a connection of its own, and the server drops one that arrives while it still reads the
// statement: so that it is repeated. None is on its way when this returns. The server closes that connection after it
// has signalled its process for ours, PQcancel waits for the closing, and that process takes its signals before the
// next statement that it reads, and ignores them then.
asio::awaitable<void> postgres_session::cancel() {
    cancelling_ = true;
    const auto give_up = std::chrono::steady_clock::now() + cancel_limit;
    for (auto pause = std::chrono::steady_clock::duration(first_cancel_pause);; pause *= 2) {
        co_await request_cancel(give_up);
        const auto now = std::chrono::steady_clock::now();
        const bool ended = co_await exchange(std::min(now + pause, give_up));
        if (ended) {
            co_return;
        }
        if (std::chrono::steady_clock::now() >= give_up) {
            close();
            co_return;
        }
    }
}

// Ends when the server has the request, or could not be told, or at `until`.
asio::awaitable<void> postgres_session::request_cancel(steady_time until) {
    auto ends = pipe_ends::make();
    pq_cancel whom(conn_ ? PQgetCancel(conn_.get()) : nullptr);
    if (!ends || !whom) {
        co_return;
    }
    const asio::any_io_executor executor = co_await asio::this_coro::executor;
    // Destroyed before the io_context, whereas the thread that cancels has only the other end.
    const watched_fd done = watch_duplicate(executor, ends->read.get());
    cancellers_->cancel(std::move(whom), std::move(ends->write),
                        clock_hold(asio::query(executor, asio::execution::context)));
    std::array<char, 1> nothing{};
    while (::read(done->native_handle(), nothing.data(), nothing.size()) != 0 && is_open() &&
           std::chrono::steady_clock::now() < until) {
        co_await wait_on(done, wait_type::wait_read, until);
    }
}

void postgres_session::close() noexcept {
    if (!conn_) {
        return;
    }
    if (running_ && is_open()) {
        try {
            if (pq_cancel whom{PQgetCancel(conn_.get())}) {
                cancellers_->cancel(std::move(whom), unique_fd(), clock_hold());  // without waiting for it
            }
        } catch (...) {  // NOLINT(bugprone-empty-catch): the server will notice by itself, later
        }
    }
    conn_.reset();
    boost::system::error_code ec;
    socket_->close(ec);  // NOLINT(bugprone-unused-return-value): it is the same as ec
}

}  // namespace headgate::detail
