// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "response_reader.hpp"

namespace db_proxy {

std::size_t response_reader::needed(std::string_view head) noexcept {
    if (head.size() < header_size) {
        return header_size;
    }
    const std::uint32_t length = read_uint32(head.substr(1));
    if (length < 4) {
        return 0;
    }
    switch (head.front()) {
        case 'Z':  // ReadyForQuery
        case 'S':  // ParameterStatus
        case 'C':  // CommandComplete
        case 'E':  // ErrorResponse
            return header_size + std::min<std::size_t>(length - 4, max_shown);
        default: return header_size;
    }
}

}  // namespace db_proxy
