// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_HTTP_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_HTTP_HPP

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client.hpp"

namespace config_service {

namespace asio = boost::asio;

/// A request that was read whole. The views are into the connection and live as long as the request is answered.
struct http_request {
    std::string_view method;
    std::string_view target;  ///< Path and query, also where the client sent a whole URL.
    std::string_view host;    ///< Of that URL, or of the field.
    std::string_view origin;
    std::string_view authorization;
    std::string_view user;  ///< X-User
    std::string_view if_match;
    std::string_view if_none_match;
    std::string body;
    std::string peer;    ///< The address that it came from.
    ip::address client;  ///< That of the client, which is another one behind a trusted proxy.
    std::string id;      ///< In every line of the log and in the answer.

    /// The target without its query.
    [[nodiscard]] std::string_view path() const { return target.substr(0, target.find('?')); }
};

/// What is answered; the server adds Content-Length, Connection and X-Request-Id.
struct http_response {
    unsigned status = 200;
    std::vector<std::pair<std::string, std::string>> headers;
    std::string body;
};

struct http_options {
    bool log_requests = true;
    std::uint32_t max_header = 16 * 1024;
    std::uint64_t max_body = std::uint64_t{1} << 20;
    std::size_t max_connections = 20'000;
    std::vector<network> trusted_proxies{};
    std::chrono::nanoseconds idle_timeout = std::chrono::seconds{60};  ///< Between two requests.
    std::chrono::nanoseconds header_timeout =
        std::chrono::seconds{10};                                      ///< From the first byte to the last of a header.
    std::chrono::nanoseconds body_timeout = std::chrono::seconds{30};  ///< For a body, and for an answer.
};

/// HTTP/1.1 on one port: keep-alive, pipelining, Expect: 100-continue, and every bound that a server needs. With
/// `max_connections` open, one more takes the place of the one whose client has kept it waiting longest. Requests that
/// two servers could read in two ways are refused. Runs on its io_context, which one thread runs: that is what makes
/// its coroutines serial.
class http_server {
public:
    using handler = std::function<asio::awaitable<http_response>(const http_request&)>;

    /// Listens, or throws boost::system::system_error. `handle` answers; what it throws is answered with 500.
    http_server(asio::io_context& io, const asio::ip::tcp::endpoint& where, const http_options& options,
                handler handle);
    ~http_server();
    http_server(const http_server&) = delete;
    http_server& operator=(const http_server&) = delete;

    /// Begins to accept.
    void start();
    /// Stops accepting, ends the idle connections, and lets the others finish what they answer.
    void drain();

    [[nodiscard]] std::size_t connections() const;
    [[nodiscard]] std::uint16_t port() const;
    void set_options(const http_options& options);

private:
    struct impl;
    std::shared_ptr<impl> impl_;
};

}  // namespace config_service

#endif
