// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LEASE_HPP
#define HEADGATE_LEASE_HPP

#include <utility>

#include <headgate/impl/pool_core.hpp>

namespace headgate {

/// A resource that is lent: gives it back when it is destroyed, on any thread. Move-only; a moved-from lease is empty.
///
/// It stays valid when the pool's handles and its zone are gone, and closes its resource then. As everything in Asio,
/// a resource that belongs to an io_context must come back before that is destroyed.
///
/// ```cpp
/// // example: lease
/// #include <headgate/headgate.hpp>
/// #include <cassert>
///
///
/// struct connection {
///     bool in_transaction = false;
/// };
/// struct database {
///     boost::asio::awaitable<connection> connect() { co_return connection{}; }
/// };
///
/// int main() {
///     boost::asio::io_context io;
///     headgate::zone zone(io, "shop");
///     auto pool = headgate::resource_pool<connection>::create(zone, "database", {.size = 1}, database{}).value();
///     io.run();  // until it is connected
///     auto lease = pool.try_checkout().value();
///     lease->in_transaction = true;
///     lease.discard();  // is in doubt: it is closed and replaced, and never lent again
///     assert(!lease);
/// }
/// ```
template <class T>
class [[nodiscard]] lease {
public:
    lease() = default;
    /// Of a resource; made by the pool.
    lease(detail::pool_core* pool, T* value, detail::slot_index slot) noexcept
        : pool_(pool), value_(value), slot_(slot) {}
    /// Takes over what `other` holds.
    lease(lease&& other) noexcept
        : pool_(other.pool_), value_(std::exchange(other.value_, nullptr)), slot_(other.slot_) {}
    /// Gives back its own, and takes over what `other` holds.
    lease& operator=(lease&& other) noexcept {
        if (this != &other) {
            end(true);
            pool_ = other.pool_;
            value_ = std::exchange(other.value_, nullptr);
            slot_ = other.slot_;
        }
        return *this;
    }
    ~lease() { end(true); }

    /// Whether there is a resource.
    explicit operator bool() const noexcept { return value_ != nullptr; }

    /// The resource. Precondition: there is one.
    [[nodiscard]] T& operator*() const noexcept { return *value_; }
    /// Its members. Precondition: there is one.
    [[nodiscard]] T* operator->() const noexcept { return value_; }

    /// Gives the resource back now; the lease is empty afterwards.
    void give_back() noexcept { end(true); }

    /// Throws the resource away: it is closed and replaced, and never lent again. The lease is empty afterwards.
    void discard() noexcept { end(false); }

private:
    void end(bool usable) noexcept {
        if (value_ != nullptr) {
            pool_->give_back(slot_, std::exchange(value_, nullptr), usable);
        }
    }

    detail::pool_core* pool_ = nullptr;
    T* value_ = nullptr;
    detail::slot_index slot_ = detail::no_slot;
};

}  // namespace headgate

#endif
