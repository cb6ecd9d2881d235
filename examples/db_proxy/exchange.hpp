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

/// The rules of the relay, without I/O: what the messages that pass say about where a session stands.
namespace db_proxy {

/// What a client and the server that is lent to it owe each other: the requests that are not answered, and whether a
/// transaction is open. From it follows when a server can be lent to somebody else.
///
/// PostgreSQL documentation, "Message Flow": Query, FunctionCall and Sync are each answered by one ReadyForQuery, but
/// for those that the server throws away: after an error in the extended protocol all up to Sync, and Sync itself while
/// it reads COPY data.
class exchange {
public:
    /// The client's message of this type goes to the server.
    void request(char type);
    /// The server sent a message of this type; `status` is that of a ReadyForQuery.
    void response(char type, char status = 0);

    /// Nothing is owed, and no transaction is open.
    [[nodiscard]] bool idle() const noexcept { return status_ == 'I' && settled(); }
    /// Nothing is owed: the server waits for the client.
    [[nodiscard]] bool settled() const noexcept { return pending() == 0 && !copying_; }
    /// The server has answered all that it can before it hears more: nothing is owed, or a Flush has asked for all of
    /// it.
    [[nodiscard]] bool server_waits() const noexcept;
    /// Grows when a command, or a run of them, has ended, well or not.
    [[nodiscard]] std::uint32_t completed() const noexcept { return completed_; }
    /// As the last ReadyForQuery had it: 'I', 'T' in a transaction, 'E' in one that has failed.
    [[nodiscard]] char status() const noexcept { return status_; }
    /// A Sync may have been thrown away or not, which nobody can tell: COPY failed while the client had sent one. Such
    /// a server is not lent again.
    [[nodiscard]] bool doubtful() const noexcept { return doubtful_; }
    /// Whether the client's next message begins something: no message of the extended protocol waits for its Sync.
    [[nodiscard]] bool at_start() const noexcept { return (pending() == 0 || queue_.back() != extended) && !skipping_; }
    /// How many requests, and runs of extended messages, are not answered.
    [[nodiscard]] std::size_t pending() const noexcept { return queue_.size() - head_; }

private:
    // What the queue holds, in the order in which the server reads it.
    static constexpr char query = 'Q';     // answered by a ReadyForQuery; FunctionCall too
    static constexpr char sync = 'S';      // answered by a ReadyForQuery
    static constexpr char extended = 'x';  // messages of the extended protocol, any number
    static constexpr char copy_end = 'c';  // CopyDone or CopyFail that came before we knew of the COPY

    void push(char what);
    void pop_through_ready();
    void begin_copy();
    void fail();
    void complete();

    std::string queue_;
    std::size_t head_ = 0;
    std::size_t executes_ = 0;  // of the last run of extended messages, not answered
    std::uint32_t completed_ = 0;
    char status_ = 'I';
    bool copying_ = false;        // the server reads COPY data
    bool client_copies_ = false;  // and the client has not said that it ends
    bool sync_in_copy_ = false;
    bool skipping_ = false;  // the server throws everything away up to a Sync that was not sent yet
    bool doubtful_ = false;
};

/// Whether a command tag is that of a command whose effect outlives its transaction: SET, LISTEN, PREPARE, DECLARE.
[[nodiscard]] bool leaves_session_state(std::string_view tag) noexcept;

}  // namespace db_proxy

#endif
