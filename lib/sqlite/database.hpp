// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_SQLITE_DATABASE_HPP
#define HEADGATE_SQLITE_DATABASE_HPP

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <headgate/spawn.hpp>
#include <headgate/sqlite.hpp>

#include "sqlite/threads.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace headgate::detail {

/// Which file a path names.
struct file_identity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;

    /// None where there is no such file.
    [[nodiscard]] static std::optional<file_identity> of(const std::string& path) noexcept;

    friend bool operator==(const file_identity&, const file_identity&) = default;
};

/// One connection of SQLite; its calls block. The holder of its claim uses it, on one thread at a time. It is work for
/// a thread, so that its last owner can hand it to a thread, which then closes it.
class sqlite_database final : public thread_work {
public:
    explicit sqlite_database(std::shared_ptr<const sqlite_options> options) noexcept;
    /// Closes it, which may write the log back into the file.
    ~sqlite_database() override;

    void run() noexcept override {}

    // On any thread: ----------------------------------------------------------------------------------------------

    /// Takes it for one operation; false while another has it.
    [[nodiscard]] bool claim() noexcept { return !claimed_.exchange(true, std::memory_order_acquire); }
    /// Lets the next operation have it.
    void release() noexcept { claimed_.store(false, std::memory_order_release); }
    /// Ends the operation that runs, and all that follow, as cancelled.
    void abandon() noexcept { abandoned_ = true; }
    /// Whether others may have to wait for what it does next: it is in a transaction, or keeps locks without one.
    [[nodiscard]] bool may_hold_locks() const noexcept { return may_hold_locks_; }
    /// Whether `reset` has nothing to do: nothing runs, no transaction is open or lost, nothing is broken, and there is
    /// nothing that the next user would find. Remembers that there is a next user.
    [[nodiscard]] bool take_clean() noexcept;
    /// Whether nothing runs, nothing is broken, and the path still names the file.
    [[nodiscard]] bool alive() noexcept;

    // With the claim: ---------------------------------------------------------------------------------------------

    /// Does `work(*this)`, which ends as cancelled soon after `stop` is true.
    template <class T, class Work>
    result<T> perform(const std::atomic<bool>& stop, Work& work) noexcept {
        stop_ = &stop;
        greet_next_user();
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
        } catch (const std::bad_alloc&) {
            return error(errc::out_of_memory);
        } catch (...) {
            return error_of(std::current_exception());
        }
    }
    void settle(bool was_in_transaction, error* failed) noexcept;
    void greet_next_user() noexcept;

    [[nodiscard]] bool stopped() const noexcept { return abandoned_ || (stop_ != nullptr && *stop_); }
    [[nodiscard]] bool transaction_is_open() const noexcept;
    [[nodiscard]] error failure(int code) noexcept;
    /// Whether the path names another file than the one that is open, or none.
    [[nodiscard]] bool moved() const noexcept;

    result<void> connect();
    result<void> identify();
    result<void> reopen();
    result<void> set_journal_mode();
    result<sql_rows> execute(const std::string& sql, const sql_params& params = {});
    result<sqlite3_stmt*> prepare(const std::string& sql);
    result<sqlite3_stmt*> compile(const std::string& sql);
    result<void> bind(sqlite3_stmt* statement, const sql_params& params);
    result<sql_rows> step(sqlite3_stmt* statement);
    int step_rows(sqlite3_stmt* statement, sql_rows& out);
    [[nodiscard]] bool wait_for_lock(int times) noexcept;

    std::shared_ptr<const sqlite_options> options_;
    std::unique_ptr<sqlite3, close_database> handle_;
    std::vector<prepared> prepared_;  // the one used last is first
    const std::atomic<bool>* stop_ = nullptr;
    std::chrono::steady_clock::time_point waits_since_;
    bool transaction_lost_ = false;
    bool altered_ = false;               // a statement was compiled that may leave something behind in the connection
    std::optional<file_identity> file_;  // none where the VFS has no files

    std::atomic<bool> claimed_{false};
    std::atomic<bool> abandoned_{false};
    std::atomic<bool> may_hold_locks_{false};
    std::atomic<bool> clean_{true};
    std::atomic<bool> next_user_{false};
    std::atomic<int> broken_by_{0};  // the code
};

}  // namespace headgate::detail

#endif
