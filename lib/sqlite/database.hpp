// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_SQLITE_DATABASE_HPP
#define HEADGATE_SQLITE_DATABASE_HPP

#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <headgate/spawn.hpp>
#include <headgate/sqlite.hpp>

struct sqlite3;
struct sqlite3_stmt;

namespace headgate::detail {

/// One connection of SQLite, which blocks. Who has its claim uses it, on one thread at a time.
class sqlite_database {
public:
    explicit sqlite_database(std::shared_ptr<const sqlite_options> options) noexcept;
    sqlite_database(const sqlite_database&) = delete;
    sqlite_database& operator=(const sqlite_database&) = delete;
    /// Closes it, which may write the log back into the file.
    ~sqlite_database();

    // On any thread: ----------------------------------------------------------------------------------------------

    /// Takes it for one operation; false while another has it.
    [[nodiscard]] bool claim() noexcept { return !claimed_.exchange(true, std::memory_order_acquire); }
    /// Lets the next operation have it.
    void release() noexcept { claimed_.store(false, std::memory_order_release); }
    /// Ends the operation that runs, and all that follow, as cancelled.
    void abandon() noexcept { abandoned_ = true; }
    /// Whether it holds the write lock.
    [[nodiscard]] bool writing() const noexcept { return writing_; }
    /// Whether nothing runs, no transaction is open or lost, and nothing is broken.
    [[nodiscard]] bool clean() const noexcept { return clean_ && !claimed_; }

    // With the claim: ---------------------------------------------------------------------------------------------

    /// Does `work(*this)`, which ends as cancelled soon after `stop` is true.
    template <class T, class Work>
    result<T> perform(const std::atomic<bool>& stop, Work& work) {
        stop_ = &stop;
        const bool in_transaction = transaction_is_open();
        result<T> done = attempt<T>(work);
        settle(in_transaction, done ? nullptr : &done.error());
        stop_ = nullptr;
        return done;
    }

    // These are work: ---------------------------------------------------------------------------------------------

    result<void> open();
    result<sql_rows> query(const std::string& sql, const sql_params& params);
    result<void> rollback();
    result<void> reset();

private:
    struct close_database {
        void operator()(sqlite3* handle) const noexcept;
    };
    struct finalize_statement {
        void operator()(sqlite3_stmt* statement) const noexcept;
    };
    struct prepared {
        std::string sql;
        std::unique_ptr<sqlite3_stmt, finalize_statement> statement;
    };

    template <class T, class Work>
    result<T> attempt(Work& work) {
        if (stopped()) {
            return error(errc::canceled);
        }
        try {
            return work(*this);
        } catch (...) {
            return error_of(std::current_exception());
        }
    }
    void settle(bool was_in_transaction, error* failed);

    [[nodiscard]] bool stopped() const noexcept { return abandoned_ || (stop_ != nullptr && *stop_); }
    [[nodiscard]] bool transaction_is_open() const noexcept;
    [[nodiscard]] error failure(int code) noexcept;

    result<void> connect();
    result<void> set_journal_mode();
    result<sql_rows> execute(const std::string& sql, const sql_params& params = {});
    result<sqlite3_stmt*> prepare(const std::string& sql);
    result<sqlite3_stmt*> compile(const std::string& sql);
    result<void> bind(sqlite3_stmt* statement, const sql_params& params);
    result<sql_rows> step(sqlite3_stmt* statement);
    [[nodiscard]] bool wait_for_lock(int times) noexcept;

    std::shared_ptr<const sqlite_options> options_;
    std::unique_ptr<sqlite3, close_database> handle_;
    std::vector<prepared> prepared_;  // the one used last is first
    const std::atomic<bool>* stop_ = nullptr;
    std::chrono::steady_clock::time_point waits_since_;
    bool transaction_lost_ = false;
    int broken_by_ = 0;  // the code

    std::atomic<bool> claimed_{false};
    std::atomic<bool> abandoned_{false};
    std::atomic<bool> writing_{false};
    std::atomic<bool> clean_{true};
};

}  // namespace headgate::detail

#endif
