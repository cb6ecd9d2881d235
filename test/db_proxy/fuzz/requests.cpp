// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// The input plays a client and its server: an even byte is a message of the client, an odd one a message of the server.
// The number of unanswered requests never grows with an answer, and a ReadyForQuery takes the first of them off. Then
// the same bytes are a client's: the same messages are forwarded wherever the bytes are cut.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "exchange.hpp"
#include "request_reader.hpp"

namespace {

using namespace db_proxy;

/// What a reader forwards of `bytes` in pieces: every message but those of type 'D', and how the reading ends.
std::string read(std::string_view bytes, std::size_t piece) {
    request_reader reader;
    std::string out;
    auto progress = request_reader::progress::all;
    while (!bytes.empty() && progress == request_reader::progress::all) {
        const std::string_view part = bytes.substr(0, piece);
        bytes.remove_prefix(part.size());
        progress = reader.feed(
            part,
            [](std::string_view, const request_head& head) {
                return ruling{head.type == 'D' ? fate::drop : fate::forward, head.type == 'D' ? "instead" : ""};
            },
            [&](std::string_view run) { out += run; });
    }
    return out + std::to_string(static_cast<int>(progress));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::string_view requests = "QPBDECSHFdcf";
    constexpr std::string_view responses = "ZCEGTD12sSNA";
    exchange e;
    std::size_t sent = 0;
    for (std::size_t i = 0; i < size; ++i) {
        const std::size_t which = data[i] / 2 % requests.size();
        if (data[i] % 2 == 0) {
            e.request(requests[which]);
            ++sent;
        } else {
            const std::size_t before = e.pending();
            e.response(responses[which], "ITE"[data[i] % 3]);
            if (e.pending() > before || (responses[which] == 'Z' && before > 0 && e.pending() >= before)) {
                std::abort();
            }
        }
        if (e.pending() > sent || (e.idle() && !e.settled())) {
            std::abort();
        }
    }

    // A decision about a segment does not change when more bytes come.
    const std::string bytes(data, data + size);
    request_head head;
    (void)look_at_request(bytes, head);
    segment_kind known = segment_kind::incomplete;
    for (std::size_t cut = 0; cut <= bytes.size() && cut < 512; ++cut) {
        const segment_kind now = classify_segment(std::string_view(bytes).substr(0, cut));
        if (known != segment_kind::incomplete && now != known) {
            std::abort();
        }
        known = now;
    }
    if (read(bytes, bytes.size() + 1) != read(bytes, 1) || read(bytes, 7) != read(bytes, 1)) {
        std::abort();
    }
    return 0;
}
