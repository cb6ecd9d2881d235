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

#include <algorithm>
#include <array>
#include <exception>
#include <list>
#include <optional>
#include <random>
#include <utility>

#include "log.hpp"
#include "problem.hpp"
#include "target.hpp"

namespace config_service {

namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;

constexpr std::size_t first_read = 2'048;    // The bytes that an idle connection may buffer.
constexpr std::size_t kept_buffer = 16'384;  // A larger buffer is freed once it is empty.
constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";

auto into(error_code& ec) {
    return asio::redirect_error(asio::use_awaitable, ec);
}

std::string_view view(beast::string_view text) {
    return {text.data(), text.size()};
}

// The status for a request that the server could not read. Zero if the client has gone or was too slow; Beast has then
// closed its socket.
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

// Unique in this process, and unlikely to repeat an id of another process.
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

// The reason why two servers could read this header in two ways; empty if they cannot. If two servers in a row
// disagree, one client can smuggle a request into another client's connection.
template <class Fields>
std::string_view ambiguity_of(const Fields& message) {
    constexpr std::array<std::string_view, 6> once = {"Host",          "Content-Length", "Transfer-Encoding",
                                                      "Authorization", "Origin",         "X-User"};
    std::array<int, once.size()> seen{};
    for (const auto& field : message) {
        for (std::size_t i = 0; i < once.size(); ++i) {
            if (beast::iequals(field.name_string(), {once[i].data(), once[i].size()}) && ++seen[i] > 1) {
                return "a header field that may be there once is there twice";
            }
        }
    }
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    const auto length = message[http::field::content_length];
    if (!std::all_of(length.begin(), length.end(), is_digit)) {
        return "Content-Length is not one number";
    }
    const bool coded = seen[2] > 0;
    if (coded && (message.version() < 11 || !beast::iequals(message[http::field::transfer_encoding], "chunked"))) {
        return "the only transfer coding is chunked, in HTTP/1.1";
    }
    return seen[0] == 0 && message.version() >= 11 ? "a Host is needed" : "";
}

// Joins all values of a field that may occur more than once into one value (RFC 9110, 5.3).
template <class Fields>
std::string_view joined(Fields& message, beast::string_view name) {
    if (message.count(name) > 1) {
        std::string all;
        const auto [from, to] = message.equal_range(name);
        for (auto field = from; field != to; ++field) {
            all.append(all.empty() ? "" : ", ").append(view(field->value()));
        }
        message.set(name, all);
    }
    return view(message[name]);
}

}  // namespace

struct http_server::impl : std::enable_shared_from_this<http_server::impl> {
    // Each connection is in one of two lists until it is closed. It takes its list node along when it moves.
    struct connection {
        connection(impl& in, tcp::socket socket) : server(in), stream(std::move(socket)) {
            place = server.waiting.insert(server.waiting.end(), this);
        }
        connection(const connection&) = delete;
        connection& operator=(const connection&) = delete;
        ~connection() { leave_lists(); }

        /// The server waits for the client from now on. The client's next step may take `limit`.
        void wait_for_client(std::chrono::nanoseconds limit) {
            move_to(server.waiting);
            stream.expires_after(limit);
        }
        /// The service works on an answer, and does not wait for the client.
        void work() { move_to(server.working); }

        /// Hangs up at once.
        void close() {
            leave_lists();
            stream.close();
        }

        impl& server;
        beast::tcp_stream stream;
        beast::flat_buffer buffer;
        ip::address address;
        std::string peer;
        bool idle = true;

    private:
        void move_to(std::list<connection*>& to) {
            if (at != nullptr) {
                to.splice(to.end(), *at, place);
                at = &to;
            }
        }
        void leave_lists() {
            if (at != nullptr) {
                std::exchange(at, nullptr)->erase(place);
            }
        }

