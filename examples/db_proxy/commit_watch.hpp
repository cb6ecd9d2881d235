// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_COMMIT_WATCH_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_COMMIT_WATCH_HPP

#include <cstdint>
#include <string_view>

#include "request_reader.hpp"

namespace db_proxy {

/// Tells whether the unanswered requests may have committed something. When the server is lost, this tells the client
/// whether it can simply run its transaction again. If in doubt, the answer is yes.
class commit_watch {
public:
    /// Records a message that goes to the server. `payload` is the part of its payload that has arrived. `status` is
    /// the transaction status before the message, from the last ReadyForQuery.
    void request(const request_head& head, std::string_view payload, char status);
    /// The server has answered everything.
    void settled() noexcept { state_ = state::nothing; }

    [[nodiscard]] bool may_have_committed() const noexcept { return state_ == state::doubt; }

private:
    enum class state : std::uint8_t {
        nothing,  // no unanswered request matters
        parsed,   // the text of the unnamed statement is known, and this text ends no transaction
        doubt,    // an unanswered request may have committed something
    };

    [[nodiscard]] bool may_commit(const request_head& head, std::string_view payload, char status) const;

    state state_ = state::nothing;
};

/// Whether this SQL text may end a transaction. If in doubt, returns true. `whole`: no part of the text is missing.
[[nodiscard]] bool may_end_transaction(std::string_view sql, bool whole) noexcept;

}  // namespace db_proxy

#endif
