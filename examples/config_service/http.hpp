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

/// A complete request. The views point to data of the connection. They are valid until the request is answered.
struct http_request {
    std::string_view method;
    std::string_view target;  ///< Path and query, even if the client sent a whole URL.
    std::string_view host;    ///< From that URL, else from the Host field.
    std::string_view origin;
    std::string_view authorization;
    std::string_view user;  ///< X-User
    std::string_view if_match;
    std::string_view if_none_match;
    std::string body;
    std::string peer;    ///< The address at the other end of the connection.
    ip::address client;  ///< The client's address. It differs from `peer` behind a trusted proxy.
    std::string id;      ///< Part of the answer, and of every log line about this request.

    /// The target without its query.
    [[nodiscard]] std::string_view path() const { return target.substr(0, target.find('?')); }
};

/// The answer to a request. The server adds Content-Length, Connection and X-Request-Id.
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

/// An HTTP/1.1 server on one port: keep-alive, pipelining, Expect: 100-continue, and every bound that a server needs.
/// With `max_connections` open, a new connection replaces the one whose client has kept the server waiting longest. The
/// server refuses requests that two servers could read in two ways. Exactly one thread must run its io_context: that
/// makes its coroutines serial.
class http_server {
public:
    using handler = std::function<asio::awaitable<http_response>(const http_request&)>;

    /// Listens, or throws boost::system::system_error. `handle` answers requests; if it throws, the answer is a 500.
    http_server(asio::io_context& io, const asio::ip::tcp::endpoint& where, const http_options& options,
                handler handle);
    ~http_server();
    http_server(const http_server&) = delete;
    http_server& operator=(const http_server&) = delete;

    /// Begins to accept.
    void start();
    /// Stops accepting, ends the idle connections, and lets the others finish their answers.
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
