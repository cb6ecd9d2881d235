// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_STATUS_HPP
#define HEADGATE_STATUS_HPP

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <headgate/export.hpp>
#include <headgate/result.hpp>
#include <headgate/snapshot.hpp>
#include <headgate/zone.hpp>
#include <headgate/zone_set.hpp>

namespace headgate {

/// An HTTP request as a `status_site` sees it.
struct status_request {
    std::string_view method;           ///< In capitals: "GET".
    std::string_view target;           ///< Path and query, or a whole URL, of which only these count.
    std::string_view authorization{};  ///< The value of that header; empty where there is none.
    std::string_view body{};           ///< Of a `POST`.
};

/// What a `status_site` answers.
struct status_answer {
    unsigned status = 200;  ///< The HTTP status.
    std::vector<std::pair<std::string, std::string>>
        headers{};       ///< Names and values; `Content-Length` is not among them.
    std::string body{};  ///< Leave it out of the answer to `HEAD`.
};

/// What people and machines see of zones, without a server: answers requests that a server of yours has read.
///
/// | path | what |
/// |---|---|
/// | `/` | a page that shows all of it live |
/// | `/metrics` | Prometheus text |
/// | `/status.json` | the same as data, with the last events; `?since=N` gives the events after number N only |
/// | `/history.json?parts=1,2` | ten minutes of the parts with these ids, a sample a second; `&since=N` as above |
/// | `/healthz` | 200 always |
/// | `/readyz` | 200 when `set_ready(true)` and no zone is closed or draining, else 503 |
/// | `POST /admin` | one action, if `may_act` accepts the client; see docs/operations.md |
///
/// Zones of one name are told apart by a number: "shop" and "shop#2". Bytes of names that are no UTF-8 are replaced.
///
/// What it asks of the zones takes their locks for microseconds. All members are thread-safe. A server of yours sees to
/// it that `Host` is one of its own, as `names_this_machine` does: names of keys may tell of people.
class HEADGATE_DECL status_site {
public:
    /// `may_act` gets the value of a request's `Authorization` header and says whether it may act; null: nobody may.
    explicit status_site(std::function<bool(std::string_view)> may_act = nullptr);

    status_site(const status_site&) = delete;
    status_site& operator=(const status_site&) = delete;
    ~status_site();

    /// Shows a zone, and listens to its events from now on. The zone outlives this object.
    void add(zone& z);
    /// Shows all zones of a set, those that a reload adds too. The set outlives this object.
    void add(zone_set& set);
    /// Adds a button of that name to the page, for clients that may act. `action` runs inside of `answer`, and must not
    /// block. An exception of it is answered with 500 and listed among the events.
    void add_action(std::string name, std::function<void()> action);

    /// Takes a sample of every part for the history that the page shows; to be called once a second. `status_server`
    /// does it by itself. A call within half a second of the last one does nothing. Keeps 4.8 KB for each of the first
    /// 4,096 parts.
    void sample() noexcept;

    /// What `/readyz` says, besides the zones; true at first.
    void set_ready(bool ready) noexcept;

    /// Whether it has an answer for this path, which is a target without its query, besides 404.
    [[nodiscard]] static bool has(std::string_view path) noexcept;
    /// Answers one request. Does not wait for anything. What `may_act` throws is answered with 500. Throws
    /// `std::bad_alloc`.
    [[nodiscard]] status_answer answer(const status_request& request);

private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

/// The token of the value of an `Authorization` header that says "Bearer TOKEN", the scheme in any case; empty for
/// another value.
[[nodiscard]] HEADGATE_DECL std::string_view token_of(std::string_view authorization);

/// Whether the value of a `Host` header is `localhost` or a loopback address, with or without a port. A web page that
/// has its own name point to this machine (DNS rebinding) comes with that name.
[[nodiscard]] HEADGATE_DECL bool names_this_machine(std::string_view host);

/// For `status_site`: who sends `Authorization: Bearer TOKEN` may act. Compares in constant time. Null for an empty
/// token.
[[nodiscard]] HEADGATE_DECL std::function<bool(std::string_view)> bearer_token(std::string token);

/// Where and for whom a `status_server` answers.
struct status_options {
    /// The address that it listens on: numbers, no name.
    std::string address = "127.0.0.1";
    /// The port; zero takes a free one, which `status_server::port` tells.
    std::uint16_t port = 0;
    /// Who sends it as `Authorization: Bearer TOKEN` may act: force breakers, pause pools, reset keys. Empty: nobody
    /// may, the server only shows.
    std::string admin_token{};
    /// Under which names clients come to it, besides `localhost`, loopback addresses and, when `address` is another
    /// than loopback, every address: "status.example.com". Requests whose `Host` is none of these get 403.
    std::vector<std::string> host_names{};
};

/// Serves a `status_site` over HTTP.
///
/// It runs on a thread of its own, so that a scrape does not hold up the service. It has 64 clients at once: one more
/// takes the place of the one that has kept it waiting longest, so that silent clients keep nobody out. All members are
/// thread-safe. Link `headgate-status`.
///
/// ```cpp
/// // example: status_server
/// #include <headgate/headgate.hpp>
/// #include <headgate/status.hpp>
///
/// #include <iostream>
///
/// int main() {
///     boost::asio::io_context io;
///     headgate::zone zone(io, "shop");
///     const auto status = headgate::status_server::start({.port = 0}).value();  // yours: a port, such as 9090
///     status->site().add(zone);
///     std::cout << "status on " << status->url() << '\n';
/// }
/// ```
class HEADGATE_DECL status_server {
public:
    /// Listens and serves. Errors: `invalid_argument` for the address, a token that no header can carry, and what is no
    /// name of a host; the system's error, whose message names it, when it cannot listen there or start its thread;
    /// `out_of_memory`.
    [[nodiscard]] static result<std::unique_ptr<status_server>> start(const status_options& options = {});

    status_server(const status_server&) = delete;
    status_server& operator=(const status_server&) = delete;
    /// Stops serving and joins the thread.
    ~status_server();

    /// What it shows.
    [[nodiscard]] status_site& site() noexcept;

    /// The port that it listens on.
    [[nodiscard]] std::uint16_t port() const noexcept;
    /// The address of the page, for people.
    [[nodiscard]] std::string url() const;

private:
    struct impl;
    explicit status_server(std::unique_ptr<impl> made);

    std::unique_ptr<impl> impl_;
};

/// The Prometheus text exposition format, version 0.0.4, of some zones; for a server of yours. Names that are there
/// twice get a number, as in `status_site`: every series is there once.
[[nodiscard]] HEADGATE_DECL std::string to_prometheus(const std::vector<zone_snapshot>& zones);

/// Some zones as JSON; for a server of yours. The members are those of `/status.json` under "zones", the names as
/// there.
[[nodiscard]] HEADGATE_DECL std::string to_json(const std::vector<zone_snapshot>& zones);

}  // namespace headgate

#endif