        std::list<connection*>* at = &server.waiting;
        std::list<connection*>::iterator place;
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
        while (acceptor.is_open()) {
            try {
                co_await accept_one();
            } catch (const std::exception& e) {  // out of memory; the next accept may succeed
                log_event(log_level::error, "accept_failed", {{"what", e.what()}});
            }
        }
    }

    asio::awaitable<void> accept_one() {
        error_code ec;
        tcp::socket socket = co_await acceptor.async_accept(into(ec));
        if (ec == asio::error::operation_aborted) {
            co_return;
        }
        if (!ec) {
            make_room(std::max<std::size_t>(options.max_connections, 1) - 1);
        }
        if (!ec && connections() < std::max<std::size_t>(options.max_connections, 1)) {
            socket.set_option(tcp::no_delay(true), ec);  // NOLINT(bugprone-unused-return-value)
            asio::co_spawn(io, serve(std::make_unique<connection>(*this, std::move(socket))), asio::detached);
            co_return;
        }
        const bool out_of_something = ec == asio::error::no_descriptors || ec == asio::error::no_memory ||
                                      ec == boost::system::errc::too_many_files_open_in_system;
        if (ec && !out_of_something) {
            co_return;  // this client has gone already
        }
        // All connections are at work, or no descriptor is free. Clients in the backlog wait until others have gone.
        // Without a pause this loop would spin.
        log_event(log_level::warning, "accept_paused",
                  {{"connections", connections()}, {"why", ec ? ec.message() : "max_connections"}});
        socket.close(ec);  // NOLINT(bugprone-unused-return-value)
        if (out_of_something) {
            make_room(connections() - (waiting.size() + 7) / 8);
        }
        asio::steady_timer pause(io, 100ms);
        co_await pause.async_wait(into(ec));
    }

    [[nodiscard]] std::size_t connections() const { return waiting.size() + working.size(); }

    // Closes the connections with the longest wait for their client, until at most `most` connections are left or all
    // of them are at work.
    void make_room(std::size_t most) {
        std::size_t count = 0;
        for (; connections() > most && !waiting.empty(); ++count) {
            waiting.front()->close();
        }
        const auto now = std::chrono::steady_clock::now();
        if (count > 0 && now - told_of_room > 1s) {  // a flood of clients must not flood the log
            told_of_room = now;
            log_event(log_level::warning, "clients_let_go", {{"connections", connections()}, {"count", count}});
        }
    }

