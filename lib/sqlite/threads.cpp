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

std::shared_ptr<waiting_room> waiting_room::of(asio::execution_context& context) {
    return asio::use_service<waiting_room_service>(context).room();
}

void waiting_room::enter(std::shared_ptr<waiting_operation> operation) {
    const std::lock_guard guard(mutex_);
    waiting_.insert(std::move(operation));
}

void waiting_room::complete(const std::shared_ptr<waiting_operation>& operation) {
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
