// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// The handler of each request. README.md has a table of the requests.

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "json_text.hpp"
#include "log.hpp"
#include "problem.hpp"
#include "service.hpp"
#include "target.hpp"

namespace config_service {

namespace {

using headgate::result;
using nlohmann::json;

constexpr std::string_view config_prefix = "/v1/config/";
constexpr std::string_view history_suffix = "/history";
constexpr std::size_t most_listed = 1'000;

std::int64_t now_ms() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

std::string tag_of(const record& r) {
    return '"' + std::to_string(r.version) + '"';
}

// The value is JSON text already.
std::string to_json(const record& r, bool durable) {
    std::string out = "{\"path\": " + text_of(r.path) + ", \"version\": " + std::to_string(r.version);
    out += ", \"author\": " + text_of(r.author) + ", \"time_ms\": " + std::to_string(r.time_ms);
    out += durable ? ", \"durable\": true" : ", \"durable\": false";
    out += r.value ? ", \"value\": " + *r.value : ", \"deleted\": true";
    return out + '}';
}

http_response not_found(const std::string& path) {
    return problem(404, "not_found", "there is no value under \"" + path + '"');
}

http_response not_allowed(std::string_view allowed) {
    http_response out = problem(405, "method_not_allowed", "this takes " + std::string(allowed));
    out.headers.emplace_back("Allow", allowed);
    return out;
}

// Operations on a connection
// -----------------------------------------------------------------------------------------

asio::awaitable<result<std::optional<record>>> read_latest(headgate::call_context context, database_connection& c,
                                                           std::string path) {
    co_return co_await c.latest(context, std::move(path));
}

asio::awaitable<result<std::vector<record>>> read_history(headgate::call_context context, database_connection& c,
                                                          std::string path) {
    co_return co_await c.history(context, std::move(path));
}

asio::awaitable<result<std::vector<record>>> read_list(headgate::call_context context, database_connection& c,
                                                       std::string prefix, std::string after, std::int64_t limit) {
    co_return co_await c.list(context, std::move(prefix), std::move(after), limit);
}

// Discards a worker whose output is no answer.
asio::awaitable<result<json>> ask_worker(headgate::call_context context, worker& w, std::string quoted_source) {
    const std::uint64_t id = w.next_question();
    std::string line = "{\"id\": " + std::to_string(id) + ", \"source\": " + quoted_source + '}';
    const result<std::string> said = co_await w.ask(context, std::move(line));
    if (!said) {
        co_return said.error();
    }
    json answer = json::parse(said.value(), nullptr, false);
    if (!answer.is_object() || answer.value("id", std::uint64_t{0}) != id ||
        !(answer.contains("tree") || (answer.contains("error") && answer["error"].is_object()))) {
        w.discard();
        co_return headgate::error(parser_errc::garbage);
    }
    answer.erase("id");
    co_return answer;
}

}  // namespace

// Origin and user of a request
// --------------------------------------------------------------------------------------------------------------

// Without users, every client that reaches the port may do everything. A web page in a browser reaches the port too,
// but it cannot forge its Origin, and its Host is the name that the browser looked up. Host may have any port, because
// there are tunnels. A page from another port of this machine is another site.
std::optional<http_response> service::check_origin(const http_request& r) const {
    if (users_) {
        return {};
    }
    if (!headgate::names_this_machine(r.host)) {
        return problem(403, "wrong_host", "without a file of users, Host must be localhost or a loopback address");
    }
    constexpr std::string_view scheme = "http://";
    const std::string_view origin = r.origin.starts_with(scheme) ? r.origin.substr(scheme.size()) : "";
    const std::string_view port = port_of(origin, "80");
    const bool is_ours =
        headgate::names_this_machine(origin) && (port == std::to_string(port_) || port == port_of(r.host, "80"));
    if (!r.origin.empty() && !is_ours) {
        return problem(403, "cross_origin", "without a file of users, no page of another site may use this service");
    }
    return {};
}

// The user with this bearer token, or null.
const user* service::known(std::string_view authorization) const {
    const std::string_view token = headgate::token_of(authorization);
    return users_ && !token.empty() ? users_->find(token) : nullptr;
}

std::optional<http_response> service::check_user(const http_request& r, user& who) {
    if (!users_) {
        who = {r.user.empty() ? "anonymous" : std::string(r.user), "", true};
        if (!is_user_name(who.name)) {
            return problem(400, "bad_user", "X-User must be 1 to 64 letters, digits, and ._@-");
        }
        return {};
    }
    if (const user* found = known(r.authorization)) {
        who = *found;
        return {};
    }
    // Only wrong tokens count against the limit. Requests without a token or with a valid one do not, because many
    // clients may share one address.
    if (!headgate::token_of(r.authorization).empty()) {
        if (const auto counted = protection_->failed_logins().try_acquire(headgate::address_key(r.client)); !counted) {
            return refusal(counted.error(), settings_.busy_retry);
        }
    }
    http_response out = problem(401, "unauthorized", "a bearer token is needed: Authorization: Bearer …");
    out.headers.emplace_back("WWW-Authenticate", "Bearer");
    return out;
}

// Refusals
// --------------------------------------------------------------------------------------------------------------

http_response service::refused(const headgate::error& e, json more) const {
    if (e.code.category() != headgate::error_category()) {
        log_event(log_level::warning, "database_error", {{"why", e.message()}});
    }
    return refusal(e, settings_.busy_retry, std::move(more));
}

// RateLimit and RateLimit-Policy as in draft-ietf-httpapi-ratelimit-headers-10.
void service::add_limit_fields(http_response& to, const headgate::rate_limiter& limiter, const user& who,
                               std::uint64_t remaining, headgate::duration reset_after) const {
    std::string now = "\"";
    now.append(limiter.name()).append("\";r=").append(std::to_string(remaining));
    to.headers.emplace_back("RateLimit", now.append(";t=").append(seconds_of(reset_after)));
    const auto policies = policies_.find(limiter.name());
    if (policies == policies_.end()) {
        return;
    }
    if (const auto policy = policies->second.find(who.tier); policy != policies->second.end()) {
        to.headers.emplace_back("RateLimit-Policy", policy->second);
    }
}

void service::add_limit_fields(http_response& to, const headgate::rate_limiter& limiter, const user& who) const {
    const auto usage = limiter.inspect(who.name).tightest;
    add_limit_fields(to, limiter, who, usage.remaining, usage.reset_after);
}

http_response service::limited(const headgate::error& e, const headgate::rate_limiter& limiter, const user& who) const {
    http_response out = refused(e);
    if (out.status == 429) {
        add_limit_fields(out, limiter, who, 0, e.retry_after);
    }
    return out;
}

// Requests
// --------------------------------------------------------------------------------------------------------------

asio::awaitable<http_response> service::handle(const http_request& r) {
    if (auto wrong = check_origin(r)) {
        co_return std::move(*wrong);
    }
    if (headgate::status_site::has(r.path())) {
        co_return status_page(r);
    }
    user who;
    if (auto wrong = check_user(r, who)) {
        co_return std::move(*wrong);
    }
    co_return co_await route(r, who);
}

asio::awaitable<http_response> service::route(const http_request& r, const user& who) {
    const std::string_view path = r.path();
    const bool reads = r.method == "GET" || r.method == "HEAD";
    if (path == "/v1/config") {
        if (!reads) {
            co_return not_allowed("GET, HEAD");
        }
        co_return co_await get_list(r);
    }
    if (path == "/v1/sync" || path == "/v1/parse" || path == "/v1/reload") {
        if (r.method != "POST") {
            co_return not_allowed("POST");
        }
        if (path == "/v1/sync") {
            co_return co_await post_sync();
        }
        if (path == "/v1/reload") {
            co_return post_reload(who);
        }
        co_return co_await post_parse(r, who);
    }
    if (!path.starts_with(config_prefix)) {
        co_return problem(404, "not_found", "there are /v1/config, /v1/sync, /v1/parse, /v1/reload, and /");
    }
    auto decoded = percent_decoded(path.substr(config_prefix.size()));
    if (!decoded) {
        co_return problem(400, "bad_path", "a percent escape of the path is broken");
    }
    std::string& key = *decoded;
    const bool history = key.ends_with(history_suffix);
    if (history) {
        key.resize(key.size() - history_suffix.size());
    }
    if (const std::string_view mistake = path_mistake(key); !mistake.empty()) {
        co_return problem(400, "bad_path", mistake);
    }
    if (history) {
        if (!reads) {
            co_return not_allowed("GET, HEAD");
        }
        co_return co_await get_history(r, key);
    }
    if (reads) {
        co_return co_await get_value(r, key);
    }
    if (r.method == "DELETE") {
        co_return co_await put_value(r, who, key, {});
    }
    if (r.method != "PUT") {
        co_return not_allowed("GET, HEAD, PUT, DELETE");
    }
    if (const auto wrong = check_json(r.body)) {
        co_return problem(400, "bad_json", wrong->what, {{"position", wrong->position}});
    }
    co_return co_await put_value(r, who, key, r.body);
}

asio::awaitable<http_response> service::get_value(const http_request& r, const std::string& path) {
    std::optional<record> looked_up;
    const record* latest = store_.find(path);
    if (latest == nullptr) {
        auto asked = co_await protection_->read(read_latest, store_, path);
        if (!asked) {
            co_return refused(asked.error());
        }
        latest = store_.find(path);  // another request may have written it meanwhile
        reading& read_one = asked.value();
        if (latest == nullptr && read_one.found) {
            looked_up = std::move(read_one.found);
            store_.learn(*looked_up, read_one.forgotten);
            latest = &*looked_up;
        }
    }
    if (latest == nullptr || !latest->value) {
        co_return not_found(path);
    }
    const std::string tag = tag_of(*latest);
    const bool durable = looked_up || store_.is_durable(path);
    http_response out{200,
                      {{"Content-Type", "application/json"},
                       {"ETag", tag},
                       {"Cache-Control", "no-cache"},
                       {"X-Config-Durable", durable ? "true" : "false"}},
                      {}};
    if (!r.if_none_match.empty() && matches(r.if_none_match, tag, true)) {
        out.status = 304;
    } else {
        out.body = *latest->value;
    }
    co_return out;
}

asio::awaitable<http_response> service::put_value(const http_request& r, const user& who, const std::string& path,
                                                  std::optional<std::string> value) {
    if (draining_) {
        co_return refused(headgate::errc::shut_down);
    }
    if (store_.unsaved_count() >= settings_.max_unsaved) {
        co_return problem(503, "backlog_full", "too many writes wait for the database already");
    }
    // An update spends one permit, however often it must look up the path.
    bool admitted = false;
    for (int attempt = 0; store_.find(path) == nullptr; ++attempt) {
        const std::uint64_t forgotten = store_.forgotten();
        result<std::optional<record>> asked = headgate::errc::exhausted;
        if (attempt == 0) {
            asked = co_await protection_->look_up_for_update(who, read_latest, path);
            admitted = true;
        } else if (attempt < 4) {
            asked = co_await protection_->look_up(read_latest, path);
        }
        if (!asked) {
            co_return limited(asked.error(), protection_->updates(), who);
        }
        store_.learn(asked.value() ? std::move(*asked.value()) : record{path, 0, {}, {}, 0}, forgotten);
    }
    if (!admitted) {
        if (const auto grant = protection_->admit_update(who); !grant) {
            co_return limited(grant.error(), protection_->updates(), who);
        }
    }
    const record& before = *store_.find(path);
    const bool exists = before.value.has_value();
    const std::string tag = tag_of(before);
    if ((!r.if_match.empty() && (!exists || !matches(r.if_match, tag, exists))) ||
        (!r.if_none_match.empty() && exists && matches(r.if_none_match, tag, exists))) {
        http_response out = problem(412, "precondition_failed", "the value has another version than the request names",
                                    {{"version", exists ? json(before.version) : json(nullptr)}});
        if (exists) {
            out.headers.emplace_back("ETag", tag);
        }
        co_return out;
    }
    if (!value && !exists) {
        co_return not_found(path);
    }
    const record written = store_.write(path, std::move(value), who.name, now_ms());
    protection_->forget_reads(path);
    bool durable = false;
    if (query_value(r.target, "sync") == "true") {
        if (const auto synced = co_await sync(); !synced) {
            co_return refused(synced.error(), {{"stored", true}, {"durable", false}, {"version", written.version}});
        }
        durable = true;
    }
    http_response out =
        json_answer(durable ? 200 : 202, {{"path", path}, {"version", written.version}, {"durable", durable}});
    out.headers.emplace_back("ETag", tag_of(written));
    add_limit_fields(out, protection_->updates(), who);
    co_return out;
}

asio::awaitable<http_response> service::get_history(const http_request&, const std::string& path) {
    auto asked = co_await protection_->look_up(read_history, path);
    if (!asked) {
        co_return refused(asked.error());
    }
    std::int64_t durable_version = 0;
    for (const record& r : asked.value()) {
        durable_version = std::max(durable_version, r.version);
    }
    const auto all = store_.merge_history(path, std::move(asked).value());
    if (all.empty()) {
        co_return not_found(path);
    }
    std::string body = "{\"versions\": [";
    for (const record& r : all) {
        body += (&r == &all.front() ? "" : ", ") + to_json(r, r.version <= durable_version);
    }
    co_return http_response{200, {{"Content-Type", "application/json"}}, body + "]}\n"};
}

asio::awaitable<http_response> service::get_list(const http_request& r) {
    const std::string prefix = query_value(r.target, "prefix").value_or("");
    const std::string after = query_value(r.target, "after").value_or("");
    const std::string wanted = query_value(r.target, "limit").value_or("100");
    std::size_t limit = 0;
    const auto [end, failed] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), limit);
    if (failed != std::errc{} || end != wanted.data() + wanted.size() || limit == 0 || limit > most_listed) {
        co_return problem(400, "bad_limit", "limit must be a whole number from 1 to 1000");
    }
    const auto ascii = [](char c) { return c > 0x20 && c < 0x7f; };
    if (!std::all_of(prefix.begin(), prefix.end(), ascii) || !std::all_of(after.begin(), after.end(), ascii)) {
        co_return problem(400, "bad_path", "prefix and after must be ASCII, as paths are");
    }
    const auto rows = static_cast<std::int64_t>(limit);
    auto asked = co_await protection_->look_up(read_list, prefix, after, rows);
    if (!asked) {
        co_return refused(asked.error());
    }
    const page listed = store_.merge_page(prefix, after, std::move(asked).value(), limit);
    std::string body = "{\"entries\": [";
    for (const record& one : listed.records) {
        const bool durable = store_.find(one.path) == nullptr || store_.is_durable(one.path);
        body += (&one == &listed.records.front() ? "" : ", ") + to_json(one, durable);
    }
    body += "], \"next\": " + (listed.next.empty() ? "null" : json(listed.next).dump()) + "}\n";
    co_return http_response{200, {{"Content-Type", "application/json"}}, std::move(body)};
}

