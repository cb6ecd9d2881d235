// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_EXCHANGE_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_EXCHANGE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "wire.hpp"

/// The rules of the relay, without I/O: they derive the state of a session from the messages that pass.
namespace db_proxy {

/// The state between a client and the server that is lent to it: unanswered requests, and an open transaction. It tells
/// when the pool can lend the server to another client.
///
/// PostgreSQL documentation, "Message Flow": the server answers each Query, FunctionCall and Sync with one
/// ReadyForQuery. It drops some messages without an answer. After an error in the extended protocol, it drops
/// everything up to the Sync. While it reads COPY data, it drops even the Sync.
class exchange {
public:
    /// A message of this type goes from the client to the server.
    void request(char type);
    /// The server sent a message of this type. `status` is what a ReadyForQuery carries.
    void response(char type, char status = 0);

    /// No answer is missing, and no transaction is open.
    [[nodiscard]] bool idle() const noexcept { return status_ == 'I' && settled(); }
    /// No answer is missing: the server waits for the client.
    [[nodiscard]] bool settled() const noexcept { return pending() == 0 && copy_ == copy::none; }
    /// The server has nothing to do until it gets another message. Either it owes no answer, or it owes only the
    /// ReadyForQuery of a segment that ended with a Flush.
    [[nodiscard]] bool server_waits() const noexcept;
    /// Grows whenever a command, or a segment of commands, has ended with success or failure.
    [[nodiscard]] std::uint32_t completed() const noexcept { return completed_; }
    /// The status in the last ReadyForQuery: 'I' outside of a transaction, 'T' inside, 'E' inside one that has failed.
    [[nodiscard]] char status() const noexcept { return status_; }
    /// The proxy cannot tell which messages the server dropped. Example: a COPY failed after the client had sent a
    /// Sync. The pool does not lend such a server again.
    [[nodiscard]] bool doubtful() const noexcept { return doubtful_; }
    /// Whether the client's next message begins a segment: no message of the extended protocol waits for its Sync.
    [[nodiscard]] bool at_start() const noexcept { return (pending() == 0 || queue_.back() != extended) && !skipping_; }
    /// How many requests have no answer. Messages of the extended protocol in a row count as one.
    [[nodiscard]] std::size_t pending() const noexcept { return queue_.size() - head_; }

private:
    // The elements of the queue, in the order in which the server reads the messages.
    static constexpr char query = 'Q';     // Query or FunctionCall: a ReadyForQuery answers it
    static constexpr char sync = 'S';      // a ReadyForQuery answers it
    static constexpr char extended = 'x';  // any number of messages of the extended protocol
    static constexpr char copy_end = 'c';  // CopyDone or CopyFail, sent before the server has begun its COPY

    enum class copy : std::uint8_t {
        none,
        receiving,  // the server reads COPY data, and the client sends it
        ended,      // the client has sent the end of the data, and the server has not answered
    };

    void push(char what);
    void pop_through_ready();
    void begin_copy();
    void fail();
    void complete();

    std::string queue_;
    std::size_t head_ = 0;
    std::size_t executes_ = 0;  // the Executes without an answer in the last run of extended messages
    std::uint32_t completed_ = 0;
    char status_ = 'I';
    copy copy_ = copy::none;
    bool sync_in_copy_ = false;  // the server drops this Sync, unless the COPY fails before the server reads it
    bool skipping_ = false;      // after an error, the server drops every message until the client sends a Sync
    bool doubtful_ = false;
};

/// Whether a command tag belongs to a command whose effect outlives its transaction: SET, LISTEN, PREPARE, DECLARE.
[[nodiscard]] bool leaves_session_state(std::string_view tag) noexcept;

}  // namespace db_proxy

#endif
