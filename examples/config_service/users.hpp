// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_USERS_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_USERS_HPP

#include <headgate/config.hpp>
#include <headgate/result.hpp>

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace config_service {

struct user {
    std::string name;
    std::string tier;  ///< The user's tier in the limiters; empty: their first tier.
    bool admin = false;
};

/// The users of the service, with the SHA-256 of their bearer tokens.
class users {
public:
    /// Reads `{"users": [{"name": "ann", "sha256": "…64 hex digits…", "tier": "trusted", "admin": true}]}`. Reports all
    /// mistakes at once. `tiers` names the tiers that every limiter has.
    static headgate::result<users> parse(std::string_view text, const std::vector<std::string>& tiers,
                                         std::vector<headgate::config_problem>& problems);

    /// The user with this token, or null. Compares it with all tokens, each in constant time.
    [[nodiscard]] const user* find(std::string_view token) const;

    [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }

private:
    using digest = std::array<unsigned char, 32>;
    struct known {
        digest token{};
        user who;
    };
    std::vector<known> all_;
};

/// Whether the name is valid for a user: 1 to 64 letters, digits, and "._@-".
[[nodiscard]] bool is_user_name(std::string_view name);

}  // namespace config_service

#endif
