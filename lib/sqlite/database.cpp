// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "sqlite/database.hpp"

#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <climits>
#include <iterator>
#include <string_view>
#include <thread>
#include <type_traits>
#include <variant>

#include "sqlite/statement_text.hpp"

namespace headgate::detail {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_prepared = 16;
constexpr int steps_between_looks = 1'000;  // some microseconds
constexpr std::chrono::milliseconds longest_sleep = 10ms;

int primary(int code) noexcept {
    return code & 0xff;
}

// After these the connection is in doubt: its file, or what it knows of it.
bool breaks(int code) noexcept {
    return primary(code) == SQLITE_CORRUPT || primary(code) == SQLITE_NOTADB || primary(code) == SQLITE_IOERR;
}

// Without the detail where there is no memory for it.
error sqlite_error(int code, std::string_view detail) noexcept {
    error e(boost::system::error_code(code, sqlite_category()));
    try {
        e.detail = std::make_shared<std::string>(detail);
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): the code says it
    }
    return e;
}

int bind_value(sqlite3_stmt* statement, int index, const sql_value& value) {
    return std::visit(
        [&](const auto& v) {
            using type = std::remove_cvref_t<decltype(v)>;
            if constexpr (std::is_same_v<type, std::monostate>) {
                return sqlite3_bind_null(statement, index);
            } else if constexpr (std::is_same_v<type, std::int64_t>) {
                return sqlite3_bind_int64(statement, index, v);
            } else if constexpr (std::is_same_v<type, double>) {
                return sqlite3_bind_double(statement, index, v);
            } else if constexpr (std::is_same_v<type, std::string>) {
                return sqlite3_bind_text64(statement, index, v.data(), v.size(), SQLITE_STATIC, SQLITE_UTF8);
            } else if (v.empty()) {
                return sqlite3_bind_zeroblob(statement, index, 0);  // its data may be null, which would be SQL's null
            } else {
                return sqlite3_bind_blob64(statement, index, v.data(), v.size(), SQLITE_STATIC);
            }
        },
        value);
}

// The bytes of a text or a blob. SQLite gives no pointer to an empty blob, and none where a conversion, or a blob of
// zeros that it has to write out, found no memory.
template <class Pointer>
std::pair<const Pointer*, std::size_t> bytes_of(sqlite3_stmt* statement, int column, const void* data) {
    if (data == nullptr && sqlite3_errcode(sqlite3_db_handle(statement)) == SQLITE_NOMEM) {
        throw std::bad_alloc();
    }
    const auto size = static_cast<std::size_t>(data != nullptr ? sqlite3_column_bytes(statement, column) : 0);
    return {static_cast<const Pointer*>(data), size};
}

sql_value column_value(sqlite3_stmt* statement, int column) {
    switch (sqlite3_column_type(statement, column)) {
        case SQLITE_INTEGER: return std::int64_t{sqlite3_column_int64(statement, column)};
        case SQLITE_FLOAT: return sqlite3_column_double(statement, column);
        case SQLITE_TEXT: {
            const auto [text, size] = bytes_of<char>(statement, column, sqlite3_column_text(statement, column));
            return size != 0 ? std::string(text, size) : std::string();
        }
        case SQLITE_BLOB: {
            const auto [data, size] = bytes_of<std::byte>(statement, column, sqlite3_column_blob(statement, column));
            return size != 0 ? sql_blob(data, data + size) : sql_blob();
        }
        default: return {};
    }
}

// Pragmas whose argument only says what to look at.
constexpr std::string_view looking_pragmas[] = {
    "table_info",       "table_xinfo",       "table_list",      "index_info",  "index_xinfo",    "index_list",
    "foreign_key_list", "foreign_key_check", "integrity_check", "quick_check", "wal_checkpoint", "incremental_vacuum"};

bool only_looks(std::string_view pragma) noexcept {
    return std::ranges::any_of(looking_pragmas, [&](std::string_view looking) {
        return pragma.size() == looking.size() &&
               // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): as many as `looking` has
               sqlite3_strnicmp(pragma.data(), looking.data(), static_cast<int>(looking.size())) == 0;
    });
}

