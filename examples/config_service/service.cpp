// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "service.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "../support/listening.hpp"
#include "log.hpp"
#include "problem.hpp"

namespace config_service {

namespace {

using headgate::result;
using namespace std::chrono_literals;

constexpr std::size_t batch = 500;  // records of one transaction

std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) {
        throw std::runtime_error(path + " cannot be read");
    }
    return {std::istreambuf_iterator<char>(in), {}};
}

// Reads the document. Options of the command line override its values.
settings read_settings(const start_options& options, std::vector<headgate::config_problem>& problems) {
    auto read = parse_settings(read_file(options.config_file), problems);
    if (!read) {
        throw std::runtime_error(options.config_file + " has mistakes:\n" + headgate::to_string(problems));
    }
    settings s = std::move(read).value();
    const auto over = [](const std::string& given, std::string& to) {
        if (!given.empty()) {
            to = given;
        }
    };
    over(options.listen, s.listen);
    over(options.database, s.database);
    over(options.users, s.users);
    s.log_requests = s.log_requests && !options.demo;  // the demo's requests would hide the line with the address
    return s;
}

settings read_settings(const start_options& options) {
    std::vector<headgate::config_problem> problems;
    return read_settings(options, problems);
}

// A file name is relative to the data directory. A URL stays unchanged.
std::string database_of(const settings& s, const std::string& directory) {
    const bool url = s.database.find("://") != std::string::npos;
    return url || s.database.starts_with('/') ? s.database : directory + '/' + s.database;
}

// The tiers that both limiters of users have.
std::vector<std::string> common_tiers(const headgate::config& c) {
    std::vector<std::string> out;
    const auto& updates = c.zones.at("config").rate_limiters.at("config_update").tiers;
    const auto& parses = c.zones.at("parser").rate_limiters.at("ast_parse").tiers;
    for (const auto& t : updates) {
        if (std::any_of(parses.begin(), parses.end(), [&](const auto& other) { return other.name == t.name; })) {
            out.push_back(t.name);
        }
    }
    return out;
}

// As in draft-ietf-httpapi-ratelimit-headers-10: "config_update";q=10;w=60
std::string policy_of(const std::string& limiter, const headgate::tier& t) {
    std::string out;
    for (const headgate::quota& q : t.quotas) {
        out += (out.empty() ? "\"" : ", \"") + limiter + '"';
        if (!q.is_none()) {
            out += ";q=" + std::to_string(q.permits()) + ";w=" + seconds_of(q.period());
        }
    }
    return out;
}

asio::awaitable<result<void>> write_records(headgate::call_context context, database_connection& c,
                                            const std::vector<record>* records) {
    co_return co_await c.write(context, *records);
}

struct saved_limiter {
    headgate::rate_limiter limiter;
    std::string file;
};

// Runs on the thread that writes files.
asio::awaitable<void> save_all(std::vector<saved_limiter> limiters) {
    for (const auto& one : limiters) {
        if (const auto saved = one.limiter.save(one.file); !saved) {
            log_event(log_level::error, "limits_not_saved", {{"file", one.file}, {"why", saved.error().message()}});
        }
    }
    co_return;
}

std::vector<saved_limiter> limiters_of(protection& p, const std::string& directory) {
    std::vector<saved_limiter> out;
    for (const auto* limiter : {&p.updates(), &p.parses(), &p.failed_logins()}) {
        out.push_back({*limiter, directory + "/limits-" + limiter->name() + ".state"});
    }
    return out;
}

}  // namespace

