// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "zone/context_state.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

namespace headgate::detail {

namespace {

/// Has the state of an io_context, and hears of its end.
class zone_service final : public asio::execution_context::service {
public:
    using key_type = zone_service;
    static asio::execution_context::id id;

    explicit zone_service(asio::execution_context& context) : service(context) {}

    [[nodiscard]] const std::shared_ptr<context_state>& state() const noexcept { return state_; }

private:
    void shutdown() override { state_->shut_down(); }

    std::shared_ptr<context_state> state_ = std::make_shared<context_state>();
};

asio::execution_context::id zone_service::id;

}  // namespace

std::shared_ptr<context_state> context_state::of(asio::execution_context& context) {
    return asio::use_service<zone_service>(context).state();
}

void context_state::add(zone_core& zone) {
    const std::lock_guard guard(mutex_);
    alive_.reserve(zones_.size() + 1);
    zones_.push_back(&zone);
}

void context_state::remove(zone_core& zone) noexcept {
    const std::lock_guard guard(mutex_);
    std::erase(zones_, &zone);
    zone.detach();
}

void context_state::shut_down() noexcept {
    std::vector<std::shared_ptr<zone_core>> alive;
    {
        const std::lock_guard guard(mutex_);
        alive.swap(alive_);
        for (zone_core* const zone : zones_) {
            zone->detach();
            if (auto shared = zone->weak_from_this().lock()) {
                alive.push_back(std::move(shared));
            }
        }
    }
    for (const auto& zone : alive) {
        zone->abandon();
    }
}

void context_state::release() noexcept {
    if (holds_.fetch_sub(1) == 1) {
        const std::lock_guard guard(holds_mutex_);
        released_.notify_all();
    }
}

void context_state::wait(std::chrono::milliseconds span) {
    std::unique_lock guard(holds_mutex_);
    released_.wait_for(guard, span, [this] { return !held(); });
}

}  // namespace headgate::detail
