// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "scram.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <charconv>
#include <stdexcept>
#include <utility>

namespace db_proxy::scram {

namespace {

const unsigned char* bytes(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());  // NOLINT(*-reinterpret-cast): OpenSSL's bytes
}

std::string_view text_of(const digest& d) {
    return {reinterpret_cast<const char*>(d.data()), d.size()};  // NOLINT(*-reinterpret-cast): OpenSSL's bytes
}

digest hmac(std::string_view key, std::string_view message) {
    digest out{};
    if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes(message), message.size(), out.data(),
             nullptr) == nullptr) {
        throw std::runtime_error("OpenSSL: HMAC failed");
    }
    return out;
}

digest sha256(std::string_view message) {
    digest out{};
    if (EVP_Digest(message.data(), message.size(), out.data(), nullptr, EVP_sha256(), nullptr) != 1) {
        throw std::runtime_error("OpenSSL: SHA-256 failed");
    }
    return out;
}

digest salted_password(std::string_view password, std::string_view salt, std::uint32_t iterations) {
    digest out{};
    if (PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), bytes(salt),
                          static_cast<int>(salt.size()), static_cast<int>(iterations), EVP_sha256(),
                          static_cast<int>(out.size()), out.data()) != 1) {
        throw std::runtime_error("OpenSSL: PBKDF2 failed");
    }
    return out;
}

digest exclusive_or(const digest& a, std::string_view b) {
    digest out{};
    for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = static_cast<unsigned char>(a[i] ^ static_cast<unsigned char>(b[i]));
    }
    return out;
}

bool equal(std::string_view a, std::string_view b) {
    return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string encode(std::string_view raw) {
    std::string out(4 * ((raw.size() + 2) / 3) + 1, '\0');         // OpenSSL writes a NUL at the end
    EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),  // NOLINT(*-reinterpret-cast): OpenSSL's bytes
                    bytes(raw), static_cast<int>(raw.size()));
    out.pop_back();
    return out;
}

/// Accepts canonical base 64 only: the decoded bytes, encoded again, are the same text.
std::optional<std::string> decode(std::string_view text) {
    if (text.empty() || text.size() % 4 != 0) {
        return std::nullopt;
    }
    std::string out(3 * (text.size() / 4), '\0');
    if (EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),  // NOLINT(*-reinterpret-cast): OpenSSL's bytes
                        bytes(text), static_cast<int>(text.size())) < 0) {
        return std::nullopt;
    }
    for (int i = 0; i < 2 && text[text.size() - 1 - static_cast<std::size_t>(i)] == '='; ++i) {
        out.pop_back();
    }
    if (encode(out) != text) {
        return std::nullopt;
    }
    return out;
}

/// Takes the text before `end`, and `end` itself, off the front. Empty when there is no `end`.
std::optional<std::string_view> take_until(std::string_view& text, char end) {
    const std::size_t at = text.find(end);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    const std::string_view part = text.substr(0, at);
    text.remove_prefix(at + 1);
    return part;
}

/// Takes the attribute `name` and the comma behind it off the front of `text`, and returns its value.
std::optional<std::string_view> take_attribute(std::string_view& text, char name) {
    if (text.size() < 2 || text[0] != name || text[1] != '=') {
        return std::nullopt;
    }
    const std::size_t end = text.find(',');
    const std::string_view value = text.substr(2, end == std::string_view::npos ? end : end - 2);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    return value;
}

bool is_nonce(std::string_view text) {
    if (text.empty()) {
        return false;
    }
    for (const char c : text) {
        if (c < 0x21 || c > 0x7E || c == ',') {
            return false;
        }
    }
    return true;
}

std::optional<std::uint32_t> to_count(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failed != std::errc{} || end != text.data() + text.size() || text.front() == '0' ||
        value > client::max_iterations) {
        return std::nullopt;
    }
    return value;
}

std::optional<digest> to_digest(std::string_view text) {
    const auto raw = decode(text);
    if (!raw || raw->size() != digest{}.size()) {
        return std::nullopt;
    }
    return exclusive_or(digest{}, *raw);
}

std::string random_bytes(std::size_t count) {
    std::string out(count, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(out.data()),  // NOLINT(*-reinterpret-cast): OpenSSL's bytes
                   static_cast<int>(count)) != 1) {
        throw std::runtime_error("OpenSSL: no random bytes");
    }
    return out;
}

}  // namespace

verifier verifier::of(std::string_view password, std::string salt, std::uint32_t iterations) {
    const digest salted = salted_password(password, salt, iterations);
    return {iterations, std::move(salt), sha256(text_of(hmac(text_of(salted), "Client Key"))),
            hmac(text_of(salted), "Server Key")};
}