service::service(asio::io_context& io, start_options options)
    : io_(io),
      options_(std::move(options)),
      settings_(read_settings(options_)),
      database_(database_backend::create(database_of(settings_, options_.data_directory), settings_.max_database_pages)
                    .value()),
      zones_(headgate::zone_set::create(io_, settings_.zones).value()),
      protection_(std::make_unique<protection>(
          *zones_, database_,
          worker_backend(settings_.parser_command, settings_.parser_memory, settings_.parser_output))),
      one_at_a_time_(headgate::bulkhead::find(*zones_->find("config").value(), "sync").value()),
      store_(settings_.max_entries),
      site_([this](std::string_view authorization) {
          const user* who = known(authorization);
          return !users_ || (who != nullptr && who->admin);
      }) {
    std::vector<headgate::config_problem> problems;
    read_users(settings_, problems);
    if (!problems.empty()) {
        throw std::runtime_error(settings_.users + " has mistakes:\n" + headgate::to_string(problems));
    }
    const auto endpoint = support::endpoint_of("listen", settings_.listen);
    if (!users_ && !endpoint.address().is_loopback()) {
        throw std::runtime_error("listen is \"" + settings_.listen +
                                 "\"; without a file of users it must be a loopback address, such as 127.0.0.1");
    }
    load_limits();
    try {
        server_ = std::make_unique<http_server>(io_, endpoint, http_options{},
                                                [this](const http_request& r) { return handle(r); });
    } catch (const boost::system::system_error& e) {
        throw std::runtime_error("cannot listen on " + settings_.listen + ": " + e.code().message());
    }
    port_ = server_->port();
    apply(settings_);
    site_.add(*zones_);
    if (options_.demo) {
        site_.add_action("Break the database", [this] { database_.set_broken(true); });
        site_.add_action("Heal the database", [this] { database_.set_broken(false); });
    }
}

service::~service() = default;

void service::start() {
    server_->start();
    asio::co_spawn(io_, sync_now_and_then(), asio::detached);
    asio::co_spawn(io_, save_limits_now_and_then(), asio::detached);
    asio::co_spawn(io_, sample_each_second(), asio::detached);
}

std::string service::url() const {
    const auto address = support::endpoint_of("listen", settings_.listen).address();
    return "http://" + (address.is_v6() ? '[' + address.to_string() + ']' : address.to_string()) + ':' +
           std::to_string(port_) + '/';
}

// Configuration
// ---------------------------------------------------------------------------------------------------------

void service::read_users(const settings& s, std::vector<headgate::config_problem>& problems) {
    if (s.users.empty()) {
        return;
    }
    auto read = users::parse(read_file(s.users), common_tiers(s.zones), problems);
    if (read) {
        users_ = std::move(read).value();
    }
}

void service::apply(const settings& s) {
    policies_.clear();
    for (const auto& [zone, limiter] : {std::pair{"config", "config_update"}, std::pair{"parser", "ast_parse"}}) {
        const auto& tiers = s.zones.zones.at(zone).rate_limiters.at(limiter).tiers;
        for (const auto& t : tiers) {
            policies_[limiter][t.name] = policy_of(limiter, t);
        }
        policies_[limiter][""] = policy_of(limiter, tiers.front());
    }
    protection_->set_timeouts(s);
    server_->set_options({.log_requests = s.log_requests,
                          .max_body = s.max_body,
                          .max_connections = s.max_connections,
                          .trusted_proxies = networks_of(s.trusted_proxies),
                          .idle_timeout = s.idle_timeout,
                          .header_timeout = s.header_timeout,
                          .body_timeout = s.body_timeout});
}

result<void> service::reload(std::vector<headgate::config_problem>& problems) {
    const auto refuse = [&](const std::string& why) -> result<void> {
        log_event(log_level::error, "reload_refused", {{"why", why}});
        return headgate::error(headgate::errc::invalid_config, why);
    };
    try {
        settings wanted = read_settings(options_, problems);
        problems = fixed_while_running(settings_, wanted);
        if (wanted.users.empty() != settings_.users.empty()) {
            problems.push_back({"/service/users", "another value than the one in use", "this takes a restart"});
        }
        std::optional<users> users_before = users_;
        if (problems.empty()) {
            read_users(wanted, problems);
        }
        if (problems.empty()) {
            static_cast<void>(zones_->reload(wanted.zones, problems));
        }
        if (!problems.empty()) {
            users_ = std::move(users_before);
            return refuse(headgate::to_string(problems));
        }
        apply(wanted);
        settings_ = std::move(wanted);
    } catch (const std::exception& e) {
        if (problems.empty()) {
            problems.push_back({"", e.what(), "a file that can be read"});
        }
        return refuse(e.what());
    }
    log_event(log_level::info, "reloaded");
    return headgate::success();
}

