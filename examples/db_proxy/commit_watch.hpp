// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_COMMIT_WATCH_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_COMMIT_WATCH_HPP

#include <cstdint>
#include <string_view>

#include "request_reader.hpp"

namespace db_proxy {

/// Whether the requests that the server has not answered may have committed something. When the server is lost, the
/// client learns from it whether it may simply run its transaction again. In doubt the answer is yes.
class commit_watch {
public:
    /// The message goes to the server. `payload` is the part of it that has come. `status` is the transaction's
    /// status before the message, as the last ReadyForQuery had it.
    void request(const request_head& head, std::string_view payload, char status);
    /// The server has answered everything.
    void settled() noexcept { state_ = state::nothing; }

    [[nodiscard]] bool may_have_committed() const noexcept { return state_ == state::doubt; }

private:
    enum class state : std::uint8_t {
        nothing,  // no request is unanswered that matters
        parsed,   // the text of the unnamed statement is known, and it ends no transaction
        doubt,    // something that may commit is unanswered
    };

    [[nodiscard]] bool may_commit(const request_head& head, std::string_view payload, char status) const;

    state state_ = state::nothing;
};

/// Whether SQL may end a transaction, as far as its text tells. In doubt it may. `whole` says that no part of the text
/// is missing.
[[nodiscard]] bool may_end_transaction(std::string_view sql, bool whole) noexcept;

}  // namespace db_proxy

#endif
