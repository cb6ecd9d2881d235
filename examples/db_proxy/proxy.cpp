// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "proxy.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <array>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "../support/listening.hpp"

namespace db_proxy {

namespace asio = boost::asio;
using asio::ip::tcp;
using headgate::errc;
using headgate::result;
using namespace std::chrono_literals;

namespace {

constexpr auto look_around = 100ms;          // between two looks at deadlines
constexpr std::uint32_t spare_logins = 100;  // beyond the clients that may stay, so that they can be told why not

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

/// A client on its way in.
struct proxy::arrival {
    arrival(tcp::socket s, std::function<login_check(std::string_view)> find)
        : socket(std::move(s)), login(std::move(find)) {}

    tcp::socket socket;
    std::string address;
    client_login login;
    std::string input;
};

proxy::proxy(asio::io_context& io, std::string config_file)
    : io_(io),
      config_file_(std::move(config_file)),
      settings_(read_settings(config_file_)),
      zones_(headgate::zone_set::create(io_, settings_.zones).value()),
      zone_(*zones_->find(zone_name).value()),
      transactions_limiter_(headgate::rate_limiter::find(zone_, transactions_limiter).value()),
      failed_logins_(headgate::rate_limiter::find(zone_, failed_logins_limiter).value()),
      relay_(io_),
      acceptor_(io_) {
    load_users(settings_, users_);
    session_host::zone = &zone_;
    session_host::transactions = &transactions_limiter_;
    session_host::current = &settings_;
    for (const auto& [name, server] : settings_.servers) {
        add_server(name, server);
    }
    events_ = zone_.on_event([this](const headgate::event& e) {
        const auto found = servers_.find(e.name);
        if (e.kind == headgate::event_kind::breaker_state && found != servers_.end()) {
            found->second->breaker_changed(e.to != "closed");
        }
    });
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
    if (!settings_.status.empty()) {
        const tcp::endpoint page = support::endpoint_of("status", settings_.status);
        auto started = headgate::status_server::start({.address = page.address().to_string(), .port = page.port()});
        if (!started) {
            throw std::runtime_error("cannot serve the status page on " + settings_.status + ": " +
                                     started.error().message());
        }
        status_ = std::move(started).value();
        status_->site().add(*zones_);
    }
}

proxy::~proxy() = default;

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

void proxy::add_server(const std::string& name, const server_settings& s) {
    servers_.emplace(
        name, std::make_unique<upstream>(zone_, relay_, name, s, headgate::circuit_breaker::find(zone_, name).value()));
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
    for (const auto& [name, server] : settings_.servers) {
        const auto found = servers_.find(name);
        if (found != servers_.end()) {
            found->second->reconfigure(server);
        } else {
            add_server(name, server);
        }
    }
    const auto& options = settings_.zones.zones.at(zone_name).resource_pools;
    for (const auto& [key, pool] : pools_) {
        const auto who = users_.find(key.second);
        server_credentials as = pool->credentials();
        as.password = who ? who->server_password : as.password;
        pool->reconfigure(settings_.databases.at(key.first), options.at(key.first), as);
    }
    return {};
}

asio::awaitable<bool> proxy::drain() {
    stage = service::draining;
    acceptor_.close();
    // Ending one changes the list.
    std::vector<std::shared_ptr<session>> all;
    all.reserve(sessions_.size());
    for (const auto& [process, one] : sessions_) {
        all.push_back(one);
    }
    for (const auto& one : all) {
        one->end_if_idle("57P01", "the proxy is shutting down");
    }
    const auto until = zone_.now() + settings_.drain_timeout;
    while ((!sessions_.empty() || arriving() > consoles_) && zone_.now() < until) {
        auto slept = co_await zone_.sleep_for(20ms);
        static_cast<void>(slept);
    }
    stage = service::stopped;
    const bool well = sessions_.empty() && arriving() <= consoles_;
    relay_.stop();
    auto closed = co_await zone_.close(asio::use_awaitable);
    static_cast<void>(closed);
    co_return well;
}

void proxy::ended(session& s) {
    const auto found = sessions_.find(s.who().key.process);
    if (found != sessions_.end() && found->second.get() == &s) {
        relay_.retire(std::move(found->second));
        sessions_.erase(found);
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
            // Out of descriptors, most likely: come back instead of spinning.
            auto slept = co_await zone_.sleep_for(look_around);
            static_cast<void>(slept);
            continue;
        }
        if (arriving() >= settings_.max_client_connections + spare_logins) {
            continue;  // closes it
        }
        boost::system::error_code ignored;
        socket.set_option(tcp::no_delay(true), ignored);  // NOLINT(bugprone-unused-return-value): gone already, then
        asio::co_spawn(io_, serve(std::move(socket)), asio::detached);
    }
}

asio::awaitable<void> proxy::serve(tcp::socket socket) {
    const std::shared_ptr<void> counted = arrivals_;
    boost::system::error_code gone;
    const tcp::endpoint peer = socket.remote_endpoint(gone);
    if (gone) {
        co_return;
    }
    const bool loopback = peer.address().is_loopback() && listens_on_loopback_;
    arrival a(std::move(socket), [this, loopback](std::string_view name) { return users_.check(name, loopback); });
    a.address = peer.address().to_string();
    arrival* const arg = &a;
    proxy* const self = this;
    const auto log_in_now = [self](headgate::call_context context, arrival* who) { return self->log_in(context, who); };
    auto state = co_await headgate::with_timeout(zone_, settings_.client_login_timeout, log_in_now, arg);
    if (!state) {
        if (state.error() == errc::timed_out && a.login.started()) {
            co_await refuse(a, "08P01", "the login took too long");
        }
        co_return;
    }
    switch (state.value()) {
        case client_login::state::cancel: cancel_for(a.login.cancels(), a.address); break;
        case client_login::state::authenticated: co_await open_session(a); break;
        case client_login::state::refused:
        case client_login::state::running: break;
    }
}

asio::awaitable<result<client_login::state>> proxy::log_in(headgate::call_context context, arrival* a) {
    const auto token = [&] { return asio::bind_cancellation_slot(context.slot(), asio::use_awaitable); };
    std::array<char, 4096> chunk{};
    for (;;) {
        const std::size_t n = co_await a->socket.async_read_some(asio::buffer(chunk), token());
        a->input.append(chunk.data(), n);
        // Asked before each proof is judged, and spent as soon as one is wrong: those that come at once are no more.
        bool shut_out = a->login.started() && is_shut_out(a->address);
        client_login::state state = client_login::state::refused;
        if (!shut_out) {
            std::string_view input = a->input;
            state = a->login.feed(input);
            a->input.erase(0, a->input.size() - input.size());
            if (state == client_login::state::authenticated || state == client_login::state::cancel) {
                co_return state;  // what is to be sent goes with what comes next
            }
            if (a->login.bad_credentials()) {
                static_cast<void>(failed_logins_.try_acquire(a->address));
            } else {
                shut_out = a->login.started() && is_shut_out(a->address);
            }
        }
        if (shut_out) {
            state = client_login::state::refused;
            a->login.output.clear();
            append_error(a->login.output, {"FATAL", "28000", "too many failed logins from this address"});
        }
        const std::string output = std::exchange(a->login.output, {});
        if (!output.empty()) {
            co_await asio::async_write(a->socket, asio::buffer(output), token());
        }
        if (state == client_login::state::refused) {
            co_return state;
        }
    }
}

bool proxy::is_shut_out(const std::string& address) const {
    const headgate::key_info info = failed_logins_.inspect(address);
    return info.known && info.tightest.remaining == 0;
}

asio::awaitable<void> proxy::refuse(arrival& a, std::string_view code, std::string_view text) {
    std::string out = std::exchange(a.login.output, {});
    append_error(out, {"FATAL", code, text});
    boost::system::error_code ignored;
    co_await asio::async_write(a.socket, asio::buffer(out), asio::redirect_error(asio::use_awaitable, ignored));
}

asio::awaitable<void> proxy::open_session(arrival& a) {
    const start_request& request = a.login.request();
    const auto who = users_.find(request.user);  // a reload may come while we wait
    if (stage != service::open) {
        co_return co_await refuse(a, "57P01", "the proxy is shutting down");
    }
    if (!who) {
        co_return co_await refuse(a, "28000", "user \"" + request.user + "\" was removed");  // by a reload just now
    }
    if (request.database == settings_.admin_database) {
        if (who->console == console_right::none) {
            co_return co_await refuse(a, "42501", "user \"" + who->name + "\" may not use the console");
        }
        ++consoles_;
        console one(*this, who->console);
        std::string out = std::exchange(a.login.output, {});
        append_parameter_status(out, "server_version", "15.0");
        append_parameter_status(out, "client_encoding", "UTF8");
        append_ready(out, 'I');
        std::array<char, 4096> chunk{};
        boost::system::error_code gone;
        for (bool more = true; more && !gone;) {
            std::string_view input = a.input;
            more = one.feed(input, out);
            a.input.erase(0, a.input.size() - input.size());
            co_await asio::async_write(a.socket, asio::buffer(out), asio::redirect_error(asio::use_awaitable, gone));
            out.clear();
            if (more && !gone) {
                const std::size_t n = co_await a.socket.async_read_some(
                    asio::buffer(chunk), asio::redirect_error(asio::use_awaitable, gone));
                a.input.append(chunk.data(), n);
            }
        }
        --consoles_;
        co_return;
    }
    const auto database = settings_.databases.find(request.database);
    if (database == settings_.databases.end()) {
        co_return co_await refuse(a, "3D000", "database \"" + request.database + "\" does not exist");
    }
    const start_parameters start = read_parameters(request.values, database->second.parameters);
    if (!start.problem.empty()) {
        co_return co_await refuse(a, start.code, start.problem);
    }
    if (sessions_.size() >= settings_.max_client_connections) {
        co_return co_await refuse(a, "53300", "sorry, too many clients already");
    }
    server_pool& pool = pool_of(database->first, *who);
    if (pool.server().is_open()) {
        const refusal why = start_up_refusal(errc::circuit_open, settings_, pool);
        co_return co_await refuse(a, why.code, why.text);
    }
    if (pool.welcome().empty()) {
        // What a server says of itself is known once one was connected to.
        auto first = co_await pool.pool().checkout();
        if (!first) {
            const refusal why = start_up_refusal(first.error(), settings_, pool);
            co_return co_await refuse(a, why.code, why.text);
        }
    }
    std::string out = std::exchange(a.login.output, {});
    tracked_values wanted = *pool.usual();
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (!start.tracked[i].empty()) {
            wanted[i] = start.tracked[i];
        }
    }
    for (const auto& [name, value] : pool.welcome()) {
        const std::size_t i = tracked_index(name);
        append_parameter_status(out, name, i < wanted.size() ? wanted[i] : value);
    }
    const auto believed =
        wanted == *pool.usual() ? pool.usual() : std::make_shared<const tracked_values>(std::move(wanted));
    client_identity identity{.is = who, .address = a.address, .key = make_key()};
    std::string key;
    append_uint32(key, identity.key.process);
    append_uint32(key, identity.key.secret);
    append_message(out, 'K', {key});
    append_ready(out, 'I');
    boost::system::error_code gone;
    co_await asio::async_write(a.socket, asio::buffer(out), asio::redirect_error(asio::use_awaitable, gone));
    if (gone || stage == service::stopped) {
        co_return;
    }
    if (stage != service::open) {
        co_return co_await refuse(a, "57P01", "the proxy is shutting down");
    }
    if (sessions_.size() >= settings_.max_client_connections) {
        co_return co_await refuse(a, "53300", "sorry, too many clients already");
    }
    const auto made = std::make_shared<session>(*this, pool, std::move(identity), believed);
    sessions_.emplace(made->who().key.process, made);
    a.socket.native_non_blocking(true, gone);  // NOLINT(bugprone-unused-return-value): it is, since the first read
    made->start(relay_, a.socket.release(), a.input);
}

