// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_NETWORK_LABEL_HPP
#define HEADGATE_IMPL_NETWORK_LABEL_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <headgate/export.hpp>

namespace headgate::detail {

/// An IP network for people to read: "192.0.2.0/24", "2001:db8::/64"; without a length when it is one address.
class HEADGATE_DECL network_label {
public:
    /// An address of IPv4 is all of `low`.
    network_label(std::uint64_t high, std::uint64_t low, unsigned bits, bool v4) noexcept;

    [[nodiscard]] std::string_view view() const noexcept { return {text_.data(), size_}; }

private:
    std::array<char, 52> text_{};
    std::size_t size_ = 0;
};

}  // namespace headgate::detail

#endif
