// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_SERVER_LOGIN_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_SERVER_LOGIN_HPP

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "scram.hpp"
#include "wire.hpp"

namespace db_proxy {

/// The user, password and database with which the proxy logs in to a server.
struct server_credentials {
    std::string user;
    std::string password;
    std::string database;
};

/// A login to a server, from StartupMessage to ReadyForQuery, without I/O. The caller feeds the server's bytes and
/// sends `output`.
class server_login {
public:
    enum class state : std::uint8_t {
        running,  ///< Send `output`, then read more.
        ready,    ///< Logged in. The bytes that `feed` left in its input belong to the session.
        failed,   ///< `code` and `problem` say why.
    };

    server_login(const server_credentials& who, const parameters& values);

    /// Takes whole messages off the front of `input`.
    state feed(std::string_view& input);

    /// The bytes for the server. The caller sends them and clears this string.
    std::string output;

    /// The SQLSTATE of a failure: the server's own, 08P01 when the server breaks the protocol, 28000 when it does not
    /// prove that it knows the password, or 0A000 when it asks for a method that the proxy does not support.
    [[nodiscard]] const std::string& code() const noexcept { return code_; }
    [[nodiscard]] const std::string& problem() const noexcept { return problem_; }
    /// The key that cancels this connection's queries.
    [[nodiscard]] const cancel_key& key() const noexcept { return key_; }
    /// The parameters that the server reported.
    [[nodiscard]] const parameters& reported() const noexcept { return reported_; }

    /// The longest payload of a message during a login.
    static constexpr std::size_t max_payload = 32'768;

private:
    enum class stage : std::uint8_t {
        asked,          // the proxy has sent its StartupMessage
        in_scram,       // the server has asked for SCRAM
        proved,         // the server has shown by SCRAM that it knows the password
        authenticated,  // the server has let the proxy in
    };

    state take(const message& one);
    state authenticate(std::string_view payload);
    state begin_scram(std::string_view mechanisms);
    state fail(std::string_view code, std::string problem);

    std::string password_;
    stage stage_ = stage::asked;
    std::optional<scram::client> scram_;
    std::string code_;
    std::string problem_;
    cancel_key key_{};
    parameters reported_;
};

}  // namespace db_proxy

#endif