// Whether the statement that is being compiled may leave something in the connection that the next user would find:
// settings, attached files, and whatever lives in the temporary database.
bool alters_connection(int action, const char* first, const char* second, const char* database) noexcept {
    switch (action) {
        case SQLITE_ATTACH:
        case SQLITE_DETACH:
        case SQLITE_CREATE_TEMP_INDEX:
        case SQLITE_CREATE_TEMP_TABLE:
        case SQLITE_CREATE_TEMP_TRIGGER:
        case SQLITE_CREATE_TEMP_VIEW: return true;
        case SQLITE_PRAGMA: return second != nullptr && !only_looks(first);
        case SQLITE_CREATE_VTABLE:
        case SQLITE_INSERT: return database != nullptr && sqlite3_stricmp(database, "temp") == 0;
        // An extension brings functions, and so does a tokenizer.
        case SQLITE_FUNCTION:
            return sqlite3_stricmp(second, "load_extension") == 0 || sqlite3_stricmp(second, "fts3_tokenizer") == 0;
        default: return false;
    }
}

// Makes a statement ready for the next use, and lets go of its parameters and locks.
struct reset_statement {
    void operator()(sqlite3_stmt* statement) const noexcept {
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
    }
};

result<void> without_rows(const result<sql_rows>& r) {
    if (!r) {
        return r.error();
    }
    return success();
}

}  // namespace

std::optional<file_identity> file_identity::of(const std::string& path) noexcept {
    struct stat found{};
    if (::stat(path.c_str(), &found) != 0) {
        return std::nullopt;
    }
    return file_identity{static_cast<std::uint64_t>(found.st_dev), static_cast<std::uint64_t>(found.st_ino)};
}

void sqlite_database::close_database::operator()(sqlite3* handle) const noexcept {
    sqlite3_close_v2(handle);
}

void sqlite_database::finalize_statement::operator()(sqlite3_stmt* statement) const noexcept {
    sqlite3_finalize(statement);
}

sqlite_database::sqlite_database(std::shared_ptr<const sqlite_options> options) noexcept
    : options_(std::move(options)) {}

sqlite_database::~sqlite_database() {
    prepared_.clear();
    handle_.reset();  // while its busy handler still finds all of this
}

result<void> sqlite_database::open() {
    for (const auto step :
         {&sqlite_database::connect, &sqlite_database::identify, &sqlite_database::set_journal_mode}) {
        if (auto done = (this->*step)(); !done) {
            return done;
        }
    }
    std::vector<std::string> settings = {"PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON"};
    if (options_->max_pages != 0) {
        settings.push_back("PRAGMA max_page_count=" + std::to_string(options_->max_pages));
    }
    for (const auto& setting : settings) {
        if (auto set = execute(setting); !set) {
            return set.error();
        }
    }
    altered_ = false;  // all connections have these settings
    return success();
}

