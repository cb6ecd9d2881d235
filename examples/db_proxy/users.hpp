// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_USERS_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_USERS_HPP

#include <headgate/config.hpp>
#include <headgate/result.hpp>
#include <headgate/time.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client_login.hpp"

namespace db_proxy {

/// What a user may do on the console.
enum class console_right : std::uint8_t { none, see, act };

struct user {
    std::string name;
    std::optional<scram::verifier> verifier;  ///< Empty for a trusted user.
    std::string server_password;              ///< The proxy logs in to the servers with it, as this user.
    std::string tier;                         ///< A tier of the limiter; empty: its first.
    bool limited = true;                      ///< Whether the user's transactions need permits.
    console_right console = console_right::none;
    headgate::duration statement_timeout = headgate::duration::max();         ///< `max()`: none.
    headgate::duration idle_transaction_timeout = headgate::duration::max();  ///< `max()`: none.
};

/// A session keeps the user as it was at the login; a reload makes new objects.
using user_ptr = std::shared_ptr<const user>;

/// The users that may log in. They come from a file that only its owner can read.
class user_list {
public:
    /// Reads a document in the form that README.md shows. Reports all mistakes at once. `tiers` are the limiter's
    /// tiers.
    static headgate::result<user_list> parse(std::string_view text, const std::vector<std::string>& tiers,
                                             std::vector<headgate::config_problem>& problems);
    /// The same from a file. Errors: `operation_failed`, also when anybody but the owner may read the file.
    static headgate::result<user_list> read(const std::string& path, const std::vector<std::string>& tiers,
                                            std::vector<headgate::config_problem>& problems);

    [[nodiscard]] user_ptr find(std::string_view name) const;
    /// How a client that claims to be `name` proves it. `on_loopback`: both ends of its connection are on the loopback.
    [[nodiscard]] login_check check(std::string_view name, bool on_loopback) const;

private:
    std::map<std::string, user_ptr, std::less<>> all_;
    std::string mock_secret_;
    std::uint32_t iterations_ = scram::default_iterations;  // for unknown users: from the first verifier in the file
};

}  // namespace db_proxy

#endif
