// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_SQLITE_SESSION_HPP
#define HEADGATE_SQLITE_SESSION_HPP

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <utility>

#include <headgate/call_context.hpp>
#include <headgate/result.hpp>
#include <headgate/virtual_clock.hpp>

#include "sqlite/database.hpp"
#include "sqlite/threads.hpp"

namespace headgate::detail {

/// Where an operation runs, unless its connection is in a transaction.
enum class lane : bool {
    shared,   ///< On the threads for statements, of which there are only so many.
    at_once,  ///< What a pool waits for: never behind statements.
};

/// What a connection and its operations share: the database, and the threads that it runs on.
///
/// Ownership: handles and waiting handlers own the session. The session owns the threads and the database. Work that is
/// posted to the threads owns the database alone. So the threads end with the last session or backend, and never on one
/// of themselves, and the database is closed on a thread.
class sqlite_session {
public:
    sqlite_session(std::shared_ptr<sqlite_threads> threads, std::shared_ptr<const sqlite_options> options)
        : threads_(std::move(threads)), database_(std::make_shared<sqlite_database>(std::move(options))) {}
    sqlite_session(const sqlite_session&) = delete;
    sqlite_session& operator=(const sqlite_session&) = delete;
    ~sqlite_session() {
        database_->abandon();
        threads_->at_once().post(std::move(database_));
    }

