// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_DB_PROXY_STARTUP_HPP
#define HEADGATE_EXAMPLES_DB_PROXY_STARTUP_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "wire.hpp"

namespace db_proxy {

/// The first packet of a client. It has no type, unlike the messages after it.
struct first_packet {
    enum class kind : std::uint8_t {
        incomplete,  ///< More bytes are needed; none was taken.
        malformed,   ///< `problem` says why. Nobody can tell where the next packet would begin.
        encryption,  ///< SSLRequest or GSSENCRequest. The answer is one letter. Then another first packet follows.
        cancel,      ///< CancelRequest. The connection ends here.
        start,       ///< StartupMessage.
    };

    kind what = kind::incomplete;
    std::string_view problem{};                  ///< For `malformed`: the text for the client.
    cancel_key key{};                            ///< For `cancel`.
    parameters values{};                         ///< For `start`: in the client's order, without the `_pq_.` options.
    std::uint16_t minor = 0;                     ///< For `start`: the minor version. The proxy negotiates it down to 0.
    std::vector<std::string> unknown_options{};  ///< For `start`: all `_pq_.` options.
};

/// The same as PostgreSQL's MAX_STARTUP_PACKET_LENGTH.
inline constexpr std::size_t max_first_packet = 10'000;

/// Takes the first packet off the front of `input`.
[[nodiscard]] first_packet take_first_packet(std::string_view& input);

/// NegotiateProtocolVersion: the proxy speaks 3.0, and knows none of the options.
void append_negotiation(std::string& out, const std::vector<std::string>& unknown_options);

/// The parameters that belong to a client. The proxy sets them on each server that it lends to the client.
inline constexpr std::array<std::string_view, 6> tracked_parameters{
    "client_encoding", "DateStyle", "TimeZone", "IntervalStyle", "standard_conforming_strings", "application_name"};

/// The index of `name` in `tracked_parameters`, without regard to case. If the name is not there: the array's size.
[[nodiscard]] std::size_t tracked_index(std::string_view name) noexcept;

/// What the proxy does with a start-up parameter that it does not track.
enum class parameter_policy : std::uint8_t {
    reject,  ///< The client gets an error that names the parameter.
    ignore,  ///< The proxy behaves as if the client had not sent it.
};

/// The policies of one database.
struct parameter_policies {
    parameter_policy extra_float_digits = parameter_policy::ignore;
    parameter_policy options = parameter_policy::reject;
    parameter_policy search_path = parameter_policy::reject;
    parameter_policy unknown = parameter_policy::reject;

    friend bool operator==(const parameter_policies&, const parameter_policies&) = default;
};

/// The values of `tracked_parameters`, in the same order.
using tracked_values = std::array<std::string, tracked_parameters.size()>;

/// The parameters in a client's StartupMessage.
struct start_parameters {
    tracked_values tracked{};         ///< An empty value: the client did not send it.
    std::string problem{};            ///< The text for a client that is refused; empty: there is no problem.
    std::string_view code = "08P01";  ///< The problem's SQLSTATE.
};

/// Reads the parameters of a StartupMessage, and the parameters inside of `options`. Leaves out user and database.
[[nodiscard]] start_parameters read_parameters(const parameters& values, const parameter_policies& policies);

}  // namespace db_proxy

#endif
