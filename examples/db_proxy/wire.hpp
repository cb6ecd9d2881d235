// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_WIRE_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_WIRE_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// The messages of PostgreSQL's frontend/backend protocol 3, as bytes: PostgreSQL documentation, chapter "Message
/// Formats". Without I/O.
namespace db_proxy {

/// A message begins with its type and its length. The length counts itself.
inline constexpr std::size_t header_size = 5;

/// A first packet with this number in place of a version is a CancelRequest.
inline constexpr std::uint32_t cancel_code = 80'877'102;

/// A whole message without its header.
struct message {
    char type;
    std::string_view payload;
};

/// Takes fields off the front of a payload. A field is empty when the payload ends too early.
class field_reader {
public:
    explicit field_reader(std::string_view payload) noexcept : rest_(payload) {}

    std::optional<std::int32_t> int32() noexcept;
    /// The text up to a NUL. The NUL is taken too.
    std::optional<std::string_view> text() noexcept;
    /// The bytes that are left.
    [[nodiscard]] std::string_view rest() const noexcept { return rest_; }

private:
    std::string_view rest_;
};

/// The big-endian number in the first four bytes. Precondition: there are four.
[[nodiscard]] std::uint32_t read_uint32(std::string_view bytes) noexcept;
/// Appends the four bytes of a number, big-endian.
void append_uint32(std::string& out, std::uint32_t value);

/// What a reader found at the front of its input.
enum class framing : std::uint8_t {
    whole,       ///< A message.
    incomplete,  ///< The beginning of a message.
    malformed,   ///< A length below four, or over the limit.
};
/// Takes a message of at most `limit` bytes of payload off the front of `input`.
framing take_message(std::string_view& input, std::size_t limit, message& out) noexcept;

/// Appends one message. Its payload is the parts in a row.
void append_message(std::string& out, char type, std::initializer_list<std::string_view> parts);

/// The content of an ErrorResponse or a NoticeResponse.
struct report {
    std::string_view severity;  ///< "ERROR", "FATAL", "WARNING"
    std::string_view code;      ///< SQLSTATE, five characters
    std::string_view text;
    std::string_view hint{};
};
void append_error(std::string& out, const report& what);
void append_notice(std::string& out, const report& what);
/// Reads the fields of an ErrorResponse that the proxy needs. A missing field is empty.
[[nodiscard]] report read_report(std::string_view payload) noexcept;

void append_ready(std::string& out, char status);
void append_parameter_status(std::string& out, std::string_view name, std::string_view value);
void append_query(std::string& out, std::string_view sql);

/// Appends a table in the form of an answer to a simple query: RowDescription, DataRows, CommandComplete. All columns
/// are text.
void append_table(std::string& out, const std::vector<std::string_view>& columns,
                  const std::vector<std::vector<std::string>>& rows);

/// The key that a CancelRequest carries. A server gives the proxy a key. The proxy gives its client another key.
struct cancel_key {
    std::uint32_t process = 0;
    std::uint32_t secret = 0;

    friend bool operator==(const cancel_key&, const cancel_key&) = default;
};
/// A CancelRequest. It is sent alone on a connection of its own.
[[nodiscard]] std::string cancel_request(const cancel_key& key);

/// Whether `text` begins with `beginning`, without regard to the case of ASCII letters.
[[nodiscard]] bool begins_like(std::string_view text, std::string_view beginning) noexcept;

/// Names and their values, as start-up packets and ParameterStatus carry them.
using parameters = std::vector<std::pair<std::string, std::string>>;

}  // namespace db_proxy

#endif
