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

/// What a SHOW command shows.
struct console_table {
    std::string_view name;
    std::vector<std::string_view> columns;
    std::vector<std::vector<std::string>> rows;
};

/// What the console shows and does.
struct console_host {
    virtual ~console_host() = default;
    [[nodiscard]] virtual std::vector<console_table> tables() const = 0;
    /// Gives the mistakes; empty: none, and all is in force.
    virtual std::string reload() = 0;
};

/// The console of one client: the database that nobody serves but us. Simple queries only. Without I/O.
class console {
public:
    console(console_host& host, console_right right) : host_(host), right_(right) {}

    /// Takes whole messages off the front of `input`, and appends what is to be sent. False when the client is to go,
    /// after what `out` has.
    bool feed(std::string_view& input, std::string& out);

private:
    void run(std::string_view sql, std::string& out);

    console_host& host_;
    console_right right_;
    bool skipping_ = false;  // up to Sync
};

}  // namespace db_proxy

#endif
