// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>

#include <headgate/circuit_breaker.hpp>
#include <headgate/rate_limiter.hpp>
#include <headgate/resource_pool.hpp>
#include <headgate/status.hpp>

#include "status/json.hpp"
#include "status/page.hpp"

namespace headgate {

namespace {

using detail::json;

constexpr std::size_t most_events = 512;
constexpr std::string_view page_policy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
constexpr std::string_view paths[] = {"/", "/metrics", "/status.json", "/healthz", "/readyz", "/admin"};

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

status_answer answered(unsigned status, std::string_view type, std::string body) {
    return {status, {{"Content-Type", std::string(type)}, {"Cache-Control", "no-store"}}, std::move(body)};
}

// Problem details (RFC 9457).
status_answer refusal(unsigned status, std::string_view title, std::string_view detail) {
    return answered(status, "application/problem+json",
                    detail::text_of({{"status", status}, {"title", title}, {"detail", detail}}) + '\n');
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

struct status_site::impl {
    explicit impl(std::function<bool(std::string_view)> check) : may_act(std::move(check)) {}

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
                    {"admin", may_act != nullptr},
                    {"needs_token", may_act != nullptr && !may_act({})},
                    {"actions", action_names()},
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
        if (action == "run") {
            return run_action(name);
        }
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
                         "reset_key, run");
    }

    result<std::string> run_action(const std::string& name) {
        std::function<void()> action;
        {
            const std::lock_guard guard(mutex);
            const auto found = actions.find(name);
            if (found == actions.end()) {
                return error(errc::unknown_name, "action \"" + name + '"');
            }
            action = found->second;
        }
        action();
        return name;
    }

    [[nodiscard]] std::vector<std::string> action_names() {
        const std::lock_guard guard(mutex);
        std::vector<std::string> out;
        out.reserve(actions.size());
        for (const auto& [name, action] : actions) {
            out.push_back(name);
        }
        return out;
    }

    status_answer admin(const status_request& r) {
        if (!may_act) {
            return refusal(403, "Forbidden", "no admin token is configured: this server only shows");
        }
        if (!may_act(r.authorization)) {
            status_answer out = refusal(401, "Unauthorized", "the admin token is needed");
            out.headers.emplace_back("WWW-Authenticate", "Bearer");
            return out;
        }
        const json what = json::parse(r.body, nullptr, false);
        if (!what.is_object()) {
            return refusal(400, "Bad Request",
                           "the body must be a JSON object with action, zone and name, and key for reset_key");
        }
        const auto done = act(what);
        if (!done) {
            const bool unknown = done.error() == errc::unknown_name;
            return refusal(unknown ? 404 : 400, unknown ? "Not Found" : "Bad Request", done.error().message());
        }
        return answered(200, "application/json", detail::text_of({{"done", done.value()}}) + '\n');
    }

    // Pages -----------------------------------------------------------------------------------------------------------

    status_answer show(std::string_view path, std::string_view query) {
        if (path == "/") {
            status_answer out = answered(200, "text/html; charset=utf-8", std::string(detail::status_page));
            out.headers.emplace_back("Content-Security-Policy", page_policy);
            return out;
        }
        if (path == "/metrics") {
            return answered(200, "text/plain; version=0.0.4; charset=utf-8", to_prometheus(snapshots()));
        }
        if (path == "/status.json") {
            std::uint64_t since = 0;
            if (query.starts_with("since=")) {
                std::from_chars(query.data() + 6, query.data() + query.size(), since);
            }
            return answered(200, "application/json", status_text(since));
        }
        if (path == "/healthz") {
            return answered(200, "text/plain", "ok\n");
        }
        const bool yes = is_ready();
        return answered(yes ? 200 : 503, "text/plain", yes ? "ready\n" : "not ready\n");
    }

    std::function<bool(std::string_view)> may_act;
    std::atomic<bool> ready{true};
    const std::int64_t started = unix_ms(std::chrono::system_clock::now().time_since_epoch());

    std::mutex mutex;
    std::vector<zone*> zones;
    std::vector<zone_set*> sets;
    std::map<std::string, std::function<void()>> actions;

    std::shared_ptr<event_log> log = std::make_shared<event_log>();
    std::map<const zone*, subscription> listening;
};

status_site::status_site(std::function<bool(std::string_view)> may_act)
    : impl_(std::make_unique<impl>(std::move(may_act))) {}
status_site::~status_site() = default;

void status_site::add(zone& z) {
    const std::lock_guard guard(impl_->mutex);
    impl_->zones.push_back(&z);
    impl_->listen_to(z);
}

void status_site::add(zone_set& set) {
    {
        const std::lock_guard guard(impl_->mutex);
        impl_->sets.push_back(&set);
    }
    static_cast<void>(impl_->shown_zones());
}

void status_site::add_action(std::string name, std::function<void()> action) {
    const std::lock_guard guard(impl_->mutex);
    impl_->actions.insert_or_assign(std::move(name), std::move(action));
}

void status_site::set_ready(bool ready) noexcept {
    impl_->ready = ready;
}

bool status_site::has(std::string_view path) noexcept {
    return std::find(std::begin(paths), std::end(paths), path) != std::end(paths);
}

status_answer status_site::answer(const status_request& r) {
    const std::size_t question = r.target.find('?');
    const std::string_view path = r.target.substr(0, question);
    const std::string_view query = question == std::string_view::npos ? "" : r.target.substr(question + 1);
    if (!has(path)) {
        return refusal(404, "Not Found", "there are /, /metrics, /status.json, /healthz and /readyz");
    }
    if (path == "/admin") {
        return r.method == "POST" ? impl_->admin(r) : refusal(405, "Method Not Allowed", "POST an action here");
    }
    if (r.method != "GET" && r.method != "HEAD") {
        return refusal(405, "Method Not Allowed", "only GET and HEAD here");
    }
    return impl_->show(path, query);
}

std::function<bool(std::string_view)> bearer_token(std::string token) {
    if (token.empty()) {
        return nullptr;
    }
    return [right = "Bearer " + token](std::string_view given) { return same_secret(given, right); };
}

}  // namespace headgate
