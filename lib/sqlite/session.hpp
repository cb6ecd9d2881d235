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
#include <memory>
#include <optional>
#include <utility>

#include <headgate/call_context.hpp>
#include <headgate/result.hpp>

#include "sqlite/database.hpp"
#include "sqlite/threads.hpp"

namespace headgate::detail {

/// What a connection and its operations share: the database, and the threads that it runs on.
///
/// Who owns what: handles and waiting handlers own the session; the session owns the threads and the database; what is
/// posted to the threads owns the database alone. So the threads end with the last session or backend, never on one of
/// themselves, and the database is closed on a thread.
class sqlite_session {
public:
    sqlite_session(std::shared_ptr<sqlite_threads> threads, std::shared_ptr<const sqlite_options> options)
        : threads_(std::move(threads)), database_(std::make_shared<sqlite_database>(std::move(options))) {}
    sqlite_session(const sqlite_session&) = delete;
    sqlite_session& operator=(const sqlite_session&) = delete;
    ~sqlite_session() {
        database_->abandon();
        const auto thread = executor();
        boost::asio::post(thread, [last = std::move(database_)]() mutable { last.reset(); });
    }

    [[nodiscard]] const std::shared_ptr<sqlite_database>& database() const noexcept { return database_; }
    [[nodiscard]] boost::asio::thread_pool::executor_type executor() const noexcept {
        return threads_->executor(database_->writing());
    }

private:
    std::shared_ptr<sqlite_threads> threads_;
    std::shared_ptr<sqlite_database> database_;
};

/// One operation: its cancellation, its result, and its handler, which keeps its executor busy meanwhile.
template <class T, class Handler>
class session_operation final : public waiting_operation,
                                public std::enable_shared_from_this<session_operation<T, Handler>> {
public:
    session_operation(std::shared_ptr<sqlite_session> session, const call_context& context, Handler handler)
        : end_(completion{std::move(session), context,
                          boost::asio::prefer(boost::asio::get_associated_executor(handler),
                                              boost::asio::execution::outstanding_work.tracked),
                          std::move(handler), error(errc::canceled)}) {}

    template <class Work>
    void start(Work work) {
        if (end_->context.time_left() == duration::zero()) {
            return refuse(errc::canceled);
        }
        if (!end_->session || !end_->session->database()->claim()) {
            return refuse(misuse());
        }
        watch(boost::asio::get_associated_cancellation_slot(end_->handler));
        watch(end_->context.slot());
        auto room = waiting_room::of(boost::asio::query(end_->executor, boost::asio::execution::context));
        room->enter(this->shared_from_this());
        boost::asio::post(end_->session->executor(),
                          [self = this->shared_from_this(), room, database = end_->session->database(),
                           work = std::move(work)]() mutable {
                              self->result_.emplace(database->template perform<T>(self->stop_, work));
                              database->release();
                              room->complete(self);
                          });
    }

    void complete() override {
        end_->value = std::move(*result_);
        post_end();
    }

    void abandon() noexcept override {
        stop_ = true;
        const auto end = std::exchange(end_, std::nullopt);
    }

private:
    /// What is posted to the handler's executor.
    struct completion {
        std::shared_ptr<sqlite_session> session;
        call_context context;
        boost::asio::any_io_executor executor;
        Handler handler;
        result<T> value;

        void operator()() {
            boost::asio::get_associated_cancellation_slot(handler).clear();
            context.slot().clear();
            session.reset();
            std::move(handler)(std::move(value));
        }
    };

    void watch(boost::asio::cancellation_slot slot) {
        if (slot.is_connected()) {
            slot.assign([weak = this->weak_from_this()](boost::asio::cancellation_type type) {
                if (const auto self = weak.lock(); self && type != boost::asio::cancellation_type::none) {
                    self->stop_ = true;
                }
            });
        }
    }

    void refuse(error why) {
        end_->value = std::move(why);
        post_end();
    }

    void post_end() {
        completion end = std::move(*end_);
        end_.reset();
        const auto executor = end.executor;
        boost::asio::post(executor, std::move(end));
    }

    [[nodiscard]] error misuse() const {
        error e(boost::system::error_code(SQLITE_MISUSE, sqlite_category()));
        e.detail = std::make_shared<std::string>(
            end_->session ? "an operation runs on this connection; await it before the next one"
                          : "this connection was moved from");
        return e;
    }

    std::atomic<bool> stop_{false};
    std::optional<result<T>> result_;
    std::optional<completion> end_;
};

/// Does `work(database)`, which gives `result<T>`, on a thread of the session.
template <class T, class Work>
boost::asio::awaitable<result<T>> on_thread(std::shared_ptr<sqlite_session> session, const call_context& context,
                                            Work work) {
    boost::asio::use_awaitable_t<> token;
    return boost::asio::async_initiate<boost::asio::use_awaitable_t<>, void(result<T>)>(
        [](auto handler, std::shared_ptr<sqlite_session> of, const call_context& within, Work what) {
            using operation = session_operation<T, decltype(handler)>;
            std::make_shared<operation>(std::move(of), within, std::move(handler))->start(std::move(what));
        },
        token, std::move(session), context, std::move(work));
}

}  // namespace headgate::detail

#endif
