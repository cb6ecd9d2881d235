// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <exception>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include <headgate/circuit_breaker.hpp>
#include <headgate/rate_limiter.hpp>
#include <headgate/resource_pool.hpp>
#include <headgate/status.hpp>

#include "status/event_log.hpp"
#include "status/history.hpp"
#include "status/http_rules.hpp"
#include "status/json.hpp"
#include "status/names.hpp"
#include "status/page.hpp"
#include "status/shown_zones.hpp"

namespace headgate {

namespace {

using detail::json;

constexpr std::string_view page_policy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
constexpr std::size_t most_histories = 256;  // in one answer
constexpr std::string_view paths[] = {"/",        "/metrics", "/status.json", "/history.json",
                                      "/healthz", "/readyz",  "/admin"};

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

status_answer not_allowed(std::string_view allowed, std::string_view detail) {
    status_answer out = refusal(405, "Method Not Allowed", detail);
    out.headers.emplace_back("Allow", allowed);
    return out;
}

status_answer refusal_of(const error& e) {
    if (e == errc::unknown_name) {
        return refusal(404, "Not Found", e.message());
    }
    const bool ours = e == errc::operation_failed;
    return refusal(ours ? 500 : 400, ours ? "Internal Server Error" : "Bad Request", e.message());
}

std::int64_t unix_now() {
    return detail::unix_ms(std::chrono::system_clock::now().time_since_epoch());
}

// Zero for a text that is no number.
std::uint64_t whole_number(std::string_view text) {
    std::uint64_t out = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
    return ec == std::errc() && end == text.data() + text.size() ? out : 0;
}

std::uint64_t number_of(std::string_view query, std::string_view name) {
    return whole_number(detail::query_value(query, name).value_or(""));
}

// Runs what the service gave; nothing when it went well, else what it threw.
template <class Function>
std::optional<std::string> thrown_by(const Function& run) {
    try {
        run();
        return {};
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) {
        return "an exception that is no std::exception";
    }
}

// One action on a part of a zone -------------------------------------------------------------------------------------

// The text of a member of the request; empty when it is no text.
std::string text(const json& what, const char* member) {
    const auto found = what.find(member);
    return found != what.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// The name that a part is registered under, which may hold bytes that its readable name does not.
std::string registered_name(const zone& z, primitive_kind kind, const std::string& shown) {
    detail::unique_names names;
    for (const primitive_snapshot& p : z.snapshot().primitives) {
        if (p.kind == kind && names.take(p.name) == shown) {
            return p.name;
        }
    }
    return shown;
}

result<std::string> set_breaker(zone& z, const json& what, breaker_mode mode) {
    BOOST_OUTCOME_TRY(auto breaker, circuit_breaker::find(
                                        z, registered_name(z, primitive_kind::circuit_breaker, text(what, "name"))));
    BOOST_OUTCOME_TRYV(breaker.set_mode(mode));
    return text(what, "action");
}

result<std::string> reset_breaker(zone& z, const json& what) {
    BOOST_OUTCOME_TRY(auto breaker, circuit_breaker::find(
                                        z, registered_name(z, primitive_kind::circuit_breaker, text(what, "name"))));
    breaker.reset();
    return text(what, "action");
}

result<std::string> pause_pool(zone& z, const json& what, bool pause) {
    BOOST_OUTCOME_TRY(
        auto pool, any_resource_pool::find(z, registered_name(z, primitive_kind::resource_pool, text(what, "name"))));
    pause ? pool.pause() : pool.resume();
    return text(what, "action");
}

result<std::string> forget_key(zone& z, const json& what) {
    BOOST_OUTCOME_TRY(auto limiter,
                      rate_limiter::find(z, registered_name(z, primitive_kind::rate_limiter, text(what, "name"))));
    return std::string(limiter.forget(text(what, "key")) ? "forgotten" : "nothing to forget");
}

// The JSON object that a body is; an error says what is wrong with it.
result<json> object_of(std::string_view body) {
    std::string member;
    const auto note = [&](int /*depth*/, json::parse_event_t what, json& read) {
        if (what == json::parse_event_t::key) {
            member = read.get<std::string>();
        }
        return true;
    };
    try {
        json out = json::parse(body, note);
        if (out.is_object()) {
            return out;
        }
    } catch (const json::out_of_range&) {
        return error(errc::invalid_argument,
                     '"' + detail::readable(member) + "\" has a number out of range; it must be at most 1.7e308");
    } catch (const json::parse_error&) {  // NOLINT(bugprone-empty-catch): what it must be says it all
    }
    return error(errc::invalid_argument,
                 "the body must be a JSON object with action, zone and name, and key for forget_key");
}

struct zone_action {
    std::string_view name;
    result<std::string> (*run)(zone&, const json&);
};

constexpr std::array<zone_action, 7> zone_actions{{
    {"force_open", [](zone& z, const json& w) { return set_breaker(z, w, breaker_mode::forced_open); }},
    {"force_closed", [](zone& z, const json& w) { return set_breaker(z, w, breaker_mode::forced_closed); }},
    {"automatic", [](zone& z, const json& w) { return set_breaker(z, w, breaker_mode::automatic); }},
    {"reset_breaker", reset_breaker},
    {"pause", [](zone& z, const json& w) { return pause_pool(z, w, true); }},
    {"resume", [](zone& z, const json& w) { return pause_pool(z, w, false); }},
    {"forget_key", forget_key},
}};

error unknown_action(const std::string& action) {
    std::string must = "action is \"" + detail::readable(action) + "\"; it must be one of ";
    for (const zone_action& one : zone_actions) {
        must.append(one.name).append(", ");
    }
    return {errc::invalid_argument, must + "run"};
}

}  // namespace

struct status_site::impl {
    explicit impl(std::function<bool(std::string_view)> check) : may_act(std::move(check)) {}

