// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_KEY_HPP
#define HEADGATE_KEY_HPP

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include <headgate/impl/key_hash.hpp>
#include <headgate/impl/network_label.hpp>

namespace headgate {

namespace detail {

template <class T>
inline constexpr bool is_int128 = std::is_same_v<T, int128> || std::is_same_v<T, uint128>;

}  // namespace detail

/// What may be a part of a key: text (empty and binary included) or any integer of up to 128 bits.
template <class T>
concept key_part =
    std::convertible_to<const T&, std::string_view> || detail::is_int128<std::remove_cvref_t<T>> ||
    (std::integral<std::remove_cvref_t<T>> && !std::same_as<std::remove_cvref_t<T>, bool> && sizeof(T) <= 16);

/// The text of a key, bounded: what is kept for people to read.
class key_label {
public:
    /// Bytes. A longer text ends with a tilde and the hash of the whole, in hexadecimal digits.
    static constexpr std::size_t max_size = 128;

    /// The text; good as long as the label lives.
    [[nodiscard]] std::string_view view() const noexcept { return {text_.data(), size_}; }
    /// The same.
    operator std::string_view() const noexcept { return view(); }

private:
    friend class key;

    void append(std::string_view more) noexcept {
        const std::size_t n = more.size() < max_size - size_ ? more.size() : max_size - size_;
        if (n != 0) {
            std::memcpy(text_.data() + size_, more.data(), n);
        }
        size_ += n;
        cut_ |= n < more.size();
    }
    void cut(std::uint64_t hash) noexcept {
        constexpr std::size_t digits = 16;
        size_ = max_size - digits - 1;
        // No character of UTF-8 is cut in two.
        while (size_ > 0 && (static_cast<unsigned char>(text_[size_]) & 0xc0) == 0x80) {
            --size_;
        }
        text_[size_++] = '~';
        for (std::size_t i = 0; i < digits; ++i, hash <<= 4) {
            text_[size_++] = "0123456789abcdef"[hash >> 60];
        }
    }

    std::array<char, max_size> text_{};
    std::size_t size_ = 0;
    bool cut_ = false;
};

/// A view of what a limit is counted for: text, an integer, or several of them. Parts are hashed one by one, so
/// `key("a_b", "c")` and `key("a", "b_c")` are different keys, and so are `key(1)` and `key("1")`.
///
/// Views the text it is made from; a call that takes a key hashes it at once, so the text need only live that long.
///
/// ```cpp
/// // example: key
/// #include <headgate/headgate.hpp>
/// #include <cassert>
///
///
/// int main() {
///     boost::asio::io_context io;
///     headgate::zone zone(io, "shop");
///     auto limiter = headgate::rate_limiter::create(
///         zone, "logins", headgate::quota::per(1, std::chrono::minutes{1}).value()).value();
///     assert(limiter.try_acquire(headgate::key("ann", 443)));   // of several parts
///     assert(!limiter.try_acquire(headgate::key("ann", 443)));
///     assert(limiter.try_acquire(headgate::key("ann4", 43)));   // other parts, another key
///     assert(limiter.try_acquire(443));                         // an integer alone
/// }
/// ```
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
        write([&](std::string_view more) { out += more; });
        return out;
    }

    /// The same in at most `key_label::max_size` bytes.
    [[nodiscard]] key_label label() const noexcept {
        key_label out;
        write([&](std::string_view more) { out.append(more); });
        if (out.cut_) {
            out.cut(hash(detail::hash_seed{0}));
        }
        return out;
    }

    // For headgate's own layers: ------------------------------------------------------------------------------------

    /// The number and the kinds of the parts.
    [[nodiscard]] std::uint64_t shape() const noexcept {
        std::uint64_t out = 0;
        for (int i = 0; i < count_; ++i) {
            out = out << 16 | (parts_[i].kind == text_kind ? 1 : ~parts_[i].kind + 2);
        }
        return out;
    }

    /// Of an IP network: the first `bits` of an address, and zeros behind them. An address of IPv4 is all of `low`.
    [[nodiscard]] static key of_network(std::uint64_t high, std::uint64_t low, unsigned bits, bool v4) noexcept {
        key out(low);
        out.parts_[0].high = high;
        out.parts_[0].kind = network_kind + (v4 ? v4_network : 0) + bits;
        return out;
    }

    /// Calls `out` with the pieces of a text that no other key of the same shape has.
    template <class Out>
    void encode(const Out& out) const {
        for (int i = 0; i < count_; ++i) {
            const part& p = parts_[i];
            const bool text = p.kind == text_kind;
            if (!text || i + 1 < count_) {
                out(bytes_of(p.value));
            }
            if (text) {
                out(std::string_view(p.data, p.value));
            } else if (has_high(p)) {
                out(bytes_of(p.high));
            }
        }
    }

