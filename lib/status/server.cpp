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

#include <algorithm>
#include <chrono>
#include <list>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include <headgate/status.hpp>

#include "status/http_rules.hpp"

namespace headgate {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;

using request = http::request<http::string_body>;
using response = http::response<http::string_body>;

constexpr std::size_t most_clients = 64;
constexpr std::uint32_t most_header = 8'192;
constexpr std::uint64_t most_body = 16'384;
constexpr std::size_t first_read = 2'048;
// How long a client may take, whatever it sends meanwhile.
constexpr auto idle_timeout = 30s;    // until it begins a request
constexpr auto request_timeout = 5s;  // for the header, and for the body
constexpr auto answer_timeout = 10s;  // to read an answer
constexpr auto leave_timeout = 1s;    // to hang up after the last one

auto into(error_code& ec) {
    return asio::redirect_error(asio::use_awaitable, ec);
}

std::string_view view(boost::beast::string_view text) {
    return {text.data(), text.size()};
}

// Clients -------------------------------------------------------------------------------------------------------------

class client_list;

/// One client. The server itself never waits: whatever goes on with a client, it is the client that is waited for.
struct client {
    client(client_list& in, tcp::socket socket);
    client(const client&) = delete;
    client& operator=(const client&) = delete;
    ~client();

    /// Starts the time limit of the client's next step. Called after each step.
    void begin_wait(std::chrono::nanoseconds limit);

    client_list& all;
    std::list<client*>::iterator place;
    bool listed = true;
    beast::tcp_stream stream;
    beast::flat_buffer buffer{most_header + most_body};
};

/// All clients, the one that has been silent longest first.
class client_list {
public:
    [[nodiscard]] std::size_t size() const noexcept { return by_wait_.size(); }

    void add(client& c) { c.place = by_wait_.insert(by_wait_.end(), &c); }
    void move_to_back(client& c) noexcept { by_wait_.splice(by_wait_.end(), by_wait_, c.place); }
    void remove(client& c) noexcept {
        if (std::exchange(c.listed, false)) {
            by_wait_.erase(c.place);
        }
    }

