// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_CLIENT_LOGIN_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_CLIENT_LOGIN_HPP

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "scram.hpp"
#include "startup.hpp"
#include "wire.hpp"

namespace db_proxy {

/// How a user proves its identity. With a verifier, the client must pass SCRAM. Without a verifier, the proxy trusts
/// the user.
struct login_check {
    std::optional<scram::verifier> check;
    /// The user does not exist, or may not log in from this address. SCRAM runs as usual and fails at the end.
    bool refused = false;
};

/// The user, the database and the parameters that a client asks for.
struct start_request {
    std::string user;
    std::string database;  ///< The user's name if the client sent none, as in PostgreSQL.
    parameters values;     ///< As sent. They are read after the login, because the database decides which are allowed.
};

/// A client's login, from its first byte to its authentication, without I/O. The caller feeds the client's bytes and
/// sends `output`.
class client_login {
public:
    enum class state : std::uint8_t {
        running,        ///< Send `output`, then read more.
        cancel,         ///< The client sent a CancelRequest with the key `cancels`. The connection ends.
        authenticated,  ///< `request` is what the client asks for. The bytes that `feed` left belong to the session.
        refused,        ///< Send `output`, and close.
    };

    /// `find` takes a user's name and returns how that user must log in. It is called at most once.
    explicit client_login(std::function<login_check(std::string_view)> find) : find_(std::move(find)) {}

    /// Takes whole packets and messages off the front of `input`.
    state feed(std::string_view& input);

    /// The bytes for the client. The caller sends them and clears this string.
    std::string output;

    [[nodiscard]] const start_request& request() const noexcept { return request_; }
    [[nodiscard]] const cancel_key& cancels() const noexcept { return key_; }
    /// After `refused`: whether the password was wrong or the user unknown. The proxy limits such failures by address.
    [[nodiscard]] bool bad_credentials() const noexcept { return bad_credentials_; }
    /// Whether the client has sent its StartupMessage. From then on it understands an ErrorResponse.
    [[nodiscard]] bool started() const noexcept { return stage_ != stage::startup; }

private:
    enum class stage : std::uint8_t { startup, sasl_first, sasl_last };

    state start(first_packet packet);
    state answer(std::string_view payload);
    state take_sasl_first(std::string_view payload);
    state wrong_password();
    state fail(std::string_view code, std::string_view text);

    std::function<login_check(std::string_view)> find_;
    stage stage_ = stage::startup;
    std::uint32_t encryption_requests_ = 0;
    start_request request_;
    cancel_key key_{};
    std::optional<scram::server> scram_;
    bool refuses_ = false;  // refuse the client even if its proof is right
    bool bad_credentials_ = false;
};

}  // namespace db_proxy

#endif
