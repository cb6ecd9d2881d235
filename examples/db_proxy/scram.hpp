// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_SCRAM_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_SCRAM_HPP

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL speaks it: without channel binding, and with the user's name in the
/// start-up packet and not in the first message. Both sides, without I/O. OpenSSL does the cryptography.
namespace db_proxy::scram {

inline constexpr std::string_view mechanism = "SCRAM-SHA-256";
inline constexpr std::uint32_t default_iterations = 4096;  ///< PostgreSQL's default.

using digest = std::array<unsigned char, 32>;

/// A server stores this in place of a password. It is enough to check the password, but not to log in elsewhere.
struct verifier {
    std::uint32_t iterations = default_iterations;
    std::string salt;
    digest stored_key{};
    digest server_key{};

    /// Makes a verifier for a password and a salt, both of any bytes. Does not normalise the password. PostgreSQL makes
    /// the same verifier for ASCII, and for text in normalisation form KC, which keyboards mostly send.
    static verifier of(std::string_view password, std::string salt, std::uint32_t iterations = default_iterations);

    /// Reads the format of pg_authid.rolpassword: `SCRAM-SHA-256$4096:salt$stored_key:server_key`, the last three in
    /// base 64. Empty when the text has another form.
    static std::optional<verifier> parse(std::string_view text);
    [[nodiscard]] std::string text() const;
};

/// A verifier that no password matches, always the same for the same name. With it, the login of an unknown user looks
/// like a login with a wrong password. `secret` makes the salt hard to guess.
[[nodiscard]] verifier mock(std::string_view secret, std::string_view name, std::uint32_t iterations);

/// A nonce of 18 random bytes, in base 64.
[[nodiscard]] std::string make_nonce();
/// A salt of 16 random bytes.
[[nodiscard]] std::string make_salt();

/// The server's side of one login.
class server {
public:
    /// The server adds `nonce` to the client's nonce.
    server(verifier who, std::string nonce) : verifier_(std::move(who)), nonce_(std::move(nonce)) {}

    /// Takes client-first-message and returns server-first-message. Empty when the message is malformed, or asks for
    /// something that is not supported, such as channel binding.
    std::optional<std::string> first(std::string_view client_first);

    /// Whether client-final-message proves that the client knows the password.
    enum class verdict : std::uint8_t { right, wrong, malformed };
    /// Takes client-final-message. Fills server-final-message when the verdict is `right`.
    verdict last(std::string_view client_final, std::string& server_final);

private:
    verifier verifier_;
    std::string nonce_;       // after `first`: the client's nonce and the server's
    std::string gs2_header_;  // the client's own bytes
    std::string client_first_bare_;
    std::string server_first_;
};

/// The client's side of one login.
class client {
public:
    client(std::string password, std::string nonce) : password_(std::move(password)), nonce_(std::move(nonce)) {}

    /// client-first-message.
    [[nodiscard]] std::string first() const;

    /// Takes server-first-message and returns client-final-message. Empty when the message is malformed, does not
    /// answer this client's message, or asks for more than `max_iterations`.
    std::optional<std::string> last(std::string_view server_first);

    /// Whether server-final-message proves that the server knows the password too.
    [[nodiscard]] bool verify(std::string_view server_final) const;

    /// No honest server asks for more iterations.
    static constexpr std::uint32_t max_iterations = 1'000'000;

private:
    [[nodiscard]] std::string first_bare() const { return "n=,r=" + nonce_; }

    std::string password_;
    std::string nonce_;
    digest server_signature_{};
};

}  // namespace db_proxy::scram

#endif
