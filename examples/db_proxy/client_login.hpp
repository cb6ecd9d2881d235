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

/// How a user proves who they are. `check` is asked with SCRAM; without one the user is trusted.
struct login_check {
    std::optional<scram::verifier> check;
    /// No such user, or one that may not come from there: SCRAM goes its way, and fails whatever is sent.
    bool refused = false;
};

/// Who a client says it is, and what it wants.
struct start_request {
    std::string user;
    std::string database;  ///< The user's name where none was sent, as PostgreSQL has it.
    parameters values;  ///< All that was sent. What they mean may depend on the database, and is for after the login.
};

/// A client's way from its first byte to its authentication: what comes is fed, what is to be sent is in `output`.
class client_login {
public:
    enum class state : std::uint8_t {
        running,        ///< Send what `output` has, then read more.
        cancel,         ///< It was a CancelRequest: `cancels` says for whom. The connection ends.
        authenticated,  ///< `request` says who it is and what it wants. What `feed` left is for later.
        refused,        ///< Send what `output` has, and close.
    };

    /// `find` says how the user of that name may log in; asked once, at most.
    explicit client_login(std::function<login_check(std::string_view)> find) : find_(std::move(find)) {}

    /// Takes what it understands off the front of `input`.
    state feed(std::string_view& input);

    /// To be sent; who sends it clears it.
    std::string output;

    [[nodiscard]] const start_request& request() const noexcept { return request_; }
    [[nodiscard]] const cancel_key& cancels() const noexcept { return key_; }
    /// After `refused`: whether a password was wrong, or a user unknown; what is limited by address.
    [[nodiscard]] bool bad_credentials() const noexcept { return bad_credentials_; }
    /// Whether the start-up packet came, so that an ErrorResponse is understood.
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
    bool refuses_ = false;  // whatever proof is sent
    bool bad_credentials_ = false;
};

}  // namespace db_proxy

#endif
