// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_SERVER_LINK_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_SERVER_LINK_HPP

#include <headgate/bulkhead.hpp>
#include <headgate/time.hpp>

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "exchange.hpp"
#include "relay.hpp"
#include "startup.hpp"

namespace db_proxy {

class server_link;

/// Whom a server is lent to.
class borrower {
public:
    virtual ~borrower() = default;
    /// Bytes of the server, of which some may be the beginning of a message; `exchange` has seen them.
    virtual void from_server(std::string_view data) = 0;
    /// What it was sent has left, after it had not.
    virtual void server_took_all() = 0;
    /// Whether it takes more.
    [[nodiscard]] virtual bool takes_more() const noexcept = 0;
    /// It is gone: `fatal` is the SQLSTATE of its last error, empty if there was none; in the middle of a message or
    /// not.
    virtual void server_lost(std::string_view fatal, bool between_messages) = 0;
};

/// A connection to a server, logged in: what the pools lend.
class server_link final : public relay_socket {
public:
    /// Told of an error that says that the server goes away, also while the link is idle; and, with an empty code, of a
    /// connection that was lost without a word.
    using trouble = std::function<void(std::string_view sqlstate)>;

    server_link(cancel_key key, parameters reported, headgate::bulkhead_permit place, trouble told);

    /// Takes a socket that is logged in, and what was read of it after the login.
    void adopt(relay& wires, int descriptor, std::string_view rest);

    /// Closes the connection, and gives back its place among those of the server.
    void end() noexcept;

    /// Lends itself to a borrower; null takes it back.
    void lend(borrower* to) noexcept {
        borrower_ = to;
        asked_ = nullptr;
        fatal_code_.clear();
    }

    /// What passes between the borrower and the server; `request` is for the borrower to call.
    exchange rules;
    /// Asks the server something of our own. `done` gets whether it succeeded, and the SQLSTATE and text if not.
    using answer = std::function<void(bool succeeded, std::string_view code, std::string_view text)>;
    void ask(std::string_view sql, answer done);

    /// Reads what has come, as far as the borrower takes it.
    void pump();

    [[nodiscard]] bool is_alive() const noexcept { return is_open(); }
    [[nodiscard]] const cancel_key& key() const noexcept { return key_; }
    /// Never null, and never changed: another takes its place when the server reports a change.
    [[nodiscard]] const std::shared_ptr<const tracked_values>& tracked() const noexcept { return tracked_; }
    /// What it reported besides, as its version.
    [[nodiscard]] const parameters& reported() const noexcept { return reported_; }

    /// A command has left state that the next borrower must not find.
    bool is_dirty = false;
    /// No message of it has begun and not ended.
    [[nodiscard]] bool is_between_messages() const noexcept { return reader_.between_messages(); }

    /// A CancelRequest on its way to a server: it is not lent again before that has arrived.
    struct canceling {
        bool running = false;
        bool again = false;     // the client asked once more: the first may have hit a query before
        bool doubtful = false;  // one was given up on its way, and may arrive whenever it likes
        std::function<void()> when_done;
    };
    /// Outlives the link, for who sends them.
    [[nodiscard]] const std::shared_ptr<canceling>& cancels() const noexcept { return cancels_; }

private:
    void on_readable() override { pump(); }
    void on_sent() override;
    void took(char type, std::string_view shown);
    void lost();

    cancel_key key_;
    parameters reported_;
    std::shared_ptr<const tracked_values> tracked_;
    headgate::bulkhead_permit place_;
    trouble told_;
    response_reader reader_;
    std::shared_ptr<canceling> cancels_ = std::make_shared<canceling>();
    borrower* borrower_ = nullptr;
    answer asked_;
    bool failed_ = false;    // what was asked
    std::string last_code_;  // of the last error
    std::string last_text_;
    std::string fatal_code_;  // of the one after which the server hangs up
};

}  // namespace db_proxy

#endif