    /// Hangs up on those that have been waited for longest, until there are at most `most`.
    void shrink_to(std::size_t most) {
        while (by_wait_.size() > most) {
            client& c = *by_wait_.front();
            remove(c);
            c.stream.close();
        }
    }

private:
    std::list<client*> by_wait_;
};

client::client(client_list& in, tcp::socket socket) : all(in), stream(std::move(socket)) {
    all.add(*this);
}

client::~client() {
    all.remove(*this);
}

void client::begin_wait(std::chrono::nanoseconds limit) {
    if (listed) {
        all.move_to_back(*this);
    }
    stream.expires_after(limit);
}

// Requests ------------------------------------------------------------------------------------------------------------

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

// For a request whose end or whose host is not certain. The connection ends with it.
response bad_request(const request& to, http::status status, std::string_view why) {
    response out = to_response(to, {static_cast<unsigned>(status), {{"Content-Type", "text/plain"}}, std::string(why)});
    if (out.version() != 10) {
        out.version(11);
    }
    out.keep_alive(false);
    return out;
}

// The answer to a request that could not be read; nothing where the client has gone, or was too slow.
std::optional<response> unreadable(const request& r, error_code ec) {
    if (ec == http::error::header_limit || ec == http::error::body_limit || ec == http::error::buffer_overflow) {
        return bad_request(r, http::status::payload_too_large, "the request is too large\n");
    }
    const bool malformed = ec.category() == make_error_code(http::error::bad_method).category();
    if (malformed && ec != http::error::end_of_stream && ec != http::error::partial_message) {
        return bad_request(r, http::status::bad_request, ec.message() + '\n');
    }
    return {};
}

// A probe shows nothing confidential, and is often sent by a line of shell: it may leave the Host header out.
bool is_probe(std::string_view path) {
    return path == "/healthz" || path == "/readyz";
}

// Two servers in a row that read a header in two ways are how one client slips a request into another's.
std::string_view ambiguity_of(const request& r) {
    for (const auto field :
         {http::field::host, http::field::content_length, http::field::transfer_encoding, http::field::authorization}) {
        if (r.count(field) > 1) {
            return "a header field that may be there once is there twice\n";
        }
    }
    const auto length = r.find(http::field::content_length);
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (length != r.end() && !std::all_of(length->value().begin(), length->value().end(), is_digit)) {
        return "Content-Length is not one number\n";
    }
    const auto coding = r.find(http::field::transfer_encoding);
    if (coding != r.end() && (r.version() < 11 || !beast::iequals(coding->value(), "chunked"))) {
        return "the only transfer coding is chunked, in HTTP/1.1\n";
    }
    return {};
}

// The refusal of a request for another host than this one.
std::optional<response> misdirected(const request& r, const detail::host_rule& hosts) {
    const auto target = detail::parse_target(view(r.target()));
    const auto host = r.find(http::field::host);
    if (host == r.end() && !target.authority) {
        return r.version() < 11 || is_probe(target.path)
                   ? std::nullopt
                   : std::optional(bad_request(r, http::status::bad_request, "a Host is needed\n"));
    }
    // A whole URL stands over the Host (RFC 9112, 3.2.2).
    switch (hosts.judge(target.authority ? *target.authority : view(host->value()))) {
        case detail::host_verdict::allowed: return {};
        case detail::host_verdict::malformed:
            return bad_request(r, http::status::bad_request, "Host is no host with or without a port\n");
        case detail::host_verdict::foreign: break;
    }
    return bad_request(r, http::status::forbidden,
                       "Host is not one of this server: localhost, its address, or one of host_names\n");
}

bool is_carried_by_a_header(std::string_view token) {
    const auto visible = [](char c) { return c > 0x20 && c < 0x7f; };
    return token.empty() || (visible(token.front()) && visible(token.back()) &&
                             std::all_of(token.begin(), token.end(), [&](char c) { return c == ' ' || visible(c); }));
}

// Where to listen, when nothing is wrong with the options.
result<asio::ip::address> address_of(const status_options& options) {
    error_code ec;
    const auto address = asio::ip::make_address(options.address, ec);
    if (ec) {
        return error(errc::invalid_argument,
                     "address is \"" + options.address + "\"; it must be an IP address such as 127.0.0.1");
    }
    if (!is_carried_by_a_header(options.admin_token)) {
        return error(errc::invalid_argument,
                     "admin_token must be visible ASCII, as a header carries it; a file's last newline is none");
    }
    for (const std::string& name : options.host_names) {
        if (!detail::is_host_name(name)) {
            return error(errc::invalid_argument,
                         "host_names has \"" + name + "\"; it must be a name alone, such as status.example.com");
        }
    }
    return address;
}

}  // namespace

struct status_server::impl {
    impl(const status_options& o, const asio::ip::address& address)
        : hosts(address, o.host_names), site(bearer_token(o.admin_token)) {}

    ~impl() {
        io.stop();
        if (thread.joinable()) {
            thread.join();
        }
    }

    void listen(const tcp::endpoint& endpoint) {
        acceptor.open(endpoint.protocol());
        acceptor.set_option(asio::socket_base::reuse_address(true));
        acceptor.bind(endpoint);
        acceptor.listen();
        bound = acceptor.local_endpoint();
    }

    // The io_context is run by one thread, so that its coroutines need no strand.
    void run() {
        asio::co_spawn(io, accept(), asio::detached);
        asio::co_spawn(io, sample_each_second(), asio::detached);
        thread = std::thread([this] { io.run(); });
    }