// What a statement left behind in the connection cannot be taken back one by one: a fresh connection has none of it.
result<void> sqlite_database::reopen() {
    prepared_.clear();
    // The log stays for the new one. It is not opened before, because the old one may keep the file to itself.
    sqlite3_db_config(handle_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    handle_.reset();
    auto opened = open();
    if (!opened) {
        broken_by_ = SQLITE_CANTOPEN;
    }
    return opened;
}

result<void> sqlite_database::identify() {
    file_ = file_identity::of(options_->path);
    int other = 0;
    if (sqlite3_file_control(handle_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &other) == SQLITE_OK && other != 0) {
        return sqlite_error(SQLITE_READONLY_DBMOVED, "the file was moved while it was being opened");
    }
    return success();
}

result<void> sqlite_database::connect() {
    constexpr int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    sqlite3* handle = nullptr;
    const int code = sqlite3_open_v2(options_->path.c_str(), &handle, flags,
                                     options_->vfs.empty() ? nullptr : options_->vfs.c_str());
    handle_.reset(handle);
    if (code != SQLITE_OK) {
        return failure(code);
    }
    sqlite3_busy_handler(
        handle, [](void* self, int times) { return static_cast<sqlite_database*>(self)->wait_for_lock(times) ? 1 : 0; },
        this);
    sqlite3_progress_handler(
        handle, steps_between_looks, [](void* self) { return static_cast<sqlite_database*>(self)->stopped() ? 1 : 0; },
        this);
    sqlite3_set_authorizer(
        handle,
        [](void* self, int action, const char* first, const char* second, const char* database, const char*) {
            if (alters_connection(action, first, second, database)) {
                static_cast<sqlite_database*>(self)->altered_ = true;
            }
            return SQLITE_OK;
        },
        this);
    return success();
}

result<void> sqlite_database::set_journal_mode() {
    // SQLite doesn't ask the busy handler while connections to a new file turn to the log at once.
    auto mode = execute("PRAGMA journal_mode=WAL");
    for (int times = 0; !mode && primary(mode.error().code.value()) == SQLITE_BUSY && wait_for_lock(times); ++times) {
        mode = execute("PRAGMA journal_mode=WAL");
    }
    if (!mode) {
        return mode.error();
    }
    if (const auto* name = mode.value().get<std::string>(0, 0); name == nullptr || *name != "wal") {
        return sqlite_error(SQLITE_ERROR, "the journal mode stays \"" + (name != nullptr ? *name : std::string()) +
                                              "\"; the file system and the VFS must be able to have a write-ahead log");
    }
    return success();
}

result<sql_rows> sqlite_database::query(const std::string& sql, const sql_params& params) {
    if (transaction_lost_) {
        return sqlite_error(SQLITE_ABORT_ROLLBACK, "SQLite rolled the transaction back; roll back, then begin again");
    }
    if (!handle_) {
        return sqlite_error(SQLITE_CANTOPEN, "the database could not be opened again");
    }
    if (moved()) {
        broken_by_ = SQLITE_READONLY_DBMOVED;
        return sqlite_error(SQLITE_READONLY_DBMOVED, "the database's file was deleted, renamed or replaced");
    }
    return execute(sql, params);
}

result<void> sqlite_database::rollback() {
    transaction_lost_ = false;
    return transaction_is_open() ? without_rows(execute("ROLLBACK")) : success();
}

result<void> sqlite_database::reset() {
    if (broken_by_ != 0) {
        return sqlite_error(broken_by_, "an operation failed with this before");
    }
    if (auto rolled_back = rollback(); !rolled_back) {
        return rolled_back;
    }
    next_user_ = true;
    return altered_ ? reopen() : success();
}

bool sqlite_database::take_clean() noexcept {
    const bool clean = clean_ && !claimed_;
    if (clean) {
        next_user_ = true;
    }
    return clean;
}

bool sqlite_database::alive() noexcept {
    if (!claim()) {
        return false;
    }
    const bool fit = handle_ && !abandoned_ && broken_by_ == 0 && !moved();
    release();
    return fit;
}

bool sqlite_database::moved() const noexcept {
    return file_ && file_identity::of(options_->path) != file_;
}

void sqlite_database::greet_next_user() noexcept {
    if (next_user_.exchange(false, std::memory_order_relaxed) && handle_) {
        sqlite3_set_last_insert_rowid(handle_.get(), 0);
    }
}

bool sqlite_database::transaction_is_open() const noexcept {
    return handle_ && sqlite3_get_autocommit(handle_.get()) == 0;
}

// What the operation has made of the transaction, and of the connection.
void sqlite_database::settle(bool was_in_transaction, error* failed) noexcept {
    const bool open = transaction_is_open();
    if (failed != nullptr && was_in_transaction && !open) {
        transaction_lost_ = true;
        try {
            const std::string said = failed->detail ? *failed->detail + "; " : std::string();
            failed->detail = std::make_shared<std::string>(said + "SQLite rolled the transaction back");
        } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): the next operation says it
        }
    }
    may_hold_locks_ = open || altered_;
    clean_ = handle_ && !open && !transaction_lost_ && !altered_ && broken_by_ == 0;
}

error sqlite_database::failure(int code) noexcept {
    if (stopped() && (primary(code) == SQLITE_INTERRUPT || primary(code) == SQLITE_BUSY)) {
        return errc::canceled;
    }
    if (breaks(code)) {
        broken_by_ = code;
    }
    return sqlite_error(code, handle_ ? sqlite3_errmsg(handle_.get()) : sqlite3_errstr(code));
}

result<sql_rows> sqlite_database::execute(const std::string& sql, const sql_params& params) {
    auto statement = prepare(sql);
    if (!statement) {
        return statement.error();
    }
    const std::unique_ptr<sqlite3_stmt, reset_statement> used(statement.value());
    if (auto bound = bind(used.get(), params); !bound) {
        return bound.error();
    }
    return step(used.get());
}