server_pool& proxy::pool_of(const std::string& database, const user& who) {
    const std::pair key{database, who.name};
    if (const auto found = pools_.find(key); found != pools_.end()) {
        return *found->second;
    }
    const database_settings& d = settings_.databases.at(database);
    auto made = std::make_unique<server_pool>(zone_, relay_, *servers_.at(d.server), who.name + '@' + database, d,
                                              settings_.zones.zones.at(zone_name).resource_pools.at(database),
                                              server_credentials{who.name, who.server_password, d.dbname});
    return *pools_.emplace(key, std::move(made)).first->second;
}

cancel_key proxy::make_key() const {
    std::array<unsigned char, 8> random{};
    do {
        if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) {
            throw std::runtime_error("OpenSSL: no random bytes");
        }
        const std::string bytes(random.begin(), random.end());
        const cancel_key key{read_uint32(bytes), read_uint32(std::string_view(bytes).substr(4))};
        if (!sessions_.contains(key.process)) {
            return key;
        }
    } while (true);
}

void proxy::cancel_for(const cancel_key& key, const std::string& address) {
    if (is_shut_out(address)) {
        return;
    }
    const auto found = sessions_.find(key.process);
    const std::uint32_t secret = found == sessions_.end() ? 0 : found->second->who().key.secret;
    const bool right = CRYPTO_memcmp(&secret, &key.secret, sizeof secret) == 0;
    if (found == sessions_.end() || !right) {
        static_cast<void>(failed_logins_.try_acquire(address));
        return;
    }
    found->second->cancel_query();
}

