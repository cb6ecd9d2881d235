// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "server_login.hpp"

#include <utility>

namespace db_proxy {

namespace {

// The requests of an Authentication message: PostgreSQL documentation, "Message Formats".
enum : std::int32_t { auth_ok = 0, auth_sasl = 10, auth_sasl_continue = 11, auth_sasl_final = 12 };

std::string startup_message(const server_credentials& who, const parameters& values) {
    std::string body;
    append_uint32(body, 3U << 16U);
    const auto add = [&body](std::string_view name, std::string_view value) {
        body.append(name).append(1, '\0').append(value).append(1, '\0');
    };
    add("user", who.user);
    add("database", who.database);
    for (const auto& [name, value] : values) {
        add(name, value);
    }
    body += '\0';
    std::string out;
    append_uint32(out, static_cast<std::uint32_t>(body.size() + 4));
    return out + body;
}

std::string_view method_name(std::int32_t request) {
    switch (request) {
        case 3: return "a password in clear text";
        case 5: return "md5";
        case 7: return "GSSAPI";
        case 9: return "SSPI";
        default: return "a method that is not known";
    }
}

}  // namespace

server_login::server_login(const server_credentials& who, const parameters& values)
    : output(startup_message(who, values)), password_(who.password) {}

server_login::state server_login::feed(std::string_view& input) {
    for (;;) {
        message one{};
        switch (take_message(input, max_payload, one)) {
            case framing::incomplete: return state::running;
            case framing::malformed: return fail("08P01", "the server's answer is not PostgreSQL's protocol");
            case framing::whole: break;
        }
        if (const state after = take(one); after != state::running) {
            return after;
        }
    }
}

server_login::state server_login::take(const message& one) {
    field_reader fields(one.payload);
    switch (one.type) {
        case 'R': return authenticate(one.payload);
        case 'E': {
            const report what = read_report(one.payload);
            return fail(what.code, std::string(what.text));
        }
        case 'N':
        case 'v': return state::running;  // a notice, or NegotiateProtocolVersion: the server speaks 3.0, as asked
        case 'K': {
            const auto process = fields.int32();
            const auto secret = fields.int32();
            if (!process || !secret) {
                break;
            }
            key_ = {static_cast<std::uint32_t>(*process), static_cast<std::uint32_t>(*secret)};
            return state::running;
        }
        case 'S': {
            const auto name = fields.text();
            const auto value = fields.text();
            if (!name || !value) {
                break;
            }
            reported_.emplace_back(*name, *value);
            return state::running;
        }
        case 'Z':
            if (stage_ != stage::authenticated || one.payload != "I") {
                break;
            }
            return state::ready;
        default: break;
    }
    return fail("08P01", std::string("the server sent an unexpected message of type '") + one.type + "'");
}

server_login::state server_login::authenticate(std::string_view payload) {
    field_reader fields(payload);
    const auto request = fields.int32();
    if (!request) {
        return fail("08P01", "the server's authentication request is too short");
    }
    switch (*request) {
        case auth_ok:
            if (stage_ == stage::in_scram) {
                return fail("28000", "the server ended SCRAM without a proof that it knows the password");
            }
            stage_ = stage::authenticated;
            return state::running;
        case auth_sasl: return begin_scram(fields.rest());
        case auth_sasl_continue: {
            auto answer = stage_ == stage::in_scram ? scram_->last(fields.rest()) : std::nullopt;
            if (!answer) {
                return fail("08P01", "the server's SCRAM challenge is malformed");
            }
            append_message(output, 'p', {*answer});
            return state::running;
        }
        case auth_sasl_final:
            if (stage_ != stage::in_scram || !scram_->verify(fields.rest())) {
                return fail("28000", "the server does not know the password: its SCRAM signature is wrong");
            }
            stage_ = stage::proved;
            return state::running;
        default:
            return fail("0A000", "the server asks for " + std::string(method_name(*request)) +
                                     "; only SCRAM-SHA-256 and trust are understood");
    }
}

server_login::state server_login::begin_scram(std::string_view mechanisms) {
    field_reader names(mechanisms);
    for (auto name = names.text(); name && !name->empty(); name = names.text()) {
        if (*name == scram::mechanism) {
            stage_ = stage::in_scram;
            scram_.emplace(password_, scram::make_nonce());
            const std::string first = scram_->first();
            std::string length;
            append_uint32(length, static_cast<std::uint32_t>(first.size()));
            append_message(output, 'p', {scram::mechanism, std::string_view("\0", 1), length, first});
            return state::running;
        }
    }
    return fail("0A000", "the server does not offer SCRAM-SHA-256");
}

server_login::state server_login::fail(std::string_view code, std::string problem) {
    code_ = code;
    problem_ = std::move(problem);
    return state::failed;
}

}  // namespace db_proxy
