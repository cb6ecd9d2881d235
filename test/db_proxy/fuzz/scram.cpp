// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// SCRAM messages, two to each side, and a verifier: no bytes let a client in without the password.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "scram.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace db_proxy::scram;
    static const verifier known = verifier::of("the password", "0123456789abcdef", 1);
    const std::string bytes(data, data + size);
    const std::size_t cut = bytes.find('\n');
    const std::string first = bytes.substr(0, cut);
    const std::string second = cut == std::string::npos ? "" : bytes.substr(cut + 1);

    server s(known, "server-nonce");
    std::string final_message;
    if (s.first(first) && s.last(second, final_message) == server::verdict::right) {
        std::abort();
    }
    client c("another", "client-nonce");
    // A message that asks for much work is valid, but too slow for a fuzzer.
    if (first.find("i=") == std::string::npos || first.size() - first.find("i=") < 7) {
        if (c.last(first) && c.verify(second)) {
            std::abort();
        }
    }
    if (const auto read = verifier::parse(bytes); read && read->text() != bytes) {
        std::abort();
    }
    return 0;
}
