// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <algorithm>
#include <string>

#include <headgate/postgres.hpp>

#include "libpq.hpp"

namespace headgate {

namespace {

constexpr std::string_view digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr std::size_t code_length = 5;
constexpr std::string_view place = "LOCATION:  ";

class category final : public boost::system::error_category {
public:
    const char* name() const noexcept override { return "postgres"; }
    std::string message(int value) const override {
        std::string code(code_length, '0');
        for (auto at = code.rbegin(); at != code.rend(); ++at, value /= static_cast<int>(digits.size())) {
            *at = digits[static_cast<std::size_t>(value) % digits.size()];
        }
        return "SQLSTATE " + code;
    }
};

bool is_sqlstate(std::string_view code) noexcept {
    return code.size() == code_length && code.find_first_not_of(digits) == std::string_view::npos;
}

// What libpq says, in one line, and without the lines that name a place in the server's sources.
std::string on_one_line(std::string_view message) {
    std::string out;
    while (!message.empty()) {
        std::string_view line = message.substr(0, message.find('\n'));
        message.remove_prefix(std::min(line.size() + 1, message.size()));
        line.remove_prefix(std::min(line.find_first_not_of('\t'), line.size()));
        if (!line.empty() && line.substr(0, place.size()) != place) {
            out.append(out.empty() ? "" : "; ").append(line);
        }
    }
    return out;
}

std::string_view field(const PGresult* r, char which) noexcept {
    const char* text = PQresultErrorField(r, which);
    return text != nullptr ? text : "";
}

}  // namespace

const boost::system::error_category& postgres_category() noexcept {
    static const category the_category;
    return the_category;
}

boost::system::error_code sqlstate(std::string_view code) noexcept {
    if (!is_sqlstate(code)) {
        code = "XX000";
    }
    int value = 0;
    for (const char c : code) {
        value = value * static_cast<int>(digits.size()) + static_cast<int>(digits.find(c));
    }
    return {value, postgres_category()};
}

namespace detail {

error sqlstate_error(std::string_view code, std::string_view text) {
    error e(sqlstate(code));
    e.detail = std::make_shared<std::string>(text);
    return e;
}

std::string_view trimmed(std::string_view message) {
    const std::size_t last = message.find_last_not_of(" \n");
    return message.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

error error_of_result(const PGresult* failed) {
    std::string text(field(failed, PG_DIAG_MESSAGE_PRIMARY));
    if (text.empty()) {
        text = trimmed(PQresultErrorMessage(failed));
    }
    for (const char more : {PG_DIAG_MESSAGE_DETAIL, PG_DIAG_MESSAGE_HINT}) {
        if (const std::string_view said = field(failed, more); !said.empty()) {
            text.append("; ").append(said);
        }
    }
    // A result that libpq made itself has no code: the connection is lost.
    const std::string_view code = field(failed, PG_DIAG_SQLSTATE);
    return sqlstate_error(code.empty() ? "08006" : code, text);
}

error connect_error(std::string_view message) {
    constexpr std::string_view before_code = ":  ";  // as in "FATAL:  28P01: password authentication failed"
    std::string text = on_one_line(message);
    const std::size_t mark = text.rfind(before_code);
    const std::size_t begin = mark + before_code.size();
    if (mark == std::string::npos || text.compare(std::min(text.size(), begin + code_length), 2, ": ") != 0) {
        return sqlstate_error("08001", text);
    }
    const std::string code = text.substr(begin, code_length);
    text.erase(begin, code_length + 2);
    return sqlstate_error(is_sqlstate(code) ? code : "08001", text);
}

}  // namespace detail

}  // namespace headgate
