// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "connect.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <deque>
#include <exception>
#include <new>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <headgate/spawn.hpp>

#include "attempt.hpp"

namespace headgate::detail {

namespace asio = boost::asio;

namespace {

using opened = result<std::shared_ptr<postgres_session>>;

error error_of_exception(std::exception_ptr thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const std::bad_alloc&) {
        return errc::out_of_memory;
    } catch (...) {
        return error_of(thrown);
    }
}

/// A host to try, and in which round of them: the second takes a server that the first would not have.
struct candidate {
    postgres_host host;
    bool second_round = false;
};

/// Tries the hosts of one connect in their order. While one is silent, the next one is tried beside it. The first
/// server that lets us in is taken.
class race {
public:
    race(asio::any_io_executor executor, std::shared_ptr<const postgres_target> target, conninfo options)
        : executor_(std::move(executor)),
          target_(std::move(target)),
          options_(std::move(options)),
          changed_(std::make_shared<asio::steady_timer>(executor_)) {
        const auto attributes = options_.find("target_session_attrs");
        prefers_standby_ = attributes != options_.end() && attributes->second == "prefer-standby";
        const auto balance = options_.find("load_balance_hosts");
        shuffles_ = balance != options_.end() && balance->second == "random";
        if (prefers_standby_) {
            add(target_->hosts(), true);
        }
        add(target_->hosts(), false);
    }
    race(const race&) = delete;
    race& operator=(const race&) = delete;
    ~race() {
        for (const running& one : running_) {
            one.attempt->give_up();
        }
    }

    /// Starts the attempts that are due, and looks at those that have ended. Gives the result, once there is one.
    std::optional<opened> step() {
        std::optional<opened> out = collect();
        while (!out && !left_.empty() && (running_.empty() || latest_ended_ || next_is_due())) {
            start_next();
        }
        if (!out && running_.empty()) {
            out.emplace(failure());
        }
        return out;
    }

    /// When to step, if nothing ends before.
    [[nodiscard]] asio::steady_timer& next_step() {
        changed_->expires_at(left_.empty() || running_.empty() ? steady_time::max()
                                                               : running_.back().attempt->patience_ends());
        return *changed_;
    }

private:
    struct running {
        std::shared_ptr<connect_attempt> attempt;
        bool second_round;
    };

    [[nodiscard]] bool next_is_due() const {
        return std::chrono::steady_clock::now() >= running_.back().attempt->patience_ends();
    }

    // They come before those that are left.
    void add(std::vector<postgres_host> hosts, bool second_round) {
        if (shuffles_) {
            std::shuffle(hosts.begin(), hosts.end(), std::minstd_rand(std::random_device{}()));
        }
        for (auto host = hosts.rbegin(); host != hosts.rend(); ++host) {
            left_.push_front({std::move(*host), second_round});
        }
    }

    [[nodiscard]] conninfo options_for(const candidate& c) const {
        conninfo out = target_->leaves_hosts_to_libpq() ? options_ : with_host(options_, c.host);
        if (prefers_standby_) {
            out["target_session_attrs"] = c.second_round ? "any" : "standby";
        }
        return out;
    }

    void start_next() {
        const candidate next = std::move(left_.front());
        left_.pop_front();
        latest_ended_ = false;
        const auto attempt = std::make_shared<connect_attempt>(next.host, options_for(next));
        running_.push_back({attempt, next.second_round});
        asio::co_spawn(executor_, connect_attempt::run(attempt, target_->lookups()),
                       [attempt, changed = changed_](std::exception_ptr thrown) {
                           if (thrown) {
                               attempt->fail(error_of_exception(std::move(thrown)));
                           }
                           changed->cancel();
                       });
    }

    std::optional<opened> collect() {
        for (std::size_t i = 0; i < running_.size();) {
            if (!running_[i].attempt->ended()) {
                ++i;
                continue;
            }
            latest_ended_ = latest_ended_ || i + 1 == running_.size();
            const running one = std::move(running_[i]);
            running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
            if (auto out = settle(*one.attempt)) {
                return out;
            }
            add(one.attempt->found(), one.second_round);
        }
        return std::nullopt;
    }

