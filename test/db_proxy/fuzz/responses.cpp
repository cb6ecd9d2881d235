// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// A server's bytes, during the login and after it: the same messages come out wherever the bytes are cut.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "exchange.hpp"
#include "response_reader.hpp"
#include "server_login.hpp"

namespace {

using namespace db_proxy;

struct seen {
    std::string what;
    bool well = true;
    friend bool operator==(const seen&, const seen&) = default;
};

seen read(std::string_view bytes, std::size_t piece) {
    response_reader reader;
    seen out;
    while (!bytes.empty() && out.well) {
        const std::string_view part = bytes.substr(0, piece);
        bytes.remove_prefix(part.size());
        out.well = reader.feed(part, [&](char type, std::string_view shown) {
            out.what.append(1, type).append(std::to_string(shown.size())).append(shown);
            (void)read_report(shown);
            (void)leaves_session_state(shown);
        });
    }
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string bytes(data, data + size);
    if (!(read(bytes, bytes.size() + 1) == read(bytes, 1)) || !(read(bytes, 7) == read(bytes, 1))) {
        std::abort();
    }
    server_login login({"ann", "x", "app"}, {});
    std::string_view input = bytes;
    // A challenge that asks for much work is valid, but too slow for a fuzzer.
    if (bytes.find(",i=") == std::string::npos) {
        (void)login.feed(input);
    }
    return 0;
}
