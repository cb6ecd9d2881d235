// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "http.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include <exception>
#include <random>
#include <unordered_set>

#include "log.hpp"
#include "problem.hpp"

namespace config_service {

namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;

constexpr std::size_t first_read = 2'048;    // What an idle connection may have buffered.
constexpr std::size_t kept_buffer = 16'384;  // A larger one is given back once it is empty.
constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";

auto into(error_code& ec) {
    return asio::redirect_error(asio::use_awaitable, ec);
}

std::string_view view(beast::string_view text) {
    return {text.data(), text.size()};
}

// What is wrong with a request that could not be read; zero when the client has gone, or was too slow: Beast has closed
// its socket then.
unsigned status_of(error_code ec) {
    if (ec == http::error::header_limit || ec == http::error::buffer_overflow) {
        return 431;
    }
    if (ec == http::error::body_limit) {
        return 413;
    }
    const bool malformed = ec.category() == http::make_error_code(http::error::bad_method).category();
    return malformed && ec != http::error::end_of_stream && ec != http::error::partial_message ? 400 : 0;
}

// Unique in this process, and unlikely to be one of another.
std::string next_id() {
    static std::uint64_t next = std::random_device{}() * std::uint64_t{1} << 32;
    constexpr char digits[] = "0123456789abcdef";
    std::string out(16, '0');
    std::uint64_t n = next++;
    for (auto at = out.rbegin(); at != out.rend(); ++at, n >>= 4) {
        *at = digits[n & 15];
    }
    return out;
}

}  // namespace

struct http_server::impl : std::enable_shared_from_this<http_server::impl> {
    struct connection {
        explicit connection(tcp::socket socket) : stream(std::move(socket)) {}

        beast::tcp_stream stream;
        beast::flat_buffer buffer;
        std::string peer;
        bool idle = true;
    };
    using parser = http::request_parser<http::string_body>;

    impl(asio::io_context& context, const tcp::endpoint& where, const http_options& o, handler h)
        : io(context), acceptor(context), options(o), handle(std::move(h)) {
        acceptor.open(where.protocol());
        acceptor.set_option(asio::socket_base::reuse_address(true));
        acceptor.bind(where);
        acceptor.listen(asio::socket_base::max_listen_connections);
    }

    asio::awaitable<void> accept() {
        const auto self = shared_from_this();
        asio::steady_timer pause(io);
        while (acceptor.is_open()) {
            error_code ec;
            tcp::socket socket = co_await acceptor.async_accept(into(ec));
            if (ec == asio::error::operation_aborted) {
                co_return;
            }
            if (ec == asio::error::no_descriptors || ec == asio::error::no_memory ||
                ec == boost::system::errc::too_many_files_open_in_system || open.size() >= options.max_connections) {
                // Whoever waits in the backlog is served when others have gone; without a pause this would spin.
                if (!ec) {
                    socket.close(ec);  // NOLINT(bugprone-unused-return-value)
                }
                log_event(log_level::warning, "accept_paused",
                          {{"connections", open.size()}, {"why", ec ? ec.message() : "max_connections"}});
                pause.expires_after(100ms);
                co_await pause.async_wait(into(ec));
            } else if (!ec) {
                socket.set_option(tcp::no_delay(true), ec);  // NOLINT(bugprone-unused-return-value)
                asio::co_spawn(io, serve(std::make_unique<connection>(std::move(socket))), asio::detached);
            }
        }
    }

    asio::awaitable<void> serve(std::unique_ptr<connection> c) {
        const auto self = shared_from_this();
        struct listed {
            listed(std::unordered_set<connection*>& where, connection* who) : all(where), one(who) { all.insert(one); }
            listed(const listed&) = delete;
            listed& operator=(const listed&) = delete;
            ~listed() { all.erase(one); }
            std::unordered_set<connection*>& all;
            connection* one;
        } const in_list(open, c.get());

        error_code ec;
        c->peer = c->stream.socket().remote_endpoint(ec).address().to_string();
        bool more = !ec;
        while (more) {
            more = co_await first_byte(*c);
            if (more) {
                c->idle = false;
                more = co_await exchange(*c);
                c->idle = true;
            }
            if (c->buffer.size() == 0 && c->buffer.capacity() > kept_buffer) {
                c->buffer.shrink_to_fit();
            }
        }
        co_await hang_up(*c);
    }

    // Waits for a request as long as an idle client may; false at the end.
    asio::awaitable<bool> first_byte(connection& c) {
        if (c.buffer.size() > 0) {
            co_return true;
        }
        if (draining) {
            co_return false;
        }
        c.stream.expires_after(options.idle_timeout);
        error_code ec;
        const std::size_t n = co_await c.stream.async_read_some(c.buffer.prepare(first_read), into(ec));
        c.buffer.commit(n);
        co_return !ec;
    }

    // One request and its answer; true when another one may follow.
    asio::awaitable<bool> exchange(connection& c) {
        parser p;
        p.header_limit(options.max_header);
        p.body_limit(options.max_body);
        c.buffer.max_size(options.max_header + kept_buffer);
        error_code ec = parse(c, p);
        if (!ec && !p.is_header_done()) {
            c.stream.expires_after(options.header_timeout);
            co_await http::async_read_header(c.stream, c.buffer, p, into(ec));
            ec = ec ? ec : parse(c, p);
        }
        if (!ec && !p.is_done()) {
            c.stream.expires_after(options.body_timeout);
            if (view(p.get()[http::field::expect]) == "100-continue" && p.get().body().empty() &&
                c.buffer.size() == 0) {
                co_await asio::async_write(c.stream, asio::buffer(go_on), into(ec));
            }
            if (!ec) {
                co_await http::async_read(c.stream, c.buffer, p, into(ec));
            }
        }
        if (ec) {
            co_await refuse(c, p, ec);
            co_return false;
        }
        co_return co_await respond(c, p);
    }

