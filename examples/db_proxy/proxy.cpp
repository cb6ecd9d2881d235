// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "proxy.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "../support/listening.hpp"
#include "tables.hpp"

namespace db_proxy {

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace std::chrono_literals;

namespace {

constexpr auto look_around = 100ms;          // between two checks of the deadlines
constexpr std::uint32_t spare_logins = 100;  // above max_client_connections, so that the extra clients get an error

settings read_settings(const std::string& path) {
    std::ifstream file(path);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file) {
        throw std::runtime_error(path + ": cannot be read");
    }
    std::vector<headgate::config_problem> problems;
    auto parsed = parse_settings(text, problems);
    if (!parsed) {
        throw std::runtime_error(path + " has mistakes:\n" + headgate::to_string(problems));
    }
    return std::move(parsed).value();
}

std::vector<std::string> tiers_of(const settings& s) {
    std::vector<std::string> out;
    for (const auto& tier : s.zones.zones.at(zone_name).rate_limiters.at(transactions_limiter).tiers) {
        out.push_back(tier.name);
    }
    return out;
}

std::string directory_of(const std::string& path) {
    const auto slash = path.rfind('/');
    return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

}  // namespace

proxy::proxy(asio::io_context& io, std::string config_file)
    : io_(io),
      config_file_(std::move(config_file)),
      settings_(read_settings(config_file_)),
      zones_(headgate::zone_set::create(io_, settings_.zones).value()),
      zone_(*zones_->find(zone_name).value()),
      transactions_limiter_(headgate::rate_limiter::find(zone_, transactions_limiter).value()),
      failed_logins_(headgate::rate_limiter::find(zone_, failed_logins_limiter).value()),
      relay_(io_),
      backends_(zone_, relay_, settings_),
      lobby_{*this, *this, users_, sessions_, backends_, relay_, failed_logins_, consoles_},
      acceptor_(io_) {
    load_users(settings_, users_);
    session_host::zone = &zone_;
    session_host::transactions = &transactions_limiter_;
    session_host::current = &settings_;
    events_ = zone_.on_event([this](const headgate::event& e) {
        if (e.kind == headgate::event_kind::breaker_state) {
            backends_.breaker_changed(e.name, e.to != "closed");
        }
    });
    listen();
    if (!settings_.status.empty()) {
        serve_status_page();
    }
}

proxy::~proxy() = default;

void proxy::listen() {
    const tcp::endpoint where = support::endpoint_of("listen", settings_.listen);
    try {
        acceptor_.open(where.protocol());
        acceptor_.set_option(tcp::acceptor::reuse_address(true));
        acceptor_.bind(where);
        acceptor_.listen();
        listens_on_loopback_ = where.address().is_loopback();
    } catch (const boost::system::system_error& e) {
        throw std::runtime_error("cannot listen on " + settings_.listen + ": " + e.code().message());
    }
}

void proxy::serve_status_page() {
    const tcp::endpoint page = support::endpoint_of("status", settings_.status);
    auto started = headgate::status_server::start({.address = page.address().to_string(),
                                                   .port = page.port(),
                                                   .admin_token = {},
                                                   .host_names = settings_.status_host_names});
    if (!started) {
        throw std::runtime_error("cannot serve the status page on " + settings_.status + ": " +
                                 started.error().message());
    }
    status_ = std::move(started).value();
    status_->site().add(*zones_);
}

void proxy::load_users(const settings& s, user_list& out) const {
    const std::string path = s.users.starts_with('/') ? s.users : directory_of(config_file_) + s.users;
    std::vector<headgate::config_problem> problems;
    auto read = user_list::read(path, tiers_of(s), problems);
    if (!read) {
        throw std::runtime_error(problems.empty() ? read.error().message()
                                                  : path + " has mistakes:\n" + headgate::to_string(problems));
    }
    out = std::move(read).value();
}

void proxy::start() {
    relay_.start();
    asio::co_spawn(io_, accept(), asio::detached);
    asio::co_spawn(io_, watch_deadlines(), asio::detached);
}

std::string proxy::reload() {
    try {
        settings next = read_settings(config_file_);
        const auto fixed = fixed_while_running(settings_, next);
        if (!fixed.empty()) {
            return headgate::to_string(fixed);
        }
        user_list users;
        load_users(next, users);
        std::vector<headgate::config_problem> problems;
        if (!zones_->reload(next.zones, problems)) {
            return headgate::to_string(problems);
        }
        settings_ = std::move(next);
        users_ = std::move(users);
    } catch (const std::runtime_error& e) {
        return e.what();
    }
    backends_.reconfigure(users_);
    return {};
}

asio::awaitable<bool> proxy::drain() {
    stage = service::draining;
    acceptor_.close();
    for (const auto& one : sessions_.all()) {
        one->end_if_idle("57P01", "the proxy is shutting down");
    }
    const auto all_gone = [this] { return sessions_.size() == 0 && logging_in() == 0; };
    const auto until = zone_.now() + settings_.drain_timeout;
    while (!all_gone() && zone_.now() < until) {
        auto slept = co_await zone_.sleep_for(20ms);
        static_cast<void>(slept);
    }
    stage = service::stopped;
    const bool well = all_gone();
    relay_.stop();
    auto closed = co_await zone_.close(asio::use_awaitable);
    static_cast<void>(closed);
    co_return well;
}

void proxy::ended(session& s) {
    if (auto kept = sessions_.remove(s)) {
        relay_.retire(std::move(kept));
    }
}

void proxy::cancel(server_pool& pool, server_link& link) {
    using sending = server_link::canceling::stage;
    const auto& cancels = link.cancels();
    if (cancels->now != sending::none) {
        cancels->now = sending::asked_again;
        return;
    }
    cancels->now = sending::on_its_way;
    asio::co_spawn(io_, send_cancel(pool.server(), link.key(), cancels), asio::detached);
}

asio::awaitable<void> proxy::send_cancel(upstream& server, cancel_key key,
                                         std::shared_ptr<server_link::canceling> cancels) {
    using sending = server_link::canceling::stage;
    do {
        cancels->now = sending::on_its_way;
        const bool arrived = co_await server.cancel(key);
        cancels->doubtful = cancels->doubtful || !arrived;
    } while (cancels->now == sending::asked_again && !cancels->when_done);
    cancels->now = sending::none;
    if (cancels->when_done) {
        std::exchange(cancels->when_done, nullptr)();
    }
}

asio::awaitable<void> proxy::accept() {
    for (;;) {
        auto [failed, socket] = co_await acceptor_.async_accept(asio::as_tuple(asio::use_awaitable));
        if (failed == asio::error::operation_aborted || !acceptor_.is_open()) {
            co_return;
        }
        if (failed) {
            // Most likely the process is out of descriptors. To try again at once would only spin.
            auto slept = co_await zone_.sleep_for(look_around);
            static_cast<void>(slept);
            continue;
        }
        if (arrivals_.size() >= settings_.max_client_connections + spare_logins) {
            continue;  // the destructor closes the socket
        }
        boost::system::error_code ignored;
        socket.set_option(tcp::no_delay(true), ignored);  // NOLINT(bugprone-unused-return-value): fails if it has gone
        asio::co_spawn(io_, serve(std::move(socket)), asio::detached);
    }
}

asio::awaitable<void> proxy::serve(tcp::socket socket) {
    const std::shared_ptr<void> counted = arrivals_.mark();
    boost::system::error_code gone;
    const tcp::endpoint peer = socket.remote_endpoint(gone);
    if (gone) {
        co_return;
    }
    const bool on_loopback = peer.address().is_loopback() && listens_on_loopback_;
    arrival one(lobby_, std::move(socket), peer.address().to_string(), on_loopback);
    co_await one.run();
}

asio::awaitable<void> proxy::watch_deadlines() {
    while (stage != service::stopped) {
        auto slept = co_await zone_.sleep_for(look_around);
        if (!slept) {
            co_return;
        }
        const headgate::time_point now = zone_.now();
        for (const auto& one : sessions_.all()) {
            one->check_deadlines(now);
        }
        backends_.check_returns(now);
    }
}

std::vector<console_table> proxy::tables() const {
    return make_tables(backends_, sessions_, transactions_limiter_, logging_in());
}

}  // namespace db_proxy
