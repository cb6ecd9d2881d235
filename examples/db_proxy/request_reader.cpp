// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "request_reader.hpp"

namespace db_proxy {

framing look_at_request(std::string_view data, request_head& out) noexcept {
    if (data.size() < header_size) {
        return framing::incomplete;
    }
    const std::uint32_t length = read_uint32(data.substr(1));
    if (length < 4 || length > 0x7FFFFFFF) {
        return framing::malformed;
    }
    out = {data.front(), length - 4, false};
    if (out.type == 'P' && out.payload > 0) {
        if (data.size() == header_size) {
            return framing::incomplete;
        }
        out.named = data[header_size] != '\0';
    }
    return framing::whole;
}

segment_kind classify_segment(std::string_view data) noexcept {
    for (;;) {
        request_head head;
        if (look_at_request(data, head) != framing::whole) {
            return segment_kind::incomplete;
        }
        switch (head.type) {
            case 'Q':
            case 'E':
            case 'F':
            case 'H': return segment_kind::charged;
            case 'S':
            case 'X': return segment_kind::free;
            default: break;
        }
        if (data.size() - header_size < head.payload) {
            return segment_kind::incomplete;
        }
        data.remove_prefix(header_size + head.payload);
    }
}

bool is_request(char type) noexcept {
    return std::string_view("QPBDECSHFXdcf").find(type) != std::string_view::npos;
}

}  // namespace db_proxy
