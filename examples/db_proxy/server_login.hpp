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

/// Who the proxy is to a server.
struct server_credentials {
    std::string user;
    std::string password;
    std::string database;
};

/// Logs in to a server: what comes is fed, what is to be sent is in `output`. From StartupMessage to ReadyForQuery.
class server_login {
public:
    enum class state : std::uint8_t {
        running,  ///< Send what `output` has, then read more.
        ready,    ///< Logged in. What `feed` left in its input belongs to the session.
        failed,   ///< `code` and `problem` say why.
    };

    server_login(const server_credentials& who, const parameters& values);

    /// Takes whole messages off the front of `input`.
    state feed(std::string_view& input);

    /// To be sent; who sends it clears it.
    std::string output;

    /// The SQLSTATE of a failure: the server's, or 08P01 for what is no such protocol, 0A000 for what we do not speak.
    [[nodiscard]] const std::string& code() const noexcept { return code_; }
    [[nodiscard]] const std::string& problem() const noexcept { return problem_; }
    /// What cancels this connection's queries.
    [[nodiscard]] const cancel_key& key() const noexcept { return key_; }
    /// The server's parameters, as it reported them.
    [[nodiscard]] const parameters& reported() const noexcept { return reported_; }

    /// The most that one message of a login may hold.
    static constexpr std::size_t max_payload = 32'768;

private:
    state take(const message& one);
    state authenticate(std::string_view payload);
    state begin_scram(std::string_view mechanisms);
    state fail(std::string_view code, std::string problem);

    std::string password_;
    std::optional<scram::client> scram_;
    bool server_proved_ = false;  // by SCRAM, that it knows the password
    bool authenticated_ = false;
    std::string code_;
    std::string problem_;
    cancel_key key_{};
    parameters reported_;
};

}  // namespace db_proxy

#endif
