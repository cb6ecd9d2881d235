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

/// The first thing that a client says, before any message has a type.
struct first_packet {
    enum class kind : std::uint8_t {
        incomplete,  ///< Read more; nothing was taken.
        malformed,   ///< `problem` says why; there is no telling where the next packet begins.
        encryption,  ///< SSLRequest or GSSENCRequest: answered with one letter, and another packet follows.
        cancel,      ///< CancelRequest; the connection ends here.
        start,       ///< StartupMessage.
    };

    kind what = kind::incomplete;
    std::string_view problem{};                  ///< What a client is told.
    cancel_key key{};                            ///< Of a cancel.
    parameters values{};                         ///< Of a start: as they came, each name once, without `_pq_.` options.
    std::uint16_t minor = 0;                     ///< Of a start: above zero is negotiated down.
    std::vector<std::string> unknown_options{};  ///< Of a start: its `_pq_.` options, all of them.
};

/// As PostgreSQL's MAX_STARTUP_PACKET_LENGTH.
inline constexpr std::size_t max_first_packet = 10'000;

/// Takes the first packet off the front of `input`.
[[nodiscard]] first_packet take_first_packet(std::string_view& input);

/// NegotiateProtocolVersion: what we speak is 3.0, and none of the options.
void append_negotiation(std::string& out, const std::vector<std::string>& unknown_options);

/// What ParameterStatus tells clients about themselves: applied to each server that is lent to them.
inline constexpr std::array<std::string_view, 6> tracked_parameters{
    "client_encoding", "DateStyle", "TimeZone", "IntervalStyle", "standard_conforming_strings", "application_name"};

/// The place of `name` in `tracked_parameters`, in any case; their number when it is none of them.
[[nodiscard]] std::size_t tracked_index(std::string_view name) noexcept;

/// What is done with a start-up parameter that is none of the tracked ones.
enum class parameter_policy : std::uint8_t {
    reject,  ///< The client gets an error that names it.
    ignore,  ///< As if it had not been sent.
};

/// The policies of one database.
struct parameter_policies {
    parameter_policy extra_float_digits = parameter_policy::ignore;
    parameter_policy options = parameter_policy::reject;
    parameter_policy search_path = parameter_policy::reject;
    parameter_policy unknown = parameter_policy::reject;

    friend bool operator==(const parameter_policies&, const parameter_policies&) = default;
};

/// The values of `tracked_parameters`, in their order.
using tracked_values = std::array<std::string, tracked_parameters.size()>;

/// What a client wants to be set, from its StartupMessage.
struct start_parameters {
    tracked_values tracked{};         ///< Empty: not sent.
    std::string problem{};            ///< Not empty: what is wrong, for the client.
    std::string_view code = "08P01";  ///< The problem's SQLSTATE.
};

/// Reads the parameters of a StartupMessage besides user and database, and those inside of `options`.
[[nodiscard]] start_parameters read_parameters(const parameters& values, const parameter_policies& policies);

}  // namespace db_proxy

#endif
