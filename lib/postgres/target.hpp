// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_POSTGRES_TARGET_HPP
#define HEADGATE_POSTGRES_TARGET_HPP

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <headgate/postgres.hpp>
#include <headgate/result.hpp>

#include "canceller.hpp"

namespace headgate::detail {

/// Options of libpq: keyword and value.
using conninfo = std::map<std::string, std::string, std::less<>>;

/// One host that a URL names.
struct postgres_host {
    std::string name;
    std::string address;  ///< Numbers, or empty where libpq needs none, as for a socket's directory.
    std::string port;     ///< Empty for the default.

    /// Whether `name` must be resolved.
    [[nodiscard]] bool is_name() const;
};

/// The options of a URL. Errors: `invalid_argument`, without a word of what might be a password.
[[nodiscard]] result<conninfo> parse_conninfo(const std::string& url);

/// The hosts that these options name; none where libpq knows the addresses itself. Errors: `invalid_argument`.
[[nodiscard]] result<std::vector<postgres_host>> hosts_of(const conninfo& options);

/// The same options for these hosts.
[[nodiscard]] conninfo with_hosts(conninfo options, const std::vector<postgres_host>& hosts);

/// What a backend connects to, and the threads that cancel what runs there.
class postgres_target {
public:
    postgres_target(conninfo options, std::vector<postgres_host> hosts)
        : options_(std::move(options)), hosts_(std::move(hosts)) {}

    [[nodiscard]] const conninfo& options() const noexcept { return options_; }
    [[nodiscard]] const std::vector<postgres_host>& hosts() const noexcept { return hosts_; }
    [[nodiscard]] const std::shared_ptr<postgres_canceller>& canceller() const noexcept { return canceller_; }

private:
    conninfo options_;
    std::vector<postgres_host> hosts_;
    std::shared_ptr<postgres_canceller> canceller_ = std::make_shared<postgres_canceller>();
};

}  // namespace headgate::detail

#endif
