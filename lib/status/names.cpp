// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "status/names.hpp"

#include <algorithm>
#include <cstddef>
#include <map>

namespace headgate::detail {

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

bool is_between(unsigned char c, unsigned char least, unsigned char most) {
    return c >= least && c <= most;
}

// How many bytes from `at` on are one character (RFC 3629); zero when they are none. `broken` is then how many of them
// could have begun one: they are replaced together.
std::size_t character_at(std::string_view text, std::size_t at, std::size_t& broken) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
    const unsigned char first = byte(0);
    broken = 1;
    if (is_between(first, 0x01, 0x7f)) {
        return 1;
    }
    const std::size_t length = is_between(first, 0xc2, 0xdf)   ? 2
                               : is_between(first, 0xe0, 0xef) ? 3
                               : is_between(first, 0xf0, 0xf4) ? 4
                                                               : 0;
    for (std::size_t i = 1; i < length; ++i, ++broken) {
        // The second byte excludes overlong encodings, surrogates, and code points above U+10FFFF.
        const unsigned char least = i > 1 ? 0x80 : first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        const unsigned char most = i > 1 ? 0xbf : first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        if (at + i >= text.size() || !is_between(byte(i), least, most)) {
            return 0;
        }
    }
    return length;
}

}  // namespace

std::string readable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        std::size_t broken = 0;
        const std::size_t length = character_at(text, at, broken);
        out.append(length > 0 ? text.substr(at, length) : replacement);
        at += std::max(length, broken);
    }
    return out;
}

std::string unique_names::take(std::string_view name) {
    const std::string plain = readable(name);
    std::string out = plain;
    for (int n = 2; !taken_.insert(out).second; ++n) {
        out = plain + '#' + std::to_string(n);
    }
    return out;
}

void name_apart(std::vector<zone_snapshot>& zones) {
    unique_names zone_names;
    for (zone_snapshot& z : zones) {
        z.name = zone_names.take(z.name);
        std::map<primitive_kind, unique_names> names;
        for (primitive_snapshot& p : z.primitives) {
            p.name = names[p.kind].take(p.name);
        }
    }
}

}  // namespace headgate::detail
