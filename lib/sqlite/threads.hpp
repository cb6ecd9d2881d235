// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_SQLITE_THREADS_HPP
#define HEADGATE_SQLITE_THREADS_HPP

#include <boost/asio/execution_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>

namespace headgate::detail {

/// The threads of a backend. Never destroyed on one of them: what they hold does not own them.
class sqlite_threads {
public:
    explicit sqlite_threads(std::uint32_t count) : statements_(count), writer_(1) {}
    sqlite_threads(const sqlite_threads&) = delete;
    sqlite_threads& operator=(const sqlite_threads&) = delete;
    /// Waits for what was posted: cancelled operations, and the closing of connections.
    ~sqlite_threads() {
        statements_.join();
        writer_.join();
    }

    /// Where a connection runs. Who holds the write lock gets a thread that nobody keeps while waiting for that lock.
    [[nodiscard]] boost::asio::thread_pool::executor_type executor(bool writing) noexcept {
        return (writing ? writer_ : statements_).get_executor();
    }

private:
    boost::asio::thread_pool statements_;
    boost::asio::thread_pool writer_;
};

/// An operation that runs on a thread while its handler waits on an execution context.
class waiting_operation {
public:
    waiting_operation() = default;
    waiting_operation(const waiting_operation&) = delete;
    waiting_operation& operator=(const waiting_operation&) = delete;
    virtual ~waiting_operation() = default;

    /// Posts the handler with the result to its executor.
    virtual void complete() = 0;
    /// Cancels the operation and destroys the handler. Called under no lock.
    virtual void abandon() noexcept = 0;
};

/// The operations that would complete on one execution context. It may be destroyed while they run: then their handlers
/// are destroyed with it, and the threads find nobody to tell.
class waiting_room {
public:
    /// That of `context`.
    [[nodiscard]] static std::shared_ptr<waiting_room> of(boost::asio::execution_context& context);

    void enter(std::shared_ptr<waiting_operation> operation);
    /// Completes it, unless its context is gone.
    void complete(const std::shared_ptr<waiting_operation>& operation);
    void abandon_all() noexcept;

private:
    std::mutex mutex_;  // held while an operation posts, so that the context stays meanwhile
    std::set<std::shared_ptr<waiting_operation>> waiting_;
};

}  // namespace headgate::detail

#endif