std::optional<verifier> verifier::parse(std::string_view text) {
    const auto name = take_until(text, '$');
    const auto iterations = take_until(text, ':');
    const auto salt = take_until(text, '$');
    const auto stored = take_until(text, ':');
    if (!name || *name != mechanism || !iterations || !salt || !stored) {
        return std::nullopt;
    }
    auto count = to_count(*iterations);
    auto raw_salt = decode(*salt);
    const auto stored_key = to_digest(*stored);
    const auto server_key = to_digest(text);
    if (!count || !raw_salt || !stored_key || !server_key) {
        return std::nullopt;
    }
    return verifier{*count, std::move(*raw_salt), *stored_key, *server_key};
}

std::string verifier::text() const {
    return std::string(mechanism) + '$' + std::to_string(iterations) + ':' + encode(salt) + '$' +
           encode(text_of(stored_key)) + ':' + encode(text_of(server_key));
}

verifier mock(std::string_view secret, std::string_view name, std::uint32_t iterations) {
    const digest salt = hmac(secret, name);
    // The keys are all zeros. A client's proof leads to these bytes with a probability of one in 2^256.
    return {iterations, std::string(text_of(salt).substr(0, 16)), digest{}, digest{}};
}

std::string make_nonce() {
    return encode(random_bytes(18));
}

std::string make_salt() {
    return random_bytes(16);
}

std::optional<std::string> server::first(std::string_view client_first) {
    const std::string_view whole = client_first;
    // "n": the client has no channel binding. "y": the client thinks that the server has none, which is right.
    const auto binding = take_until(client_first, ',');
    const auto identity = take_until(client_first, ',');
    if (!binding || (*binding != "n" && *binding != "y") || !identity || !identity->empty()) {
        return std::nullopt;
    }
    gs2_header_ = whole.substr(0, whole.size() - client_first.size());
    client_first_bare_ = client_first;
    const auto name = take_attribute(client_first, 'n');  // ignored: the start-up packet has the name
    const auto nonce = take_attribute(client_first, 'r');
    if (!name || !nonce || !is_nonce(*nonce)) {
        return std::nullopt;
    }
    nonce_.insert(0, *nonce);
    server_first_ = "r=" + nonce_ + ",s=" + encode(verifier_.salt) + ",i=" + std::to_string(verifier_.iterations);
    return server_first_;
}

server::verdict server::last(std::string_view client_final, std::string& server_final) {
    const std::size_t proof_at = client_final.rfind(",p=");
    if (proof_at == std::string_view::npos) {
        return verdict::malformed;
    }
    const std::string_view without_proof = client_final.substr(0, proof_at);
    const auto proof = decode(client_final.substr(proof_at + 3));
    std::string_view rest = without_proof;
    const auto binding = take_attribute(rest, 'c');
    const auto nonce = take_attribute(rest, 'r');
    if (!proof || proof->size() != digest{}.size() || !binding || *binding != encode(gs2_header_) || !nonce ||
        !equal(*nonce, nonce_)) {
        return verdict::malformed;
    }
    const std::string signed_text = client_first_bare_ + ',' + server_first_ + ',' + std::string(without_proof);
    const digest signature = hmac(text_of(verifier_.stored_key), signed_text);
    const digest client_key = exclusive_or(signature, *proof);
    if (!equal(text_of(sha256(text_of(client_key))), text_of(verifier_.stored_key))) {
        return verdict::wrong;
    }
    server_final = "v=" + encode(text_of(hmac(text_of(verifier_.server_key), signed_text)));
    return verdict::right;
}

std::string client::first() const {
    return "n,," + first_bare();
}

std::optional<std::string> client::last(std::string_view server_first) {
    std::string_view rest = server_first;
    const auto nonce = take_attribute(rest, 'r');
    const auto salt = take_attribute(rest, 's');
    const auto iterations = take_attribute(rest, 'i');
    if (!nonce || !is_nonce(*nonce) || !nonce->starts_with(nonce_) || nonce->size() == nonce_.size() || !salt ||
        !iterations) {
        return std::nullopt;
    }
    const auto raw_salt = decode(*salt);
    const auto count = to_count(*iterations);
    if (!raw_salt || !count) {
        return std::nullopt;
    }
    const digest salted = salted_password(password_, *raw_salt, *count);
    const std::string without_proof = "c=biws,r=" + std::string(*nonce);  // "n,," in base 64
    const std::string signed_text = first_bare() + ',' + std::string(server_first) + ',' + without_proof;
    const digest client_key = hmac(text_of(salted), "Client Key");
    const digest signature = hmac(text_of(sha256(text_of(client_key))), signed_text);
    server_signature_ = hmac(text_of(hmac(text_of(salted), "Server Key")), signed_text);
    return without_proof + ",p=" + encode(text_of(exclusive_or(client_key, text_of(signature))));
}

bool client::verify(std::string_view server_final) const {
    const auto value = take_attribute(server_final, 'v');
    const auto signature = value ? decode(*value) : std::nullopt;
    return signature && equal(*signature, text_of(server_signature_));
}

}  // namespace db_proxy::scram
