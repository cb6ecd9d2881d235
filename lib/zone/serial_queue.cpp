// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/serial_queue.hpp>

#include <boost/asio/post.hpp>

#include <limits>
#include <mutex>

namespace headgate::detail {

namespace {

/// The queues whose tasks run on this thread, the innermost first.
struct visit {
    const serial_queue* queue;
    const visit* outer;
};
thread_local const visit* innermost = nullptr;

}  // namespace

// The handler on the io_context. When that is destroyed before it runs, what waits in the queue goes with it.
struct serial_queue::runner {
    using allocator_type = kept_memory::allocator<void>;

    explicit runner(std::shared_ptr<serial_queue> q) noexcept : queue(std::move(q)) {}
    runner(runner&&) noexcept = default;
    runner& operator=(runner&&) = delete;
    ~runner() {
        if (queue) {
            queue->abandon_all();
        }
    }

    [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type(queue->memory_); }
    void operator()() {
        const auto running = std::move(queue);
        running->run_waiting();
    }

    std::shared_ptr<serial_queue> queue;
};

// True when the caller has to see to it that the queue runs.
bool serial_queue::append(serial_task& task) noexcept {
    const std::lock_guard guard(lock_);
    task.next_ = nullptr;
    (first_ == nullptr ? first_ : last_->next_) = &task;
    last_ = &task;
    ++waiting_;
    return !std::exchange(active_, true);
}

serial_task* serial_queue::pop() noexcept {
    const std::lock_guard guard(lock_);
    serial_task* const task = first_;
    if (task != nullptr) {
        first_ = task->next_;
        --waiting_;
    }
    return task;
}

void serial_queue::post(serial_task& task) noexcept {
    if (append(task)) {
        schedule();
    }
}

void serial_queue::dispatch(serial_task& task) {
    if (append(task)) {
        const auto self = shared_from_this();  // the task may have the last reference
        run(1);
    }
}

void serial_queue::schedule() noexcept {
    asio::post(context_, runner(shared_from_this()));
}

void serial_queue::run_waiting() {
    std::size_t tasks = 0;
    {
        const std::lock_guard guard(lock_);
        tasks = waiting_;
    }
    run(tasks);
}

// Runs so many tasks, and sees to the rest, also when one throws.
void serial_queue::run(std::size_t tasks) {
    struct stay {
        serial_queue& queue;
        visit here;

        explicit stay(serial_queue& q) noexcept : queue(q), here{&q, innermost} { innermost = &here; }
        stay(const stay&) = delete;
        stay& operator=(const stay&) = delete;
        ~stay() {
            innermost = here.outer;
            queue.go_on();
        }
    };
    const stay inside(*this);
    for (; tasks > 0; --tasks) {
        pop()->run();
    }
}

void serial_queue::go_on() noexcept {
    {
        const std::lock_guard guard(lock_);
        active_ = first_ != nullptr;
        if (!active_) {
            return;
        }
    }
    schedule();
}

bool serial_queue::inside() const noexcept {
    for (const visit* v = innermost; v != nullptr; v = v->outer) {
        if (v->queue == this) {
            return true;
        }
    }
    return false;
}

void serial_queue::abandon_all() noexcept {
    while (serial_task* const task = pop()) {
        task->abandon();
    }
    const std::lock_guard guard(lock_);
    active_ = first_ != nullptr;
}

}  // namespace headgate::detail
