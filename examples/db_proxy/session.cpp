// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "session.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>

#include <utility>

namespace db_proxy {

namespace asio = boost::asio;
using headgate::errc;
using headgate::result;

namespace {

/// A segment that is still incomplete at this size counts as `segment_kind::charged`.
constexpr std::size_t max_held = std::size_t{64} * 1024;
/// How long a client has to read the last answers and the final error, after its session has ended.
constexpr auto farewell = std::chrono::seconds(5);

/// A Parse that fails on the server with a clear error. It replaces a named Parse, which transaction mode does not
/// support. So the error comes in its turn, and the transaction fails.
const std::string& named_parse_error() {
    static const std::string bytes = [] {
        constexpr std::string_view no_name("\0", 1);
        constexpr std::string_view sql = "SELECT 'named prepared statements need pool_mode session'::integer";
        constexpr std::string_view end_without_types("\0\0\0", 3);
        std::string out;
        append_message(out, 'P', {no_name, sql, end_without_types});
        return out;
    }();
    return bytes;
}

bool begins_something(char type) noexcept {
    return std::string_view("QFPBDCE").find(type) != std::string_view::npos;
}

std::string sql_literal(std::string_view value) {
    std::string out = "E'";
    for (const char c : value) {
        if (c == '\'' || c == '\\') {
            out += c;
        }
        out += c;
    }
    return out + '\'';
}

/// The SET commands that give a server the parameters that its client wants; empty when it has them already.
std::string set_commands(const tracked_values& has, const tracked_values& wanted) {
    std::string sql;
    for (std::size_t i = 0; &wanted != &has && i < has.size(); ++i) {
        if (wanted[i] != has[i]) {
            sql.append("SET ").append(tracked_parameters[i]).append(" TO ").append(sql_literal(wanted[i])).append(";");
        }
    }
    return sql;
}

}  // namespace

session::session(session_host& host, server_pool& pool, client_identity who,
                 std::shared_ptr<const tracked_values> wanted)
    : host_(host), pool_(pool), who_(std::move(who)), wanted_(std::move(wanted)) {}

void session::start(relay& wires, int descriptor, std::string_view rest) {
    open(wires, descriptor);
    if (!rest.empty()) {
        handle(rest);
    }
}

void session::on_readable() {
    if (phase_ == phase::ended) {
        if (has_ended()) {
            finish();
        }
        return;
    }
    if (has_ended() && (phase_ == phase::waiting || phase_ == phase::preparing)) {
        // The client has gone. Its held message would only spend a permit and a server for nobody.
        return lose_client();
    }
    pump();
}

bool session::may_read() const noexcept {
    if (is_sending()) {
        return false;  // a client that does not read its answers may not ask for more of them
    }
    return phase_ == phase::idle || (phase_ == phase::lent && !server().is_sending());
}

void session::pump() {
    while (may_receive() && may_read()) {
        const std::span<char> scratch = owner().scratch();
        if (requests_.held() > scratch.size() / 2) {
            return;  // after the server's answer, `resume` judges the held message and reads on
        }
        const received in = receive(scratch.first(scratch.size() - requests_.held()));
        if (in.what == got::nothing) {
            return;
        }
        if (in.what == got::end) {
            return lose_client();
        }
        handle({scratch.data(), in.count});
    }
}

/// Judges the held messages again, and reads on.
void session::resume() {
    const bool may_judge = phase_ == phase::idle || phase_ == phase::admitted || phase_ == phase::lent;
    if (requests_.held() > 0 && may_judge) {
        handle({});
    }
    if (phase_ != phase::ended) {
        pump();
    }
}

void session::handle(std::string_view data) {
    const auto judge_one = [this](std::string_view bytes, const request_head& head) { return judge(bytes, head); };
    const auto send_on = [this](std::string_view bytes) { server().send(bytes); };
    switch (requests_.feed(data, judge_one, send_on)) {
        case request_reader::progress::all: return release_if_done();
        case request_reader::progress::terminated: return lose_client();
        case request_reader::progress::malformed: return end_with("08P01", "invalid frontend message");
        case request_reader::progress::stopped: return;
    }
}

ruling session::judge(std::string_view data, const request_head& head) {
    if (std::holds_alternative<held_refusal>(next_request_)) {
        return {refuse(head)};
    }
    if (std::holds_alternative<skip_to_sync>(next_request_)) {
        return {skip(head)};
    }
    fate what = fate::forward;
    if (phase_ == phase::idle) {
        what = judge_without_server(data, head);
    } else if (phase_ == phase::lent && begins_next_transaction(head)) {
        what = judge_next_transaction(data, head);
    }
    if (what != fate::forward) {
        return {what};
    }
    phase_ = phase::lent;
    return forward(data, head);
}

ruling session::forward(std::string_view data, const request_head& head) {
    exchange& rules = server().rules;
    if (head.type == 'P' && head.named && transaction_mode()) {
        rules.request('P');
        return {fate::drop, named_parse_error()};
    }
    if (is_timed() && rules.server_waits()) {
        since_ = host_.zone->now();
    }
    commits_.request(head, data.substr(header_size, head.payload), rules.status());
    rules.request(head.type);
    return {fate::forward};
}

fate session::judge_without_server(std::string_view data, const request_head& head) {
    if (!begins_something(head.type)) {
        if (head.type == 'S') {
            send_ready();
        }
        return fate::drop;  // also the rest of a COPY that has failed
    }
    segment_kind kind = classify_segment(data);
    if (kind == segment_kind::incomplete) {
        if (data.size() < max_held) {
            return fate::hold;
        }
        kind = segment_kind::charged;
    }
    return ask_for_server(kind == segment_kind::charged, head);
}

/// Whether the message begins a transaction on a server that is lent already: in session mode, or in a pipeline.
bool session::begins_next_transaction(const request_head& head) const noexcept {
    const exchange& rules = server().rules;
    // The messages after an unanswered COMMIT belong to another transaction.
    const bool may_be_outside = rules.status() == 'I' || (commits_.may_have_committed() && !rules.settled());
    return rules.at_start() && may_be_outside && who_.is->limited && begins_something(head.type);
}

fate session::judge_next_transaction(std::string_view data, const request_head& head) {
    const segment_kind kind = classify_segment(data);
    if (kind == segment_kind::incomplete && data.size() < max_held) {
        return fate::hold;
    }
    if (kind != segment_kind::free) {
        const result<headgate::grant> permit = take_permit();
        if (!permit && !server().rules.settled()) {
            return fate::hold;  // the answers to earlier requests come before a refusal
        }
        if (!permit && host_.current->permit_wait > headgate::duration::zero()) {
            wait_for_permit();
            return fate::hold;
        }
        if (!permit) {
            set_refusal(permit.error());
            return refuse(head);
        }
    }
    ++transactions_;
    return fate::forward;
}

fate session::refuse(const request_head& head) {
    const held_refusal why = std::move(std::get<held_refusal>(next_request_));
    std::string out;
    append_error(out, {"ERROR", why->code, why->text, why->hint});
    if (head.type == 'Q' || head.type == 'F') {
        append_ready(out, 'I');
        next_request_ = judgement{};
    } else {
        next_request_ = skip_to_sync{};
    }
    send(out);
    return fate::drop;
}

fate session::skip(const request_head& head) {
    if (head.type == 'S') {
        next_request_ = judgement{};
        send_ready();
    }
    return fate::drop;
}

void session::send_ready() {
    std::string ready;
    append_ready(ready, 'I');
    send(ready);
}

fate session::ask_for_server(bool charged, const request_head& head) {
    if (host_.stage != service::open) {
        end_with("57P01", "the proxy is shutting down");
        return fate::stop;
    }
    if (pool_.server().is_open()) {
        set_refusal(errc::circuit_open);
        return refuse(head);
    }
    // Waits for the permit before it asks for a server, so that no server stays lent and unused meanwhile.
    if (charged && who_.is->limited && host_.current->permit_wait > headgate::duration::zero()) {
        const result<headgate::grant> permit = take_permit();
        if (!permit) {
            wait_for_permit();
            return fate::hold;
        }
        permit_ = permit.value();
    }
    return check_out(charged, head);
}

fate session::check_out(bool charged, const request_head& head) {
    for (;;) {
        auto checkout = pool_.pool().checkout();
        if (!checkout.decide()) {
            wait_for_server(charged);
            return fate::hold;
        }
        result<lent_link> lent = std::move(checkout).answer();
        if (!lent) {
            set_refusal(lent.error());
            return refuse(head);
        }
        if (!(*lent.value())->is_alive()) [[unlikely]] {
            lent.value().discard();  // the server ended it while it was idle
            continue;
        }
        switch (take_server(std::move(lent).value(), charged)) {
            case takeover::ready: return fate::forward;
            case takeover::preparing: return fate::hold;
            case takeover::refused: return refuse(head);
        }
    }
}

/// Takes the permit first, so that a refused transaction costs the server nothing.
session::takeover session::take_server(lent_link link, bool charged) {
    phase_ = phase::idle;
    if (charged && who_.is->limited) {
        if (const result<headgate::grant> permit = take_permit(); !permit) {
            set_refusal(permit.error());
            return takeover::refused;
        }
    }
    if (charged) {
        ++transactions_;
    }
    link_ = std::move(link);
    server().lend(this);
    const std::string sql = set_commands(*server().tracked(), *wanted_);
    if (sql.empty()) {
        phase_ = phase::admitted;
        return takeover::ready;
    }
    phase_ = phase::preparing;
    server().ask(sql, [this](const server_error* failed) { prepared(failed); });
    return takeover::preparing;
}

void session::prepared(const server_error* failed) {
    if (phase_ != phase::preparing) {
        return;
    }
    if (!server().is_alive()) {
        return server_lost({}, true);
    }
    if (failed != nullptr) {
        phase_ = phase::lent;
        return end_with(failed->code, "a parameter of the session cannot be set: " + failed->text);
    }
    phase_ = phase::admitted;
    resume();
}

void session::wait_for_permit() {
    const phase before = std::exchange(phase_, phase::waiting);
    host_.transactions->acquire(
        who_.is->name, {.max_wait = host_.current->permit_wait, .tier = who_.is->tier},
        asio::bind_cancellation_slot(stop_waiting_.slot(),
                                     [self = shared_from_this(), before](const result<headgate::grant>& permit) {
                                         self->permit_came(permit, before);
                                     }));
}

void session::permit_came(const result<headgate::grant>& permit, phase before) {
    if (phase_ != phase::waiting) {
        return;
    }
    phase_ = before;
    if (permit) {
        permit_ = permit.value();
    } else {
        set_refusal(permit.error());
    }
    resume();
}

void session::wait_for_server(bool charged) {
    phase_ = phase::waiting;
    pool_.pool().checkout(asio::bind_cancellation_slot(
        stop_waiting_.slot(),
        [self = shared_from_this(), charged](result<lent_link> lent) { self->server_came(std::move(lent), charged); }));
}

void session::server_came(result<lent_link> lent, bool charged) {
    if (phase_ != phase::waiting) {
        return;  // the client has left; the lease ends here
    }
    phase_ = phase::idle;
    if (!lent) {
        set_refusal(lent.error());
    } else if (!(*lent.value())->is_alive()) {
        lent.value().discard();  // the held message asks for another server
    } else if (take_server(std::move(lent).value(), charged) == takeover::preparing) {
        return;
    }
    resume();
}

/// The permit that came before, or a permit that the limiter grants now.
result<headgate::grant> session::take_permit() {
    if (permit_) {
        return *std::exchange(permit_, std::nullopt);
    }
    return host_.transactions->try_acquire(who_.is->name, {.tier = who_.is->tier});
}

/// The session answers the client's next message with this error.
void session::set_refusal(const headgate::error& e) {
    next_request_ = std::make_unique<const refusal>(refusal_of(e, *host_.current, pool_));
}

void session::from_server(std::string_view data) {
    send(data);
    const exchange& rules = server().rules;
    if (is_timed() && std::exchange(completed_, rules.completed()) != rules.completed()) {
        since_ = host_.zone->now();
    }
    if (rules.settled()) {
        commits_.settled();
        release_if_done();
        if (requests_.held() > 0) {
            resume();
        }
    }
}

void session::server_took_all() {
    release_if_done();
    resume();
}

void session::on_sent() {
    if (phase_ == phase::ended) {
        return finish();
    }
    if (link_) {
        server().pump();
    }
    if (phase_ != phase::ended) {
        resume();
    }
}

void session::release_if_done() {
    if (phase_ != phase::lent || !server().rules.idle() || requests_.is_inside_forwarded() || server().is_sending() ||
        !server().is_between_messages()) {
        return;
    }
    if (transaction_mode()) {
        give_back();
    }
    if (host_.stage != service::open) {
        end_with("57P01", "the proxy is shutting down");
    }
}

void session::give_back() {
    if (server().is_dirty && !warned_) {
        warned_ = true;
        std::string notice;
        append_notice(notice, {"WARNING", "01000", "SET, LISTEN, PREPARE and DECLARE do not outlive a transaction here",
                               "use pool_mode session, or SET LOCAL"});
        send(notice);
    }
    phase_ = phase::idle;
    wanted_ = server().tracked();  // in the server's spelling, so that the next loan finds no false difference
    pool_.take_back(std::exchange(link_, {}));
}

void session::cancel_query() {
    if (phase_ == phase::waiting) {
        stop_waiting_.emit(asio::cancellation_type::terminal);
    } else if (phase_ == phase::lent && !server().rules.settled()) {
        host_.cancel(pool_, server());
    }
}

void session::check_deadlines(headgate::time_point now) {
    const headgate::duration late = now - since_;
    if (phase_ == phase::ended && late >= farewell) {
        return finish();
    }
    if (phase_ != phase::lent || !is_timed()) {
        return;
    }
    const exchange& rules = server().rules;
    if (!rules.server_waits()) {
        if (late >= who_.is->statement_timeout) {
            since_ = now;
            cancel_query();
        }
    } else if (!rules.idle() && late >= who_.is->idle_transaction_timeout) {
        end_with("25P03", "terminating connection due to idle-in-transaction timeout");
    }
}

void session::end_if_idle(std::string_view code, std::string_view text) {
    const bool between = phase_ == phase::idle || phase_ == phase::waiting ||
                         (phase_ == phase::lent && server().rules.idle() && !requests_.is_inside_message());
    if (between) {
        end_with(code, text);
    }
}

std::string_view session::state() const noexcept {
    switch (phase_) {
        case phase::waiting: return "waiting";
        case phase::preparing: return "active";
        case phase::lent:
            return !server().rules.settled() ? "active" : server().rules.idle() ? "idle" : "in transaction";
        default: return "idle";
    }
}

bool session::is_timed() const noexcept {
    return who_.is->statement_timeout != headgate::duration::max() ||
           who_.is->idle_transaction_timeout != headgate::duration::max();
}

void session::server_lost(std::string_view fatal, bool between_messages) {
    const bool told = !fatal.empty();  // the server's own error has passed to the client
    const bool unknown = commits_.may_have_committed();
    lent_link lost = std::exchange(link_, {});
    lost.discard();
    phase_ = phase::idle;
    if (between_messages && !told) {
        return end_with(unknown ? "08007" : "08006",
                        unknown ? "the connection to the server was lost, and what was asked may have been committed"
                                : "the connection to the server was lost");
    }
    lose_client();
}

void session::end_with(std::string_view code, std::string_view text) {
    std::string out;
    append_error(out, {"FATAL", code, text});
    send(out);
    part();
    if (is_sending()) {
        since_ = host_.zone->now();  // the client gets time to read its last answers
    } else {
        finish();
    }
}

void session::lose_client() {
    part();
    finish();
}

/// Ends the wait for a permit or a server, and gives the server back if it can be lent again.
void session::part() {
    const phase before = std::exchange(phase_, phase::ended);
    if (before == phase::ended) {
        return;
    }
    stop_waiting_.emit(asio::cancellation_type::terminal);
    if (!link_) {
        return;
    }
    lent_link link = std::exchange(link_, {});
    server_link& was = **link;
    was.lend(nullptr);
    if (before == phase::lent && was.rules.settled() && was.rules.at_start() && !requests_.is_inside_forwarded() &&
        !was.is_sending() && was.is_between_messages()) {
        return pool_.take_back(std::move(link));
    }
    if (!was.rules.settled()) {
        host_.cancel(pool_, was);  // otherwise the server would finish a query that nobody waits for
    }
    was.end();  // at once: nobody reads its answers any more
    link.discard();
}

void session::finish() {
    if (is_open()) {
        const auto self = shared_from_this();
        close();
        host_.ended(*this);
    }
}

}  // namespace db_proxy
