// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_RESPONSE_READER_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_RESPONSE_READER_HPP

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "wire.hpp"

namespace db_proxy {

/// Finds the messages in a server's bytes, wherever the bytes are cut. The twin of `request_reader`. All bytes of a
/// server go to the client, so this reader only looks at them and keeps no copy of a message.
class response_reader {
public:
    /// Calls `take(type, shown)` once for each message, in order. For the types that the relay looks into, `shown` is
    /// the payload or its first `max_shown` bytes. For all other types, `shown` is empty. Returns false when the bytes
    /// cannot be PostgreSQL's protocol.
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

    /// Whether the last byte was the end of a message.
    [[nodiscard]] bool between_messages() const noexcept { return held_.empty() && rest_ == 0; }

    /// The maximum size of `shown`: longer than any parameter's value and any error's code.
    static constexpr std::size_t max_shown = 1'024;

private:
    /// `head` is the beginning of a message. Returns how many bytes of the message `take` needs: its header and the
    /// part that is shown. Zero when no message begins like this.
    static std::size_t needed(std::string_view head) noexcept;

    std::string held_;      // the beginning of a message, while it is shorter than `needed`
    std::size_t rest_ = 0;  // bytes of a taken message that are still to come
};

}  // namespace db_proxy

#endif