    asio::awaitable<void> serve(std::unique_ptr<connection> c) {
        const auto self = shared_from_this();
        error_code ec;
        c->address = plain(c->stream.socket().remote_endpoint(ec).address());
        c->peer = c->address.to_string();
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

    // Waits for a request, at most for the idle timeout. False if the connection must end.
    asio::awaitable<bool> first_byte(connection& c) {
        if (c.buffer.size() > 0) {
            co_return true;
        }
        if (draining) {
            co_return false;
        }
        c.wait_for_client(options.idle_timeout);
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
        c.wait_for_client(options.header_timeout);
        error_code ec = parse(c, p);
        if (!ec && !p.is_header_done()) {
            co_await http::async_read_header(c.stream, c.buffer, p, into(ec));
            ec = ec ? ec : parse(c, p);
        }
        const std::string_view wrong = p.is_header_done() ? ambiguity_of(p.get()) : "";
        if (!wrong.empty()) {
            co_await refuse(c, p, 400, wrong);
            co_return false;
        }
        if (!ec && !p.is_done()) {
            ec = co_await read_body(c, p);
        }
        if (ec) {
            if (const unsigned status = status_of(ec); status != 0) {
                co_await refuse(c, p, status, ec.message());
            }
            co_return false;
        }
        co_return co_await respond(c, p);
    }

    asio::awaitable<error_code> read_body(connection& c, parser& p) {
        error_code ec;
        c.wait_for_client(options.body_timeout);
        if (p.get().version() >= 11 && beast::iequals(p.get()[http::field::expect], "100-continue") &&
            p.get().body().empty() && c.buffer.size() == 0) {
            co_await asio::async_write(c.stream, asio::buffer(go_on), into(ec));
        }
        if (!ec) {
            co_await http::async_read(c.stream, c.buffer, p, into(ec));
        }
        co_return ec;
    }

    // Parses the bytes that are in the buffer already. Most often that is the whole request, so no read is needed.
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
        // A whole URL overrides the Host field (RFC 9112, 3.2.2).
        const std::optional<whole_url> url = split_url(view(message.target()));
        const ip::address client = options.trusted_proxies.empty()
                                       ? c.address
                                       : client_address(c.address, joined(message, "X-Forwarded-For"),
                                                        joined(message, "Forwarded"), options.trusted_proxies);
        http_request request{.method = view(message.method_string()),
                             .target = url ? std::string_view(url->target) : view(message.target()),
                             .host = url ? std::string_view(url->authority) : view(message[http::field::host]),
                             .origin = view(message[http::field::origin]),
                             .authorization = view(message[http::field::authorization]),
                             .user = view(message["X-User"]),
                             .if_match = joined(message, "If-Match"),
                             .if_none_match = joined(message, "If-None-Match"),
                             .body = std::move(message.body()),
                             .peer = c.peer,
                             .client = client,
                             .id = next_id()};
        c.work();
        const auto began = std::chrono::steady_clock::now();
        http_response answer = co_await answer_to(request);
        if (options.log_requests) {
            log_request(request, answer, std::chrono::steady_clock::now() - began);
        }
        co_return co_await send(c, message.version(), p.keep_alive() && !draining, request.method == "HEAD",
                                std::move(answer), request.id);
    }

    // Turns whatever the handler throws into a log line and an answer.
    asio::awaitable<http_response> answer_to(const http_request& request) {
        std::string what = "an exception that is no std::exception";
        try {
            co_return co_await handle(request);
        } catch (const std::exception& e) {
            what = e.what();
        } catch (...) {  // NOLINT(bugprone-empty-catch): as it says above
        }
        log_event(log_level::error, "handler_failed", {{"request", request.id}, {"what", what}});
        co_return problem(500, "internal_error", "this request met a fault of the service");
    }

    // Tells the client why the server cannot read its request.
    asio::awaitable<void> refuse(connection& c, parser& p, unsigned status, std::string_view why) {
        const std::string id = next_id();
        const char* code = status == 431 ? "header_too_large" : status == 413 ? "body_too_large" : "bad_request";
        log_event(log_level::warning, "request_refused",
                  {{"request", id}, {"peer", c.peer}, {"status", status}, {"why", why}});
        http_response answer = problem(status, code, why);
        co_await send(c, p.get().version() == 10 ? 10 : 11, false, false, std::move(answer), id);
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
        c.wait_for_client(options.body_timeout);
        if (head) {
            co_await http::async_write_header(c.stream, serializer, into(ec));
        } else {
            co_await http::async_write(c.stream, serializer, into(ec));
        }
        co_return !ec && out.keep_alive();
    }

    // Lets the client read the last answer: closing a socket with unread bytes resets the connection.
    asio::awaitable<void> hang_up(connection& c) {
        error_code ec;
        c.stream.socket().shutdown(tcp::socket::shutdown_send, ec);  // NOLINT(bugprone-unused-return-value)
        c.wait_for_client(2s);
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
    // Connections that wait for their client, the longest wait first.
    std::list<connection*> waiting;
    std::list<connection*> working;
    std::chrono::steady_clock::time_point told_of_room{};
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
    for (auto* c : impl_->waiting) {
        if (c->idle) {
            c->stream.cancel();
        }
    }
}

std::size_t http_server::connections() const {
    return impl_->connections();
}

std::uint16_t http_server::port() const {
    return impl_->acceptor.local_endpoint().port();
}

void http_server::set_options(const http_options& options) {
    impl_->options = options;
}

}  // namespace config_service
