// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "console.hpp"

#include <algorithm>
#include <cctype>

namespace db_proxy {

namespace {

constexpr std::size_t max_command = 4'096;

/// The command in capitals, with one blank between words and without a semicolon.
std::string normalized(std::string_view sql) {
    std::string out;
    for (const char c : sql) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\0' || c == ';') {
            break;
        }
        if (std::isspace(byte) != 0) {
            if (!out.empty() && out.back() != ' ') {
                out += ' ';
            }
        } else {
            out += static_cast<char>(std::toupper(byte));
        }
    }
    while (!out.empty() && out.back() == ' ') {
        out.pop_back();
    }
    return out;
}

}  // namespace

bool console::feed(std::string_view& input, std::string& out) {
    for (;;) {
        message one{};
        switch (take_message(input, max_command, one)) {
            case framing::incomplete: return true;
            case framing::malformed: append_error(out, {"FATAL", "08P01", "invalid frontend message"}); return false;
            case framing::whole: break;
        }
        switch (one.type) {
            case 'X': return false;
            case 'Q':
                run(one.payload, out);
                append_ready(out, 'I');
                break;
            case 'S':
                skipping_ = false;
                append_ready(out, 'I');
                break;
            default:
                if (!skipping_) {
                    skipping_ = true;
                    append_error(out, {"ERROR", "0A000", "the console understands simple queries only",
                                       "use psql, or the simple query mode of the driver"});
                }
                break;
        }
    }
}

void console::run(std::string_view sql, std::string& out) {
    const std::string command = normalized(sql);
    if (command.empty()) {
        return append_message(out, 'I', {});
    }
    const std::vector<console_table> tables = host_.tables();
    for (const console_table& table : tables) {
        if (command == "SHOW " + std::string(table.name)) {
            return append_table(out, table.columns, table.rows);
        }
    }
    if (command != "RELOAD") {
        std::string valid;
        for (const console_table& table : tables) {
            valid.append("SHOW ").append(table.name).append(", ");
        }
        return append_error(out, {"ERROR", "42601", "unknown command", "one of " + valid + "RELOAD"});
    }
    if (right_ != console_right::act) {
        return append_error(out, {"ERROR", "42501", "RELOAD is for users whose console right is \"act\""});
    }
    const std::string mistakes = host_.reload();
    if (!mistakes.empty()) {
        return append_error(out, {"ERROR", "F0000", "nothing was changed: the configuration has mistakes", mistakes});
    }
    append_message(out, 'C', {std::string_view("RELOAD\0", 7)});
}

}  // namespace db_proxy
