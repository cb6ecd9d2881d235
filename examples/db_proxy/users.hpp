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

/// What a user of the console may do.
enum class console_right : std::uint8_t { none, see, act };

struct user {
    std::string name;
    std::optional<scram::verifier> verifier;  ///< Empty for a user that is trusted.
    std::string server_password;              ///< What the proxy logs in to servers with, for them.
    std::string tier;                         ///< Of the limiter; empty is its first.
    bool limited = true;                      ///< Whether transactions need permits.
    console_right console = console_right::none;
    headgate::duration statement_timeout = headgate::duration::max();         ///< `max()`: none.
    headgate::duration idle_transaction_timeout = headgate::duration::max();  ///< `max()`: none.
};

/// Who may log in. Names and verifiers come from a file that nobody but its owner reads.
class user_list {
public:
    /// Reads a document of the form that README.md shows. All mistakes at once. `tiers` are those of the limiter.
    static headgate::result<user_list> parse(std::string_view text, const std::vector<std::string>& tiers,
                                             std::vector<headgate::config_problem>& problems);
    /// The same from a file. Errors: `operation_failed`, also when others than its owner may read it.
    static headgate::result<user_list> read(const std::string& path, const std::vector<std::string>& tiers,
                                            std::vector<headgate::config_problem>& problems);

    [[nodiscard]] std::shared_ptr<const user> find(std::string_view name) const;
    /// How somebody who says that they are `name` proves it. `on_loopback`: both ends of their connection are.
    [[nodiscard]] login_check check(std::string_view name, bool on_loopback) const;

private:
    std::map<std::string, std::shared_ptr<const user>, std::less<>> all_;
    std::string mock_secret_;
    std::uint32_t iterations_ = scram::default_iterations;  // of who is not there: as the first who is
};

}  // namespace db_proxy

#endif
