// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_KEY_HPP
#define HEADGATE_KEY_HPP

#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include <headgate/impl/key_hash.hpp>

namespace headgate {

/// What may be a part of a key: text (empty and binary included) or any integer.
template <class T>
concept key_part = std::convertible_to<const T&, std::string_view> ||
                   (std::integral<std::remove_cvref_t<T>> && !std::same_as<std::remove_cvref_t<T>, bool>);

/// A view of what a limit is counted for: text, an integer, or several of them. Parts are hashed one by one, so
/// `key("a_b", "c")` and `key("a", "b_c")` are different keys, and so are `key(1)` and `key("1")`.
///
/// Views the text it is made from; a call that takes a key hashes it at once, so the text need only live that long.
class key {
public:
    /// How many parts a key may have.
    static constexpr int max_parts = 4;

    /// Of one part.
    template <key_part T>
    key(const T& only) noexcept : count_(1) {
        set(0, only);
    }

    /// Of two to `max_parts` parts.
    template <key_part A, key_part B, key_part... Rest>
        requires(sizeof...(Rest) + 2 <= max_parts)
    key(const A& a, const B& b, const Rest&... rest) noexcept : count_(sizeof...(Rest) + 2) {
        int i = 0;
        set(i++, a);
        set(i++, b);
        (set(i++, rest), ...);
    }

    /// The hash under a limiter's secret.
    [[nodiscard]] std::uint64_t hash(const detail::hash_seed& seed) const noexcept {
        std::uint64_t h = hash(seed, seed.a, parts_[0]);
        for (int i = 1; i < count_; ++i) {
            h = hash(seed, h ^ seed.a, parts_[i]);
        }
        return h;
    }

    /// For people to read: the parts with a colon between them.
    [[nodiscard]] std::string text() const {
        std::string out;
        for (int i = 0; i < count_; ++i) {
            const part& p = parts_[i];
            if (i > 0) {
                out += ':';
            }
            if (p.kind == text_kind) {
                out.append(p.data, p.value);
            } else {
                out += p.kind == negative_kind ? std::to_string(static_cast<std::int64_t>(p.value))
                                               : std::to_string(p.value);
            }
        }
        return out;
    }

private:
    // No text is as long as these, so the kinds can stand where the length goes.
    static constexpr std::uint64_t text_kind = 0;
    static constexpr std::uint64_t integer_kind = ~0ULL;
    static constexpr std::uint64_t negative_kind = ~0ULL - 1;

    // Without initialisers: of four parts, most calls fill one.
    struct part {
        const char* data;
        std::uint64_t value;
        std::uint64_t kind;
    };

    template <class T>
    void set(int i, const T& from) noexcept {
        if constexpr (std::convertible_to<const T&, std::string_view>) {
            const std::string_view v = from;
            parts_[i] = {v.data(), v.size(), text_kind};
        } else if constexpr (std::is_signed_v<T>) {
            parts_[i] = {nullptr, static_cast<std::uint64_t>(static_cast<std::int64_t>(from)),
                         from < 0 ? negative_kind : integer_kind};
        } else {
            parts_[i] = {nullptr, from, integer_kind};
        }
    }

    static std::uint64_t hash(const detail::hash_seed& s, std::uint64_t start, const part& p) noexcept {
        return p.kind == text_kind ? detail::hash_bytes(s, start, p.data, p.value)
                                   : detail::hash_end(s, start, p.value, s.c, p.kind);
    }

    int count_;
    part parts_[max_parts];
};

}  // namespace headgate

#endif
