// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "json_text.hpp"

#include <utility>

namespace config_service {

namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_between(unsigned char c, unsigned char least, unsigned char most) {
    return c >= least && c <= most;
}

/// Checks the grammar of RFC 8259 and builds no value, so no number is too large for it. Each member that reads returns
/// false at a mistake; `at_` is then its place.
class checker {
public:
    explicit checker(std::string_view text) : text_(text) {}

    std::optional<json_mistake> check() {
        if (value() && skip_blanks() && at_ < text_.size()) {
            wrong("nothing behind the value");
        }
        return std::move(mistake_);
    }

private:
    [[nodiscard]] bool ended() const { return at_ >= text_.size(); }
    [[nodiscard]] char here() const { return ended() ? '\0' : text_[at_]; }  // a zero byte is allowed nowhere

    bool wrong(std::string_view what) {
        mistake_ = {at_ + 1, std::string(ended() ? "the text ends; wanted: " : "wanted: ").append(what)};
        return false;
    }

    bool skip_blanks() {
        while (here() == ' ' || here() == '\t' || here() == '\n' || here() == '\r') {
            ++at_;
        }
        return true;
    }

    bool value() {
        skip_blanks();
        switch (here()) {
            case '{': return members('}', [this] { return key() && value(); });
            case '[': return members(']', [this] { return value(); });
            case '"': return string();
            case 't': return word("true");
            case 'f': return word("false");
            case 'n': return word("null");
            default: return number();
        }
    }

    // Reads from one bracket to the other. `one` reads each member; commas separate the members.
    template <class One>
    bool members(char close, One one) {
        if (++depth_ > max_json_depth) {
            return wrong("no more than " + std::to_string(max_json_depth) + " arrays and objects within each other");
        }
        ++at_;
        skip_blanks();
        if (here() != close) {
            while (one()) {
                skip_blanks();
                if (here() != ',') {
                    break;
                }
                ++at_;
            }
            if (mistake_) {
                return false;
            }
            if (here() != close) {
                return wrong(close == '}' ? "a comma or }" : "a comma or ]");
            }
        }
        ++at_;
        --depth_;
        return true;
    }

    bool key() {
        skip_blanks();
        if (here() != '"') {
            return wrong("a name in quotes");
        }
        if (!string()) {
            return false;
        }
        skip_blanks();
        if (here() != ':') {
            return wrong("a colon");
        }
        ++at_;
        return true;
    }

    bool word(std::string_view whole) {
        for (const char c : whole) {
            if (here() != c) {
                return wrong(whole);
            }
            ++at_;
        }
        return true;
    }

    bool number() {
        const bool negative = here() == '-';
        at_ += negative ? 1 : 0;
        if (here() == '0') {
            ++at_;
        } else if (!digits()) {
            return wrong(negative ? "a digit" : "a value");
        }
        if (here() == '.') {
            ++at_;
            if (!digits()) {
                return wrong("a digit");
            }
        }
        if (here() == 'e' || here() == 'E') {
            ++at_;
            at_ += here() == '+' || here() == '-' ? 1 : 0;
            if (!digits()) {
                return wrong("a digit");
            }
        }
        return true;
    }

    bool digits() {
        const std::size_t from = at_;
        while (is_digit(here())) {
            ++at_;
        }
        return at_ > from;
    }

    bool string() {
        for (++at_; here() != '"';) {
            const auto c = static_cast<unsigned char>(here());
            if (ended() || c < 0x20) {
                return wrong(ended() ? "a quote" : "no control character");
            }
            if (c == '\\' ? !escape() : c < 0x80 ? !take_one() : !character()) {
                return false;
            }
        }
        ++at_;
        return true;
    }

    bool take_one() {
        ++at_;
        return true;
    }

    bool escape() {
        ++at_;
        constexpr std::string_view simple = "\"\\/bfnrt";
        if (!ended() && simple.find(here()) != std::string_view::npos) {
            return take_one();
        }
        unsigned unit = 0;
        if (!hexadecimal(unit)) {
            return false;
        }
        // UTF-8 cannot express half a character (a lone surrogate), and programs do not agree on its meaning.
        if (unit >= 0xdc00 && unit <= 0xdfff) {
            return wrong("no second half of a character without the first");
        }
        if (unit >= 0xd800 && unit <= 0xdbff) {
            if (here() != '\\') {
                return wrong("the second half of a character");
            }
            ++at_;
            return hexadecimal(unit) && ((unit >= 0xdc00 && unit <= 0xdfff) || wrong("the second half of a character"));
        }
        return true;
    }

    // "uXXXX"
    bool hexadecimal(unsigned& out) {
        if (here() != 'u') {
            return wrong("an escape");
        }
        ++at_;
        out = 0;
        for (int i = 0; i < 4; ++i, ++at_) {
            const char c = here();
            const int digit = is_digit(c)            ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : -1;
            if (digit < 0) {
                return wrong("a hexadecimal digit");
            }
            out = out * 16 + static_cast<unsigned>(digit);
        }
        return true;
    }

    // One character of more than one byte (RFC 3629).
    bool character() {
        const auto first = static_cast<unsigned char>(here());
        const int length = is_between(first, 0xc2, 0xdf)   ? 2
                           : is_between(first, 0xe0, 0xef) ? 3
                           : is_between(first, 0xf0, 0xf4) ? 4
                                                           : 0;
        if (length == 0) {
            return wrong("UTF-8");
        }
        ++at_;
        for (int i = 1; i < length; ++i, ++at_) {
            // The range of the second byte excludes overlong forms, surrogates, and values beyond U+10FFFF.
            const unsigned char least = i > 1 ? 0x80 : first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
            const unsigned char most = i > 1 ? 0xbf : first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
            if (ended() || !is_between(static_cast<unsigned char>(text_[at_]), least, most)) {
                return wrong("UTF-8");
            }
        }
        return true;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    int depth_ = 0;
    std::optional<json_mistake> mistake_;
};

}  // namespace

std::optional<json_mistake> check_json(std::string_view text) {
    return checker(text).check();
}

}  // namespace config_service
