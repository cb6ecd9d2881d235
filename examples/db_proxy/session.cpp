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
/// How long a client may take to read why its session has ended, and what came before.
constexpr auto farewell = std::chrono::seconds(5);

/// An error in the place of a Parse: the server makes it, so that it comes in its turn and the transaction fails.
constexpr std::string_view no_named_statements = "SELECT 'named prepared statements need pool_mode session'::integer";

bool begins_something(char type) noexcept {
    return std::string_view("QFPBDCE").find(type) != std::string_view::npos;
}

std::string_view up_to_zero(std::string_view text) noexcept {
    return text.substr(0, text.find('\0'));
}
std::string_view behind_zero(std::string_view text) noexcept {
    const std::size_t zero = text.find('\0');
    return zero == std::string_view::npos ? std::string_view() : text.substr(zero + 1);
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
        // In a transaction what is behind a COMMIT that is not answered begins another.
        const bool may_begin = rules.status() == 'I' || (may_commit_ && !rules.settled());
        if (!admitted_ && rules.at_start() && may_begin && who_.is->limited && begins_something(head.type)) {
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
    if (!begins_something(head.type)) {
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
    if (is_timed() && rules.server_waits()) {
        since_ = host_.zone->now();
    }
    const std::string_view payload = data.substr(header_size, head.payload);
    const bool whole = payload.size() == head.payload;
    switch (head.type) {
        case 'Q':
            may_commit_ = may_commit_ || rules.status() == 'I' || may_end_transaction(up_to_zero(payload), whole);
            break;
        case 'P':
            may_commit_ = may_commit_ || may_end_transaction(up_to_zero(behind_zero(payload)), whole);
            parsed_ = true;
            break;
        case 'B':  // of what was parsed before, whose text nobody has now
            may_commit_ = may_commit_ || !parsed_ || !behind_zero(payload).starts_with('\0');
            break;
        case 'E':
        case 'F': may_commit_ = may_commit_ || rules.status() == 'I' || !parsed_; break;
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
    refused_ = std::make_unique<refusal>(refusal_of(e, *host_.current, pool_));
}

void session::from_server(std::string_view data) {
    send(data);
    const exchange& rules = server().rules;
    if (is_timed() && std::exchange(completed_, rules.completed()) != rules.completed()) {
        since_ = host_.zone->now();
    }
    if (rules.settled()) {
        may_commit_ = parsed_ = false;
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
    if (phase_ != phase::lent || admitted_ || !server().rules.idle() || (rest_ > 0 && rest_forwarded_) ||
        server().is_sending() || !server().is_between_messages()) {
        return;
    }
    if (transaction_mode()) {
        give_back();
    }
    if (host_.draining) {
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
    wanted_ = server().tracked();  // also in the server's spelling, so that it is not set again the next time
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
        if (who_.is->statement_timeout > headgate::duration::zero() && late >= who_.is->statement_timeout) {
            since_ = now;
            cancel_query();
        }
    } else if (!rules.idle() && who_.is->idle_transaction_timeout > headgate::duration::zero() &&
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
    part();
    if (is_sending()) {
        since_ = host_.zone->now();  // what it was promised before is read first
    } else {
        finish();
    }
}

void session::lose_client() {
    part();
    finish();
}

/// Its server is made fit for the next, and what waits for the client stops.
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
    const bool in_message = rest_ > 0 && rest_forwarded_;
    if (before == phase::lent && was.rules.settled() && was.rules.at_start() && !in_message && !was.is_sending() &&
        was.is_between_messages()) {
        return pool_.take_back(std::move(link));
    }
    if (!was.rules.settled()) {
        host_.cancel(pool_, was);  // or it would work on for nobody
    }
    was.end();  // now: what it still says is for nobody
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
