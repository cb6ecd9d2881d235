// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "server_link.hpp"

#include <utility>

namespace db_proxy {

server_link::server_link(cancel_key key, parameters reported, headgate::bulkhead_permit place, trouble told)
    : key_(key), reported_(std::move(reported)), place_(std::move(place)), told_(std::move(told)) {
    tracked_values tracked;
    for (const auto& [name, value] : reported_) {
        if (const std::size_t i = tracked_index(name); i < tracked.size()) {
            tracked[i] = value;
        }
    }
    tracked_ = std::make_shared<const tracked_values>(std::move(tracked));
}

void server_link::adopt(relay& wires, int descriptor, std::string_view rest) {
    open(wires, descriptor);
    if (!reader_.feed(rest, [this](char type, std::string_view shown) { took(type, shown); })) {
        lost();
    }
}

void server_link::ask(std::string_view sql, answer done) {
    asked_ = question{std::move(done), {}};
    std::string message;
    append_query(message, sql);
    rules.request('Q');
    send(message);
}

void server_link::pump() {
    while (may_receive() && (borrower_ == nullptr || borrower_->takes_more())) {
        const std::span<char> scratch = owner().scratch();
        const received in = receive(scratch);
        if (in.what == got::nothing) {
            return;
        }
        if (in.what == got::end) {
            return lost();
        }
        const std::string_view data(scratch.data(), in.count);
        if (!reader_.feed(data, [this](char type, std::string_view shown) { took(type, shown); })) {
            return lost();
        }
        if (asked_) {
            answer_if_settled();
        } else if (borrower_ != nullptr) {
            borrower_->from_server(data);
        }
    }
}

void server_link::answer_if_settled() {
    if (rules.settled()) {
        const question answered = *std::exchange(asked_, std::nullopt);
        answered.done(answered.failed ? &*answered.failed : nullptr);
    }
}

void server_link::on_sent() {
    if (borrower_ != nullptr) {
        borrower_->server_took_all();
    }
}

void server_link::took(char type, std::string_view shown) {
    switch (type) {
        case 'Z': rules.response(type, shown.empty() ? 'I' : shown.front()); return;
        case 'C': is_dirty = is_dirty || (!asked_ && leaves_session_state(shown)); break;
        case 'E': took_error(shown); break;
        case 'S': took_parameter(shown); break;
        default: break;
    }
    rules.response(type);
}

void server_link::took_error(std::string_view shown) {
    const report what = read_report(shown);
    if (asked_) {
        asked_->failed = server_error{std::string(what.code), std::string(what.text)};
    }
    if (what.severity == "FATAL" || what.severity == "PANIC") {
        fatal_code_ = what.code;
    }
    if (what.code.starts_with("57P0")) {
        told_(what.code);
    }
}

void server_link::took_parameter(std::string_view shown) {
    field_reader fields(shown);
    const auto name = fields.text();
    if (const std::size_t i = name ? tracked_index(*name) : tracked_->size(); i < tracked_->size()) {
        tracked_values changed = *tracked_;
        changed[i] = fields.text().value_or(std::string_view{});
        tracked_ = std::make_shared<const tracked_values>(std::move(changed));
    }
}

void server_link::end() noexcept {
    close();
    place_.give_back();
}

void server_link::lost() {
    end();
    if (fatal_code_.empty()) {
        told_({});
    }
    if (asked_) {
        const server_error gone{"08006", "the connection to the server was lost"};
        const question unanswered = *std::exchange(asked_, std::nullopt);
        unanswered.done(&gone);
    } else if (borrower_ != nullptr) {
        std::exchange(borrower_, nullptr)->server_lost(fatal_code_, reader_.between_messages());
    }
}

}  // namespace db_proxy
