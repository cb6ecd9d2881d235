// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "commit_watch.hpp"

#include <algorithm>

namespace db_proxy {

namespace {

std::string_view up_to_zero(std::string_view text) noexcept {
    return text.substr(0, text.find('\0'));
}
std::string_view behind_zero(std::string_view text) noexcept {
    const std::size_t zero = text.find('\0');
    return zero == std::string_view::npos ? std::string_view() : text.substr(zero + 1);
}

}  // namespace

void commit_watch::request(const request_head& head, std::string_view payload, char status) {
    if (state_ != state::doubt && may_commit(head, payload, status)) {
        state_ = state::doubt;
    }
    if (state_ == state::nothing && head.type == 'P') {
        state_ = state::parsed;
    }
}

bool commit_watch::may_commit(const request_head& head, std::string_view payload, char status) const {
    const bool whole = payload.size() == head.payload;
    // A statement outside of a transaction commits by itself.
    const bool outside = status == 'I';
    switch (head.type) {
        case 'Q': return outside || may_end_transaction(up_to_zero(payload), whole);
        case 'P': return may_end_transaction(up_to_zero(behind_zero(payload)), whole);
        // The proxy no longer has the text of a statement that was parsed earlier. The second field is the statement's
        // name.
        case 'B': return state_ != state::parsed || !behind_zero(payload).starts_with('\0');
        case 'E':
        case 'F': return outside || state_ != state::parsed;
        default: return false;
    }
}

bool may_end_transaction(std::string_view sql, bool whole) noexcept {
    sql.remove_prefix(std::min(sql.find_first_not_of(" \t\r\n;"), sql.size()));
    if (!whole || sql.starts_with("--") || sql.starts_with("/*")) {
        return true;
    }
    const std::size_t next = sql.find_first_not_of(" \t\r\n;", std::min(sql.find(';'), sql.size()));
    return next != std::string_view::npos || begins_like(sql, "commit") || begins_like(sql, "end") ||
           begins_like(sql, "prepare");
}

}  // namespace db_proxy
