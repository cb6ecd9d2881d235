// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_POSTGRES_HPP
#define HEADGATE_POSTGRES_HPP

#include <boost/asio/awaitable.hpp>
#include <boost/system/error_category.hpp>
#include <boost/system/error_code.hpp>

#include <concepts>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <headgate/call_context.hpp>
#include <headgate/export.hpp>
#include <headgate/result.hpp>
#include <headgate/sql.hpp>

namespace headgate {

namespace detail {
class postgres_session;
class postgres_target;
}  // namespace detail

/// The category of SQLSTATE codes: its name is "postgres", its values are the five characters read in base 36.
[[nodiscard]] HEADGATE_DECL const boost::system::error_category& postgres_category() noexcept;

/// The error code of an SQLSTATE: `result.error().code == headgate::sqlstate("23505")`. What is not five digits and
/// capital letters is "XX000", an internal error.
[[nodiscard]] HEADGATE_DECL boost::system::error_code sqlstate(std::string_view code) noexcept;

/// As whom a connection logs in. What is empty is taken from the URL.
struct postgres_credentials {
    std::string user;      ///< The name of the role.
    std::string password;  ///< As it stands, not escaped.
};

/// Gives the credentials of each connect: any callable without parameters that returns `postgres_credentials`, a
/// `result` of them, or an `awaitable` of either. For passwords that change, and tokens that expire.
///
/// It is called once for each connect, on the executor of the coroutine that connects, and its time counts to that
/// connect; a coroutine is cancelled with it. Connects may run at once, on several threads where several contexts
/// connect. What it throws, and the error that it returns, is the error of the connect: `errc::operation_failed` with
/// the exception as cause, `canceled`, `out_of_memory`, or the error as it is. Copies share it; it lives until the last
/// call of it has ended.
class postgres_credentials_source {
public:
    /// None: those of the URL.
    postgres_credentials_source() = default;
    /// What `ask` returns at each connect.
    template <class Callable>
        requires(!std::same_as<std::decay_t<Callable>, postgres_credentials_source> &&
                 std::invocable<std::decay_t<Callable>&>)
    postgres_credentials_source(Callable&& ask)
        : ask_([shared = std::make_shared<std::decay_t<Callable>>(std::forward<Callable>(ask))] {
              return call(shared);
          }) {}

    /// Whether there is one.
    explicit operator bool() const noexcept { return static_cast<bool>(ask_); }
    /// Calls it. Precondition: there is one.
    [[nodiscard]] boost::asio::awaitable<result<postgres_credentials>> operator()() const { return ask_(); }

private:
    using answer = result<postgres_credentials>;

    template <class Callable>
    static boost::asio::awaitable<answer> call(std::shared_ptr<Callable> ask) {
        using given = std::remove_cvref_t<std::invoke_result_t<Callable&>>;
        if constexpr (std::convertible_to<given, answer>) {
            co_return answer((*ask)());
        } else {
            static_assert(std::same_as<given, boost::asio::awaitable<postgres_credentials>> ||
                              std::same_as<given, boost::asio::awaitable<answer>>,
                          "headgate: the callback must return postgres_credentials, a result of them, or an awaitable "
                          "of either");
            co_return answer(co_await (*ask)());
        }
    }

    std::function<boost::asio::awaitable<answer>()> ask_;
};

/// Which server, and as whom.
struct postgres_options {
    /// `postgresql://user@host:5432/database?sslmode=verify-full`, or `host=… user=… dbname=…`, as libpq takes them.
    /// What it leaves out comes from the environment (PGHOST …) and the password file. `connect_timeout` has no effect:
    /// cancel the connect, as a pool does after its `connect_timeout`.
    std::string url;
    /// What pg_stat_activity shows; when empty, what the URL or the environment says.
    std::string application_name{};
    /// Asked at each connect, in place of the URL's user and password.
    postgres_credentials_source credentials{};
};

/// One connection. Move-only; a moved-from connection may only be destroyed and assigned to.
///
/// One statement runs at a time. A connection belongs to the io_context on which it was connected and goes before it;
/// destroying it closes it, with a running statement too, which is then cancelled at the server without waiting.
///
/// Every operation completes on the executor of the coroutine that awaits it, which with several threads is a strand.
///
/// Cancellation, by the `call_context`'s deadline or of the awaiting coroutine (terminal, and the other types where it
/// has enabled them), cancels at the server. The operation ends when the server has confirmed that, so that the
/// cancellation cannot hit the next statement, and the connection is ready for that one; it gives `canceled`, or the
/// statement's result when that was faster. A connection whose server does not answer for three seconds is broken.
///
/// Errors of every operation: the server's SQLSTATE, with its message as detail; "08006", or the server's own code such
/// as "57P01", when the connection is lost, and "08003" when it was lost before; `canceled`; `timed_out` when no time
/// was left at the beginning; `invalid_argument` when a statement runs on the connection already; `out_of_memory`, when
/// nothing was sent, and `operation_failed` with `std::bad_alloc` when the statement ran but its rows found no room.
class HEADGATE_DECL postgres_connection {
public:
    /// Of an open session; made by the backend.
    explicit postgres_connection(std::shared_ptr<detail::postgres_session> session) noexcept;
    /// Takes over what `other` holds.
    postgres_connection(postgres_connection&& other) noexcept;
    /// Closes its own connection, and takes over what `other` holds.
    postgres_connection& operator=(postgres_connection&& other) noexcept;
    ~postgres_connection();

