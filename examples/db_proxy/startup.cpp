// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "startup.hpp"

#include <algorithm>

namespace db_proxy {

namespace {

constexpr std::uint32_t ssl_code = 80'877'103;
constexpr std::uint32_t gss_code = 80'877'104;
constexpr std::string_view protocol_option = "_pq_.";

first_packet malformed(std::string_view problem) {
    return {.what = first_packet::kind::malformed, .problem = problem};
}

bool same_name(std::string_view a, std::string_view b) noexcept {
    return a.size() == b.size() && begins_like(a, b);
}

first_packet read_startup_message(std::string_view payload, std::uint16_t minor) {
    first_packet out{.what = first_packet::kind::start, .minor = minor};
    field_reader fields(payload);
    for (;;) {
        const auto name = fields.text();
        if (!name) {
            return malformed("invalid startup packet layout: expected terminator as last byte");
        }
        if (name->empty()) {
            break;
        }
        const auto value = fields.text();
        if (!value) {
            return malformed("invalid startup packet layout: a parameter has no value");
        }
        if (name->starts_with(protocol_option)) {
            out.unknown_options.emplace_back(*name);
            continue;
        }
        const auto same = [&](const auto& known) { return known.first == *name; };
        if (std::any_of(out.values.begin(), out.values.end(), same)) {
            return malformed("invalid startup packet: it has a parameter twice");
        }
        out.values.emplace_back(*name, *value);
    }
    return fields.rest().empty() ? out : malformed("invalid startup packet layout: bytes after the terminator");
}

/// Takes one word off the front of `text`. A backslash makes the next character part of the word. Empty at the end.
std::string take_word(std::string_view& text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    std::string word;
    while (!text.empty() && text.front() != ' ' && text.front() != '\t') {
        if (text.front() == '\\' && text.size() > 1) {
            text.remove_prefix(1);
        }
        word += text.front();
        text.remove_prefix(1);
    }
    return word;
}

class parameter_reader {
public:
    parameter_reader(start_parameters& out, const parameter_policies& policies) : out_(out), policies_(policies) {}

    void set(std::string_view name, std::string_view value) {
        if (const std::size_t i = tracked_index(name); i < tracked_parameters.size()) {
            out_.tracked[i] = value;
        } else if (same_name(name, "extra_float_digits")) {
            apply(policies_.extra_float_digits, name);
        } else if (same_name(name, "search_path")) {
            apply(policies_.search_path, name);
        } else {
            apply(policies_.unknown, name);
        }
    }

    /// Understands the same forms as the server: `-c name=value`, `-cname=value`, `--name=value`.
    void set_options(std::string_view text) {
        if (policies_.options == parameter_policy::ignore) {
            return;
        }
        for (std::string word = take_word(text); !word.empty(); word = take_word(text)) {
            if (word == "-c") {
                word = take_word(text);
            } else if (word.starts_with("-c") || word.starts_with("--")) {
                word.erase(0, 2);
            } else {
                return fail("the startup parameter \"options\" has \"" + word +
                            "\", and only -c name=value and --name=value are understood");
            }
            const std::size_t equals = word.find('=');
            if (equals == std::string::npos) {
                return fail("the startup parameter \"options\" has \"" + word + "\", which is not name=value");
            }
            std::string name = word.substr(0, equals);
            std::replace(name.begin(), name.end(), '-', '_');
            set(name, std::string_view(word).substr(equals + 1));
        }
    }

    void set_replication(std::string_view value) {
        if (value != "false" && value != "off" && value != "no" && value != "0") {
            fail("replication connections do not go through a pool: connect to the server itself", "0A000");
        }
    }

    void fail(std::string problem, std::string_view code = "08P01") {
        if (out_.problem.empty()) {
            out_.problem = std::move(problem);
            out_.code = code;
        }
    }

private:
    void apply(parameter_policy policy, std::string_view name) {
        if (policy == parameter_policy::reject) {
            fail("unsupported startup parameter \"" + std::string(name) + "\"");
        }
    }

    start_parameters& out_;
    const parameter_policies& policies_;
};

}  // namespace

first_packet take_first_packet(std::string_view& input) {
    if (input.size() < 4) {
        return {};
    }
    const std::uint32_t length = read_uint32(input);
    if (length < 8 || length > max_first_packet) {
        return malformed("invalid length of startup packet");
    }
    if (input.size() < length) {
        return {};
    }
    const std::uint32_t code = read_uint32(input.substr(4));
    const std::string_view payload = input.substr(8, length - 8);
    input.remove_prefix(length);
    switch (code) {
        case ssl_code:
        case gss_code:
            return payload.empty() ? first_packet{.what = first_packet::kind::encryption}
                                   : malformed("invalid length of startup packet");
        case cancel_code:
            if (payload.size() != 8) {
                return malformed("invalid length of startup packet");
            }
            return {.what = first_packet::kind::cancel, .key = {read_uint32(payload), read_uint32(payload.substr(4))}};
        default: break;
    }
    if (code >> 16U != 3) {
        return malformed("unsupported frontend protocol: server supports 3.0");
    }
    return read_startup_message(payload, static_cast<std::uint16_t>(code));
}

void append_negotiation(std::string& out, const std::vector<std::string>& unknown_options) {
    std::string payload;
    append_uint32(payload, 3U << 16U);  // 3.0, the newest version that the proxy speaks
    append_uint32(payload, static_cast<std::uint32_t>(unknown_options.size()));
    for (const std::string& option : unknown_options) {
        payload += option;
        payload += '\0';
    }
    append_message(out, 'v', {payload});
}

std::size_t tracked_index(std::string_view name) noexcept {
    const auto found = std::find_if(tracked_parameters.begin(), tracked_parameters.end(),
                                    [&](std::string_view one) { return same_name(one, name); });
    return static_cast<std::size_t>(found - tracked_parameters.begin());
}

start_parameters read_parameters(const parameters& values, const parameter_policies& policies) {
    start_parameters out;
    parameter_reader reader(out, policies);
    for (const auto& [name, value] : values) {
        if (name == "replication") {
            reader.set_replication(value);
        } else if (name == "options") {
            reader.set_options(value);
        } else if (name != "user" && name != "database") {
            reader.set(name, value);
        }
    }
    return out;
}

}  // namespace db_proxy
