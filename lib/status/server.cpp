// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <headgate/status.hpp>

namespace headgate {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using namespace std::chrono_literals;

using request = http::request<http::string_body>;
using response = http::response<http::string_body>;

constexpr int most_connections = 64;
constexpr std::uint32_t most_header = 8'192;
constexpr std::uint64_t most_body = 16'384;
constexpr auto idle_timeout = 30s;

response to_response(const request& to, status_answer answer) {
    response out(static_cast<http::status>(answer.status), to.version());
    out.set(http::field::server, "headgate");
    out.set("X-Content-Type-Options", "nosniff");
    for (const auto& [name, value] : answer.headers) {
        out.set(name, value);
    }
    out.keep_alive(to.keep_alive());
    out.body() = std::move(answer.body);
    out.prepare_payload();
    return out;
}

// Of a request that could not be read: the connection ends with it.
response bad_request(const request& to, http::status status, std::string_view why) {
    response out = to_response(to, {static_cast<unsigned>(status), {{"Content-Type", "text/plain"}}, std::string(why)});
    out.keep_alive(false);
    return out;
}

std::string_view view(boost::beast::string_view text) {
    return {text.data(), text.size()};
}

}  // namespace

struct status_server::impl {
    explicit impl(const status_options& o) : options(o), site(bearer_token(o.admin_token)) {}

    ~impl() {
        io.stop();
        if (thread.joinable()) {
            thread.join();
        }
    }

    result<void> listen() {
        boost::system::error_code ec;
        const auto address = asio::ip::make_address(options.address, ec);
        if (ec) {
            return error(errc::invalid_argument,
                         "address is \"" + options.address + "\"; it must be an IP address such as 127.0.0.1");
        }
        const tcp::endpoint endpoint(address, options.port);
        try {
            acceptor.open(endpoint.protocol());
            acceptor.set_option(asio::socket_base::reuse_address(true));
            acceptor.bind(endpoint);
            acceptor.listen();
            bound = acceptor.local_endpoint();
        } catch (const boost::system::system_error& e) {
            return error(e.code());
        }
        return success();
    }

    void run() {
        asio::co_spawn(io, accept(), asio::detached);
        thread = std::thread([this] { io.run(); });
    }

    response handle(const request& r) {
        return to_response(r, site.answer({.method = view(r.method_string()),
                                           .target = view(r.target()),
                                           .authorization = view(r[http::field::authorization]),
                                           .body = r.body()}));
    }

    asio::awaitable<void> serve(beast::tcp_stream stream) {
        struct count {
            explicit count(int& n) : n_(n) { ++n_; }
            count(const count&) = delete;
            count& operator=(const count&) = delete;
            ~count() { --n_; }
            int& n_;
        } const counted(connections);
        beast::flat_buffer buffer(most_header + most_body);
        try {
            for (bool goes_on = true; goes_on;) {
                http::request_parser<http::string_body> parser;
                parser.header_limit(most_header);
                parser.body_limit(most_body);
                stream.expires_after(idle_timeout);
                boost::system::error_code ec;
                co_await http::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, ec));
                response out;
                if (ec == http::error::header_limit || ec == http::error::body_limit ||
                    ec == http::error::buffer_overflow) {
                    out = bad_request(parser.get(), http::status::payload_too_large, "the request is too large\n");
                } else if (ec && ec.category() == make_error_code(http::error::bad_method).category() &&
                           ec != http::error::end_of_stream && ec != http::error::partial_message) {
                    out = bad_request(parser.get(), http::status::bad_request, ec.message() + '\n');
                } else if (ec) {
                    break;
                } else {
                    out = handle(parser.get());
                }
                goes_on = out.keep_alive();
                stream.expires_after(idle_timeout);
                if (parser.get().method() == http::verb::head) {
                    http::response<http::empty_body> head(std::move(out.base()));
                    http::response_serializer<http::empty_body> serializer(head);
                    co_await http::async_write_header(stream, serializer, asio::use_awaitable);
                } else {
                    co_await http::async_write(stream, out, asio::use_awaitable);
                }
            }
            stream.socket().shutdown(tcp::socket::shutdown_send);
        } catch (const boost::system::system_error&) {  // NOLINT(bugprone-empty-catch): the client has gone
        }
    }

    asio::awaitable<void> accept() {
        for (;;) {
            boost::system::error_code ec;
            tcp::socket socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, ec));
            if (ec == asio::error::operation_aborted) {
                co_return;
            }
            if (ec) {
                // Out of file descriptors, most likely: come back instead of spinning.
                asio::steady_timer pause(io, 100ms);
                co_await pause.async_wait(asio::use_awaitable);
            } else if (connections < most_connections) {
                asio::co_spawn(io, serve(beast::tcp_stream(std::move(socket))), asio::detached);
            }
        }
    }

    status_options options;
    status_site site;

    int connections = 0;
    asio::io_context io{1};
    tcp::acceptor acceptor{io};
    tcp::endpoint bound;
    std::thread thread;
};

status_server::status_server(std::unique_ptr<impl> made) : impl_(std::move(made)) {}
status_server::~status_server() = default;

result<std::unique_ptr<status_server>> status_server::start(const status_options& options) {
    auto made = std::make_unique<impl>(options);
    BOOST_OUTCOME_TRYV(made->listen());
    made->run();
    return std::unique_ptr<status_server>(new status_server(std::move(made)));
}

status_site& status_server::site() noexcept {
    return impl_->site;
}

std::uint16_t status_server::port() const noexcept {
    return impl_->bound.port();
}

std::string status_server::url() const {
    const auto address = impl_->bound.address();
    const std::string host = address.is_v6() ? '[' + address.to_string() + ']' : address.to_string();
    return "http://" + host + ':' + std::to_string(impl_->bound.port()) + '/';
}

}  // namespace headgate