asio::awaitable<http_response> service::post_sync() {
    const std::uint64_t before = store_.saved();
    if (const auto synced = co_await sync(); !synced) {
        co_return refused(synced.error());
    }
    co_return json_answer(200, {{"written", store_.saved() - before}, {"unsaved", store_.unsaved_count()}});
}

asio::awaitable<http_response> service::post_parse(const http_request& r, const user& who) {
    std::string quoted;
    try {
        quoted = json(r.body).dump();
    } catch (const json::exception&) {
        co_return problem(400, "bad_utf8", "the source text is not UTF-8");
    }
    auto asked = co_await protection_->parse(who, ask_worker, quoted);
    if (!asked) {
        const auto& code = asked.error().code;
        if (code.category() == make_error_code(parser_errc::died).category()) {
            co_return problem(502,
                              code == parser_errc::died      ? "parser_died"
                              : code == parser_errc::garbage ? "parser_garbage"
                                                             : "parser_output_too_large",
                              code.message());
        }
        co_return limited(asked.error(), protection_->parses(), who);
    }
    http_response out = asked.value().contains("tree")
                            ? json_answer(200, asked.value())
                            : problem(422, "syntax_error", asked.value()["error"].value("message", "no parse"),
                                      {{"line", asked.value()["error"].value("line", 0)},
                                       {"column", asked.value()["error"].value("column", 0)}});
    add_limit_fields(out, protection_->parses(), who);
    co_return out;
}

