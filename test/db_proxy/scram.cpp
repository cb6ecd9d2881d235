// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "scram.hpp"

using namespace db_proxy::scram;
using namespace std::string_literals;

namespace {

// RFC 7677, section 3. The client there names the user in its first message; the proxy's server side accepts any name.
const std::string rfc_salt = "\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81"s;
const std::string rfc_client_nonce = "rOprNGfwEbeRWgbNEkqO";
const std::string rfc_server_nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const std::string rfc_client_first = "n,,n=user,r=" + rfc_client_nonce;
const std::string rfc_server_first = "r=" + rfc_client_nonce + rfc_server_nonce + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const std::string rfc_client_final =
    "c=biws,r=" + rfc_client_nonce + rfc_server_nonce + ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const std::string rfc_server_final = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

struct login {
    server::verdict verdict;
    bool client_believes;
};

login run(const std::string& password, const verifier& who) {
    client c(password, make_nonce());
    server s(who, make_nonce());
    const auto server_first = s.first(c.first());
    REQUIRE(server_first);
    const auto client_final = c.last(*server_first);
    REQUIRE(client_final);
    std::string server_final;
    const server::verdict verdict = s.last(*client_final, server_final);
    return {verdict, c.verify(server_final)};
}

}  // namespace

TEST_CASE("the server's side of the example in RFC 7677") {
    server s(verifier::of("pencil", rfc_salt, 4096), rfc_server_nonce);
    CHECK(s.first(rfc_client_first) == rfc_server_first);
    std::string server_final;
    CHECK(s.last(rfc_client_final, server_final) == server::verdict::right);
    CHECK(server_final == rfc_server_final);
}

TEST_CASE("both sides accept the right password, and no other") {
    const verifier who = verifier::of("open sesame", make_salt());
    const login right = run("open sesame", who);
    CHECK(right.verdict == server::verdict::right);
    CHECK(right.client_believes);
    for (const std::string& wrong : {"open sesame "s, "Open sesame"s, "x"s}) {
        const login r = run(wrong, who);
        CHECK(r.verdict == server::verdict::wrong);
        CHECK_FALSE(r.client_believes);
    }
}

TEST_CASE("a server that does not know the password is refused") {
    verifier false_friend = verifier::of("open sesame", make_salt());
    false_friend.server_key[0] ^= 1U;
    const login r = run("open sesame", false_friend);
    CHECK(r.verdict == server::verdict::right);
    CHECK_FALSE(r.client_believes);
}

TEST_CASE("verifiers are read and written as PostgreSQL does") {
    const verifier v = verifier::of("secret", "0123456789abcdef", 4096);
    const std::string text = v.text();
    CHECK(text.starts_with("SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$"));
    const auto again = verifier::parse(text);
    REQUIRE(again);
    CHECK(again->text() == text);
    CHECK(run("secret", *again).verdict == server::verdict::right);
    for (const std::string& bad :
         {""s, "md5abc"s, "SCRAM-SHA-1" + text.substr(13), text.substr(0, text.size() - 1), text + "A", text + "AAAA",
          "SCRAM-SHA-256$0:" + text.substr(19), "SCRAM-SHA-256$99999999:" + text.substr(19),
          "SCRAM-SHA-256$4096:!!!!" + text.substr(43)}) {
        CAPTURE(bad);
        CHECK_FALSE(verifier::parse(bad));
    }
}

TEST_CASE("malformed first messages of a client") {
    for (const std::string& bad :
         {""s, "n"s, "n,"s, "n,,"s, "n,,n="s, "n,,n=,r="s, "n,,r=abc"s, "p=tls-server-end-point,,n=,r=abc"s,
          "x,,n=,r=abc"s, "n,a=admin,n=,r=abc"s, "n,,n=,r=a\x01"s, "n,,m=x,n=,r=abc"s}) {
        CAPTURE(bad);
        CHECK_FALSE(server(verifier::of("x", "salt"), "nonce").first(bad));
    }
    CHECK(server(verifier::of("x", "salt"), "nonce").first("y,,n=*,r=abc"));
    CHECK(server(verifier::of("x", "salt"), "nonce").first("n,,n=,r=abc,ext=1"));
}

TEST_CASE("malformed and replayed final messages of a client") {
    const verifier who = verifier::of("pencil", rfc_salt, 4096);
    const std::string nonce = rfc_client_nonce + rfc_server_nonce;
    const std::string proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    for (const std::string& bad :
         {""s, "c=biws"s, "c=biws,r=" + nonce, "c=biws,r=" + nonce + ",p=", "c=biws,r=" + nonce + ",p=AAAA",
          "c=biws,r=" + nonce + "x,p=" + proof, "c=eSws,r=" + nonce + ",p=" + proof, "r=" + nonce + ",p=" + proof,
          "c=biws,r=" + nonce + ",p=" + proof + "=", "c=biws,r=" + nonce + ",p=" + proof.substr(0, 43)}) {
        server s(who, rfc_server_nonce);
        REQUIRE(s.first(rfc_client_first));
        std::string server_final;
        CAPTURE(bad);
        CHECK(s.last(bad, server_final) == server::verdict::malformed);
        CHECK(server_final.empty());
    }
    // The right message of another login is wrong in this one.
    server other(who, "another nonce");
    REQUIRE(other.first(rfc_client_first));
    std::string server_final;
    CHECK(other.last(rfc_client_final, server_final) == server::verdict::malformed);
}

TEST_CASE("malformed answers of a server") {
    const std::string good = "r=abcdef,s=c2FsdA==,i=4096";
    CHECK(client("x", "abc").last(good));
    for (const std::string& bad :
         {""s, "r=abc,s=c2FsdA==,i=4096"s, "r=xyzdef,s=c2FsdA==,i=4096"s, "r=abcdef,s=,i=4096"s,
          "r=abcdef,s=c2FsdA==,i=0"s, "r=abcdef,s=c2FsdA==,i=2000000"s, "r=abcdef,s=c2FsdA==,i=-1"s,
          "r=abcdef,s=c2FsdA=="s, "e=other-error"s, "m=x,r=abcdef,s=c2FsdA==,i=4096"s}) {
        CAPTURE(bad);
        CHECK_FALSE(client("x", "abc").last(bad));
    }
    client c("x", "abc");
    REQUIRE(c.last(good));
    for (const std::string& bad : {""s, "v="s, "v=AAAA"s, "e=invalid-proof"s, rfc_server_final}) {
        CHECK_FALSE(c.verify(bad));
    }
}

TEST_CASE("a mock verifier depends on the name only, and fits no password") {
    const verifier one = mock("a secret of the proxy", "ann", 4096);
    CHECK(one.salt == mock("a secret of the proxy", "ann", 4096).salt);
    CHECK(one.salt != mock("a secret of the proxy", "bob", 4096).salt);
    CHECK(one.salt != mock("another secret", "ann", 4096).salt);
    CHECK(one.salt.size() == make_salt().size());
    CHECK(run("", one).verdict == server::verdict::wrong);
}

TEST_CASE("nonces and salts differ") {
    CHECK(make_nonce() != make_nonce());
    CHECK(make_salt() != make_salt());
}
