// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/network_label.hpp>

#include <arpa/inet.h>
#include <endian.h>

#include <charconv>
#include <cstring>

namespace headgate::detail {

network_label::network_label(std::uint64_t high, std::uint64_t low, unsigned bits, bool v4) noexcept {
    if (v4) {
        const std::uint32_t address = htobe32(static_cast<std::uint32_t>(low));
        ::inet_ntop(AF_INET, &address, text_.data(), static_cast<socklen_t>(text_.size()));
    } else {
        const std::array<std::uint64_t, 2> address{htobe64(high), htobe64(low)};
        ::inet_ntop(AF_INET6, address.data(), text_.data(), static_cast<socklen_t>(text_.size()));
    }
    size_ = std::strlen(text_.data());
    if (bits != (v4 ? 32U : 128U)) {
        text_[size_++] = '/';
        size_ = static_cast<std::size_t>(std::to_chars(&text_[size_], text_.data() + text_.size(), bits).ptr -
                                         text_.data());
    }
}

}  // namespace headgate::detail
