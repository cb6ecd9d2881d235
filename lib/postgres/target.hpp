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

#include "helper_threads.hpp"

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

/// The hosts that these options name; none where only libpq knows them. Errors: `invalid_argument`.
[[nodiscard]] result<std::vector<postgres_host>> hosts_of(const conninfo& options);

/// The same options for one host.
[[nodiscard]] conninfo with_host(conninfo options, const postgres_host& host);

/// What a backend connects to, and its threads: those that look names up do not keep those that cancel.
class postgres_target {
public:
    postgres_target(conninfo options, std::vector<postgres_host> hosts, postgres_credentials_source credentials)
        : options_(std::move(options)),
          hosts_(std::move(hosts)),
          hosts_are_libpqs_(hosts_.empty()),
          credentials_(std::move(credentials)) {
        if (hosts_are_libpqs_) {
            hosts_.emplace_back();
        }
    }

    [[nodiscard]] const conninfo& options() const noexcept { return options_; }
    /// At least one.
    [[nodiscard]] const std::vector<postgres_host>& hosts() const noexcept { return hosts_; }
    /// Whether the only host stands for those that libpq finds.
    [[nodiscard]] bool leaves_hosts_to_libpq() const noexcept { return hosts_are_libpqs_; }
    [[nodiscard]] const postgres_credentials_source& credentials() const noexcept { return credentials_; }
    [[nodiscard]] const std::shared_ptr<helper_threads>& cancellers() const noexcept { return cancellers_; }
    [[nodiscard]] const std::shared_ptr<helper_threads>& lookups() const noexcept { return lookups_; }

private:
    conninfo options_;
    std::vector<postgres_host> hosts_;
    bool hosts_are_libpqs_;
    postgres_credentials_source credentials_;
    std::shared_ptr<helper_threads> cancellers_ = std::make_shared<helper_threads>();
    std::shared_ptr<helper_threads> lookups_ = std::make_shared<helper_threads>();
};

}  // namespace headgate::detail

#endif
