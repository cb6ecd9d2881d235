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

#include <atomic>
#include <charconv>
#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

#include <headgate/circuit_breaker.hpp>
#include <headgate/rate_limiter.hpp>
#include <headgate/resource_pool.hpp>
#include <headgate/status.hpp>

#include "status/json.hpp"
#include "status/page.hpp"

namespace headgate {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using detail::json;
using namespace std::chrono_literals;

using request = http::request<http::string_body>;
using response = http::response<http::string_body>;

constexpr std::size_t most_events = 512;
constexpr int most_connections = 64;
constexpr std::uint32_t most_header = 8'192;
constexpr std::uint64_t most_body = 16'384;
constexpr auto idle_timeout = 30s;

std::string_view name_of(event_kind kind) {
    switch (kind) {
        case event_kind::breaker_state: return "breaker_state";
        case event_kind::keys_overflowed: return "keys_overflowed";
        case event_kind::keys_recovered: return "keys_recovered";
        case event_kind::connect_failed: return "connect_failed";
        case event_kind::pool_recovered: return "pool_recovered";
        case event_kind::resource_replaced: return "resource_replaced";
        case event_kind::lease_leaked: return "lease_leaked";
        case event_kind::reconfigured: return "reconfigured";
        case event_kind::overrun: return "overrun";
    }
    return "unknown";
}

std::int64_t unix_ms(std::chrono::nanoseconds since_epoch) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count();
}

// Takes as long for a wrong token as for the right one.
bool same_secret(std::string_view given, std::string_view right) {
    unsigned difference = given.size() == right.size() ? 0 : 1;
    for (std::size_t i = 0; i < right.size(); ++i) {
        const char c = given.empty() ? '\0' : given[i % given.size()];
        difference |= static_cast<unsigned char>(c) ^ static_cast<unsigned char>(right[i]);
    }
    return difference == 0;
}

response answer(const request& to, http::status status, std::string_view type, std::string body) {
    response out(status, to.version());
    out.set(http::field::server, "headgate");
    out.set(http::field::content_type, type);
    out.set(http::field::cache_control, "no-store");
    out.set("X-Content-Type-Options", "nosniff");
    out.keep_alive(to.keep_alive());
    out.body() = std::move(body);
    out.prepare_payload();
    return out;
}

// Problem details (RFC 9457).
response refusal(const request& to, http::status status, std::string_view detail) {
    return answer(to, status, "application/problem+json",
                  detail::text_of({{"status", static_cast<int>(status)},
                                   {"title", std::string(http::obsolete_reason(status))},
                                   {"detail", detail}}) +
                      '\n');
}

/// The last events of all zones. Their subscriptions share it: one may be delivered while the server goes.
class event_log {
public:
    void note(const std::string& zone_name, duration offset, const event& e) {
        const std::lock_guard guard(mutex_);
        events_.push_back({{"id", ++last_},
                           {"time", unix_ms(e.time.time_since_epoch() + offset)},
                           {"zone", zone_name},
                           {"event", name_of(e.kind)},
                           {"kind", to_string(e.primitive)},
                           {"name", e.name},
                           {"from", e.from},
                           {"to", e.to},
                           {"detail", e.detail}});
        if (events_.size() > most_events) {
            events_.pop_front();
        }
    }

    /// Those after number `since`, and the number of the last one.
    void write(std::uint64_t since, json& out) const {
        out["events"] = json::array();
        const std::lock_guard guard(mutex_);
        for (const json& e : events_) {
            if (e["id"].get<std::uint64_t>() > since) {
                out["events"].push_back(e);
            }
        }
        out["last_event"] = last_;
    }

private:
    mutable std::mutex mutex_;
    std::deque<json> events_;
    std::uint64_t last_ = 0;
};

}  // namespace

struct status_server::impl {
    explicit impl(status_options o) : options(std::move(o)) {}

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

    // The zones -------------------------------------------------------------------------------------------------------

    [[nodiscard]] std::vector<zone*> shown_zones() {
        const std::lock_guard guard(mutex);
        std::vector<zone*> out = zones;
        for (zone_set* set : sets) {
            for (zone* z : set->zones()) {
                out.push_back(z);
                listen_to(*z);
            }
        }
        return out;
    }

    [[nodiscard]] std::vector<zone_snapshot> snapshots() {
        std::vector<zone_snapshot> out;
        for (const zone* z : shown_zones()) {
            out.push_back(z->snapshot());
        }
        return out;
    }

    // Under the mutex.
    void listen_to(zone& z) {
        if (!listening.contains(&z)) {
            listening.emplace(&z, z.on_event([log = log, name = z.name(), offset = z.core()->system_offset()](
                                                 const event& e) { log->note(name, offset, e); }));
        }
    }

    [[nodiscard]] std::string status_text(std::uint64_t since) {
        json out = {{"now", unix_ms(std::chrono::system_clock::now().time_since_epoch())},
                    {"started", started},
                    {"admin", !options.admin_token.empty()},
                    {"zones", detail::zones_json(snapshots())}};
        log->write(since, out);
        return detail::text_of(out);
    }

    [[nodiscard]] bool is_ready() {
        if (!ready) {
            return false;
        }
        for (const zone* z : shown_zones()) {
            if (z->core()->refusing()) {
                return false;
            }
        }
        return true;
    }

    // Actions ---------------------------------------------------------------------------------------------------------