    [[nodiscard]] const std::shared_ptr<sqlite_database>& database() const noexcept { return database_; }
    [[nodiscard]] work_threads& threads_for(lane where) const noexcept {
        return where == lane::at_once || database_->may_hold_locks() ? threads_->at_once() : threads_->shared();
    }

private:
    std::shared_ptr<sqlite_threads> threads_;
    std::shared_ptr<sqlite_database> database_;
};

/// One operation: its cancellation, its result, and its handler, which keeps its executor busy meanwhile.
///
/// Its stage decides who ends it: the thread that has begun with it, or a caller that cancels it before. All calls that
/// can fail come before a thread may see it.
template <class T, class Work, class Handler>
class session_operation final : public waiting_operation,
                                public std::enable_shared_from_this<session_operation<T, Work, Handler>> {
public:
    /// `handler` is moved from unless this throws.
    session_operation(std::shared_ptr<sqlite_session> session, const call_context& context, Work& work,
                      Handler& handler)
        : end_(std::make_shared<completion>(std::move(session), context, handler)), work_(std::move(work)) {}

    /// Never throws: an error is the result.
    static void begin(std::shared_ptr<sqlite_session> session, const call_context& context, lane where, Work work,
                      Handler handler) {
        std::shared_ptr<session_operation> made;
        try {
            made = std::make_shared<session_operation>(std::move(session), context, work, handler);
        } catch (const std::bad_alloc&) {
            return std::move(handler)(result<T>(errc::out_of_memory));  // there is nothing to post it with
        }
        made->start(where);
    }

    void run() noexcept override {
        if (!enter(stage::running)) {
            return;  // cancelled
        }
        // On the thread the database may be closed, but not where the last owner of this happens to be.
        const auto database = std::move(database_);
        result_.emplace(database->template perform<T>(stop_, work_));
        database->release();
        room_->complete(this->shared_from_this());
    }

    void complete() noexcept override {
        end_->value = std::move(*result_);
        post_end();
    }

    void abandon() noexcept override {
        stop_ = true;
        const auto end = std::exchange(end_, nullptr);
    }

private:
    enum class stage : unsigned char { queued, running, ended };

    /// The work that is posted to the handler's executor.
    struct completion {
        completion(std::shared_ptr<sqlite_session> of, const call_context& within, Handler& then)
            : session(std::move(of)),
              context(within),
              executor(boost::asio::prefer(boost::asio::get_associated_executor(then),
                                           boost::asio::execution::outstanding_work.tracked)),
              handler(std::move(then)) {}

        std::shared_ptr<sqlite_session> session;
        call_context context;
        boost::asio::any_io_executor executor;
        Handler handler;
        result<T> value = error(errc::canceled);

        /// Calls the handler, when the memory of all else is free.
        static void call(std::shared_ptr<completion> end) {
            boost::asio::get_associated_cancellation_slot(end->handler).clear();
            end->context.slot().clear();
            const boost::asio::any_io_executor busy = std::move(end->executor);
            Handler handler = std::move(end->handler);
            result<T> value = std::move(end->value);
            end->session.reset();
            end.reset();
            std::move(handler)(std::move(value));
        }
    };

    void start(lane where) noexcept {
        try {
            if (auto ready = prepare(); !ready) {
                end_->value = ready.error();
                return post_end();
            }
        } catch (const std::bad_alloc&) {
            (void)enter(stage::ended);
            if (const auto claimed = std::move(database_)) {
                claimed->release();
            }
            end_->value = error(errc::out_of_memory);
            return post_end();
        }
        const auto session = end_->session;  // the threads stay until they have been told
        session->threads_for(where).post(this->shared_from_this());
    }

    // The database is claimed when there is `database_`.
    result<void> prepare() {
        if (end_->context.time_left() == duration::zero()) {
            return error(errc::canceled);
        }
        if (!end_->session || !end_->session->database()->claim()) {
            return misuse();
        }
        database_ = end_->session->database();
        watch(boost::asio::get_associated_cancellation_slot(end_->handler));
        watch(end_->context.slot());
        auto& context = boost::asio::query(end_->executor, boost::asio::execution::context);
        room_ = waiting_room::of(context);
        hold_ = clock_hold(context);
        room_->enter(this->shared_from_this());
        return success();
    }

    void watch(boost::asio::cancellation_slot slot) {
        if (slot.is_connected()) {
            slot.assign([weak = this->weak_from_this()](boost::asio::cancellation_type type) {
                if (const auto self = weak.lock(); self && type != boost::asio::cancellation_type::none) {
                    self->cancel();
                }
            });
        }
    }

    // Ends it when no thread has begun with it, else makes the thread end it.
    void cancel() noexcept {
        stop_ = true;
        if (enter(stage::ended)) {
            const auto database = std::move(database_);  // the session has it too
            database->release();
            result_.emplace(error(errc::canceled));
            room_->complete(this->shared_from_this());
        }
    }

    [[nodiscard]] bool enter(stage next) noexcept {
        auto expected = stage::queued;
        return stage_.compare_exchange_strong(expected, next);
    }

    // The handler stays in `end_` until it is posted: a failed allocation before that cannot be reported.
    void post_end() noexcept {
        while (true) {
            try {
                boost::asio::post(end_->executor, [end = end_]() mutable { completion::call(std::move(end)); });
                break;
            } catch (const std::bad_alloc&) {
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            }
        }
        end_.reset();
        hold_.reset();
    }

    [[nodiscard]] error misuse() const {
        error e(boost::system::error_code(SQLITE_MISUSE, sqlite_category()));
        e.detail = std::make_shared<std::string>(
            end_->session ? "an operation runs on this connection; await it before the next one"
                          : "this connection was moved from");
        return e;
    }

    std::atomic<stage> stage_{stage::queued};
    std::atomic<bool> stop_{false};
    std::shared_ptr<completion> end_;
    Work work_;
    std::shared_ptr<sqlite_database> database_;  // until it has ended
    std::shared_ptr<waiting_room> room_;
    clock_hold hold_;  // until its end is posted
    std::optional<result<T>> result_;
};

/// Does `work(database)`, which gives `result<T>`, on a thread of the session.
template <class T, class Work>
boost::asio::awaitable<result<T>> on_thread(std::shared_ptr<sqlite_session> session, const call_context& context,
                                            lane where, Work work) {
    boost::asio::use_awaitable_t<> token;
    return boost::asio::async_initiate<boost::asio::use_awaitable_t<>, void(result<T>)>(
        [](auto handler, std::shared_ptr<sqlite_session> of, const call_context& within, lane which, Work what) {
            using operation = session_operation<T, Work, decltype(handler)>;
            operation::begin(std::move(of), within, which, std::move(what), std::move(handler));
        },
        token, std::move(session), context, where, std::move(work));
}

}  // namespace headgate::detail

#endif