    // What an attempt that has ended means for the whole, if that is anything.
    std::optional<opened> settle(connect_attempt& attempt) {
        if (pq_conn conn = attempt.take_connection()) {
            watched_fd socket = watch_duplicate(executor_, PQsocket(conn.get()));
            return opened(
                std::make_shared<postgres_session>(std::move(conn), std::move(socket), target_->cancellers()));
        }
        if (attempt.why()) {
            failures_.push_back(*attempt.why());
            if (is_final(failures_.back())) {
                return opened(failure());
            }
        }
        return std::nullopt;
    }

    // As with libpq: a server that refuses us has answered, but for one that only starts. The others are for one that
    // is not there, or not of the kind that the URL asks for.
    static bool is_final(const error& e) {
        return e.code.category() == postgres_category() && e.code != sqlstate("08001") && e.code != sqlstate("57P03");
    }

    // The code of the last one that failed, and what all of them said.
    [[nodiscard]] error failure() const {
        error out = failures_.back();
        std::string said;
        for (const error& e : failures_) {
            said.append(said.empty() ? "" : "; ").append(e.detail ? *e.detail : e.message());
        }
        out.detail = std::make_shared<std::string>(said);
        return out;
    }

    asio::any_io_executor executor_;
    std::shared_ptr<const postgres_target> target_;
    conninfo options_;
    bool prefers_standby_ = false;
    bool shuffles_ = false;
    std::deque<candidate> left_;
    std::vector<running> running_;
    bool latest_ended_ = false;
    std::vector<error> failures_;
    std::shared_ptr<asio::steady_timer> changed_;  // shared with attempts that end after this
};

asio::awaitable<opened> log_in(std::shared_ptr<const postgres_target> target, conninfo options) {
    race hosts(co_await asio::this_coro::executor, target, std::move(options));
    for (;;) {
        const bool cancelled = co_await was_cancelled();
        if (cancelled) {
            co_return error(errc::canceled);
        }
        if (std::optional<opened> out = hosts.step()) {
            co_return std::move(*out);
        }
        boost::system::error_code woken;
        co_await hosts.next_step().async_wait(asio::redirect_error(asio::use_awaitable, woken));
    }
}

// What the callback says; an exception of it is its answer too.
asio::awaitable<result<postgres_credentials>> ask(std::shared_ptr<const postgres_target> target) {
    std::exception_ptr thrown;
    try {
        co_return co_await target->credentials()();
    } catch (...) {
        thrown = std::current_exception();
    }
    co_return error_of_exception(thrown);
}

bool has_zero_byte(const postgres_credentials& c) {
    return c.user.find('\0') != std::string::npos || c.password.find('\0') != std::string::npos;
}

asio::awaitable<opened> ask_and_log_in(std::shared_ptr<const postgres_target> target) {
    conninfo options = target->options();
    if (target->credentials()) {
        const result<postgres_credentials> asked = co_await ask(target);
        if (!asked) {
            co_return asked.error();
        }
        const postgres_credentials& given = asked.value();
        if (has_zero_byte(given)) {
            co_return error(errc::invalid_argument, "the user or the password has a zero byte in it");
        }
        if (!given.user.empty()) {
            options.insert_or_assign("user", given.user);
        }
        if (!given.password.empty()) {
            options.insert_or_assign("password", given.password);
        }
    }
    auto logging_in = without_throwing(log_in(target, std::move(options)));
    const bool cancelled = co_await was_cancelled();
    if (cancelled) {  // Asio would throw that
        co_return error(errc::canceled);
    }
    co_return co_await std::move(logging_in);
}

}  // namespace

asio::awaitable<opened> connect(std::shared_ptr<const postgres_target> target) {
    return ask_and_log_in(std::move(target));
}

}  // namespace headgate::detail
