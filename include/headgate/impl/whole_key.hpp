// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_WHOLE_KEY_HPP
#define HEADGATE_IMPL_WHOLE_KEY_HPP

#include <cstdint>
#include <string>
#include <string_view>

#include <headgate/key.hpp>

namespace headgate::detail {

/// All of a key, where a hash is not enough: equal keys are equal, others never. A key of one text of up to 15 bytes
/// needs no allocation.
class whole_key {
public:
    whole_key(const key& from, const hash_seed& seed) : hash_(from.hash(seed)), shape_(from.shape()) {
        from.encode([this](std::string_view more) { bytes_ += more; });
    }

    [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }

    /// Of keys with one seed.
    friend bool operator==(const whole_key&, const whole_key&) = default;

private:
    std::uint64_t hash_;
    std::uint64_t shape_;
    std::string bytes_;
};

}  // namespace headgate::detail

#endif
