// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/pool_tasks.hpp>

#include <boost/core/demangle.hpp>

#include <headgate/impl/pool_core.hpp>

namespace headgate::detail {

std::string backend_member::text() const {
    constexpr const char* names[] = {"connect", "ping", "reset", "close"};
    return std::string(names[member]) + " of " + boost::core::demangle(backend->name());
}

pool_task_run::pool_task_run(std::shared_ptr<pool_core> pool, std::shared_ptr<zone_core> zone, std::string pool_name,
                             backend_member what)
    : pool_(std::move(pool)),
      zone_(std::move(zone)),
      pool_name_(std::move(pool_name)),
      what_(what),
      count_(std::in_place, zone_) {}

pool_task_run::~pool_task_run() {
    if (pool_) {
        pool_->forget(*this);
    }
}

void pool_task_run::begin(duration limit) noexcept {
    if (pool_) {
        pool_->watch(*this);
    }
    arm(limit);
}

void pool_task_run::arm(duration span) noexcept {
    const time_point when = saturating_add(zone_->now(), span);
    if (when != time_point::max()) {
        self_ = shared_from_this();
        armed_ = true;
        zone_->arm(*this, when);
    }
}

void pool_task_run::disarm() noexcept {
    if (armed_ && zone_->disarm(*this)) {
        armed_ = false;
        self_.reset();
    }
}

void pool_task_run::cancel() noexcept {
    if (emitted_ == 0) {
        const auto self = shared_from_this();
        disarm();
        ++emitted_;
        arm(repeat_after);
        signal_.emit(boost::asio::cancellation_type::terminal);
    }
}

void pool_task_run::on_deadline() noexcept {
    const auto self = std::move(self_);
    armed_ = false;
    if (emitted_ == 0) {
        give_up();
        cancel();
    } else if (emitted_ <= repeats) {
        ++emitted_;
        arm(repeat_after);
        signal_.emit(boost::asio::cancellation_type::terminal);
    } else {
        give_up();
        tell_overrun();
        count_.reset();
    }
}

void pool_task_run::tell_overrun() noexcept {
    try {
        event e;
        e.kind = event_kind::overrun;
        e.detail = what_.text();
        zone_->emit(primitive_kind::resource_pool, pool_name_, std::move(e));
    } catch (...) {  // NOLINT(bugprone-empty-catch): without memory there is nobody to tell
    }
}

std::string pool_task_run::whose() const {
    return "resource_pool \"" + pool_name_ + "\", " + what_.text();
}

void pool_task_run::ended() noexcept {
    disarm();
    count_.reset();
}

void pool_task_run::abandon() noexcept {
    disarm();
}

// The tasks of a pool -------------------------------------------------------------------------------------------------

void pool_core::watch(pool_task_run& task) noexcept {
    const std::lock_guard guard(lock_);
    tasks_.push_back(task);
}

void pool_core::forget(pool_task_run& task) noexcept {
    const std::lock_guard guard(lock_);
    if (task.task_hook::is_linked()) {
        task.task_hook::unlink();
    }
}

void pool_core::cancel_tasks(bool connects_only) noexcept {
    const auto next = [&]() -> std::shared_ptr<pool_task_run> {
        const std::lock_guard guard(lock_);
        for (pool_task_run& task : tasks_) {
            if (connects_only && task.member() != backend_member::connect) {
                continue;
            }
            if (auto alive = task.weak_from_this().lock()) {
                task.task_hook::unlink();
                canceled_.push_back(task);
                return alive;
            }
        }
        return nullptr;
    };
    while (const auto task = next()) {
        task->cancel();
    }
}

void pool_core::abandon_tasks(pool_task_list& list) noexcept {
    const auto next = [&]() -> std::shared_ptr<pool_task_run> {
        const std::lock_guard guard(lock_);
        while (!list.empty()) {
            pool_task_run& task = list.front();
            list.pop_front();
            if (auto alive = task.weak_from_this().lock()) {
                return alive;
            }
        }
        return nullptr;
    };
    while (const auto task = next()) {
        task->abandon();
    }
}

}  // namespace headgate::detail
