// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_SQLITE_THREADS_HPP
#define HEADGATE_SQLITE_THREADS_HPP

#include <boost/asio/execution_context.hpp>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace headgate::detail {

/// What a thread does once. It is its own place in the queue, so that queueing it needs no memory and cannot fail.
class thread_work {
public:
    thread_work() = default;
    thread_work(const thread_work&) = delete;
    thread_work& operator=(const thread_work&) = delete;
    virtual ~thread_work() = default;

    virtual void run() noexcept = 0;

private:
    friend class work_threads;

    std::shared_ptr<thread_work> next_;
};

/// Threads that do work in the order in which it comes.
class work_threads {
public:
    enum class growth : bool {
        none,
        at_need,  ///< One more when work would have to wait; it stays.
    };

    /// Starts `count` threads. Throws where the system does not give them.
    work_threads(std::uint32_t count, growth grows);
    work_threads(const work_threads&) = delete;
    work_threads& operator=(const work_threads&) = delete;
    /// Waits for all posted work.
    ~work_threads();

    /// On any thread.
    void post(std::shared_ptr<thread_work> work) noexcept;

private:
    void serve() noexcept;
    [[nodiscard]] std::shared_ptr<thread_work> take(bool was_busy) noexcept;
    void end() noexcept;

    const growth grows_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::shared_ptr<thread_work> first_;
    thread_work* last_ = nullptr;
    std::size_t queued_ = 0;
    std::size_t idle_;  // those that have nothing to do, and those that just start
    bool ended_ = false;
    std::vector<std::thread> threads_;
};

/// The threads of a backend. It is never destroyed on one of them, because the work on them does not own it.
///
/// A connection that holds a lock of the database must never wait for a thread, because connections that wait for the
/// lock may keep all threads. So statements outside of transactions, which hold no lock, share a fixed number of
/// threads. All other work, which is statements in a transaction and the upkeep of a pool, finds a thread at once.
class sqlite_threads {
public:
    explicit sqlite_threads(std::uint32_t count)
        : shared_(count, work_threads::growth::none), at_once_(1, work_threads::growth::at_need) {}

    [[nodiscard]] work_threads& shared() noexcept { return shared_; }
    [[nodiscard]] work_threads& at_once() noexcept { return at_once_; }

private:
    work_threads shared_;
    work_threads at_once_;
};

/// An operation that runs on a thread while its handler waits on an execution context.
class waiting_operation : public thread_work {
public:
    /// Posts the handler with the result to its executor.
    virtual void complete() noexcept = 0;
    /// Cancels the operation and destroys the handler. Called under no lock.
    virtual void abandon() noexcept = 0;
};

/// The operations that would complete on one execution context. The context may be destroyed while they run: then their
/// handlers are destroyed with it, and the threads complete nothing.
class waiting_room {
public:
    /// That of `context`.
    [[nodiscard]] static std::shared_ptr<waiting_room> of(boost::asio::execution_context& context);

    void enter(std::shared_ptr<waiting_operation> operation);
    /// Completes it, unless its context is gone.
    void complete(const std::shared_ptr<waiting_operation>& operation) noexcept;
    void abandon_all() noexcept;

private:
    std::mutex mutex_;  // held while an operation posts, so that the context stays meanwhile
    std::set<std::shared_ptr<waiting_operation>> waiting_;
};

}  // namespace headgate::detail

#endif
