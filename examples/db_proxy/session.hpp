// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_SESSION_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_SESSION_HPP

#include <headgate/headgate.hpp>

#include <boost/asio/cancellation_signal.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "commit_watch.hpp"
#include "exchange.hpp"
#include "refusal.hpp"
#include "relay.hpp"
#include "request_reader.hpp"
#include "server_link.hpp"
#include "server_pool.hpp"
#include "settings.hpp"
#include "users.hpp"

namespace db_proxy {

class session;

/// Whether the proxy serves, drains, or has stopped.
enum class service : std::uint8_t {
    open,
    draining,  ///< No new clients; a session ends as soon as it is between two transactions.
    stopped,   ///< The drain is over.
};

/// Everything that the sessions share. The proxy implements this interface and owns the sessions.
struct session_host {
    virtual ~session_host() = default;
    /// Called when the session has ended. The host removes it.
    virtual void ended(session& s) = 0;
    /// Sends the server a CancelRequest for the query that `link` runs.
    virtual void cancel(server_pool& pool, server_link& link) = 0;

    headgate::zone* zone = nullptr;
    headgate::rate_limiter* transactions = nullptr;
    const settings* current = nullptr;
    service stage = service::open;
};

/// The client that logged in.
struct client_identity {
    user_ptr is;  ///< The user as configured at the login: a reload does not change it.
    std::string address;
    cancel_key key{};
};

/// A client after its login. Its requests go to a server that the pool lends for one transaction or, in session mode,
/// until the client leaves.
class session final : public relay_socket, public borrower, public std::enable_shared_from_this<session> {
public:
    session(session_host& host, server_pool& pool, client_identity who, std::shared_ptr<const tracked_values> wanted);

    /// Takes the client's socket, and `rest`: the bytes from it that follow the login.
    void start(relay& wires, int descriptor, std::string_view rest);

    /// Cancels a late statement. Ends the session when its transaction idles too long. The proxy calls it periodically.
    void check_deadlines(headgate::time_point now);
    /// Ends the session with an ErrorResponse when it is between two transactions.
    void end_if_idle(std::string_view code, std::string_view text);
    /// Cancels the client's query, or its wait for a permit or a server.
    void cancel_query();

    [[nodiscard]] const client_identity& who() const noexcept { return who_; }
    [[nodiscard]] server_pool& pool() noexcept { return pool_; }
    /// For the console: "idle", "waiting", "active" or "in transaction".
    [[nodiscard]] std::string_view state() const noexcept;
    [[nodiscard]] std::uint64_t transactions() const noexcept { return transactions_; }

private:
    enum class phase : std::uint8_t {
        idle,       // it has no server
        waiting,    // for a permit or a server
        preparing,  // the proxy sets the client's parameters on the lent server
        admitted,   // permit and server are there; the message that begins the transaction is forwarded next
        lent,       // requests and answers pass
        ended,
    };
    // What `take_server` did with a server that the pool has lent.
    enum class takeover : std::uint8_t {
        ready,      // the client's message can go to the server
        preparing,  // the proxy first sets the client's parameters on the server
        refused,    // there was no permit: the pool has the server again, and `next_request_` has the reason
    };

    // How the session treats the client's next message. It judges the message, or sends the refusal that it decided
    // while it held the message, or skips the message, because the segment up to the Sync was refused.
    struct judgement {};
    using held_refusal = std::unique_ptr<const refusal>;
    struct skip_to_sync {};

    void on_readable() override;
    void on_sent() override;
    void from_server(std::string_view data) override;
    void server_took_all() override;
    [[nodiscard]] bool takes_more() const noexcept override { return !is_sending(); }
    void server_lost(std::string_view fatal, bool between_messages) override;

    // Reading the client.
    void pump();
    [[nodiscard]] bool may_read() const noexcept;
    void resume();
    void handle(std::string_view data);

    // Deciding about one message.
    ruling judge(std::string_view data, const request_head& head);
    fate judge_without_server(std::string_view data, const request_head& head);
    fate judge_next_transaction(std::string_view data, const request_head& head);
    [[nodiscard]] bool begins_next_transaction(const request_head& head) const noexcept;
    ruling forward(std::string_view data, const request_head& head);
    fate refuse(const request_head& head);
    fate skip(const request_head& head);
    void send_ready();

    // Getting a permit and a server.
    fate ask_for_server(bool charged, const request_head& head);
    fate check_out(bool charged, const request_head& head);
    takeover take_server(lent_link link, bool charged);
    void wait_for_permit();
    void permit_came(const headgate::result<headgate::grant>& permit, phase before);
    void wait_for_server(bool charged);
    void server_came(headgate::result<lent_link> lent, bool charged);
    void prepared(const server_error* failed);
    [[nodiscard]] headgate::result<headgate::grant> take_permit();
    void set_refusal(const headgate::error& e);

    // Giving the server back, and the end.
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
    std::shared_ptr<const tracked_values> wanted_;  // the parameter values that the client expects, kept between loans
    lent_link link_;
    request_reader requests_;
    std::variant<judgement, held_refusal, skip_to_sync> next_request_;
    std::optional<headgate::grant> permit_;  // granted after a wait, and not used yet
    headgate::time_point since_{};  // when the client's or the server's turn began, if there is a timeout for it
    boost::asio::cancellation_signal stop_waiting_;
    std::uint64_t transactions_ = 0;
    std::uint32_t completed_ = 0;  // the server's completed commands when the session last looked
    phase phase_ = phase::idle;
    commit_watch commits_;
    bool warned_ = false;  // the client was warned that SET and the like do not outlive a transaction
};

}  // namespace db_proxy

#endif