result<sqlite3_stmt*> sqlite_database::prepare(const std::string& sql) {
    const auto known = std::ranges::find(prepared_, sql, &prepared::sql);
    if (known != prepared_.end()) {
        std::rotate(prepared_.begin(), known, std::next(known));
        return prepared_.front().statement.get();
    }
    auto compiled = compile(sql);
    if (!compiled) {
        return compiled;
    }
    std::unique_ptr<sqlite3_stmt, finalize_statement> statement(compiled.value());
    if (prepared_.size() == most_prepared) {
        prepared_.pop_back();
    }
    prepared_.insert(prepared_.begin(), prepared{sql, std::move(statement)});
    return compiled;
}

result<sqlite3_stmt*> sqlite_database::compile(const std::string& sql) {
    if (sql.find('\0') != std::string::npos) {
        return error(errc::invalid_argument, "the statement has a NUL byte in it; pass such text as a parameter");
    }
    if (sql.size() >= INT_MAX) {
        return sqlite_error(SQLITE_TOOBIG, "the statement is too long");
    }
    sqlite3_stmt* made = nullptr;
    const char* rest = nullptr;
    const int code = sqlite3_prepare_v3(handle_.get(), sql.c_str(), static_cast<int>(sql.size()) + 1,
                                        SQLITE_PREPARE_PERSISTENT, &made, &rest);
    if (code != SQLITE_OK) {
        return failure(code);
    }
    std::unique_ptr<sqlite3_stmt, finalize_statement> statement(made);
    if (!statement) {
        return error(errc::invalid_argument, "there is no statement in the text; it must have one");
    }
    if (!without_statement(rest)) {
        return error(errc::invalid_argument, "there is more than one statement in the text; it must have one. From: " +
                                                 std::string(rest).substr(0, 40));
    }
    return statement.release();
}

result<void> sqlite_database::bind(sqlite3_stmt* statement, const sql_params& params) {
    const auto count = static_cast<std::size_t>(sqlite3_bind_parameter_count(statement));
    if (count != params.size()) {
        return sqlite_error(SQLITE_RANGE, "the statement has " + std::to_string(count) + " parameters, but was given " +
                                              std::to_string(params.size()));
    }
    int index = 0;
    for (const auto& value : params) {
        if (const int code = bind_value(statement, ++index, value); code != SQLITE_OK) {
            return failure(code);
        }
    }
    return success();
}

result<sql_rows> sqlite_database::step(sqlite3_stmt* statement) {
    sql_rows out;
    const auto changes = sqlite3_total_changes64(handle_.get());
    int code = SQLITE_OK;
    try {
        code = step_rows(statement, out);
    } catch (const std::bad_alloc&) {
        // It has written before it gave its first row. Interrupted, SQLite takes that back; reset, it would keep it.
        sqlite3_interrupt(handle_.get());
        sqlite3_step(statement);
        throw;
    }
    if (code != SQLITE_DONE) {
        return failure(code);
    }
    if (sqlite3_total_changes64(handle_.get()) != changes) {
        out.affected = static_cast<std::uint64_t>(sqlite3_changes64(handle_.get()));
    }
    return out;
}

// Steps until the code that ends the statement. All allocations come before the last step, which is the one that
// commits.
int sqlite_database::step_rows(sqlite3_stmt* statement, sql_rows& out) {
    int code = sqlite3_step(statement);
    // Counted when it has begun: the first step may have compiled it anew for a changed schema.
    for (int column = 0; column < sqlite3_column_count(statement); ++column) {
        const char* name = sqlite3_column_name(statement, column);
        if (name == nullptr) {
            throw std::bad_alloc();
        }
        out.columns.emplace_back(name);
    }
    for (; code == SQLITE_ROW; code = sqlite3_step(statement)) {
        const int columns = sqlite3_data_count(statement);
        auto& row = out.rows.emplace_back();
        row.reserve(static_cast<std::size_t>(columns));
        for (int column = 0; column < columns; ++column) {
            row.push_back(column_value(statement, column));
        }
    }
    return code;
}

bool sqlite_database::wait_for_lock(int times) noexcept {
    const auto now = std::chrono::steady_clock::now();
    if (times == 0) {
        waits_since_ = now;
    }
    const duration left = options_->busy_timeout - (now - waits_since_);
    if (stopped() || left <= duration::zero()) {
        return false;
    }
    const duration pause = std::min(std::chrono::milliseconds(1 + times), longest_sleep);
    std::this_thread::sleep_for(std::min(pause, left));
    return true;
}

}  // namespace headgate::detail
