// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_SQLITE_HPP
#define HEADGATE_SQLITE_HPP

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <headgate/call_context.hpp>
#include <headgate/config_problem.hpp>
#include <headgate/export.hpp>
#include <headgate/result.hpp>
#include <headgate/sql.hpp>
#include <headgate/time.hpp>

namespace headgate {

namespace detail {
class sqlite_session;
class sqlite_threads;
}  // namespace detail

/// Which database, and how its connections behave. It has constructors, and with them is safe in a `co_await`
/// expression of every compiler.
struct sqlite_options {
    sqlite_options() = default;
    /// Of the database in that file.
    explicit sqlite_options(std::string file) : path(std::move(file)) {}

    /// The database's file; it is made when it is not there.
    std::string path;
    /// How long a statement waits for a lock that another connection has, in real time. Zero: it does not wait.
    duration busy_timeout = std::chrono::seconds{1};
    /// Pages that the database may have; a statement that needs more fails with SQLITE_FULL. Zero: no bound.
    std::uint32_t max_pages = 0;
    /// The name of the SQLite VFS that reads and writes the files. Empty: the default one.
    std::string vfs;
    /// Threads on which statements outside of transactions run. Connections in a transaction, connects, resets and
    /// pings never wait for one of these; the backend starts threads for them as it needs them, and keeps those.
    std::uint32_t threads = 4;
};

/// What is wrong with `options`: each mistake by itself, none when all is right. `create` refuses what has one.
[[nodiscard]] HEADGATE_DECL std::vector<config_problem> check(const sqlite_options& options);

/// The category of SQLite's extended result codes: its name is "sqlite".
///
/// Comparable with `std::errc` by the code's primary part: SQLITE_BUSY and SQLITE_LOCKED are
/// `resource_unavailable_try_again`, SQLITE_FULL is `no_space_on_device`, SQLITE_IOERR is `io_error`, SQLITE_NOMEM is
/// `not_enough_memory`, SQLITE_READONLY is `read_only_file_system`, but SQLITE_READONLY_DBMOVED, which is
/// `no_such_file_or_directory`.
[[nodiscard]] HEADGATE_DECL const boost::system::error_category& sqlite_category() noexcept;

/// A connection to a database. Move-only; made by `sqlite_backend::connect`.
///
/// Every operation runs on a thread of the backend and completes on the executor of the coroutine that awaits it, which
/// has work meanwhile. One at a time: an operation that is started while another runs fails with SQLITE_MISUSE and
/// disturbs nothing.
///
/// **Cancellation** (terminal; partial and total are the same where the coroutine lets them through) of the awaiting
/// coroutine, or by the slot of the `call_context`, ends an operation with `errc::canceled`: at once while it waits for
/// a thread, soon while it computes or waits for a lock. What is in the operating system, such as an fsync, ends first.
/// The connection stays usable. With a context whose time is up nothing starts. A slot has one handler: two operations
/// with the same context do not run at the same time.
///
/// **Transactions**: where SQLite rolls one back by itself, for example after a cancelled INSERT or a full disk, all
/// that follows fails with SQLITE_ABORT_ROLLBACK until `rollback`, so that no statement runs outside of the transaction
/// that it was meant for.
///
/// **Errors**: SQLite's extended result code in `sqlite_category()`, with SQLite's message as the detail;
/// `errc::canceled`; `errc::invalid_argument` for a text that is not one statement; `errc::out_of_memory`, when nothing
/// was changed. Where the database's file was deleted, renamed or replaced, every statement fails with
/// SQLITE_READONLY_DBMOVED: what it read would be of the past, and what it wrote would be lost.
///
/// **Lifetimes**: operations own what they need. A handle that is destroyed cancels the operation that runs, and the
/// database is closed on a thread of the backend. An io_context that is destroyed cancels the operations that would
/// complete on it and does not wait for them. The handle itself is not thread-safe.
class [[nodiscard]] HEADGATE_DECL sqlite_connection {
public:
    /// Of an open session; made by the backend.
    explicit sqlite_connection(std::shared_ptr<detail::sqlite_session> session) noexcept;
    /// Takes over what `other` holds; a moved-from connection is closed: its operations fail with SQLITE_MISUSE.
    sqlite_connection(sqlite_connection&& other) noexcept;
    /// Closes its own, and takes over what `other` holds.
    sqlite_connection& operator=(sqlite_connection&& other) noexcept;
    ~sqlite_connection();

    /// Runs one statement, with a value for each of its parameters: `co_await c.query("SELECT ?1 + ?2", 20, 22)`. All
    /// rows are read into memory. Text and arguments are copied; nothing dangles.
    ///
    /// Arguments are integers, real numbers, what converts to `std::string_view`, `sql_blob`, `sql_value`, and
    /// `nullptr`. SQLite stores a NaN as null.
    ///
    /// Errors besides those of the connection: SQLITE_RANGE when there are more or fewer values than parameters.
    template <class... Args>
    [[nodiscard]] boost::asio::awaitable<result<sql_rows>> query(std::string_view sql, Args&&... args) {
        return run({}, std::string(sql), detail::to_sql_params(std::forward<Args>(args)...));
    }
    /// The same with its parameters as one. Give them a name: g++ before 13 compiles no braced list in a `co_await`.
    [[nodiscard]] boost::asio::awaitable<result<sql_rows>> query(std::string_view sql, sql_params params) {
        return run({}, std::string(sql), std::move(params));
    }
    /// The same within the time of a call.
    template <class... Args>
    [[nodiscard]] boost::asio::awaitable<result<sql_rows>> query(const call_context& context, std::string_view sql,
                                                                 Args&&... args) {
        return run(context, std::string(sql), detail::to_sql_params(std::forward<Args>(args)...));
    }
    /// The same within the time of a call, with its parameters as one.
    [[nodiscard]] boost::asio::awaitable<result<sql_rows>> query(const call_context& context, std::string_view sql,
                                                                 sql_params params) {
        return run(context, std::string(sql), std::move(params));
    }

