// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "wire.hpp"

#include <algorithm>

namespace db_proxy {

namespace {

constexpr std::uint32_t text_oid = 25;

void set_uint32(std::string& out, std::size_t at, std::uint32_t value) {
    for (std::size_t i = 0; i < 4; ++i) {
        out[at + i] = static_cast<char>(value >> (24 - 8 * i));
    }
}

void append_uint16(std::string& out, std::size_t value) {
    out += static_cast<char>(value >> 8U);
    out += static_cast<char>(value);
}

/// Begins a message. The destructor ends the message and writes its length.
class building {
public:
    building(std::string& out, char type) : out_(out), begin_(out.size() + 1) {
        out += type;
        append_uint32(out, 0);
    }
    building(const building&) = delete;
    building& operator=(const building&) = delete;
    ~building() { set_uint32(out_, begin_, static_cast<std::uint32_t>(out_.size() - begin_)); }

private:
    std::string& out_;
    std::size_t begin_;
};

void append_text(std::string& out, std::string_view text) {
    out += text;
    out += '\0';
}

void append_report(std::string& out, char type, const report& what) {
    const building one(out, type);
    const std::initializer_list<std::pair<char, std::string_view>> fields{
        {'S', what.severity}, {'V', what.severity}, {'C', what.code}, {'M', what.text}};
    for (const auto& [field, text] : fields) {
        out += field;
        append_text(out, text);
    }
    if (!what.hint.empty()) {
        out += 'H';
        append_text(out, what.hint);
    }
    out += '\0';
}

}  // namespace

std::optional<std::int32_t> field_reader::int32() noexcept {
    if (rest_.size() < 4) {
        return std::nullopt;
    }
    const auto value = static_cast<std::int32_t>(read_uint32(rest_));
    rest_.remove_prefix(4);
    return value;
}

std::optional<std::string_view> field_reader::text() noexcept {
    const std::size_t end = rest_.find('\0');
    if (end == std::string_view::npos) {
        return std::nullopt;
    }
    const std::string_view value = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return value;
}

std::uint32_t read_uint32(std::string_view bytes) noexcept {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
        value = value << 8U | static_cast<unsigned char>(bytes[i]);
    }
    return value;
}

void append_uint32(std::string& out, std::uint32_t value) {
    out.append(4, '\0');
    set_uint32(out, out.size() - 4, value);
}

framing take_message(std::string_view& input, std::size_t limit, message& out) noexcept {
    if (input.size() < header_size) {
        return framing::incomplete;
    }
    const std::uint32_t length = read_uint32(input.substr(1));
    if (length < 4 || length - 4 > limit) {
        return framing::malformed;
    }
    if (input.size() - 1 < length) {
        return framing::incomplete;
    }
    out = {input.front(), input.substr(header_size, length - 4)};
    input.remove_prefix(1 + std::size_t{length});
    return framing::whole;
}

void append_message(std::string& out, char type, std::initializer_list<std::string_view> parts) {
    const building one(out, type);
    for (const std::string_view part : parts) {
        out += part;
    }
}

void append_error(std::string& out, const report& what) {
    append_report(out, 'E', what);
}

void append_notice(std::string& out, const report& what) {
    append_report(out, 'N', what);
}

report read_report(std::string_view payload) noexcept {
    report out{};
    field_reader fields(payload);
    while (const auto field = fields.text()) {
        if (field->empty()) {
            break;
        }
        const std::string_view value = field->substr(1);
        switch (field->front()) {
            case 'S':
            case 'V': out.severity = value; break;  // V comes second, and is never translated
            case 'C': out.code = value; break;
            case 'M': out.text = value; break;
            case 'H': out.hint = value; break;
            default: break;
        }
    }
    return out;
}

void append_ready(std::string& out, char status) {
    append_message(out, 'Z', {{&status, 1}});
}

void append_parameter_status(std::string& out, std::string_view name, std::string_view value) {
    const building one(out, 'S');
    append_text(out, name);
    append_text(out, value);
}

void append_query(std::string& out, std::string_view sql) {
    const building one(out, 'Q');
    append_text(out, sql);
}

void append_table(std::string& out, const std::vector<std::string_view>& columns,
                  const std::vector<std::vector<std::string>>& rows) {
    {
        const building description(out, 'T');
        append_uint16(out, columns.size());
        for (const std::string_view column : columns) {
            append_text(out, column);
            append_uint32(out, 0);  // belongs to no table
            append_uint16(out, 0);  // and to no column
            append_uint32(out, text_oid);
            append_uint16(out, 0xFFFF);      // any size
            append_uint32(out, 0xFFFFFFFF);  // no type modifier
            append_uint16(out, 0);           // in text format
        }
    }
    for (const std::vector<std::string>& row : rows) {
        const building data(out, 'D');
        append_uint16(out, row.size());
        for (const std::string& value : row) {
            append_uint32(out, static_cast<std::uint32_t>(value.size()));
            out += value;
        }
    }
    const building complete(out, 'C');
    append_text(out, "SHOW");
}

bool begins_like(std::string_view text, std::string_view beginning) noexcept {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
    return text.size() >= beginning.size() && std::equal(beginning.begin(), beginning.end(), text.begin(),
                                                         [&](char a, char b) { return lower(a) == lower(b); });
}

std::string cancel_request(const cancel_key& key) {
    std::string out;
    for (const std::uint32_t part : {std::uint32_t{16}, cancel_code, key.process, key.secret}) {
        append_uint32(out, part);
    }
    return out;
}

}  // namespace db_proxy