    asio::awaitable<void> accept() {
        for (bool more = true; more;) {
            try {
                more = co_await accept_one();
            } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): no memory; the next one may have some
            }
        }
    }

    asio::awaitable<void> sample_each_second() {
        asio::steady_timer timer(io);
        for (error_code ec; ec != asio::error::operation_aborted;) {
            try {
                site.sample();
                timer.expires_after(1s);
                co_await timer.async_wait(into(ec));
            } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): no memory; the next sample may have some
            }
        }
    }

    // False at the end.
    asio::awaitable<bool> accept_one() {
        error_code ec;
        tcp::socket socket = co_await acceptor.async_accept(into(ec));
        if (ec == asio::error::operation_aborted) {
            co_return false;
        }
        if (ec || !start(std::move(socket))) {
            // Out of file descriptors, or of memory: let some go, and come back instead of spinning.
            clients.shrink_to(clients.size() - (clients.size() + 7) / 8);
            asio::steady_timer pause(io, 100ms);
            co_await pause.async_wait(into(ec));
        }
        co_return true;
    }

    bool start(tcp::socket socket) noexcept {
        try {
            clients.shrink_to(most_clients - 1);
            asio::co_spawn(io, serve(std::make_unique<client>(clients, std::move(socket))), asio::detached);
            return true;
        } catch (const std::exception&) {
            return false;
        }
    }

    // What it throws is out of memory; it ends this client alone.
    asio::awaitable<void> serve(std::unique_ptr<client> c) {
        bool more = true;
        while (more) {
            more = co_await first_byte(*c) && co_await exchange(*c);
        }
        co_await leave(*c);
    }

    // Waits for a request as long as an idle client may; false at the end.
    static asio::awaitable<bool> first_byte(client& c) {
        error_code ec;
        if (c.buffer.size() == 0) {
            c.begin_wait(idle_timeout);
            c.buffer.commit(co_await c.stream.async_read_some(c.buffer.prepare(first_read), into(ec)));
        }
        co_return !ec;
    }

    // One request and its answer; true when another one may follow.
    asio::awaitable<bool> exchange(client& c) {
        c.begin_wait(request_timeout);
        http::request_parser<http::string_body> parser;
        parser.header_limit(most_header);
        parser.body_limit(most_body);
        const request& r = parser.get();
        error_code ec;
        std::optional<response> refused;
        co_await http::async_read_header(c.stream, c.buffer, parser, into(ec));
        if (!ec) {
            if (const auto why = ambiguity_of(r); !why.empty()) {
                refused = bad_request(r, http::status::bad_request, why);
            } else {
                refused = misdirected(r, hosts);
            }
        }
        if (!ec && !refused && !parser.is_done()) {
            c.begin_wait(request_timeout);
            co_await http::async_read(c.stream, c.buffer, parser, into(ec));
        }
        if (ec) {
            refused = unreadable(r, ec);
            if (!refused) {
                co_return false;
            }
        }
        response out = refused ? std::move(*refused) : handle(r);
        co_return co_await send(c, out, r.method() == http::verb::head);
    }

    response handle(const request& r) {
        return to_response(r, site.answer({.method = view(r.method_string()),
                                           .target = view(r.target()),
                                           .authorization = view(r[http::field::authorization]),
                                           .body = r.body()}));
    }

    // True when the connection may be used again.
    static asio::awaitable<bool> send(client& c, response& out, bool head) {
        error_code ec;
        c.begin_wait(answer_timeout);
        http::response_serializer<http::string_body> serializer(out);
        serializer.split(head);
        if (head) {
            co_await http::async_write_header(c.stream, serializer, into(ec));
        } else {
            co_await http::async_write(c.stream, serializer, into(ec));
        }
        co_return !ec && out.keep_alive();
    }

    // Lets the client read the last answer: a socket that is closed with bytes unread resets the connection.
    static asio::awaitable<void> leave(client& c) {
        error_code ec;
        c.stream.socket().shutdown(tcp::socket::shutdown_send, ec);  // NOLINT(bugprone-unused-return-value)
        c.begin_wait(leave_timeout);
        for (std::size_t read = 0; !ec && read < 16 * (most_header + most_body);) {
            c.buffer.clear();
            read += co_await c.stream.async_read_some(c.buffer.prepare(first_read), into(ec));
        }
    }

    const detail::host_rule hosts;
    status_site site;

    client_list clients;
    asio::io_context io{1};
    tcp::acceptor acceptor{io};
    tcp::endpoint bound;
    std::thread thread;
};

status_server::status_server(std::unique_ptr<impl> made) : impl_(std::move(made)) {}
status_server::~status_server() = default;

result<std::unique_ptr<status_server>> status_server::start(const status_options& options) {
    try {
        auto address = address_of(options);
        if (!address) {
            return std::move(address).error();
        }
        auto made = std::make_unique<impl>(options, address.value());
        made->listen(tcp::endpoint(address.value(), options.port));
        made->run();
        return std::unique_ptr<status_server>(new status_server(std::move(made)));
    } catch (const std::bad_alloc&) {
        return errc::out_of_memory;
    } catch (const boost::system::system_error& e) {
        return error(e.code());
    } catch (const std::system_error& e) {
        return error(error_code(e.code().value(), boost::system::system_category()));  // the thread
    }
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
