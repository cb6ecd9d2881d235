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

/// Follows the messages of a server across any cut of its bytes.
class response_reader {
public:
    /// Calls `take(type, shown)` once for each message, in order. Of the types that the relay looks into, `shown` is
    /// the payload, or its first `max_shown` bytes. False when the bytes cannot be PostgreSQL's protocol.
    template <class Take>
    bool feed(std::string_view data, Take&& take) {
        while (!data.empty()) {
            if (rest_ > 0) {
                const std::size_t here = std::min(rest_, data.size());
                data.remove_prefix(here);
                rest_ -= here;
                continue;
            }
            std::string_view head = data;
            if (!held_.empty()) {
                const std::size_t missing = needed(held_) - held_.size();
                held_ += data.substr(0, missing);
                data.remove_prefix(std::min(missing, data.size()));
                head = held_;
            }
            const std::size_t need = needed(head);
            if (need == 0) {
                return false;
            }
            if (head.size() < need || need < header_size) {
                if (held_.empty()) {
                    held_ = data;
                    return true;
                }
                continue;
            }
            take(head.front(), head.substr(header_size, need - header_size));
            rest_ = 1 + read_uint32(head.substr(1)) - need;
            if (held_.empty()) {
                data.remove_prefix(need);
            } else {
                held_.clear();
            }
        }
        return true;
    }

    /// Whether all messages that began have ended.
    [[nodiscard]] bool between_messages() const noexcept { return held_.empty() && rest_ == 0; }

    /// The longest part of a message that is shown: more than any parameter's value, and any error's code.
    static constexpr std::size_t max_shown = 1'024;

private:
    /// How many bytes of a message that begins so are held until they are all there: its header, and what is shown.
    /// Zero: no message begins so.
    static std::size_t needed(std::string_view head) noexcept;

    std::string held_;
    std::size_t rest_ = 0;
};

/// The beginning of a client's message.
struct request_head {
    char type = 0;
    std::size_t payload = 0;
    bool named = false;  ///< Of Parse: it names the statement.
};
/// What is at the front of `data`, without taking it. A Parse is whole once its name is known to be empty or not.
framing look_at_request(std::string_view data, request_head& out) noexcept;

/// What the client's next messages, up to Sync, Query or Flush, mean for its limits.
enum class segment_kind : std::uint8_t {
    incomplete,  ///< More bytes decide.
    free,        ///< Parse, Describe and the like, and their Sync: nothing is executed.
    charged,     ///< A Query, an Execute or a FunctionCall; or a Flush, which waits for answers in mid-segment.
};
/// Judges what `data` begins with, at the start of a message.
[[nodiscard]] segment_kind classify_segment(std::string_view data) noexcept;

/// Whether a message may come from a client after its login.
[[nodiscard]] bool is_request(char type) noexcept;

/// Whether SQL may end a transaction, as far as its text tells: in doubt it may. `whole`: nothing of it is missing.
[[nodiscard]] bool may_end_transaction(std::string_view sql, bool whole) noexcept;

/// Whether a command tag is that of a command whose effect outlives its transaction: SET, LISTEN, PREPARE, DECLARE.
[[nodiscard]] bool leaves_session_state(std::string_view tag) noexcept;

}  // namespace db_proxy

#endif
