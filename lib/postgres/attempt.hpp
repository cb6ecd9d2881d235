// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_POSTGRES_ATTEMPT_HPP
#define HEADGATE_POSTGRES_ATTEMPT_HPP

#include <boost/asio/awaitable.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <headgate/error.hpp>

#include "libpq.hpp"
#include "target.hpp"
#include "watch.hpp"

namespace headgate::detail {

/// One step of a connect that may take long: to find the addresses of a name, or to log in at one of them. Belongs to
/// one serial executor.
class connect_attempt {
public:
    /// To `host`, with options for libpq that name only it. An attempt for a host whose name is not resolved looks the
    /// name up, and does no more.
    connect_attempt(postgres_host host, conninfo options)
        : host_(std::move(host)), options_(std::move(options)), begun_(std::chrono::steady_clock::now()) {}

    /// Tries it to the end, or until it is given up. Afterwards `ended` is true.
    [[nodiscard]] static boost::asio::awaitable<void> run(std::shared_ptr<connect_attempt> self,
                                                          std::shared_ptr<helper_threads> lookups);
    /// Closes what it has open; `run` ends soon, if it has not.
    void give_up() noexcept;
    /// It ended with an exception.
    void fail(error why) { ended(std::move(why)); }

    [[nodiscard]] bool ended() const noexcept { return ended_; }
    /// The connection, when it logged in.
    [[nodiscard]] pq_conn take_connection() noexcept { return ended_ && !why_ ? std::move(conn_) : nullptr; }
    /// Where else to try: the addresses of a name.
    [[nodiscard]] const std::vector<postgres_host>& found() const noexcept { return found_; }
    /// Why it failed, if it did.
    [[nodiscard]] const std::optional<error>& why() const noexcept { return why_; }
    /// When the next host's turn comes, though this one has not ended.
    [[nodiscard]] steady_time patience_ends() const noexcept;
    [[nodiscard]] const postgres_host& host() const noexcept { return host_; }

private:
    [[nodiscard]] boost::asio::awaitable<void> find(std::shared_ptr<helper_threads> lookups);
    [[nodiscard]] boost::asio::awaitable<void> log_in();
    void ended(std::optional<error> why);

    postgres_host host_;
    conninfo options_;
    steady_time begun_;
    bool reached_ = false;  // a server has accepted the connection
    bool given_up_ = false;
    bool ended_ = false;
    pq_conn conn_;
    watched_fd waiting_on_;
    std::vector<postgres_host> found_;
    std::optional<error> why_;
};

}  // namespace headgate::detail

#endif
