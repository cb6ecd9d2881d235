// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_SERVER_LINK_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_SERVER_LINK_HPP

#include <headgate/bulkhead.hpp>
#include <headgate/time.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "exchange.hpp"
#include "relay.hpp"
#include "response_reader.hpp"
#include "startup.hpp"

namespace db_proxy {

/// An error as a server reports it, or as the proxy reports it in the server's place.
struct server_error {
    std::string code;  ///< SQLSTATE
    std::string text;
};

/// The client that a server is lent to.
class borrower {
public:
    virtual ~borrower() = default;
    /// Takes bytes from the server, wherever they are cut. `rules` has already seen the messages that begin in them.
    virtual void from_server(std::string_view data) = 0;
    /// The server's socket has taken all the bytes that had to wait.
    virtual void server_took_all() = 0;
    /// Whether the borrower takes more bytes now.
    [[nodiscard]] virtual bool takes_more() const noexcept = 0;
    /// The connection is lost. `fatal` is the SQLSTATE of the error with which the server ended it, empty if there was
    /// no error. `between_messages` tells whether the borrower got the whole last message.
    virtual void server_lost(std::string_view fatal, bool between_messages) = 0;
};

/// A connection to a server after its login. The pools lend it.
class server_link final : public relay_socket {
public:
    /// Called when an error says that the server is going away, also while the link is idle. The code is empty when the
    /// connection was lost without an error.
    using trouble = std::function<void(std::string_view sqlstate)>;

    server_link(cancel_key key, parameters reported, headgate::bulkhead_permit place, trouble told);

    /// Takes a socket that is logged in, and `rest`: the bytes from it that follow the login.
    void adopt(relay& wires, int descriptor, std::string_view rest);

    /// Closes the connection, and gives back its place among the server's connections.
    void end() noexcept;

    /// Lends the server to a borrower. Null takes it back.
    void lend(borrower* to) noexcept {
        borrower_ = to;
        asked_.reset();
        fatal_code_.clear();
    }

    /// The state between the borrower and the server. The borrower calls `request`.
    exchange rules;
    /// Gets the error when the proxy's own query has failed, null when it has succeeded.
    using answer = std::function<void(const server_error* failed)>;
    /// Sends the server a query of the proxy itself. The borrower sees neither the query nor its answer.
    void ask(std::string_view sql, answer done);

    /// Reads the bytes that have arrived, as long as the borrower takes more.
    void pump();

    [[nodiscard]] bool is_alive() const noexcept { return is_open(); }
    [[nodiscard]] const cancel_key& key() const noexcept { return key_; }
    /// Never null. The object never changes: when the server reports a change, a new object replaces it.
    [[nodiscard]] const std::shared_ptr<const tracked_values>& tracked() const noexcept { return tracked_; }
    /// All parameters that the server reported at the login, such as its version.
    [[nodiscard]] const parameters& reported() const noexcept { return reported_; }

    /// A command has left state that the next borrower must not find.
    bool is_dirty = false;
    /// Whether the last byte from the server was the end of a message.
    [[nodiscard]] bool is_between_messages() const noexcept { return reader_.between_messages(); }

    /// The CancelRequests for this connection. The pool does not lend the server again before they have arrived.
    struct canceling {
        enum class stage : std::uint8_t {
            none,
            on_its_way,
            asked_again,  // the client cancels another query: the first request may have hit the previous query
        };
        stage now = stage::none;
        bool doubtful = false;  // the proxy gave up on a request, which may still arrive at any time
        std::function<void()> when_done;
    };
    /// May outlive the link, because the coroutine that sends the requests shares it.
    [[nodiscard]] const std::shared_ptr<canceling>& cancels() const noexcept { return cancels_; }
    [[nodiscard]] bool is_canceling() const noexcept { return cancels_->now != canceling::stage::none; }

private:
    /// A query of the proxy itself that the server has not answered completely.
    struct question {
        answer done;
        std::optional<server_error> failed;
    };

    void on_readable() override { pump(); }
    void on_sent() override;
    void took(char type, std::string_view shown);
    void took_error(std::string_view shown);
    void took_parameter(std::string_view shown);
    void answer_if_settled();
    void lost();

    cancel_key key_;
    parameters reported_;
    std::shared_ptr<const tracked_values> tracked_;
    headgate::bulkhead_permit place_;
    trouble told_;
    response_reader reader_;
    std::shared_ptr<canceling> cancels_ = std::make_shared<canceling>();
    borrower* borrower_ = nullptr;
    std::optional<question> asked_;
    std::string fatal_code_;  // of the error after which the server closes the connection
};

}  // namespace db_proxy

#endif
