// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_REQUEST_READER_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_REQUEST_READER_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "wire.hpp"

namespace db_proxy {

/// The beginning of a client's message.
struct request_head {
    char type = 0;
    std::size_t payload = 0;
    bool named = false;  ///< Only for Parse: whether it names its statement.
};
/// Reads the head of the message at the front of `data`, and leaves the message there. The head of a Parse includes the
/// first byte of the statement's name, because this byte tells whether the statement has a name.
framing look_at_request(std::string_view data, request_head& out) noexcept;

/// Whether a client may send a message of this type after its login.
[[nodiscard]] bool is_request(char type) noexcept;

/// Whether the client's next segment costs a permit. A segment ends with a Sync, a Query or a Flush.
enum class segment_kind : std::uint8_t {
    incomplete,  ///< More bytes are needed to tell.
    free,        ///< Parse, Describe and the like, and their Sync: the server executes nothing.
    charged,     ///< A Query, an Execute or a FunctionCall; or a Flush, after which the client waits for answers.
};
/// Classifies the segment at the front of `data`. Precondition: `data` begins with a message.
[[nodiscard]] segment_kind classify_segment(std::string_view data) noexcept;

/// What happens to a client's message.
enum class fate : std::uint8_t {
    forward,  ///< It goes to the server.
    drop,     ///< It does not go to the server: the proxy has answered it, or it has no meaning.
    hold,     ///< Undecided. The reader keeps it and everything behind it, and asks again at the next `feed`.
    stop,     ///< The session has ended. The reader is not used again.
};

/// The decision about one message.
struct ruling {
    fate what;
    std::string_view instead{};  ///< Only with `drop`: the bytes that go to the server in place of the message.
};

/// Finds the messages in a client's bytes, wherever the bytes are cut, and lets the session decide about each message.
/// The twin of `response_reader`. A client's message goes to the server only after a decision, so this reader keeps the
/// undecided bytes.
class request_reader {
public:
    /// How a `feed` ended.
    enum class progress : std::uint8_t {
        all,         ///< Every byte was forwarded, dropped or held.
        terminated,  ///< The client sent Terminate.
        malformed,   ///< The bytes are not PostgreSQL's protocol.
        stopped,     ///< `judge` said `fate::stop`.
    };

    /// Takes the held bytes, then `data`. Calls `judge(bytes, head)` once for each message. `bytes` begins with the
    /// message and includes all the bytes known to follow it. Calls `forward(bytes)` for each run of bytes that goes to
    /// the server. Neighbouring messages share a call, so that they leave with one send.
    template <class Judge, class Forward>
    progress feed(std::string_view data, Judge&& judge, Forward&& forward) {
        std::string joined;
        if (!held_.empty()) {
            held_ += data;
            joined = std::exchange(held_, {});
            data = joined;
        }
        std::size_t at = 0;         // all bytes before it are decided
        std::size_t run_begin = 0;  // the bytes from here to `at` wait to be forwarded
        const auto flush = [&] {
            if (run_begin < at) {
                forward(data.substr(run_begin, at - run_begin));
            }
            run_begin = at;
        };
        while (at < data.size()) {
            if (rest_.size > 0) {
                at += take_rest(data.size() - at);
                run_begin = rest_.forwarded ? run_begin : at;
                continue;
            }
            request_head head;
            const std::string_view here = data.substr(at);
            const framing begun = look_at_request(here, head);
            if (begun == framing::incomplete) {
                break;
            }
            if (begun == framing::malformed || !is_request(head.type)) {
                flush();
                return progress::malformed;
            }
            if (head.type == 'X') {
                flush();
                return progress::terminated;
            }
            const ruling decision = judge(here, head);
            if (decision.what == fate::stop) {
                return progress::stopped;
            }
            if (decision.what == fate::hold) {
                break;
            }
            if (decision.what == fate::drop) {
                flush();
            }
            if (!decision.instead.empty()) {
                forward(decision.instead);
            }
            rest_ = {header_size + head.payload, decision.what == fate::forward};
        }
        flush();
        held_ = data.substr(at);
        return progress::all;
    }

    /// How many bytes wait for a decision.
    [[nodiscard]] std::size_t held() const noexcept { return held_.size(); }
    /// Whether the end of a decided message is still missing.
    [[nodiscard]] bool is_inside_message() const noexcept { return rest_.size > 0; }
    /// Whether the server has the beginning of a message and not its end.
    [[nodiscard]] bool is_inside_forwarded() const noexcept { return rest_.size > 0 && rest_.forwarded; }

private:
    /// The part of a decided message that is still to come.
    struct remainder {
        std::size_t size = 0;
        bool forwarded = false;
    };

    std::size_t take_rest(std::size_t available) noexcept {
        const std::size_t here = std::min(rest_.size, available);
        rest_.size -= here;
        return here;
    }

    std::string held_;
    remainder rest_;
};

}  // namespace db_proxy

#endif