    /// Runs one statement with the parameters $1, $2, …: `co_await c.query("select $1::int + 1", 41)`.
    ///
    /// Parameters are stored by value. They have no type of their own but for blobs, which are bytea: the statement
    /// says what they are, with a cast where it leaves that open. Results: int2, int4, int8 and oid are integers,
    /// float4 and float8 real numbers (text where the server has rounded one out of the range of `double`), bool is the
    /// integer 0 or 1, bytea is a blob, everything else the text that psql shows. All rows are held in memory; a
    /// statement without rows has none. Text is UTF-8 unless the URL says otherwise.
    ///
    /// Further errors: `invalid_argument` for a text with a zero byte in it and for more than 65,535 parameters;
    /// "0A000" for COPY from or to the client, which also breaks the connection.
    template <class... Args>
    [[nodiscard]] boost::asio::awaitable<result<sql_rows>> query(std::string sql, Args&&... args) {
        return query(call_context(), std::move(sql), detail::to_sql_params(std::forward<Args>(args)...));
    }
    /// The same with parameters that were collected before.
    [[nodiscard]] boost::asio::awaitable<result<sql_rows>> query(std::string sql, sql_params params) {
        return query(call_context(), std::move(sql), std::move(params));
    }
    /// The same under the deadline of a protected call.
    template <class... Args>
    [[nodiscard]] boost::asio::awaitable<result<sql_rows>> query(call_context context, std::string sql,
                                                                 Args&&... args) {
        return query(context, std::move(sql), detail::to_sql_params(std::forward<Args>(args)...));
    }
    /// The same with both.
    [[nodiscard]] boost::asio::awaitable<result<sql_rows>> query(call_context context, std::string sql,
                                                                 sql_params params);

    /// Begins a transaction.
    [[nodiscard]] boost::asio::awaitable<result<void>> begin(call_context context = {});
    /// Commits the transaction. One that had failed is rolled back, which is the error "25P02".
    [[nodiscard]] boost::asio::awaitable<result<void>> commit(call_context context = {});
    /// Rolls the transaction back.
    [[nodiscard]] boost::asio::awaitable<result<void>> rollback(call_context context = {});

    /// Whether the connection is open, as far as it is known without asking the server.
    [[nodiscard]] bool is_open() const noexcept;

private:
    friend class postgres_backend;

    std::shared_ptr<detail::postgres_session> session_;
};

/// Connects to a PostgreSQL server; what `resource_pool<postgres_connection>` takes:
///
///     auto backend = headgate::postgres_backend::create({.url = "postgresql://app@db.example/shop"}).value();
///     auto pool = headgate::resource_pool<headgate::postgres_connection>::create(zone, "db", {}, backend).value();
///
/// Copies share the threads, at most four that cancel statements and four that resolve names; they live while there is
/// something to do. Thread safe, as far as two operations are not about the same connection. Link `headgate-postgres`.
class HEADGATE_DECL postgres_backend {
public:
    /// Does not connect yet. Errors: `invalid_argument`, whose detail says what is wrong with the URL, without quoting
    /// from it what might be a password.
    [[nodiscard]] static result<postgres_backend> create(const postgres_options& options);

    /// Connects to the first host of the URL that lets us in: of several hosts, and of several addresses of one, in
    /// their order. A silent host delays nothing: the next one is tried beside it after 250 ms without an
    /// accepted connection, or a second without a login, and the first that has logged in is taken. A server that
    /// refuses us has answered, and ends this, but for one that only starts. Names are resolved on threads of the
    /// backend. What is under way is closed when this is cancelled. Hosts in a service file are left to libpq, one
    /// after the other.
    ///
    /// Errors: the server's SQLSTATE, such as "28P01" for a wrong password, "3D000" for an unknown database, "53300"
    /// when it has too many connections and "57P03" while it starts; "08001" when it cannot be reached; `canceled`;
    /// those of the credentials. Of several hosts the code is the last one's, and the detail has what libpq says of
    /// each.
    [[nodiscard]] boost::asio::awaitable<result<postgres_connection>> connect();

    /// Rolls back a transaction that was left open, and resets the session with `discard all`, unless no statement ran
    /// since the last reset. What a statement changed in the session cannot be seen from outside, so that anything less
    /// would hand on settings, temporary tables and advisory locks sooner or later.
    [[nodiscard]] boost::asio::awaitable<result<void>> reset(postgres_connection& connection);

    /// Asks the server for a sign of life.
    [[nodiscard]] boost::asio::awaitable<result<void>> ping(postgres_connection& connection);

    /// Whether the connection is open, nothing runs on it, and the server has sent nothing: one that is idle is told
    /// nothing but its end. A pool asks this before it lends a connection that was idle for a while. Costs one poll(2).
    [[nodiscard]] bool is_alive(const postgres_connection& connection) const noexcept;

    /// Says goodbye to the server, without waiting.
    void close(postgres_connection connection) noexcept;

private:
    explicit postgres_backend(std::shared_ptr<const detail::postgres_target> target) noexcept;

    std::shared_ptr<const detail::postgres_target> target_;
};

}  // namespace headgate

#endif