private:
    static std::string_view bytes_of(const std::uint64_t& word) noexcept {
        return {reinterpret_cast<const char*>(&word), sizeof word};
    }

    // No text is as long as these, so the kinds can stand where the length goes. An integer that fits into 64 bits is
    // the same part whatever its type.
    static constexpr std::uint64_t text_kind = 0;
    static constexpr std::uint64_t integer_kind = ~0ULL;
    static constexpr std::uint64_t negative_kind = ~0ULL - 1;
    static constexpr std::uint64_t wide_kind = ~0ULL - 2;
    static constexpr std::uint64_t wide_negative_kind = ~0ULL - 3;
    // And the length of the prefix.
    static constexpr std::uint64_t network_kind = ~0ULL - 1023;
    static constexpr std::uint64_t v4_network = 256;

    // Without initialisers: of four parts, most calls fill one.
    struct part {
        union {
            const char* data;    // of text
            std::uint64_t high;  // of an integer of more than 64 bits
        };
        std::uint64_t value;
        std::uint64_t kind;
    };

    template <class T>
    void set(int i, const T& from) noexcept {
        if constexpr (std::convertible_to<const T&, std::string_view>) {
            const std::string_view v = from;
            parts_[i].data = v.data();
            parts_[i].value = v.size();
            parts_[i].kind = text_kind;
        } else if constexpr (sizeof(T) > sizeof(std::uint64_t)) {
            set_wide(i, static_cast<detail::uint128>(from), from < 0);
        } else if constexpr (std::is_signed_v<T>) {
            parts_[i].data = nullptr;
            parts_[i].value = static_cast<std::uint64_t>(static_cast<std::int64_t>(from));
            parts_[i].kind = from < 0 ? negative_kind : integer_kind;
        } else {
            parts_[i].data = nullptr;
            parts_[i].value = from;
            parts_[i].kind = integer_kind;
        }
    }

    void set_wide(int i, detail::uint128 from, bool negative) noexcept {
        const auto low = static_cast<std::uint64_t>(from);
        const auto high = static_cast<std::uint64_t>(from >> 64);
        const bool fits = negative ? high == ~std::uint64_t{0} && low >> 63 != 0 : high == 0;
        parts_[i].high = fits ? 0 : high;
        parts_[i].value = low;
        parts_[i].kind = fits ? (negative ? negative_kind : integer_kind) : negative ? wide_negative_kind : wide_kind;
    }

    template <class Out>
    void write(const Out& out) const {
        for (int i = 0; i < count_; ++i) {
            const part& p = parts_[i];
            if (i > 0) {
                out(std::string_view(":"));
            }
            if (p.kind == text_kind) {
                out(std::string_view(p.data, p.value));
            } else if (is_network(p)) {
                out(network_text(p).view());
            } else {
                write_integer(p, out);
            }
        }
    }

    [[nodiscard]] static bool is_network(const part& p) noexcept { return p.kind - network_kind < 2 * v4_network; }
    [[nodiscard]] static bool has_high(const part& p) noexcept {
        return p.kind == wide_kind || p.kind == wide_negative_kind || is_network(p);
    }
    [[nodiscard]] static detail::network_label network_text(const part& p) noexcept {
        const std::uint64_t kind = p.kind - network_kind;
        return {p.high, p.value, static_cast<unsigned>(kind % v4_network), kind >= v4_network};
    }

    template <class Out>
    static void write_integer(const part& p, const Out& out) {
        const bool negative = p.kind == negative_kind || p.kind == wide_negative_kind;
        const bool wide = p.kind == wide_kind || p.kind == wide_negative_kind;
        const std::uint64_t high = wide ? p.high : negative ? ~std::uint64_t{0} : 0;
        detail::uint128 left = static_cast<detail::uint128>(high) << 64 | p.value;
        left = negative ? ~left + 1 : left;
        std::array<char, 40> digits{};
        std::size_t at = digits.size();
        do {
            digits[--at] = static_cast<char>('0' + static_cast<int>(left % 10));
            left /= 10;
        } while (left != 0);
        if (negative) {
            digits[--at] = '-';
        }
        out(std::string_view(digits.data() + at, digits.size() - at));
    }

    static std::uint64_t hash(const detail::hash_seed& s, std::uint64_t start, const part& p) noexcept {
        if (p.kind == text_kind) {
            return detail::hash_bytes(s, start, p.data, p.value);
        }
        return detail::hash_end(s, start, p.value, has_high(p) ? s.c ^ p.high : s.c, p.kind);
    }

    int count_;
    part parts_[max_parts];
};

}  // namespace headgate

#endif
