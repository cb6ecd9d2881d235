// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// What a client and its server say, in turns: a client's message for each even byte of the input, a server's for each
// odd one. What is owed never goes below nothing, and a ReadyForQuery settles what is in front.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "exchange.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace db_proxy;
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

    // The same bytes as a client's: a segment's judgement does not change with more bytes, once it is made.
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
    return 0;
}
