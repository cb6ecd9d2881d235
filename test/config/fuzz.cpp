// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/config.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

// A libFuzzer target. A document that parses also prints, and parses to the same. For others `parse` says why.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    std::vector<headgate::config_problem> problems;
    const auto parsed = headgate::config::parse(text, problems);
    if (parsed.has_value() != problems.empty()) {
        std::abort();
    }
    if (parsed) {
        const auto again = headgate::config::parse(parsed.value().to_json());
        if (!again || !(again.value() == parsed.value()) || !parsed.value().check().empty()) {
            std::abort();
        }
    }
    return 0;
}