    // What an action did; an error says what is wrong with it.
    result<std::string> act(const json& what) {
        const auto text = [&](const char* member) -> std::string {
            const auto found = what.find(member);
            return found != what.end() && found->is_string() ? found->get<std::string>() : std::string();
        };
        const std::string action = text("action"), name = text("name");
        zone* z = nullptr;
        for (zone* candidate : shown_zones()) {
            z = candidate->name() == text("zone") ? candidate : z;
        }
        if (z == nullptr) {
            return error(errc::unknown_name, "zone \"" + text("zone") + '"');
        }
        if (action == "force_open" || action == "force_closed" || action == "automatic" || action == "reset_breaker") {
            BOOST_OUTCOME_TRY(auto breaker, circuit_breaker::find(*z, name));
            if (action == "reset_breaker") {
                breaker.reset();
            } else {
                BOOST_OUTCOME_TRYV(breaker.set_mode(action == "force_open"     ? breaker_mode::forced_open
                                                    : action == "force_closed" ? breaker_mode::forced_closed
                                                                               : breaker_mode::automatic));
            }
            return action;
        }
        if (action == "pause" || action == "resume") {
            BOOST_OUTCOME_TRY(auto found, z->core()->find(primitive_kind::resource_pool, name));
            auto& pool = static_cast<detail::pool_core&>(*found);
            action == "pause" ? pool.pause() : pool.resume();
            return action;
        }
        if (action == "reset_key") {
            BOOST_OUTCOME_TRY(auto limiter, rate_limiter::find(*z, name));
            return std::string(limiter.reset(text("key")) ? "reset" : "nothing to reset");
        }
        return error(errc::invalid_argument,
                     "action is \"" + action +
                         "\"; it must be one of force_open, force_closed, automatic, reset_breaker, pause, resume, "
                         "reset_key");
    }

    response admin(const request& r) {
        if (options.admin_token.empty()) {
            return refusal(r, http::status::forbidden, "no admin token is configured: this server only shows");
        }
        if (!same_secret(std::string_view(r[http::field::authorization].data(), r[http::field::authorization].size()),
                         "Bearer " + options.admin_token)) {
            response out = refusal(r, http::status::unauthorized, "the admin token is needed");
            out.set(http::field::www_authenticate, "Bearer");
            return out;
        }
        const json what = json::parse(r.body(), nullptr, false);
        if (!what.is_object()) {
            return refusal(r, http::status::bad_request,
                           "the body must be a JSON object with action, zone and name, and key for reset_key");
        }
        const auto done = act(what);
        if (!done) {
            return refusal(r, done.error() == errc::unknown_name ? http::status::not_found : http::status::bad_request,
                           done.error().message());
        }
        return answer(r, http::status::ok, "application/json", detail::text_of({{"done", done.value()}}) + '\n');
    }

    // HTTP ------------------------------------------------------------------------------------------------------------

    response handle(const request& r) {
        const std::string_view target(r.target().data(), r.target().size());
        const std::string_view path = target.substr(0, target.find('?'));
        if (path == "/admin") {
            return r.method() == http::verb::post ? admin(r)
                                                  : refusal(r, http::status::method_not_allowed, "POST an action here");
        }
        if (r.method() != http::verb::get && r.method() != http::verb::head) {
            return refusal(r, http::status::method_not_allowed, "only GET and HEAD here");
        }
        if (path == "/") {
            response out = answer(r, http::status::ok, "text/html; charset=utf-8", std::string(detail::status_page));
            out.set("Content-Security-Policy",
                    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
                    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
            return out;
        }
        if (path == "/metrics") {
            return answer(r, http::status::ok, "text/plain; version=0.0.4; charset=utf-8", to_prometheus(snapshots()));
        }
        if (path == "/status.json") {
            std::uint64_t since = 0;
            if (const auto at = target.find("?since="); at != std::string_view::npos) {
                std::from_chars(target.data() + at + 7, target.data() + target.size(), since);
            }
            return answer(r, http::status::ok, "application/json", status_text(since));
        }
        if (path == "/healthz") {
            return answer(r, http::status::ok, "text/plain", "ok\n");
        }
        if (path == "/readyz") {
            const bool yes = is_ready();
            return answer(r, yes ? http::status::ok : http::status::service_unavailable, "text/plain",
                          yes ? "ready\n" : "not ready\n");
        }
        return refusal(r, http::status::not_found, "there are /, /metrics, /status.json, /healthz and /readyz");
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
                    out = refusal(parser.get(), http::status::payload_too_large, "the request is too large");
                    out.keep_alive(false);
                } else if (ec && ec.category() == make_error_code(http::error::bad_method).category() &&
                           ec != http::error::end_of_stream && ec != http::error::partial_message) {
                    out = refusal(parser.get(), http::status::bad_request, ec.message());
                    out.keep_alive(false);
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
    std::atomic<bool> ready{true};
    const std::int64_t started = unix_ms(std::chrono::system_clock::now().time_since_epoch());

    std::mutex mutex;
    std::vector<zone*> zones;
    std::vector<zone_set*> sets;

    std::shared_ptr<event_log> log = std::make_shared<event_log>();
    std::map<const zone*, subscription> listening;

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

void status_server::add(zone& z) {
    const std::lock_guard guard(impl_->mutex);
    impl_->zones.push_back(&z);
    impl_->listen_to(z);
}

void status_server::add(zone_set& set) {
    {
        const std::lock_guard guard(impl_->mutex);
        impl_->sets.push_back(&set);
    }
    static_cast<void>(impl_->shown_zones());
}

void status_server::set_ready(bool ready) noexcept {
    impl_->ready = ready;
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
