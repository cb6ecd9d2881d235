// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "session.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>

#include <algorithm>
#include <utility>

namespace db_proxy {

namespace asio = boost::asio;
using headgate::errc;
using headgate::result;

namespace {

/// A first segment that is longer than this is taken to execute something.
constexpr std::size_t max_held = std::size_t{64} * 1024;

/// An error in the place of a Parse: the server makes it, so that it comes in its turn and the transaction fails.
constexpr std::string_view no_named_statements = "SELECT 'named prepared statements need pool_mode session'::integer";

bool begins_something(char type) noexcept {
    return std::string_view("QFPBDCEH").find(type) != std::string_view::npos;
}

/// Whether SQL begins with a command that ends a transaction.
bool ends_transaction(std::string_view sql) noexcept {
    sql.remove_prefix(std::min(sql.find_first_not_of(" \t\r\n;"), sql.size()));
    return begins_like(sql, "commit") || begins_like(sql, "end") || begins_like(sql, "prepare");
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

std::string seconds_of(headgate::duration span) {
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(span).count();
    std::string fraction = std::to_string(1000 + ms % 1000).substr(1);
    return std::to_string(ms / 1000) + '.' + fraction + " s";
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
    if (has_ended() && (phase_ == phase::waiting || phase_ == phase::preparing)) {
        // Nobody is there to be served; what it sent before is of no use to anybody.
        return lose_client();
    }
    pump();
}

bool session::may_read() const noexcept {
    if (is_sending()) {
        return false;  // who does not read its answers is not asked for more
    }
    return phase_ == phase::idle || (phase_ == phase::lent && !server().is_sending());
}

void session::pump() {
    while (may_receive() && may_read()) {
        const std::span<char> scratch = owner().scratch();
        if (held_.size() > scratch.size() / 2) {
            return;  // a message is held until a server has answered: then it goes on
        }
        std::copy(held_.begin(), held_.end(), scratch.begin());
        const received in = receive(scratch.subspan(held_.size()));
        if (in.what == got::nothing) {
            return;
        }
        if (in.what == got::end) {
            return lose_client();
        }
        const std::string_view data(scratch.data(), held_.size() + in.count);
        if (!held_.empty()) {
            held_ = {};
        }
        handle(data);
    }
}

/// Goes on with what was held.
void session::resume() {
    if (!held_.empty() && (phase_ == phase::idle || phase_ == phase::lent)) {
        const std::string data = std::exchange(held_, {});
        handle(data);
    }
    if (phase_ != phase::ended) {
        pump();
    }
}

void session::handle(std::string_view data) {
    std::string_view passing = data.substr(0, 0);  // what goes to the server, up to where we are
    const auto flush = [&] {
        if (!passing.empty()) {
            server().send(passing);
        }
        passing = data.substr(0, 0);
    };
    while (!data.empty()) {
        if (rest_ > 0) {
            const std::size_t here = std::min(rest_, data.size());
            if (rest_forwarded_) {
                passing = {passing.data(), passing.size() + here};
            }
            data.remove_prefix(here);
            rest_ -= here;
            if (!rest_forwarded_) {
                passing = data.substr(0, 0);
            }
            continue;
        }
        request_head head;
        const framing begun = look_at_request(data, head);
        if (begun == framing::incomplete) {
            break;
        }
        if (begun == framing::malformed || !is_request(head.type)) {
            flush();
            return end_with("08P01", "invalid frontend message");
        }
        if (head.type == 'X') {
            flush();
            return lose_client();
        }
        const fate what = judge(data, head);
        if (what == fate::ended) {
            return;
        }
        if (what == fate::wait) {
            break;
        }
        if (what == fate::forward) {
            note_request(data, head);
        } else {
            flush();
        }
        if (what == fate::replace) {
            replace_named_parse();
        }
        rest_ = header_size + head.payload;
        rest_forwarded_ = what == fate::forward;
    }
    flush();
    held_ = data;
    release_if_done();
}

session::fate session::judge(std::string_view data, const request_head& head) {
    if (refused_) {
        return refuse(head);
    }
    if (skipping_) {
        if (head.type == 'S') {
            skipping_ = false;
            std::string ready;
            append_ready(ready, 'I');
            send(ready);
        }
        return fate::drop;
    }
    if (phase_ == phase::idle) {
        const fate what = judge_without_server(data, head);
        if (what != fate::forward) {
            return what;
        }
    } else {
        const exchange& rules = server().rules;
        if (!admitted_ && rules.at_start() && rules.status() == 'I' && who_.is->limited &&
            begins_something(head.type)) {
            const fate what = judge_next_transaction(data, head);
            if (what != fate::forward) {
                return what;
            }
        }
    }
    admitted_ = false;
    return head.type == 'P' && head.named && transaction_mode() ? fate::replace : fate::forward;
}

session::fate session::judge_without_server(std::string_view data, const request_head& head) {
    if (!begins_something(head.type) || head.type == 'H') {
        if (head.type == 'S') {
            std::string ready;
            append_ready(ready, 'I');
            send(ready);
        }
        return fate::drop;  // and what is left of a COPY that has failed
    }
    segment_kind kind = classify_segment(data);
    if (kind == segment_kind::incomplete) {
        if (data.size() < max_held) {
            return fate::wait;
        }
        kind = segment_kind::charged;
    }
    return ask_for_server(kind == segment_kind::charged, head);
}

/// A transaction that begins while a server is lent already: in session mode, or behind others in a pipeline.
session::fate session::judge_next_transaction(std::string_view data, const request_head& head) {
    const segment_kind kind = classify_segment(data);
    if (kind == segment_kind::incomplete && data.size() < max_held) {
        return fate::wait;
    }
    if (kind == segment_kind::free || permitted_ || take_permit()) {
        permitted_ = false;
        ++transactions_;
        return fate::forward;
    }
    // What was asked before is answered first.
    if (!server().rules.settled()) {
        refused_.reset();
        return fate::wait;
    }
    if (host_.current->permit_wait > headgate::duration::zero()) {
        refused_.reset();
        wait_for_permit();
        return fate::wait;
    }
    return refuse(head);
}

session::fate session::refuse(const request_head& head) {
    const std::unique_ptr<refusal> why = std::move(refused_);
    std::string out;
    append_error(out, {"ERROR", why->code, why->text, why->hint});
    if (head.type == 'Q' || head.type == 'F') {
        append_ready(out, 'I');
    } else {
        skipping_ = true;
    }
    send(out);
    return fate::drop;
}

void session::note_request(std::string_view data, const request_head& head) {
    exchange& rules = server().rules;
    if (is_timed() && rules.settled()) {
        since_ = host_.zone->now();
    }
    switch (head.type) {
        case 'Q':
            may_commit_ = may_commit_ || rules.status() == 'I' || ends_transaction(data.substr(header_size));
            break;
        case 'P': {
            const std::size_t name_end = data.find('\0', header_size);
            may_commit_ =
                may_commit_ || name_end == std::string_view::npos || ends_transaction(data.substr(name_end + 1));
            break;
        }
        case 'E':
        case 'F': may_commit_ = may_commit_ || rules.status() == 'I'; break;
        default: break;
    }
    rules.request(head.type);
}

void session::replace_named_parse() {
    std::string message;
    constexpr std::string_view no_name("\0", 1);
    constexpr std::string_view end_without_types("\0\0\0", 3);
    append_message(message, 'P', {no_name, no_named_statements, end_without_types});
    server().rules.request('P');
    server().send(message);
}

session::fate session::ask_for_server(bool charged, const request_head& head) {
    if (host_.draining) {
        end_with("57P01", "the proxy is shutting down");
        return fate::ended;
    }
    if (pool_.server().is_open()) {
        set_refusal(errc::circuit_open);
        return refuse(head);
    }
    const bool needs_permit = charged && who_.is->limited && !permitted_;
    if (needs_permit && host_.current->permit_wait > headgate::duration::zero()) {
        if (!take_permit()) {
            refused_.reset();
            wait_for_permit();
            return fate::wait;
        }
        permitted_ = true;
    }
    for (;;) {
        auto checkout = pool_.pool().checkout();
        if (!checkout.decide()) {
            wait_for_server(charged);
            return fate::wait;
        }
        result<lent_link> lent = std::move(checkout).answer();
        if (!lent) {
            set_refusal(lent.error());
            return refuse(head);
        }
        if ((*lent.value())->is_alive()) [[likely]] {
            const fate what = take_server(std::move(lent).value(), charged);
            return refused_ ? refuse(head) : what;
        }
        lent.value().discard();  // it has ended while it was idle
    }
}

/// With a server: takes the permit, and lets the server take over what the client believes of its parameters. `wait`
/// with `refused_` when there is no permit; the server is given back then, and nothing was spent.
session::fate session::take_server(lent_link link, bool charged) {
    if (charged && who_.is->limited && !std::exchange(permitted_, false) && !take_permit()) {
        phase_ = phase::idle;
        return fate::wait;
    }
    if (charged) {
        ++transactions_;
    }
    link_ = std::move(link);
    server().lend(this);
    admitted_ = true;
    const tracked_values& has = *server().tracked();
    std::string sql;
    for (std::size_t i = 0; wanted_.get() != &has && i < has.size(); ++i) {
        const std::string& value = (*wanted_)[i];
        if (value != has[i]) {
            sql.append("SET ").append(tracked_parameters[i]).append(" TO ").append(sql_literal(value)).append(";");
        }
    }
    if (sql.empty()) {
        phase_ = phase::lent;
        return fate::forward;
    }
    phase_ = phase::preparing;
    server().ask(
        sql, [this](bool succeeded, std::string_view code, std::string_view text) { prepared(succeeded, code, text); });
    return fate::wait;
}

void session::prepared(bool succeeded, std::string_view code, std::string_view text) {
    if (phase_ != phase::preparing) {
        return;
    }
    if (!server().is_alive()) {
        return server_lost({}, true);
    }
    if (!succeeded) {
        const std::string why(text);
        phase_ = phase::lent;
        return end_with(code, "a parameter of the session cannot be set: " + why);
    }
    phase_ = phase::lent;
    resume();
}

void session::wait_for_permit() {
    const bool had_server = phase_ == phase::lent;
    phase_ = phase::waiting;
    host_.transactions->acquire(
        who_.is->name, {.max_wait = host_.current->permit_wait, .tier = who_.is->tier},
        asio::bind_cancellation_slot(stop_waiting_.slot(),
                                     [self = shared_from_this(), had_server](const result<headgate::grant>& granted) {
                                         if (self->phase_ != phase::waiting) {
                                             return;
                                         }
                                         self->phase_ = had_server ? phase::lent : phase::idle;
                                         self->permitted_ = granted.has_value();
                                         if (!granted) {
                                             self->set_refusal(granted.error());
                                         }
                                         self->resume();
                                     }));
}

void session::wait_for_server(bool charged) {
    phase_ = phase::waiting;
    pool_.pool().checkout(asio::bind_cancellation_slot(stop_waiting_.slot(),
                                                       [self = shared_from_this(), charged](result<lent_link> lent) {
                                                           if (self->phase_ != phase::waiting) {
                                                               return;  // it has gone, and so does the lease
                                                           }
                                                           self->phase_ = phase::idle;
                                                           if (!lent) {
                                                               self->set_refusal(lent.error());
                                                               return self->resume();
                                                           }
                                                           if (!(*lent.value())->is_alive()) {
                                                               lent.value().discard();
                                                               return self->resume();  // and asks again
                                                           }
                                                           self->take_server(std::move(lent).value(), charged);
                                                           if (self->phase_ != phase::preparing) {
                                                               self->resume();
                                                           }
                                                       }));
}

bool session::take_permit() {
    const auto granted = host_.transactions->try_acquire(who_.is->name, {.tier = who_.is->tier});
    if (granted) {
        return true;
    }
    set_refusal(granted.error());
    return false;
}

void session::set_refusal(const headgate::error& e) {
    const settings& s = *host_.current;
    std::string retry = "retry later";
    if (e.retry_after > headgate::duration::zero()) {
        retry = "retry in " + seconds_of(e.retry_after);
    }
    refusal out{};
    if (e == errc::rate_limited || e == errc::cost_exceeds_limit) {
        out = {s.rate_limited_code, "user \"" + who_.is->name + "\" has used up its transactions", retry};
    } else if (e == errc::circuit_open) {
        out = {s.circuit_open_code, "server \"" + pool_.server().name() + "\" is down, and not asked at present",
               retry};
    } else if (e == errc::connect_failed || e == errc::operation_failed) {
        const login_failure& why = pool_.failure();
        // The server is there and says no, or it is not there.
        const bool says_no = !why.code.empty() && !why.code.starts_with("08") && !why.code.starts_with("57");
        out = {says_no ? why.code : s.circuit_open_code, why.text, retry};
    } else if (e == errc::shut_down) {
        out = {"57P01", "the proxy is shutting down", {}};
    } else if (e == errc::canceled) {
        out = {"57014", "canceling statement due to user request", {}};
    } else if (e == errc::queue_full || e == errc::wait_timed_out || e == errc::exhausted) {
        out = {s.pool_exhausted_code, "no server connection came free in time",
               "every connection of this user and database is in use"};
    } else {
        out = {"XX000", e.message(), {}};
    }
    refused_ = std::make_unique<refusal>(std::move(out));
}

void session::from_server(std::string_view data) {
    send(data);
    if (server().rules.settled()) {
        may_commit_ = false;
        if (is_timed()) {
            since_ = host_.zone->now();
        }
        release_if_done();
        if (!held_.empty() && rest_ == 0) {
            resume();
        }
    }
}

void session::server_took_all() {
    release_if_done();
    resume();
}

void session::on_sent() {
    if (link_) {
        server().pump();
    }
    if (phase_ != phase::ended) {
        resume();
    }
}

void session::release_if_done() {
    if (phase_ != phase::lent || !transaction_mode() || admitted_ || !server().rules.idle() ||
        (rest_ > 0 && rest_forwarded_) || server().is_sending() || !server().is_between_messages()) {
        return;
    }
    if (server().is_dirty && !warned_) {
        warned_ = true;
        std::string notice;
        append_notice(notice, {"WARNING", "01000", "SET, LISTEN, PREPARE and DECLARE do not outlive a transaction here",
                               "use pool_mode session, or SET LOCAL"});
        send(notice);
    }
    phase_ = phase::idle;
    wanted_ = server().tracked();  // also in the server's spelling, so that it is not set again the next time
    pool_.take_back(std::exchange(link_, {}));
    if (host_.draining) {
        end_with("57P01", "the proxy is shutting down");
    }
}

void session::cancel_query() {
    if (phase_ == phase::waiting) {
        stop_waiting_.emit(asio::cancellation_type::terminal);
    } else if (phase_ == phase::lent && !server().rules.settled()) {
        host_.cancel(pool_, server());
    }
}

void session::check_deadlines(headgate::time_point now) {
    if (phase_ != phase::lent || !is_timed()) {
        return;
    }
    const exchange& rules = server().rules;
    const headgate::duration late = now - since_;
    if (!rules.settled()) {
        if (who_.is->statement_timeout > headgate::duration::zero() && late >= who_.is->statement_timeout) {
            since_ = now;
            cancel_query();
        }
    } else if (rules.status() != 'I' && who_.is->idle_transaction_timeout > headgate::duration::zero() &&
               late >= who_.is->idle_transaction_timeout) {
        end_with("25P03", "terminating connection due to idle-in-transaction timeout");
    }
}

void session::end_if_idle(std::string_view code, std::string_view text) {
    const bool between = phase_ == phase::idle || phase_ == phase::waiting ||
                         (phase_ == phase::lent && server().rules.idle() && rest_ == 0);
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
    return who_.is->statement_timeout > headgate::duration::zero() ||
           who_.is->idle_transaction_timeout > headgate::duration::zero();
}

void session::server_lost(std::string_view fatal, bool between_messages) {
    const bool told = !fatal.empty();  // the client has read it
    const bool unknown = may_commit_;
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
    lose_client();
}

/// The client has gone, or is to go: its server is made fit for the next, and what waits for it stops.
void session::lose_client() {
    const phase before = std::exchange(phase_, phase::ended);
    if (before == phase::ended) {
        return;
    }
    const auto self = shared_from_this();
    close();
    stop_waiting_.emit(asio::cancellation_type::terminal);
    if (link_) {
        lent_link link = std::exchange(link_, {});
        server_link& was = **link;
        was.lend(nullptr);
        const bool in_message = rest_ > 0 && rest_forwarded_;
        if (before == phase::lent && was.rules.settled() && was.rules.at_start() && !in_message && !was.is_sending() &&
            was.is_between_messages()) {
            pool_.take_back(std::move(link));
        } else {
            if (!was.rules.settled()) {
                host_.cancel(pool_, was);  // or it would work on for nobody
            }
            link.discard();
        }
    }
    host_.ended(*this);
}

}  // namespace db_proxy
