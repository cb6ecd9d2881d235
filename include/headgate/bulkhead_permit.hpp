// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_BULKHEAD_PERMIT_HPP
#define HEADGATE_BULKHEAD_PERMIT_HPP

#include <utility>

#include <headgate/error.hpp>
#include <headgate/impl/adaptive_limit.hpp>
#include <headgate/impl/bulkhead_core.hpp>
#include <headgate/time.hpp>

namespace headgate {

namespace detail {
struct bulkhead_lender;
}

/// A bulkhead's yes: gives the place back when it is destroyed, on any thread. Move-only; a moved-from permit is empty.
class [[nodiscard]] bulkhead_permit {
public:
    bulkhead_permit() = default;
    /// Of a place; made by the bulkhead. `began` is when, of a call that an adaptive limit measures, else zero.
    explicit bulkhead_permit(detail::bulkhead_core* from, time_point began = {}) noexcept
        : from_(from), began_(began) {}
    /// Takes over what `other` holds.
    bulkhead_permit(bulkhead_permit&& other) noexcept
        : from_(std::exchange(other.from_, nullptr)), began_(other.began_) {}
    /// Gives back its own, and takes over what `other` holds.
    bulkhead_permit& operator=(bulkhead_permit&& other) noexcept {
        if (this != &other) {
            give_back();
            from_ = std::exchange(other.from_, nullptr);
            began_ = other.began_;
        }
        return *this;
    }
    ~bulkhead_permit() { give_back(); }

    /// Whether there is a place.
    explicit operator bool() const noexcept { return from_ != nullptr; }

    /// Gives the place back now; the permit is empty afterwards. For an adaptive limit the call was a success; so it is
    /// at the end of the permit's scope.
    void give_back() noexcept { give_back(detail::adaptive_outcome::success); }
    /// The same for a call that has ended with `why`: see `adaptive`.
    void give_back(const error& why) noexcept { give_back(detail::adaptive_outcome_of(why)); }

private:
    friend struct detail::bulkhead_lender;

    void give_back(detail::adaptive_outcome how) noexcept {
        if (from_ == nullptr) {
            return;
        }
        detail::bulkhead_core* const from = std::exchange(from_, nullptr);
        if (began_ == time_point{}) [[likely]] {
            from->give_back();
        } else {
            from->give_back(began_, how);
        }
    }

    detail::bulkhead_core* from_ = nullptr;
    time_point began_{};
};

}  // namespace headgate

#endif
