// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_PROTECTION_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_PROTECTION_HPP

#include <headgate/headgate.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "database.hpp"
#include "parser.hpp"
#include "settings.hpp"
#include "store.hpp"
#include "users.hpp"

namespace config_service {

/// Asks again what failed midway. What was refused, by a breaker that is open or a database that is down, is told at
/// once.
struct failed_midway {
    template <class T>
    bool operator()(const headgate::result<T>& r) const {
        return !r && r.error() != headgate::errc::connect_failed &&
               headgate::outcome_of(r.error()) == headgate::call_outcome::failure;
    }
};

/// What the database has for a path, and what the store had forgotten when it was asked: see `store::learn`.
struct reading {
    std::optional<record> found;
    std::uint64_t forgotten = 0;
};

/// An operation that finds the latest record of a path.
using latest_record = boost::asio::awaitable<headgate::result<std::optional<record>>> (*)(headgate::call_context,
                                                                                          database_connection&,
                                                                                          std::string path);

/// All that headgate does for this service, in one place: who may call what, how often, and for how long.
///
/// With CONFIG_SERVICE_UNPROTECTED the same calls pass straight through. The benchmark compares both builds.
class protection {
public:
    /// Finds or makes the parts that the configuration names. Throws headgate::system_error if this fails for one of
    /// them. Calls have no timeouts before `set_timeouts`.
    protection(headgate::zone_set& zones, database_backend database, worker_backend parser)
        : updates_(headgate::rate_limiter::find(*zones.find("config").value(), "config_update").value()),
          parses_(headgate::rate_limiter::find(*zones.find("parser").value(), "ast_parse").value()),
          failed_logins_(headgate::rate_limiter::find(*zones.find("config").value(), "failed_login").value()),
          database_(zones.make_pool<database_connection>("config", "database", std::move(database)).value()),
          parser_(zones.make_pool<worker>("parser", "ast_parser", std::move(parser)).value()),
          look_up_(headgate::retry::find(*zones.find("config").value(), "look_up").value(),
                   headgate::circuit_breaker::find(*zones.find("config").value(), "config_server").value(), database_),
          twice_(headgate::hedge::find(*zones.find("config").value(), "look_up").value()),
          reads_(headgate::coalescer<reading>::find(*zones.find("config").value(), "reads").value()),
          new_path_(updates_, headgate::circuit_breaker::find(*zones.find("config").value(), "config_server").value(),
                    database_),
          write_(headgate::circuit_breaker::find(*zones.find("config").value(), "database").value(), database_),
          parse_(parses_, parser_) {}

    /// Sets how long calls may take, also while the service runs. The parts get their own timeouts from the zones'
    /// configuration.
    void set_timeouts(const settings& s) {
        look_up_timeout_ = s.look_up_timeout;
        sync_timeout_ = s.sync_timeout;
        parser_timeout_ = s.parser_timeout;
    }

    [[nodiscard]] headgate::rate_limiter& updates() noexcept { return updates_; }
    [[nodiscard]] headgate::rate_limiter& parses() noexcept { return parses_; }
    [[nodiscard]] headgate::rate_limiter& failed_logins() noexcept { return failed_logins_; }

#ifndef CONFIG_SERVICE_UNPROTECTED
    /// Admits an update of a path that is in memory.
    headgate::result<headgate::grant> admit_update(const user& u) {
        return updates_.try_acquire(u.name, {.tier = u.tier});
    }
    /// Admits an update that must ask the database first. It spends a permit only if the breaker and the pool admit it.
    template <class Op, class... Args>
    auto look_up_for_update(const user& u, Op op, const Args&... args) {
        return new_path_.run(u.name, {.tier = u.tier, .timeout = look_up_timeout_}, op, args...);
    }
    /// A question to the database. It is asked again when it failed midway.
    template <class Op, class... Args>
    auto look_up(Op op, const Args&... args) {
        const headgate::guard_call_options<headgate::default_judge, failed_midway> how{.timeout = look_up_timeout_};
        return look_up_.run(everyone, how, op, args...);
    }
    /// What `op` finds in the database for `path`: asked once for all who want to know at the same time, and once more
    /// when the answer is slow.
    auto read(latest_record op, const store& from, const std::string& path) {
        return reads_.run(path, {.timeout = look_up_timeout_}, read_twice, this, op, &from, path);
    }
    /// Whoever reads `path` from now on gets nothing that was read before. For when it is written.
    void forget_reads(const std::string& path) { reads_.forget(path); }
    /// A transaction.
    template <class Op, class... Args>
    auto write(Op op, const Args&... args) {
        return write_.run(everyone, {.timeout = sync_timeout_}, op, args...);
    }
    /// A source text for a worker.
    template <class Op, class... Args>
    auto parse(const user& u, Op op, const Args&... args) {
        return parse_.run(u.name, {.tier = u.tier, .timeout = parser_timeout_}, op, args...);
    }
#else
    headgate::result<headgate::grant> admit_update(const user&) { return headgate::grant(); }
    template <class Op, class... Args>
    auto look_up_for_update(const user&, Op op, const Args&... args) {
        return database_.with(op, args...);
    }
    template <class Op, class... Args>
    auto look_up(Op op, const Args&... args) {
        return database_.with(op, args...);
    }
    boost::asio::awaitable<headgate::result<reading>> read(latest_record op, const store& from,
                                                           const std::string& path) {
        return read_once(this, op, &from, path);
    }
    void forget_reads(const std::string&) {}
    template <class Op, class... Args>
    auto write(Op op, const Args&... args) {
        return database_.with(op, args...);
    }
    template <class Op, class... Args>
    auto parse(const user&, Op op, const Args&... args) {
        return parser_.with(op, args...);
    }
#endif

private:
    static constexpr std::string_view everyone = "all";  // Unused: the guards with this key have no limiter.

    // Of one question to the database. It may be cancelled and go on for a while: what it uses lives as long as the
    // service.
    static boost::asio::awaitable<headgate::result<reading>> read_once(protection* by, latest_record op,
                                                                       const store* from, std::string path) {
        const std::uint64_t forgotten = from->forgotten();
        auto found = co_await by->look_up(op, path);
        if (!found) {
            co_return std::move(found).error();
        }
        co_return reading{std::move(found).value(), forgotten};
    }
    static boost::asio::awaitable<headgate::result<reading>> read_twice(protection* by, latest_record op,
                                                                        const store* from, std::string path) {
        co_return co_await by->twice_.run({.idempotent = true}, read_once, by, op, from, path);
    }

    headgate::rate_limiter updates_;
    headgate::rate_limiter parses_;
    headgate::rate_limiter failed_logins_;
    headgate::resource_pool<database_connection> database_;
    headgate::resource_pool<worker> parser_;
    headgate::guard<database_connection> look_up_;
    headgate::hedge twice_;
    headgate::coalescer<reading> reads_;
    headgate::guard<database_connection> new_path_;
    headgate::guard<database_connection> write_;
    headgate::guard<worker> parse_;
    headgate::duration look_up_timeout_ = headgate::duration::max();
    headgate::duration sync_timeout_ = headgate::duration::max();
    headgate::duration parser_timeout_ = headgate::duration::max();
};

}  // namespace config_service

#endif
