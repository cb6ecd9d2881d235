// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "client_login.hpp"

#include <utility>

namespace db_proxy {

namespace {

constexpr std::size_t max_answer = 4'096;             // the payload of a SASL message; drivers send below 300 bytes
constexpr std::uint32_t max_encryption_requests = 2;  // one SSLRequest and one GSSENCRequest

void append_authentication(std::string& out, std::uint32_t request, std::string_view data = {}) {
    std::string code;
    append_uint32(code, request);
    append_message(out, 'R', {code, data});
}

}  // namespace

client_login::state client_login::feed(std::string_view& input) {
    while (stage_ == stage::startup) {
        first_packet packet = take_first_packet(input);
        switch (packet.what) {
            case first_packet::kind::incomplete: return state::running;
            case first_packet::kind::malformed: return fail("08P01", packet.problem);
            case first_packet::kind::cancel: key_ = packet.key; return state::cancel;
            case first_packet::kind::encryption:
                // Bytes after the request were sent before the answer, and may come from an attacker on the network. To
                // trust such bytes was CVE-2021-23214.
                if (++encryption_requests_ > max_encryption_requests || !input.empty()) {
                    return fail("08P01", "received unencrypted data after an encryption request");
                }
                output += 'N';
                break;
            case first_packet::kind::start:
                if (const state after = start(std::move(packet)); after != state::running) {
                    return after;
                }
                break;
        }
    }
    for (;;) {
        message one{};
        switch (take_message(input, max_answer, one)) {
            case framing::incomplete: return state::running;
            case framing::malformed: return fail("08P01", "invalid message length");
            case framing::whole: break;
        }
        const state after =
            one.type == 'p' ? answer(one.payload) : fail("08P01", "expected SASL response, got another message");
        if (after != state::running) {
            return after;
        }
    }
}

client_login::state client_login::start(first_packet packet) {
    stage_ = stage::sasl_first;
    for (const auto& [name, value] : packet.values) {
        if (name == "user") {
            request_.user = value;
        } else if (name == "database") {
            request_.database = value;
        }
    }
    if (request_.database.empty()) {
        request_.database = request_.user;
    }
    request_.values = std::move(packet.values);
    if (packet.minor > 0 || !packet.unknown_options.empty()) {
        append_negotiation(output, packet.unknown_options);
    }
    if (request_.user.empty()) {
        return fail("28000", "no PostgreSQL user name specified in startup packet");
    }
    login_check how = find_(request_.user);
    refuses_ = how.refused;
    if (!how.check) {
        append_authentication(output, 0);
        return state::authenticated;
    }
    scram_.emplace(std::move(*how.check), scram::make_nonce());
    append_authentication(output, 10, std::string(scram::mechanism) + std::string(2, '\0'));
    return state::running;
}

client_login::state client_login::answer(std::string_view payload) {
    if (stage_ == stage::sasl_first) {
        return take_sasl_first(payload);
    }
    std::string final_message;
    switch (scram_->last(payload, final_message)) {
        case scram::server::verdict::malformed: return fail("08P01", "malformed SCRAM message");
        case scram::server::verdict::wrong: return wrong_password();
        case scram::server::verdict::right: break;
    }
    if (refuses_) {
        return wrong_password();
    }
    append_authentication(output, 12, final_message);
    append_authentication(output, 0);
    return state::authenticated;
}

client_login::state client_login::take_sasl_first(std::string_view payload) {
    field_reader fields(payload);
    const auto mechanism = fields.text();
    const auto length = fields.int32();
    if (!mechanism || !length || *length < 0 || static_cast<std::size_t>(*length) != fields.rest().size()) {
        return fail("08P01", "malformed SASL message");
    }
    if (*mechanism != scram::mechanism) {
        return fail("0A000", "client selected an invalid SASL authentication mechanism: only SCRAM-SHA-256 is offered");
    }
    const auto reply = scram_->first(fields.rest());
    if (!reply) {
        return fail("08P01", "malformed SCRAM message");
    }
    stage_ = stage::sasl_last;
    append_authentication(output, 11, *reply);
    return state::running;
}

client_login::state client_login::wrong_password() {
    bad_credentials_ = true;
    return fail("28P01", "password authentication failed for user \"" + request_.user + "\"");
}

client_login::state client_login::fail(std::string_view code, std::string_view text) {
    append_error(output, {"FATAL", code, text});
    return state::refused;
}

}  // namespace db_proxy