    /// Begins a transaction that may write (BEGIN IMMEDIATE): waits for the write lock now, and not in its midst, where
    /// waiting could not help. Errors besides those of the connection: SQLITE_BUSY after `busy_timeout`; SQLITE_ERROR
    /// when there is a transaction already.
    [[nodiscard]] boost::asio::awaitable<result<void>> begin(const call_context& context = {});
    /// Commits the transaction: on success it is on the disk. After an error that leaves it open, commit again or roll
    /// back. Errors besides those of the connection: SQLITE_ERROR when there is none.
    [[nodiscard]] boost::asio::awaitable<result<void>> commit(const call_context& context = {});
    /// Rolls the transaction back. There need not be one.
    [[nodiscard]] boost::asio::awaitable<result<void>> rollback(const call_context& context = {});

private:
    friend class sqlite_backend;

    [[nodiscard]] boost::asio::awaitable<result<sql_rows>> run(const call_context& context, std::string sql,
                                                               sql_params params);

    std::shared_ptr<detail::sqlite_session> session_;
};

/// The backend of a `resource_pool<sqlite_connection>`: connects to one database, on threads that it owns.
///
/// A handle: copies share the threads, and so do the connections. When the last of them goes it waits for the threads,
/// which have nothing left to do but to end what was cancelled and to close. All members are thread-safe.
///
/// Statements run on `sqlite_options::threads` threads. A connection in a transaction runs on another, so that those
/// who wait for its locks never keep it from committing; so do connects, resets and pings, so that long statements keep
/// no pool from its upkeep.
///
/// ```cpp
/// // example: sqlite_backend
/// #include <headgate/headgate.hpp>
/// #include <headgate/sqlite.hpp>
///
/// #include <boost/asio/detached.hpp>
/// #include <cassert>
///
/// int main() {
///     boost::asio::io_context io;
///     headgate::zone zone(io, "shop");
///     const auto backend = headgate::sqlite_backend::create(headgate::sqlite_options("shop.db")).value();
///     auto pool = headgate::resource_pool<headgate::sqlite_connection>::create(zone, "database", {}, backend).value();
///
///     const auto work = [&]() -> boost::asio::awaitable<void> {
///         {
///             auto lease = co_await pool.checkout();
///             const auto rows = co_await lease.value()->query("SELECT ?1 + ?2", 20, 22);
///             assert(rows && rows.value().rows.size() == 1);
///         }
///         (void)co_await zone.close(boost::asio::use_awaitable);
///     };
///     boost::asio::co_spawn(io, work, boost::asio::detached);
///     io.run();
/// }
/// ```
class HEADGATE_DECL sqlite_backend {
public:
    /// Starts the threads. Errors: `invalid_argument`, whose detail says which option and what would be right;
    /// `operation_failed` with the exception when the system gives no thread.
    [[nodiscard]] static result<sqlite_backend> create(const sqlite_options& options);

    /// Opens the database, or makes it: with a write-ahead log (`journal_mode=WAL`), `synchronous=FULL`,
    /// `foreign_keys=ON` and `max_pages`.
    ///
    /// Completion, cancellation and errors are those of a connection's operations. SQLITE_CANTOPEN where there is no
    /// such directory, SQLITE_NOTADB for a file of another kind, SQLITE_ERROR where the file system or the VFS cannot
    /// have a write-ahead log.
    [[nodiscard]] boost::asio::awaitable<result<sqlite_connection>> connect() const;

    /// Makes the connection as if it were new: rolls an open transaction back, and where a statement was compiled that
    /// may leave something behind in the connection, opens the database again. That is what makes or changes something
    /// in the temporary database, ATTACH and DETACH, and every pragma with an argument but for those that only look,
    /// such as `table_info`. `last_insert_rowid()` starts at 0; `changes()` and `total_changes()` count on.
    ///
    /// An error means that the connection is not usable: an operation runs on it; or one has failed with
    /// SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_IOERR or SQLITE_READONLY_DBMOVED, whose code this gives again; or opening
    /// it again failed.
    [[nodiscard]] boost::asio::awaitable<result<void>> reset(sqlite_connection& connection) const;

    /// Reads the header of the database's file.
    [[nodiscard]] boost::asio::awaitable<result<void>> ping(sqlite_connection& connection) const;

    /// Whether nothing runs on the connection, it is not in doubt, and its path still names its file. A pool asks this
    /// before it lends a connection that was idle for a while. Costs one stat(2).
    [[nodiscard]] bool is_alive(const sqlite_connection& connection) const noexcept;

    /// Cancels what runs on the connection, and closes it on a thread of the backend. Does not wait.
    void close(sqlite_connection connection) const noexcept;

private:
    explicit sqlite_backend(std::shared_ptr<detail::sqlite_threads> threads, const sqlite_options& options);

    std::shared_ptr<detail::sqlite_threads> threads_;
    std::shared_ptr<const sqlite_options> options_;
};

}  // namespace headgate

#endif
