// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_CONSOLE_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_CONSOLE_HPP

#include <string>
#include <string_view>
#include <vector>

#include "users.hpp"
#include "wire.hpp"

namespace db_proxy {

/// A table that a SHOW command prints.
struct console_table {
    std::string_view name;
    std::vector<std::string_view> columns;
    std::vector<std::vector<std::string>> rows;
};

/// The proxy, as the console sees it.
struct console_host {
    virtual ~console_host() = default;
    [[nodiscard]] virtual std::vector<console_table> tables() const = 0;
    /// Applies the configuration again. Returns the mistakes in it. If there is a mistake, nothing changes.
    virtual std::string reload() = 0;
};

/// The console of one client: a database that the proxy itself serves. It understands simple queries. Without I/O.
class console {
public:
    console(console_host& host, console_right right) : host_(host), right_(right) {}

    /// Takes whole messages off the front of `input`, and appends the answers to `out`. Returns false when the caller
    /// must send `out` and then end the connection.
    bool feed(std::string_view& input, std::string& out);

private:
    void run(std::string_view sql, std::string& out);

    console_host& host_;
    console_right right_;
    bool skipping_ = false;  // after an error, until the next Sync
};

}  // namespace db_proxy

#endif
