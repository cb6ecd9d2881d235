// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_RETRY_CORE_HPP
#define HEADGATE_IMPL_RETRY_CORE_HPP

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include <headgate/export.hpp>
#include <headgate/impl/retry_machine.hpp>
#include <headgate/impl/spinlock.hpp>
#include <headgate/impl/sync.hpp>
#include <headgate/impl/zone_core.hpp>
#include <headgate/result.hpp>
#include <headgate/retry_options.hpp>

namespace headgate::detail {

/// The shell around `retry_machine`: its lock, and its events. Calls have a reference while they run.
class HEADGATE_DECL retry_core final : public primitive {
public:
    static result<std::shared_ptr<retry_core>> create(const std::shared_ptr<zone_core>& zone, std::string name,
                                                      const retry_options& options);

    // Any thread.

    [[nodiscard]] retry_decision next(retry_progress& call, const retry_verdict& verdict, time_point until) noexcept;
    [[nodiscard]] bool resume(retry_progress& call, time_point until) noexcept;
    void end(retry_progress& call, bool succeeded) noexcept {
        const time_point now = zone().coarse_now();  // the budget counts whole seconds
        const std::lock_guard guard(lock_);
        machine_.end(call, succeeded, now);
    }

    /// A call that is not one of `retry::run` deposits, and pays for an attempt. False: the budget is exhausted.
    void deposit(time_point now) noexcept {
        const std::lock_guard guard(lock_);
        machine_.deposit(now);
    }
    [[nodiscard]] bool pay() noexcept;

    /// `duration::max()` for none.
    [[nodiscard]] duration attempt_timeout() const noexcept {
        return duration{attempt_timeout_.load(std::memory_order_relaxed)};
    }

    result<void> reconfigure(const retry_options& options);
    [[nodiscard]] retry_snapshot look() const noexcept;

    void close() noexcept override {}
    void abandon() noexcept override {}
    [[nodiscard]] primitive_snapshot snapshot() const override;
    [[nodiscard]] std::uint64_t in_use() const noexcept override { return 0; }

private:
    retry_core(const std::shared_ptr<zone_core>& zone, std::string name, const retry_options& options,
               std::uint64_t seed);

    void follow_options() noexcept;
    void tell(const retry_decision& made) const noexcept;

    mutable spinlock lock_;
    mutable retry_machine machine_;  // to look at it lets its window roll
    atomic<duration::rep> attempt_timeout_;
};

}  // namespace headgate::detail

#endif
