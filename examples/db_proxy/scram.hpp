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
/// start-up packet in place of the first message. Both sides, without I/O; the cryptography is OpenSSL's.
namespace db_proxy::scram {

inline constexpr std::string_view mechanism = "SCRAM-SHA-256";
inline constexpr std::uint32_t default_iterations = 4096;  ///< As PostgreSQL's.

using digest = std::array<unsigned char, 32>;

/// What a server keeps of a password: enough to check it, not enough to log in elsewhere.
struct verifier {
    std::uint32_t iterations = default_iterations;
    std::string salt;
    digest stored_key{};
    digest server_key{};

    /// Of a password and a salt of any bytes. Passwords beyond ASCII are taken as their bytes: as PostgreSQL takes
    /// them when they are in normalisation form KC already, which what is typed mostly is.
    static verifier of(std::string_view password, std::string salt, std::uint32_t iterations = default_iterations);

    /// PostgreSQL's format, as pg_authid.rolpassword has it: `SCRAM-SHA-256$4096:salt$stored_key:server_key`, in
    /// base 64. Empty when it is not that.
    static std::optional<verifier> parse(std::string_view text);
    [[nodiscard]] std::string text() const;
};

/// A verifier that no password fits, always the same for one name: who logs in with an unknown name is led on as far as
/// with a wrong password. `secret` is what makes the salt hard to foretell.
[[nodiscard]] verifier mock(std::string_view secret, std::string_view name, std::uint32_t iterations);

/// A nonce of 18 random bytes, in base 64.
[[nodiscard]] std::string make_nonce();
/// A salt of 16 random bytes.
[[nodiscard]] std::string make_salt();

/// The server's side of one login.
class server {
public:
    /// `nonce` is what the server adds to the client's.
    server(verifier who, std::string nonce) : verifier_(std::move(who)), nonce_(std::move(nonce)) {}

    /// The answer to client-first-message: server-first-message; empty when it is malformed or asks for what there is
    /// not, as channel binding.
    std::optional<std::string> first(std::string_view client_first);

    /// What client-final-message is.
    enum class verdict : std::uint8_t { right, wrong, malformed };
    /// `right` gives server-final-message.
    verdict last(std::string_view client_final, std::string& server_final);

private:
    verifier verifier_;
    std::string nonce_;       // the client's and ours, from `first` on
    std::string gs2_header_;  // as the client sent it
    std::string client_first_bare_;
    std::string server_first_;
};

/// The client's side of one login.
class client {
public:
    client(std::string password, std::string nonce) : password_(std::move(password)), nonce_(std::move(nonce)) {}

    /// client-first-message.
    [[nodiscard]] std::string first() const;

    /// The answer to server-first-message: client-final-message; empty when that is malformed, not the answer to ours,
    /// or asks for more than `max_iterations`.
    std::optional<std::string> last(std::string_view server_first);

    /// Whether server-final-message shows that the server knows the password too.
    [[nodiscard]] bool verify(std::string_view server_final) const;

    /// More work than any server asks for in earnest.
    static constexpr std::uint32_t max_iterations = 1'000'000;

private:
    [[nodiscard]] std::string first_bare() const { return "n=,r=" + nonce_; }

    std::string password_;
    std::string nonce_;
    digest server_signature_{};
};

}  // namespace db_proxy::scram

#endif
