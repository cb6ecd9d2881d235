// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_SESSION_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_SESSION_HPP

#include <headgate/headgate.hpp>

#include <boost/asio/cancellation_signal.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "exchange.hpp"
#include "refusal.hpp"
#include "relay.hpp"
#include "server_link.hpp"
#include "settings.hpp"
#include "upstream.hpp"
#include "users.hpp"

namespace db_proxy {

class session;

/// What sessions share, and the proxy that keeps them.
struct session_host {
    virtual ~session_host() = default;
    /// The session has ended.
    virtual void ended(session& s) = 0;
    /// Cancels what `link` runs.
    virtual void cancel(server_pool& pool, server_link& link) = 0;

    headgate::zone* zone = nullptr;
    headgate::rate_limiter* transactions = nullptr;
    const settings* current = nullptr;
    bool draining = false;  ///< A session that is between two transactions ends.
};

/// Who logged in, as a session keeps it.
struct client_identity {
    std::shared_ptr<const user> is;  ///< As they were when they logged in.
    std::string address;
    cancel_key key{};
};

/// A client after its login: its requests go to a server that is lent to it for each transaction, or for good.
class session final : public relay_socket, public borrower, public std::enable_shared_from_this<session> {
public:
    session(session_host& host, server_pool& pool, client_identity who, std::shared_ptr<const tracked_values> wanted);

    /// Takes the client's socket, and what was read of it after the login.
    void start(relay& wires, int descriptor, std::string_view rest);

    /// What is late: a statement, or a client in a transaction; called now and then.
    void check_deadlines(headgate::time_point now);
    /// Ends it with an ErrorResponse when it is between two transactions.
    void end_if_idle(std::string_view code, std::string_view text);
    /// Its query, if it has one at a server, is to be cancelled.
    void cancel_query();

    [[nodiscard]] const client_identity& who() const noexcept { return who_; }
    [[nodiscard]] server_pool& pool() noexcept { return pool_; }
    /// For people: "idle", "waiting", "active" or "in transaction".
    [[nodiscard]] std::string_view state() const noexcept;
    [[nodiscard]] std::uint64_t transactions() const noexcept { return transactions_; }

private:
    enum class phase : std::uint8_t {
        idle,       // without a server
        waiting,    // for a permit or a server
        preparing,  // has a server that takes over the client's parameters
        lent,
        ended,
    };
    // What becomes of the client's next message.
    enum class fate : std::uint8_t {
        forward,  // to the server
        drop,     // answered here, or of no meaning
        replace,  // a Parse that is not possible in this mode: an error in its place
        wait,     // not decided
        ended,    // with the session
    };

    void on_readable() override;
    void on_sent() override;
    void from_server(std::string_view data) override;
    void server_took_all() override;
    [[nodiscard]] bool takes_more() const noexcept override { return !is_sending(); }
    void server_lost(std::string_view fatal, bool between_messages) override;

    void pump();
    [[nodiscard]] bool may_read() const noexcept;
    void resume();
    void handle(std::string_view data);
    fate judge(std::string_view data, const request_head& head);
    fate judge_without_server(std::string_view data, const request_head& head);
    fate judge_next_transaction(std::string_view data, const request_head& head);
    fate refuse(const request_head& head);
    void note_request(std::string_view data, const request_head& head);
    void replace_named_parse();

    fate ask_for_server(bool charged, const request_head& head);
    fate take_server(lent_link link, bool charged);
    void wait_for_permit();
    void wait_for_server(bool charged);
    void prepared(bool succeeded, std::string_view code, std::string_view text);

    [[nodiscard]] bool take_permit();
    void set_refusal(const headgate::error& e);
    void release_if_done();
    void give_back();
    void part();
    void finish();
    void lose_client();
    void end_with(std::string_view code, std::string_view text);
    [[nodiscard]] server_link& server() const noexcept { return **link_; }
    [[nodiscard]] bool transaction_mode() const noexcept { return pool_.database().mode == pool_mode::transaction; }
    [[nodiscard]] bool is_timed() const noexcept;

    session_host& host_;
    server_pool& pool_;
    client_identity who_;
    std::shared_ptr<const tracked_values> wanted_;  // what the client believes, while it has no server
    lent_link link_;
    std::string held_;                  // read, and not handled yet
    std::size_t rest_ = 0;              // of the message that passes, still to come
    std::unique_ptr<refusal> refused_;  // what the next message is answered with
    headgate::time_point since_{};      // the client's or the server's turn, where there is a timeout for it
    boost::asio::cancellation_signal stop_waiting_;
    std::uint64_t transactions_ = 0;
    std::uint32_t completed_ = 0;  // commands at the server, when we last looked
    phase phase_ = phase::idle;
    bool rest_forwarded_ = false;
    bool admitted_ = false;    // the next message begins a transaction that has its permit and its server
    bool permitted_ = false;   // a permit was waited for, and granted
    bool skipping_ = false;    // up to Sync, after a refusal
    bool may_commit_ = false;  // something was forwarded and not answered that may have committed
    bool parsed_ = false;      // since nothing was owed: what is bound then is that
    bool warned_ = false;      // that SET and the like do not stay
};

}  // namespace db_proxy

#endif