http_response service::post_reload(const user& who) {
    if (!who.admin) {
        return problem(403, "forbidden", "only an administrator may reload the configuration");
    }
    std::vector<headgate::config_problem> problems;
    if (reload(problems)) {
        return json_answer(200, {{"reloaded", true}});
    }
    json list = json::array();
    for (const auto& p : problems) {
        list.push_back({{"pointer", p.pointer}, {"found", p.found}, {"valid", p.valid}});
    }
    return problem(422, "invalid_config", "the configuration has mistakes, and nothing has changed",
                   {{"problems", std::move(list)}});
}

// The page itself holds no data, so it needs no token. Its data and /metrics name users, so they need one.
http_response service::status_page(const http_request& r) {
    const bool open = r.path() == "/" || r.path() == "/healthz" || r.path() == "/readyz";
    if (users_ && !open) {
        user who;
        if (auto wrong = check_user(r, who)) {
            return std::move(*wrong);
        }
    }
    auto shown =
        site_.answer({.method = r.method, .target = r.target, .authorization = r.authorization, .body = r.body});
    if (shown.status == 500) {
        log_event(log_level::error, "action_failed", {{"request", r.id}, {"answer", shown.body}});
    }
    return {shown.status, std::move(shown.headers), std::move(shown.body)};
}

}  // namespace config_service
