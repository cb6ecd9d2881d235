// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_BULKHEAD_PERMIT_HPP
#define HEADGATE_BULKHEAD_PERMIT_HPP

#include <utility>

#include <headgate/impl/bulkhead_core.hpp>

namespace headgate {

/// A bulkhead's yes: gives the place back when it is destroyed, on any thread. Move-only; a moved-from permit is empty.
class [[nodiscard]] bulkhead_permit {
public:
    bulkhead_permit() = default;
    /// Of a place; made by the bulkhead.
    explicit bulkhead_permit(detail::bulkhead_core* from) noexcept : from_(from) {}
    /// Takes over what `other` holds.
    bulkhead_permit(bulkhead_permit&& other) noexcept : from_(std::exchange(other.from_, nullptr)) {}
    /// Gives back its own, and takes over what `other` holds.
    bulkhead_permit& operator=(bulkhead_permit&& other) noexcept {
        if (this != &other) {
            give_back();
            from_ = std::exchange(other.from_, nullptr);
        }
        return *this;
    }
    ~bulkhead_permit() { give_back(); }

    /// Whether there is a place.
    explicit operator bool() const noexcept { return from_ != nullptr; }

    /// Gives the place back now; the permit is empty afterwards.
    void give_back() noexcept {
        if (from_ != nullptr) {
            std::exchange(from_, nullptr)->give_back();
        }
    }

private:
    detail::bulkhead_core* from_ = nullptr;
};

}  // namespace headgate

#endif