    // What has come already, which most often is all of it: at no cost but parsing.
    static error_code parse(connection& c, parser& p) {
        error_code ec;
        p.eager(true);
        while (!ec && !p.is_done() && c.buffer.size() > 0) {
            c.buffer.consume(p.put(c.buffer.data(), ec));
        }
        return ec == http::error::need_more ? error_code() : ec;
    }

    asio::awaitable<bool> respond(connection& c, parser& p) {
        auto& message = p.get();
        http_request request{.method = view(message.method_string()),
                             .target = view(message.target()),
                             .host = view(message[http::field::host]),
                             .origin = view(message[http::field::origin]),
                             .authorization = view(message[http::field::authorization]),
                             .user = view(message["X-User"]),
                             .if_match = view(message[http::field::if_match]),
                             .if_none_match = view(message[http::field::if_none_match]),
                             .body = std::move(message.body()),
                             .peer = c.peer,
                             .id = next_id()};
        const auto began = std::chrono::steady_clock::now();
        http_response answer;
        try {
            answer = co_await handle(request);
        } catch (const std::exception& e) {
            log_event(log_level::error, "handler_failed", {{"request", request.id}, {"what", e.what()}});
            answer = problem(500, "internal_error", "this request met a fault of the service");
        }
        if (options.log_requests) {
            log_request(request, answer, std::chrono::steady_clock::now() - began);
        }
        co_return co_await send(c, message.version(), p.keep_alive() && !draining, request.method == "HEAD",
                                std::move(answer), request.id);
    }

    // A request that could not be read gets its reason, where the client is still there.
    asio::awaitable<void> refuse(connection& c, parser& p, error_code why) {
        const unsigned status = status_of(why);
        if (status == 0) {
            co_return;
        }
        const std::string id = next_id();
        const char* code = status == 431 ? "header_too_large" : status == 413 ? "body_too_large" : "bad_request";
        log_event(log_level::warning, "request_refused",
                  {{"request", id}, {"peer", c.peer}, {"status", status}, {"why", why.message()}});
        co_await send(c, p.get().version() == 10 ? 10 : 11, false, false, problem(status, code, why.message()), id);
    }

    asio::awaitable<bool> send(connection& c, unsigned version, bool keep_alive, bool head, http_response answer,
                               const std::string& id) {
        http::response<http::string_body> out(static_cast<http::status>(answer.status), version);
        out.set(http::field::server, "headgate");
        out.set("X-Request-Id", id);
        out.set("X-Content-Type-Options", "nosniff");
        for (const auto& [name, value] : answer.headers) {
            out.set(name, value);
        }
        out.keep_alive(keep_alive);
        out.body() = std::move(answer.body);
        out.prepare_payload();
        http::response_serializer<http::string_body> serializer(out);
        serializer.split(head);
        error_code ec;
        c.stream.expires_after(options.body_timeout);
        if (head) {
            co_await http::async_write_header(c.stream, serializer, into(ec));
        } else {
            co_await http::async_write(c.stream, serializer, into(ec));
        }
        co_return !ec && out.keep_alive();
    }

    // Lets the client read the last answer: a socket that is closed with bytes unread resets the connection.
    asio::awaitable<void> hang_up(connection& c) {
        error_code ec;
        c.stream.socket().shutdown(tcp::socket::shutdown_send, ec);  // NOLINT(bugprone-unused-return-value)
        c.stream.expires_after(2s);
        for (std::uint64_t left = 2 * options.max_body; !ec && left > 0;) {
            c.buffer.clear();
            const std::size_t n = co_await c.stream.async_read_some(c.buffer.prepare(first_read), into(ec));
            left -= std::min<std::uint64_t>(left, n);
        }
    }

    asio::io_context& io;
    tcp::acceptor acceptor;
    http_options options;
    handler handle;
    std::unordered_set<connection*> open;
    bool draining = false;
};

http_server::http_server(asio::io_context& io, const tcp::endpoint& where, const http_options& options, handler handle)
    : impl_(std::make_shared<impl>(io, where, options, std::move(handle))) {}
http_server::~http_server() {
    error_code ignored;
    impl_->acceptor.close(ignored);  // NOLINT(bugprone-unused-return-value)
}

void http_server::start() {
    asio::co_spawn(impl_->io, impl_->accept(), asio::detached);
}

void http_server::drain() {
    impl_->draining = true;
    error_code ignored;
    impl_->acceptor.close(ignored);  // NOLINT(bugprone-unused-return-value)
    for (auto* c : impl_->open) {
        if (c->idle) {
            c->stream.cancel();
        }
    }
}

std::size_t http_server::connections() const {
    return impl_->open.size();
}

std::uint16_t http_server::port() const {
    return impl_->acceptor.local_endpoint().port();
}

void http_server::set_options(const http_options& options) {
    impl_->options = options;
}

}  // namespace config_service