asio::awaitable<void> proxy::watch_deadlines() {
    std::vector<std::shared_ptr<session>> all;
    while (stage != service::stopped) {
        auto slept = co_await zone_.sleep_for(look_around);
        if (!slept) {
            co_return;
        }
        const headgate::time_point now = zone_.now();
        for (const auto& [process, one] : sessions_) {
            all.push_back(one);  // a check may end one
        }
        for (const auto& one : all) {
            one->check_deadlines(now);
        }
        all.clear();
        for (const auto& [key, pool] : pools_) {
            pool->check_returns(now);
        }
    }
}

std::vector<console_table> proxy::tables() const {
    using std::to_string;
    console_table pools{
        "POOLS", {"database", "user", "server", "pool_mode", "leased", "idle", "waiting", "connecting"}, {}};
    std::map<const server_pool*, std::string> names;  // of databases, as they are configured
    for (const auto& [key, pool] : pools_) {
        names.emplace(pool.get(), key.first);
        const headgate::pool_status s = pool->pool().status();
        pools.rows.push_back({key.first, key.second, pool->server().name(),
                              pool->database().mode == pool_mode::session ? "session" : "transaction",
                              to_string(s.leased), to_string(s.idle), to_string(s.waiting), to_string(s.connecting)});
    }
    console_table clients{"CLIENTS", {"user", "database", "address", "state", "transactions"}, {}};
    for (const auto& [process, one] : sessions_) {
        clients.rows.push_back({one->who().is->name, names.at(&one->pool()), one->who().address,
                                std::string(one->state()), to_string(one->transactions())});
    }
    console_table servers{"SERVERS", {"server", "host", "port", "connections", "max", "waiting", "breaker"}, {}};
    console_table breakers{"BREAKERS", {"server", "state", "mode", "failures", "refused", "opened"}, {}};
    for (const auto& [name, server] : servers_) {
        const headgate::bulkhead_status s = server->connections().status();
        const headgate::breaker_snapshot b = server->breaker().snapshot();
        const std::string state(to_string(b.state));
        servers.rows.push_back({name, server->settings().host, to_string(server->settings().port), to_string(s.running),
                                to_string(server->settings().max_connections), to_string(s.waiting), state});
        breakers.rows.push_back({name, state, std::string(to_string(b.mode)), to_string(b.failures),
                                 to_string(b.refused), to_string(b.opened)});
    }
    console_table limits{"LIMITS", {"user", "tier", "limit", "used", "remaining", "reset_ms"}, {}};
    console_table stats{"STATS", {"name", "value"}, {}};
    for (const auto& [key, pool] : pools_) {
        const headgate::key_info info = transactions_limiter_.inspect(key.second);
        if (info.known) {
            const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(info.tightest.reset_after);
            limits.rows.push_back({key.second, info.tier, to_string(info.tightest.limit), to_string(info.tightest.used),
                                   to_string(info.tightest.remaining), to_string(ms.count())});
        }
    }
    for (const headgate::metric& m : transactions_limiter_.snapshot().metrics) {
        stats.rows.push_back({"transactions_" + std::string(m.name), to_string(static_cast<std::int64_t>(m.value))});
    }
    stats.rows.push_back({"clients", to_string(sessions_.size())});
    stats.rows.push_back({"logins", to_string(arriving() - consoles_)});
    return {std::move(pools), std::move(clients), std::move(servers),
            std::move(stats), std::move(limits),  std::move(breakers)};
}

}  // namespace db_proxy
