// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "config/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>
#include <utility>
#include <vector>

#include <headgate/config.hpp>

#include "options/limits.hpp"

namespace headgate::detail {

namespace {

struct unit {
    std::string_view name;
    std::int64_t ns;
};

// From the largest; "ms" is looked for before "m", since a name ends where the next digit begins.
constexpr std::array<unit, 7> units{{{"d", 86'400'000'000'000},
                                     {"h", 3'600'000'000'000},
                                     {"m", 60'000'000'000},
                                     {"s", 1'000'000'000},
                                     {"ms", 1'000'000},
                                     {"us", 1'000},
                                     {"ns", 1}}};

bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

// Takes a whole number off the front of `text`.
std::optional<std::uint64_t> take_number(std::string_view& text) noexcept {
    std::uint64_t n = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (code != std::errc{}) {
        return {};
    }
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return n;
}

// The length of the UTF-8 character at the front of `text` (RFC 3629: the shortest form, no surrogates); 0 when there
// is none.
std::size_t character_length(std::string_view text) noexcept {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned first = byte(0);
    if (first < 0x80) {
        return 1;
    }
    const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() < length) {
        return 0;
    }
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0U) != 0x80) {
            return 0;
        }
    }
    const unsigned second = byte(1);
    const bool wrong = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                       (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
    return wrong ? 0 : length;
}

bool is_control(char c) noexcept {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

}  // namespace

std::string name_fault(std::string_view name) {
    if (name.empty()) {
        return "an empty name";
    }
    std::size_t characters = 0;
    for (std::string_view rest = name; !rest.empty(); ++characters) {
        const std::size_t length = character_length(rest);
        if (length == 0) {
            return "a name that is no UTF-8";
        }
        if (is_control(rest.front())) {
            return "a name with a control character";
        }
        rest.remove_prefix(length);
    }
    return characters > longest_name ? "a name of " + std::to_string(characters) + " characters" : std::string();
}

std::string valid_name() {
    return "a name of 1 to " + std::to_string(longest_name) + " characters, in UTF-8 and without control characters";
}

std::string for_people(std::string_view text, std::size_t most) {
    constexpr std::string_view dots = "...";
    std::string out;
    std::size_t fits = 0;  // with the dots
    while (!text.empty()) {
        const std::size_t length = character_length(text);
        std::string one = length == 0 ? "?" : std::string(text.substr(0, length));
        if (is_control(one.front())) {
            constexpr std::string_view digits = "0123456789abcdef";
            const auto c = static_cast<unsigned char>(one.front());
            one = std::string("\\u00") + digits[c >> 4U] + digits[c & 0xfU];
        }
        if (out.size() + one.size() > most) {
            return out.substr(0, fits) + std::string(dots);
        }
        out += one;
        fits = out.size() + dots.size() <= most ? out.size() : fits;
        text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    return out;
}

std::string format_duration(duration d) {
    if (d == duration::zero()) {
        return "0s";
    }
    const auto* found = std::find_if(units.begin(), units.end(), [&](const unit& u) { return d.count() % u.ns == 0; });
    return std::to_string(d.count() / found->ns) + std::string(found->name);
}

std::optional<quota> parse_quota(std::string_view text) {
    if (text == "none") {
        return quota::none();
    }
    const auto permits = take_number(text);
    if (!permits || text.empty() || text.front() != '/') {
        return {};
    }
    const auto period = parse_duration(text.substr(1));
    if (!period || *period > longest_duration) {
        return {};
    }
    const auto made = quota::per(*permits, *period);
    return made ? std::optional(made.value()) : std::nullopt;
}

std::string_view nearest(std::string_view name, std::span<const std::string_view> candidates) {
    std::string_view best;
    std::size_t least = std::max<std::size_t>(1, name.size() / 3) + 1;
    if (name.size() > 100) {
        return best;
    }
    for (const std::string_view candidate : candidates) {
        std::vector<std::size_t> row(candidate.size() + 1);
        std::iota(row.begin(), row.end(), std::size_t{0});
        for (std::size_t i = 1; i <= name.size(); ++i) {
            std::size_t diagonal = std::exchange(row[0], i);
            for (std::size_t j = 1; j <= candidate.size(); ++j) {
                const std::size_t change = diagonal + (name[i - 1] == candidate[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
            }
        }
        if (row.back() < least) {
            least = row.back();
            best = candidate;
        }
    }
    return best;
}

}  // namespace headgate::detail

namespace headgate {

std::optional<duration> parse_duration(std::string_view text) noexcept {
    std::int64_t sum = 0;
    do {
        const auto number = detail::take_number(text);
        if (!number || *number > static_cast<std::uint64_t>(duration::max().count())) {
            return {};
        }
        const auto length =
            static_cast<std::size_t>(std::find_if(text.begin(), text.end(), detail::is_digit) - text.begin());
        const auto* found = std::find_if(detail::units.begin(), detail::units.end(),
                                         [&](const detail::unit& u) { return u.name == text.substr(0, length); });
        std::int64_t part = 0;
        if (found == detail::units.end() ||
            __builtin_mul_overflow(static_cast<std::int64_t>(*number), found->ns, &part) ||
            __builtin_add_overflow(sum, part, &sum)) {
            return {};
        }
        text.remove_prefix(length);
    } while (!text.empty());
    return duration{sum};
}

}  // namespace headgate