// The database
// ----------------------------------------------------------------------------------------------------------

// Syncs every record that was written before this call. Concurrent callers share transactions.
asio::awaitable<result<void>> service::sync() {
    const std::uint64_t target = store_.written();
    const auto turn = co_await one_at_a_time_.enter();
    if (!turn) {
        co_return turn.error();
    }
    while (store_.saved() < target) {
        auto written = co_await write_unsaved();
        if (!written) {
            co_return written;
        }
    }
    co_return headgate::success();
}

asio::awaitable<result<void>> service::write_unsaved() {
    const std::vector<record> records = store_.unsaved(batch);
    const std::vector<record>* const all = &records;
    auto written = co_await protection_->write(write_records, all);
    if (written) {
        store_.mark_saved(records.size());
        log_event(log_level::info, "synced", {{"records", records.size()}});
    } else {
        log_event(log_level::warning, "sync_failed",
                  {{"why", written.error().message()}, {"unsaved", store_.unsaved_count()}});
    }
    co_return written;
}

asio::awaitable<void> service::sync_now_and_then() {
    asio::steady_timer timer(io_);
    boost::system::error_code ec;
    while (!draining_) {
        timer.expires_after(settings_.sync_interval);
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        if (!draining_ && store_.unsaved_count() > 0) {
            static_cast<void>(co_await sync());
        }
    }
}

// The limits
// ------------------------------------------------------------------------------------------------------------

void service::load_limits() {
    for (auto& one : limiters_of(*protection_, options_.data_directory)) {
        if (!std::filesystem::exists(one.file)) {
            continue;
        }
        if (const auto loaded = one.limiter.load(one.file); !loaded) {
            // Keep the file, so that an administrator can find the cause. The limits start afresh.
            std::rename(one.file.c_str(), (one.file + ".bad").c_str());
            log_event(log_level::error, "limits_not_loaded", {{"file", one.file}, {"why", loaded.error().message()}});
        }
    }
}

asio::awaitable<void> service::save_limits() {
    co_await asio::co_spawn(files_, save_all(limiters_of(*protection_, options_.data_directory)), asio::use_awaitable);
}

asio::awaitable<void> service::save_limits_now_and_then() {
    asio::steady_timer timer(io_);
    boost::system::error_code ec;
    while (!draining_) {
        timer.expires_after(settings_.save_interval);
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        if (!draining_) {
            co_await save_limits();
        }
    }
}

asio::awaitable<void> service::sample_each_second() {
    asio::steady_timer timer(io_);
    boost::system::error_code ec;
    while (!draining_) {
        site_.sample();
        timer.expires_after(std::chrono::seconds{1});
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    }
}

// The end
// ---------------------------------------------------------------------------------------------------------------

asio::awaitable<bool> service::drain() {
    const auto deadline = std::chrono::steady_clock::now() + settings_.drain_timeout;
    const auto late = [&] { return std::chrono::steady_clock::now() >= deadline; };
    asio::steady_timer timer(io_);
    const auto pause = [&](std::chrono::nanoseconds d) -> asio::awaitable<void> {
        timer.expires_at(std::min(std::chrono::steady_clock::now() + d, deadline));
        boost::system::error_code ec;
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    };
    log_event(log_level::info, "draining", {{"connections", server_->connections()}});
    draining_ = true;
    site_.set_ready(false);
    server_->drain();
    while (server_->connections() > 0 && !late()) {
        co_await pause(10ms);
    }
    while (store_.unsaved_count() > 0 && !late()) {
        if (const auto synced = co_await sync(); !synced) {
            co_await pause(std::max<std::chrono::nanoseconds>(synced.error().retry_after, 50ms));
        }
    }
    co_await save_limits();
    for (headgate::zone* z : zones_->zones()) {
        static_cast<void>(co_await z->close(asio::use_awaitable));
    }
    const std::size_t lost = store_.unsaved_count();
    log_event(lost == 0 ? log_level::info : log_level::error, "ended", {{"unsaved", lost}});
    co_return lost == 0;
}

}  // namespace config_service
