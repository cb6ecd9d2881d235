// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_SERVICE_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_SERVICE_HPP

#include <headgate/headgate.hpp>
#include <headgate/status.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "database.hpp"
#include "http.hpp"
#include "protection.hpp"
#include "settings.hpp"
#include "store.hpp"
#include "users.hpp"

namespace config_service {

/// The options of the command line.
struct start_options {
    std::string config_file;
    std::string data_directory = ".";
    std::string listen;    ///< Overrides the document's value unless empty.
    std::string database;  ///< The same.
    std::string users;     ///< The same.
    bool demo = false;     ///< The page may break and heal the database.
};

/// The configuration service: answers requests, writes updates to the database, and saves the state of its limits. Runs
/// on one thread.
class service {
public:
    /// Reads the configuration and makes the parts that it names. Throws std::exception with all mistakes.
    service(asio::io_context& io, start_options options);
    ~service();

    /// Begins to serve.
    void start();
    /// Reads the configuration again. Applies all of it, or nothing. Logs the mistakes.
    headgate::result<void> reload(std::vector<headgate::config_problem>& problems);
    /// Stops accepting, finishes running requests, syncs, saves the limits, and closes. False if writes are lost.
    asio::awaitable<bool> drain();

    [[nodiscard]] std::string url() const;
    [[nodiscard]] bool has_users() const noexcept { return users_.has_value(); }
    [[nodiscard]] const settings& current() const noexcept { return settings_; }

private:
    using answer = asio::awaitable<http_response>;

    // Requests (api.cpp)
    answer handle(const http_request& r);
    answer route(const http_request& r, const user& who);
    answer get_value(const http_request& r, const std::string& path);
    answer put_value(const http_request& r, const user& who, const std::string& path, std::optional<std::string> value);
    answer get_history(const http_request& r, const std::string& path);
    answer get_list(const http_request& r);
    answer post_sync();
    answer post_parse(const http_request& r, const user& who);
    http_response post_reload(const user& who);
    http_response status_page(const http_request& r);
    [[nodiscard]] std::optional<http_response> check_origin(const http_request& r) const;
    [[nodiscard]] const user* known(std::string_view authorization) const;
    std::optional<http_response> check_user(const http_request& r, user& who);
    [[nodiscard]] http_response refused(const headgate::error& e, nlohmann::json more = nlohmann::json::object()) const;
    http_response limited(const headgate::error& e, const headgate::rate_limiter& limiter, const user& who) const;
    void add_limit_fields(http_response& to, const headgate::rate_limiter& limiter, const user& who) const;
    void add_limit_fields(http_response& to, const headgate::rate_limiter& limiter, const user& who,
                          std::uint64_t remaining, headgate::duration reset_after) const;

    // The database (service.cpp)
    asio::awaitable<headgate::result<void>> sync();
    asio::awaitable<headgate::result<void>> write_unsaved();
    asio::awaitable<void> sync_now_and_then();
    asio::awaitable<void> save_limits_now_and_then();
    asio::awaitable<void> sample_each_second();
    asio::awaitable<void> save_limits();
    void load_limits();

    void read_users(const settings& s, std::vector<headgate::config_problem>& problems);
    void apply(const settings& s);

    asio::io_context& io_;
    start_options options_;
    settings settings_;
    std::optional<users> users_;
    std::map<std::string, std::map<std::string, std::string>> policies_;  // RateLimit-Policy by limiter and tier
    database_backend database_;
    std::unique_ptr<headgate::zone_set> zones_;
    std::unique_ptr<protection> protection_;
    headgate::bulkhead one_at_a_time_;
    store store_;
    headgate::status_site site_;
    std::unique_ptr<http_server> server_;
    asio::thread_pool files_{1};  // the thread that writes files
    std::uint16_t port_ = 0;
    bool draining_ = false;
};

}  // namespace config_service

#endif
