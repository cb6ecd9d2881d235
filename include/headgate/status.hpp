// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_STATUS_HPP
#define HEADGATE_STATUS_HPP

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <headgate/export.hpp>
#include <headgate/result.hpp>
#include <headgate/snapshot.hpp>
#include <headgate/zone.hpp>
#include <headgate/zone_set.hpp>

namespace headgate {

/// Where and for whom a `status_server` answers.
struct status_options {
    /// The address that it listens on: numbers, no name.
    std::string address = "127.0.0.1";
    /// The port; zero takes a free one, which `status_server::port` tells.
    std::uint16_t port = 0;
    /// Who sends it as `Authorization: Bearer TOKEN` may act: force breakers, pause pools, reset keys. Empty: nobody
    /// may, the server only shows.
    std::string admin_token{};
};

/// Lets people and machines watch zones over HTTP, in three lines:
///
///     auto status = headgate::status_server::start({.port = 9090}).value();
///     status->add(zone);
///     std::cout << "status on " << status->url() << '\n';
///
/// | path | what |
/// |---|---|
/// | `/` | a page that shows all of it live |
/// | `/metrics` | Prometheus text |
/// | `/status.json` | the same as data, with the last events; `?since=N` gives the events after number N only |
/// | `/healthz` | 200 while the server answers |
/// | `/readyz` | 200 when `set_ready(true)` and no zone is closed or draining, else 503 |
/// | `POST /admin` | with the token: one action, see docs/operations.md |
///
/// It runs on a thread of its own, so that a scrape does not hold up the service; what it asks of the zones takes their
/// locks for microseconds. All members are thread-safe. Link `headgate-status`.
class HEADGATE_DECL status_server {
public:
    /// Listens and serves. Errors: `invalid_argument` for the address; the system's error, whose message names it, when
    /// it cannot listen there.
    [[nodiscard]] static result<std::unique_ptr<status_server>> start(const status_options& options = {});

    status_server(const status_server&) = delete;
    status_server& operator=(const status_server&) = delete;
    /// Stops serving and joins the thread.
    ~status_server();

    /// Shows a zone, and listens to its events from now on. The zone outlives this object.
    void add(zone& z);
    /// Shows all zones of a set, those that a reload adds too. The set outlives this object.
    void add(zone_set& set);

    /// What `/readyz` says, besides the zones; true at first.
    void set_ready(bool ready) noexcept;

    /// The port that it listens on.
    [[nodiscard]] std::uint16_t port() const noexcept;
    /// The address of the page, for people.
    [[nodiscard]] std::string url() const;

private:
    struct impl;
    explicit status_server(std::unique_ptr<impl> made);

    std::unique_ptr<impl> impl_;
};

/// The Prometheus text exposition format, version 0.0.4, of some zones; for a server of yours.
[[nodiscard]] HEADGATE_DECL std::string to_prometheus(const std::vector<zone_snapshot>& zones);

/// Some zones as JSON; for a server of yours. The members are those of `/status.json` under "zones".
[[nodiscard]] HEADGATE_DECL std::string to_json(const std::vector<zone_snapshot>& zones);

}  // namespace headgate

#endif
