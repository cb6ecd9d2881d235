// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_SERIAL_QUEUE_HPP
#define HEADGATE_IMPL_SERIAL_QUEUE_HPP

#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/recycling_allocator.hpp>
#include <boost/asio/require.hpp>

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

#include <headgate/export.hpp>
#include <headgate/impl/kept_memory.hpp>
#include <headgate/impl/spinlock.hpp>

namespace headgate::detail {

namespace asio = boost::asio;

/// Something to run, embedded in its owner or allocated. In one queue at a time, once.
class serial_task {
public:
    virtual void run() = 0;
    /// The io_context is destroyed: it will not run.
    virtual void abandon() noexcept = 0;

protected:
    ~serial_task() = default;

private:
    friend class serial_queue;

    serial_task* next_ = nullptr;
};

/// Runs tasks one after the other on an io_context, as an `asio::strand` does, and needs no memory for that.
///
/// A strand takes memory to schedule itself: when that fails in a post, it believes for ever that it is scheduled; when
/// it fails behind a handler, the process ends. Here the one handler that the queue has on the io_context lives in
/// memory that is kept for it.
class HEADGATE_DECL serial_queue : public std::enable_shared_from_this<serial_queue> {
public:
    explicit serial_queue(asio::io_context& context) noexcept : context_(context) {}
    serial_queue(const serial_queue&) = delete;
    serial_queue& operator=(const serial_queue&) = delete;

    /// Runs `task` later. From any thread.
    void post(serial_task& task) noexcept;
    /// Runs `task` now when nothing else runs or waits, else later. From a thread that runs the io_context.
    void dispatch(serial_task& task);
    /// Whether the calling thread is in a task of this queue.
    [[nodiscard]] bool inside() const noexcept;

    /// Whether the calling thread runs the io_context.
    [[nodiscard]] bool on_context() const noexcept { return context_.get_executor().running_in_this_thread(); }

private:
    struct runner;

    bool append(serial_task& task) noexcept;
    serial_task* pop() noexcept;
    void schedule() noexcept;
    void run(std::size_t tasks);
    void run_waiting();
    void go_on() noexcept;
    void abandon_all() noexcept;

    asio::io_context& context_;
    spinlock lock_;
    serial_task* first_ = nullptr;
    serial_task* last_ = nullptr;
    std::size_t waiting_ = 0;
    bool active_ = false;  // a runner is posted, or runs
    kept_memory memory_;   // of the runner
};

/// A function that runs in a `serial_queue`. Its memory is given back before it is called.
template <class F>
class serial_function final : public serial_task {
    using memory = asio::recycling_allocator<serial_function>;

public:
    template <class G>
    static serial_function& make(G&& function) {
        /// Gives the memory back when the function cannot be moved there.
        struct place {
            serial_function* at = memory().allocate(1);
            ~place() {
                if (at != nullptr) {
                    memory().deallocate(at, 1);
                }
            }
        } made;
        auto* const task = new (made.at) serial_function(std::forward<G>(function));
        made.at = nullptr;
        return *task;
    }

    void run() override {
        F function(std::move(function_));
        destroy();
        std::move(function)();
    }
    void abandon() noexcept override {
        [[maybe_unused]] const F function(std::move(function_));  // it may own the queue
        destroy();
    }

private:
    template <class G>
    // NOLINTNEXTLINE(bugprone-forwarding-reference-overload): it is private, and called with functions only
    explicit serial_function(G&& function) : function_(std::forward<G>(function)) {}
    ~serial_function() = default;

    void destroy() noexcept {
        this->~serial_function();
        memory().deallocate(this, 1);
    }

    F function_;
};

/// The executor of a `serial_queue`. Its properties are those of an executor of the io_context.
template <class Inner>
class serial_executor {
public:
    serial_executor(std::shared_ptr<serial_queue> queue, const Inner& inner) noexcept
        : queue_(std::move(queue)), inner_(inner) {}

    template <class Property>
        requires(asio::can_query<const Inner&, Property>::value)
    [[nodiscard]] decltype(auto) query(const Property& p) const noexcept {
        // `asio::query` may give a type of its own for each value of this property.
        if constexpr (std::is_convertible_v<Property, asio::execution::blocking_t>) {
            return asio::execution::blocking_t(asio::query(inner_, p));
        } else {
            return asio::query(inner_, p);
        }
    }

    template <class Property>
        requires(asio::can_require<const Inner&, Property>::value &&
                 !std::is_convertible_v<Property, asio::execution::blocking_t::always_t>)
    [[nodiscard]] auto require(const Property& p) const noexcept {
        return changed(asio::require(inner_, p));
    }
    template <class Property>
        requires(asio::can_prefer<const Inner&, Property>::value &&
                 !std::is_convertible_v<Property, asio::execution::blocking_t::always_t>)
    [[nodiscard]] auto prefer(const Property& p) const noexcept {
        return changed(asio::prefer(inner_, p));
    }

    template <class F>
    void execute(F&& f) const {
        const bool may_block = asio::query(inner_, asio::execution::blocking) != asio::execution::blocking.never;
        if (may_block && queue_->inside()) {
            std::decay_t<F> function(std::forward<F>(f));
            function();
            return;
        }
        serial_task& task = serial_function<std::decay_t<F>>::make(std::forward<F>(f));
        if (may_block && queue_->on_context()) {
            queue_->dispatch(task);
        } else {
            queue_->post(task);
        }
    }

    friend bool operator==(const serial_executor& a, const serial_executor& b) noexcept { return a.queue_ == b.queue_; }
    friend bool operator!=(const serial_executor& a, const serial_executor& b) noexcept { return !(a == b); }

private:
    template <class Changed>
    [[nodiscard]] serial_executor<std::decay_t<Changed>> changed(Changed&& inner) const noexcept {
        return {queue_, std::forward<Changed>(inner)};
    }

    std::shared_ptr<serial_queue> queue_;
    Inner inner_;
};

}  // namespace headgate::detail

#endif
