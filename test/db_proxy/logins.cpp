// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "client_login.hpp"
#include "server_login.hpp"

using namespace db_proxy;
using namespace std::string_literals;

namespace {

login_check knows_ann(std::string_view user) {
    if (user == "ann") {
        return {scram::verifier::of("sesame", "0123456789abcdef")};
    }
    return user == "local" ? login_check{} : login_check{scram::mock("secret", user, 4096), true};
}

client_login new_client_login() {
    return client_login(knows_ann);
}

struct outcome {
    client_login::state client;
    server_login::state server;
    std::string to_client;
};

/// Plays the proxy's two sides against each other, in pieces of `piece` bytes. After a login that succeeds, it adds the
/// messages that a real server sends.
outcome play(const std::string& user, const std::string& password, std::size_t piece) {
    client_login front = new_client_login();
    server_login back({user, password, "app"}, {});
    std::string to_front;
    std::string to_back;
    std::string all;
    outcome out{client_login::state::running, server_login::state::running, {}};
    for (int turn = 0; turn < 10'000; ++turn) {
        to_front += std::exchange(back.output, {});
        if (out.client == client_login::state::running && !to_front.empty()) {
            std::string_view input = std::string_view(to_front).substr(0, piece);
            const std::size_t given = input.size();
            out.client = front.feed(input);
            const std::string kept(input);
            to_front = to_front.substr(given);
            if (!kept.empty()) {  // the beginning of a message: it is fed again with more bytes
                to_front = kept + to_front;
                piece += 1;
            }
            all += front.output;
            to_back += std::exchange(front.output, {});
            if (out.client == client_login::state::authenticated) {
                append_parameter_status(to_back, "server_version", "15.1");
                append_message(to_back, 'K', {"\0\0\0\7\0\0\0\x9"s});
                append_ready(to_back, 'I');
                to_back += "tail";
            }
        }
        std::string_view input = to_back;
        if (out.server == server_login::state::running) {
            out.server = back.feed(input);
            to_back = std::string(input);
        }
        if (out.server == server_login::state::ready) {
            CHECK(to_back == "tail");
            CHECK(back.key() == cancel_key{7, 9});
            CHECK(back.reported() == parameters{{"server_version", "15.1"}});
        }
        if (out.server != server_login::state::running) {
            break;
        }
    }
    out.to_client = all;
    return out;
}

std::string code_of(std::string_view bytes) {
    message one{};
    while (take_message(bytes, 10'000, one) == framing::whole) {
        if (one.type == 'E') {
            return std::string(read_report(one.payload).code);
        }
    }
    return {};
}

std::string start_packet(const std::string& user, const std::string& more = {}) {
    std::string body;
    append_uint32(body, 3U << 16U);
    body += "user\0"s + user + "\0database\0app\0"s + more + '\0';
    std::string out;
    append_uint32(out, static_cast<std::uint32_t>(body.size() + 4));
    return out + body;
}

std::string encryption_request() {
    std::string out;
    append_uint32(out, 8);
    append_uint32(out, 80'877'103);
    return out;
}

client_login::state feed(client_login& login, std::string_view bytes) {
    return login.feed(bytes);
}

}  // namespace

TEST_CASE("a login with the right password, in pieces of any size") {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{10'000}}) {
        const outcome o = play("ann", "sesame", piece);
        CHECK(o.client == client_login::state::authenticated);
        CHECK(o.server == server_login::state::ready);
    }
}

TEST_CASE("a wrong password and an unknown user look alike") {
    const outcome wrong = play("ann", "open", 10'000);
    const outcome unknown = play("eve", "open", 10'000);
    CHECK(wrong.client == client_login::state::refused);
    CHECK(unknown.client == client_login::state::refused);
    CHECK(wrong.server == server_login::state::failed);
    CHECK(code_of(wrong.to_client) == "28P01");
    CHECK(code_of(unknown.to_client) == "28P01");
    // They differ in nonces, salts and names only.
    CHECK(wrong.to_client.size() == unknown.to_client.size());
}

TEST_CASE("a trusted user needs no password") {
    const outcome o = play("local", "", 10'000);
    CHECK(o.client == client_login::state::authenticated);
    CHECK(o.server == server_login::state::ready);
}

TEST_CASE("a server's refusal is kept") {
    server_login login({"ann", "x", "app"}, {});
    std::string bytes;
    append_error(bytes, {"FATAL", "3D000", "database \"app\" does not exist"});
    std::string_view input = bytes;
    CHECK(login.feed(input) == server_login::state::failed);
    CHECK(login.code() == "3D000");
    CHECK(login.problem() == "database \"app\" does not exist");
}

TEST_CASE("the error names the kind of authentication that the proxy does not speak") {
    for (const auto& [request, name] : {std::pair{3U, "clear text"}, {5U, "md5"}, {7U, "GSSAPI"}, {99U, "not known"}}) {
        server_login login({"ann", "x", "app"}, {});
        std::string code;
        append_uint32(code, request);
        std::string bytes;
        append_message(bytes, 'R', {code, "salt"});
        std::string_view input = bytes;
        CHECK(login.feed(input) == server_login::state::failed);
        CHECK(login.code() == "0A000");
        CHECK(login.problem().find(name) != std::string::npos);
    }
}

TEST_CASE("a server that skips its own proof is refused") {
    server_login login({"ann", "x", "app"}, {});
    std::string bytes;
    append_message(bytes, 'R', {"\0\0\0\x0aSCRAM-SHA-256\0\0"s});
    append_message(bytes, 'R', {"\0\0\0\0"s});
    std::string_view input = bytes;
    CHECK(login.feed(input) == server_login::state::failed);
    CHECK(login.code() == "28000");
}

TEST_CASE("servers that do not speak the protocol") {
    for (const std::string& bytes : {"HTTP/1.1 400 Bad Request\r\n"s, "Z\0\0\0\5I"s, "R\0\0\0\5x"s, "K\0\0\0\6ab"s,
                                     "S\0\0\0\6ab"s, "D\0\0\0\4"s, "R\0\0\0\x8\0\0\0\xb"s, "R\0\0\0\x8\0\0\0\xc"s}) {
        server_login login({"ann", "x", "app"}, {});
        std::string_view input = bytes;
        CHECK(login.feed(input) == server_login::state::failed);
        CHECK_FALSE(login.problem().empty());
    }
}

TEST_CASE("encryption requests are declined in either order, and a start in clear text follows") {
    client_login login = new_client_login();
    CHECK(feed(login, encryption_request()) == client_login::state::running);
    CHECK(std::exchange(login.output, {}) == "N");
    CHECK(feed(login, encryption_request()) == client_login::state::running);
    CHECK(std::exchange(login.output, {}) == "N");
    CHECK_FALSE(login.started());
    CHECK(feed(login, start_packet("ann")) == client_login::state::running);
    CHECK(login.started());
    CHECK(login.request().database == "app");
    // A third request, and bytes that came together with a request, are refused.
    client_login third = new_client_login();
    CHECK(feed(third, encryption_request()) == client_login::state::running);
    CHECK(feed(third, encryption_request()) == client_login::state::running);
    CHECK(feed(third, encryption_request()) == client_login::state::refused);
    client_login stuffed = new_client_login();
    CHECK(feed(stuffed, encryption_request() + start_packet("ann")) == client_login::state::refused);
}

TEST_CASE("a cancel request is recognised") {
    client_login login = new_client_login();
    CHECK(feed(login, cancel_request({3, 4})) == client_login::state::cancel);
    CHECK(login.cancels() == cancel_key{3, 4});
}

TEST_CASE("clients that send something else during the login") {
    const auto after_start = [](const std::string& bytes) {
        client_login login = new_client_login();
        REQUIRE(feed(login, start_packet("ann")) == client_login::state::running);
        login.output.clear();
        CHECK(feed(login, bytes) == client_login::state::refused);
        CHECK_FALSE(login.bad_credentials());
        return code_of(login.output);
    };
    CHECK(after_start("Q\0\0\0\x5\0"s) == "08P01");
    CHECK(after_start("p\0\0\0\3"s) == "08P01");
    CHECK(after_start("p\0\1\0\0"s) == "08P01");
    CHECK(after_start("p\0\0\0\x8none"s) == "08P01");
    CHECK(after_start("p\0\0\0\x0cplain\0\0\0"s) == "08P01");
    CHECK(after_start("p\0\0\0\x0eplain\0\0\0\0\0"s.substr(0, 15)) == "0A000");
    CHECK(after_start("p\0\0\0\x16SCRAM-SHA-256\0\0\0\0\0"s) == "08P01");
}

TEST_CASE("a start without a user is refused") {
    client_login nobody = new_client_login();
    CHECK(feed(nobody, start_packet("")) == client_login::state::refused);
    CHECK(code_of(nobody.output) == "28000");
}
