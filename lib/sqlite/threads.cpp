// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "sqlite/threads.hpp"

#include <utility>

namespace headgate::detail {

namespace {

namespace asio = boost::asio;

/// Tells the waiting room of a context that the context is being destroyed.
class waiting_room_service final : public asio::execution_context::service {
public:
    using key_type = waiting_room_service;
    static asio::execution_context::id id;

    explicit waiting_room_service(asio::execution_context& context) : service(context) {}

    [[nodiscard]] const std::shared_ptr<waiting_room>& room() const noexcept { return room_; }

private:
    void shutdown() override { room_->abandon_all(); }

    std::shared_ptr<waiting_room> room_ = std::make_shared<waiting_room>();
};

asio::execution_context::id waiting_room_service::id;

}  // namespace

work_threads::work_threads(std::uint32_t count, growth grows) : grows_(grows), idle_(count) {
    try {
        for (std::uint32_t i = 0; i < count; ++i) {
            threads_.emplace_back([this] { serve(); });
        }
    } catch (...) {
        end();
        throw;
    }
}

work_threads::~work_threads() {
    end();
}

void work_threads::end() noexcept {
    {
        const std::lock_guard guard(mutex_);
        ended_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) {
        thread.join();
    }
}

void work_threads::post(std::shared_ptr<thread_work> work) noexcept {
    {
        const std::lock_guard guard(mutex_);
        thread_work* const added = work.get();
        (last_ != nullptr ? last_->next_ : first_) = std::move(work);
        last_ = added;
        ++queued_;
        if (grows_ == growth::at_need && idle_ < queued_) {
            try {
                threads_.emplace_back([this] { serve(); });
                ++idle_;
            } catch (...) {  // NOLINT(bugprone-empty-catch): those that are there do it, later
            }
        }
    }
    changed_.notify_one();
}

void work_threads::serve() noexcept {
    for (auto work = take(false); work; work = take(true)) {
        work->run();
        work.reset();  // here, and not under the lock
    }
}

// Waits for work. Null: there is none any more.
std::shared_ptr<thread_work> work_threads::take(bool was_busy) noexcept {
    std::unique_lock lock(mutex_);
    idle_ += was_busy ? 1 : 0;
    changed_.wait(lock, [this] { return first_ || ended_; });
    if (!first_) {
        return nullptr;
    }
    --idle_;
    std::shared_ptr<thread_work> out = std::move(first_);
    first_ = std::move(out->next_);
    if (!first_) {
        last_ = nullptr;
    }
    --queued_;
    return out;
}

std::shared_ptr<waiting_room> waiting_room::of(asio::execution_context& context) {
    return asio::use_service<waiting_room_service>(context).room();
}

void waiting_room::enter(std::shared_ptr<waiting_operation> operation) {
    const std::lock_guard guard(mutex_);
    waiting_.insert(std::move(operation));
}

void waiting_room::complete(const std::shared_ptr<waiting_operation>& operation) noexcept {
    const std::lock_guard guard(mutex_);
    if (waiting_.erase(operation) != 0) {
        operation->complete();
    }
}

void waiting_room::abandon_all() noexcept {
    std::set<std::shared_ptr<waiting_operation>> abandoned;
    {
        const std::lock_guard guard(mutex_);
        abandoned.swap(waiting_);
    }
    for (const auto& operation : abandoned) {
        operation->abandon();
    }
}

}  // namespace headgate::detail
