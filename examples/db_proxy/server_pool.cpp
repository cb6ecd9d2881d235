// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "server_pool.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace db_proxy {

namespace asio = boost::asio;
using headgate::result;

namespace {

constexpr auto clean_timeout = std::chrono::seconds(5);

}  // namespace

struct server_pool::backend {
    server_pool* pool;

    [[nodiscard]] asio::awaitable<result<link_ptr>> connect() const { return pool->connect(); }
    static asio::awaitable<bool> ping(link_ptr& link) { co_return link->is_alive(); }
    void close(link_ptr link) const {
        link->end();
        pool->relay_.retire(std::move(link));
    }
};

server_pool::server_pool(headgate::zone& zone, relay& wires, upstream& from, std::string name,
                         const database_settings& database, const headgate::pool_options& options,
                         server_credentials who)
    : zone_(zone),
      relay_(wires),
      upstream_(from),
      database_(database),
      credentials_(std::move(who)),
      pool_(headgate::resource_pool<link_ptr>::create(zone, std::move(name), options, backend{this}).value()) {
    upstream_.add(*this);
}

void server_pool::reconfigure(const database_settings& database, const headgate::pool_options& options,
                              const server_credentials& who) {
    database_ = database;
    if (who.password != credentials_.password) {
        credentials_ = who;
        while (give_up_idle()) {
        }
    }
    static_cast<void>(pool_.reconfigure(options));
}

asio::awaitable<result<link_ptr>> server_pool::connect() {
    auto link = co_await upstream_.connect(credentials_, failure_);
    if (link) {
        failure_ = {};
        welcome_ = link.value()->reported();
        usual_ = link.value()->tracked();
    }
    co_return link;
}

void server_pool::take_back(lent_link link) {
    server_link& server = **link;
    server.lend(nullptr);
    const bool clean_already = !server.is_canceling() && server.rules.status() == 'I' && !server.is_dirty &&
                               database_.mode == pool_mode::transaction && database_.reset == reset_when::dirty;
    const bool doubtful = server.rules.doubtful() || server.cancels()->doubtful;
    if (clean_already && !doubtful && server.is_alive()) [[likely]] {
        if (another_user_needs_the_place()) {
            link.discard();
        }
        return;  // the end of the lease gives the connection back to the pool
    }
    if (!server.is_alive() || doubtful) {
        return link.discard();
    }
    auto one = std::make_shared<returning>(std::move(link), zone_.now() + clean_timeout);
    returns_.push_back(one);
    if (server.is_canceling()) {
        server.cancels()->when_done = [this, one] { clean(one); };
    } else {
        clean(one);
    }
}

void server_pool::clean(const std::shared_ptr<returning>& one) {
    if (!one->link) {
        return;  // the clean-up took too long, and the connection was closed
    }
    server_link& server = **one->link;
    if (server.cancels()->doubtful) {
        return end_return(one, false);
    }
    const bool in_transaction = server.rules.status() != 'I';
    server.ask(in_transaction ? "ROLLBACK" : "DISCARD ALL", [this, one, in_transaction](const server_error* failed) {
        cleaned(one, in_transaction, failed == nullptr);
    });
}

void server_pool::cleaned(const std::shared_ptr<returning>& one, bool rolled_back, bool succeeded) {
    if (!one->link) {
        return;
    }
    server_link& server = **one->link;
    const bool must_reset =
        server.is_dirty || database_.mode == pool_mode::session || database_.reset == reset_when::always;
    const bool usable = succeeded && server.rules.idle();
    if (usable && rolled_back && must_reset) {
        return clean(one);
    }
    server.is_dirty = false;
    end_return(one, usable);
}

void server_pool::end_return(const std::shared_ptr<returning>& one, bool usable) {
    std::erase(returns_, one);
    lent_link link = std::move(one->link);
    if (!usable || another_user_needs_the_place()) {
        link.discard();
    }
}

bool server_pool::another_user_needs_the_place() const {
    return upstream_.is_crowded() && pool_.snapshot().waiting == 0;
}

void server_pool::check_returns(headgate::time_point now) {
    const auto late = [now](const std::shared_ptr<returning>& one) { return one->until <= now; };
    while (true) {
        const auto found = std::find_if(returns_.begin(), returns_.end(), late);
        if (found == returns_.end()) {
            return;
        }
        end_return(std::shared_ptr(*found), false);
    }
}

bool server_pool::give_up_idle() {
    auto idle = pool_.try_checkout();
    if (!idle) {
        return false;
    }
    idle.value().discard();
    return true;
}

}  // namespace db_proxy