    // Actions ---------------------------------------------------------------------------------------------------------

    // Does an action, and gives its name; an error says why it was refused.
    result<std::string> act(const json& what) {
        const std::string action = text(what, "action");
        if (action == "run") {
            return run_action(text(what, "name"));
        }
        const auto known = std::find_if(zone_actions.begin(), zone_actions.end(),
                                        [&](const zone_action& one) { return one.name == action; });
        if (known == zone_actions.end()) {
            return unknown_action(action);
        }
        const auto shown = zones.look();
        zone* const z = shown.find(text(what, "zone"));
        if (z == nullptr) {
            return error(errc::unknown_name, "zone \"" + text(what, "zone") + '"');
        }
        return known->run(*z, what);
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
        if (const auto why = thrown_by(action)) {
            zones.log().note_failure("action_failed", name, *why);
            return error(errc::operation_failed, "action \"" + name + "\": " + *why);
        }
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
        const auto what = object_of(r.body);
        const auto done = what ? act(what.value()) : result<std::string>(what.error());
        if (!done) {
            return refusal_of(done.error());
        }
        return answered(200, "application/json", detail::text_of({{"done", done.value()}}) + '\n');
    }

    // Pages -----------------------------------------------------------------------------------------------------------

    [[nodiscard]] json zones_with_ids() {
        const auto snapshots = zones.look().snapshots();
        json out = detail::zones_json(snapshots);
        for (std::size_t z = 0; z < snapshots.size(); ++z) {
            const auto& parts = snapshots[z].primitives;
            for (std::size_t i = 0; i < parts.size(); ++i) {
                out[z]["primitives"][i]["id"] = past.id_of(snapshots[z].name, parts[i]);
            }
        }
        return out;
    }

    [[nodiscard]] std::string status_text(std::string_view query) {
        json out = {{"now", unix_now()},           {"started", started},
                    {"admin", may_act != nullptr}, {"needs_token", may_act != nullptr && !may_act({})},
                    {"actions", action_names()},   {"zones", zones_with_ids()}};
        zones.log().write(number_of(query, "since"), out);
        return detail::text_of(out);
    }

