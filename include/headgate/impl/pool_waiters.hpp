// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_POOL_WAITERS_HPP
#define HEADGATE_IMPL_POOL_WAITERS_HPP

#include <cstdint>
#include <exception>
#include <memory>
#include <source_location>
#include <string>
#include <typeinfo>
#include <utility>

#include <headgate/export.hpp>
#include <headgate/impl/pool_machine.hpp>
#include <headgate/impl/waiter.hpp>
#include <headgate/result.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

class pool_core;

/// A resource that is lent; null when none is. Two words, so that it is returned in registers.
struct pool_lent {
    void* resource = nullptr;
    slot_index slot = no_slot;

    [[nodiscard]] explicit operator bool() const noexcept { return resource != nullptr; }
};

/// Why nothing was lent. `wait` when the caller may.
struct pool_refusal {
    pool_verdict verdict = pool_verdict::exhausted;
    duration retry_after{};
};

/// The error code of a refusal.
[[nodiscard]] HEADGATE_DECL errc code_of(pool_verdict verdict) noexcept;

/// Whom a leak is blamed on: a place, or where nobody named one, the type of the operation that holds the lease.
struct lease_place {
    std::source_location where{};
    const std::type_info* operation = nullptr;

    lease_place() = default;
    lease_place(std::source_location place) noexcept : where(place) {}
    lease_place(std::source_location place, const std::type_info& op) noexcept : where(place), operation(&op) {}

    [[nodiscard]] HEADGATE_DECL std::string text() const;
};

/// A caller in the queue of a pool. It owns what it was granted until that is taken: when its completion is destroyed
/// instead of run, the resource goes to the next in line.
class HEADGATE_DECL checkout_waiter : public waiter {
public:
    checkout_waiter(std::shared_ptr<pool_core> pool, const lease_place& place) noexcept
        : pool_(std::move(pool)), place_(place) {}

    void on_cancel() noexcept override;

protected:
    ~checkout_waiter();

    /// What was granted, once; `refusal` says why there is nothing.
    [[nodiscard]] pool_lent lent() noexcept { return std::exchange(lent_, pool_lent{}); }
    [[nodiscard]] error refusal() const { return error(refusal_, cause_, retry_after_); }

private:
    friend class pool_core;

    void on_deadline() noexcept override;

    std::shared_ptr<pool_core> pool_;
    lease_place place_;
    time_point asked_{};
    pool_lent lent_;
    duration retry_after_{};
    errc refusal_ = errc::shut_down;
    std::exception_ptr cause_;
};

/// Waits until a draining pool has nothing lent and nobody waiting.
class HEADGATE_DECL pool_drain_waiter : public waiter {
public:
    explicit pool_drain_waiter(std::shared_ptr<pool_core> pool) noexcept : pool_(std::move(pool)) {}

    [[nodiscard]] result<void> take() const noexcept;
    void on_cancel() noexcept override;

protected:
    ~pool_drain_waiter() = default;

private:
    friend class pool_core;

    void on_deadline() noexcept override;

    std::shared_ptr<pool_core> pool_;
    errc outcome_{};
    std::uint32_t left_ = 0;
};

/// Whether an operation ended midway, so that what it left behind cannot be known: cancelled or timed out, by whatever
/// name, as a result or as an exception.
[[nodiscard]] HEADGATE_DECL bool ended_midway(const error& e) noexcept;

}  // namespace headgate::detail

#endif