    [[nodiscard]] std::string history_text(std::string_view query) const {
        std::vector<std::uint64_t> ids;
        std::string_view list = detail::query_value(query, "parts").value_or("");
        while (!list.empty() && ids.size() < most_histories) {
            const std::string_view one = list.substr(0, list.find(','));
            ids.push_back(whole_number(one));
            list.remove_prefix(std::min(one.size() + 1, list.size()));
        }
        return detail::text_of(
            past.after(number_of(query, "since"), ids, std::chrono::steady_clock::now(), unix_now()));
    }

    [[nodiscard]] bool is_ready() {
        const auto shown = zones.look();
        return ready && std::none_of(shown.zones.begin(), shown.zones.end(),
                                     [](const auto& z) { return z.where->core()->refusing(); });
    }

    status_answer show(std::string_view path, std::string_view query) {
        if (path == "/") {
            status_answer out = answered(200, "text/html; charset=utf-8", std::string(detail::status_page));
            out.headers.emplace_back("Content-Security-Policy", page_policy);
            return out;
        }
        if (path == "/metrics") {
            return answered(200, "text/plain; version=0.0.4; charset=utf-8", to_prometheus(zones.look().snapshots()));
        }
        if (path == "/status.json") {
            return answered(200, "application/json", status_text(query));
        }
        if (path == "/history.json") {
            return answered(200, "application/json", history_text(query));
        }
        if (path == "/healthz") {
            return answered(200, "text/plain", "ok\n");
        }
        const bool yes = is_ready();
        return answered(yes ? 200 : 503, "text/plain", yes ? "ready\n" : "not ready\n");
    }

    status_answer answer(const status_request& r) {
        const detail::request_target target = detail::parse_target(r.target);
        if (!has(target.path)) {
            return refusal(404, "Not Found",
                           "there are /, /metrics, /status.json, /history.json, /healthz and /readyz");
        }
        if (target.path == "/admin") {
            return r.method == "POST" ? admin(r) : not_allowed("POST", "POST an action here");
        }
        if (r.method != "GET" && r.method != "HEAD") {
            return not_allowed("GET, HEAD", "only GET and HEAD here");
        }
        return show(target.path, target.query);
    }

    std::function<bool(std::string_view)> may_act;
    std::atomic<bool> ready{true};
    const std::int64_t started = unix_now();

    detail::shown_zones zones;
    detail::history past;

    std::mutex mutex;
    std::map<std::string, std::function<void()>> actions;
};

status_site::status_site(std::function<bool(std::string_view)> may_act)
    : impl_(std::make_unique<impl>(std::move(may_act))) {}
status_site::~status_site() = default;

void status_site::add(zone& z) {
    impl_->zones.add(z);
}

void status_site::add(zone_set& set) {
    impl_->zones.add(set);
}

void status_site::add_action(std::string name, std::function<void()> action) {
    const std::lock_guard guard(impl_->mutex);
    impl_->actions.insert_or_assign(std::move(name), std::move(action));
}

void status_site::sample() noexcept {
    try {
        const time_point now = std::chrono::steady_clock::now();
        if (impl_->past.is_due(now)) {
            impl_->past.add(now, impl_->zones.look().snapshots());
        }
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): no memory; the picture has a gap
    }
}

void status_site::set_ready(bool ready) noexcept {
    impl_->ready = ready;
}

bool status_site::has(std::string_view path) noexcept {
    return std::find(std::begin(paths), std::end(paths), path) != std::end(paths);
}

status_answer status_site::answer(const status_request& r) {
    status_answer out;
    if (const auto why = thrown_by([&] { out = impl_->answer(r); })) {
        impl_->zones.log().note_failure("request_failed", std::string(r.method), *why);
        return refusal(500, "Internal Server Error", "this request met a fault of the service");
    }
    return out;
}

std::function<bool(std::string_view)> bearer_token(std::string token) {
    if (token.empty()) {
        return nullptr;
    }
    return [right = std::move(token)](std::string_view given) { return same_secret(token_of(given), right); };
}

}  // namespace headgate
