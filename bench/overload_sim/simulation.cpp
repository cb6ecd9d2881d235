// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "simulation.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <numbers>
#include <queue>

#include <headgate/impl/random.hpp>

namespace overload_sim {

namespace {

using headgate::detail::random_bits;
using headgate::detail::random_share;

double exponential(std::uint64_t& random) {
    return -std::log(1 - random_share(random));
}

// Box and Muller, 1958. Not std::normal_distribution, which differs between standard libraries.
double normal(std::uint64_t& random) {
    const double radius = std::sqrt(2 * exponential(random));
    return radius * std::cos(2 * std::numbers::pi * random_share(random));
}

class simulation {
public:
    simulation(const scenario& what, std::uint64_t seed, const limiter_source& make)
        : what_(what), arrivals_(seed), services_(seed ^ 0x5e41ce), fates_(seed ^ 0xfa7e), clients_(what.clients) {
        for (std::size_t i = 0; i < clients_.size(); ++i) {
            clients_[i].limit = make(seed + 17 * i);
            clients_[i].skew =
                duration{std::llround(static_cast<double>(what.clock_skew.count()) * random_share(fates_))};
        }
        for (const phase& p : what.phases) {
            phase_result& r = out_.emplace_back();
            r.slots.resize(static_cast<std::size_t>(p.length / slot) + 1);
            r.good_of_client.resize(clients_.size());
        }
    }

    std::vector<phase_result> run() {
        for (at_ = 0; at_ < what_.phases.size(); ++at_) {
            end_ = begin_ + here().length;
            start_waiting();  // there may be more servers
            run_phase();
            begin_ = now_ = end_;
        }
        return std::move(out_);
    }

private:
    struct client {
        std::unique_ptr<limiter> limit;
        duration skew{};  // of its clock
        std::uint32_t running = 0;
    };
    struct call {
        time_point began;
        std::uint32_t running;  // at its start
        std::uint32_t who;
        duration work;
        bool fails;
        bool watched;  // by the limiter
        bool given_up = false;
        bool done = false;
    };
    struct completion {
        time_point at;
        std::uint32_t id;
        bool operator<(const completion& other) const { return at > other.at; }
    };

    [[nodiscard]] const phase& here() const { return what_.phases[at_]; }

    void run_phase() {
        const double gap = 1e9 / here().offered;
        time_point arrival = now_ + duration{std::llround(gap * exponential(arrivals_))};
        for (;;) {
            const time_point done = ends_.empty() ? time_point::max() : ends_.top().at;
            const time_point late = deadlines_.empty() ? time_point::max() : deadlines_.front().at;
            now_ = std::min({arrival, done, late});
            if (now_ >= end_) {
                return;
            }
            if (now_ == done) {
                complete();
            } else if (now_ == late) {
                expire();
            } else {
                arrive();
                arrival = now_ + duration{std::llround(gap * exponential(arrivals_))};
            }
        }
    }

    void arrive() {
        const auto who = static_cast<std::uint32_t>(random_bits(arrivals_) % clients_.size());
        if (now_.time_since_epoch() < what_.stagger * who) {
            return;
        }
        client& c = clients_[who];
        if (c.running >= c.limit->limit()) {
            c.limit->refused(now_ + c.skew);
            return;
        }
        ++c.running;
        const bool watched = c.limit->began(now_ + c.skew, c.running);
        const bool fails = here().failing > 0 && random_share(fates_) < here().failing;
        const std::uint32_t id = allocate({now_, c.running, who, draw_service(what_.work, services_), fails, watched});
        deadlines_.push_back({now_ + what_.give_up, id});
        ++in_backend_;
        waiting_.push_back(id);
        start_waiting();
    }

    void start_waiting() {
        while (busy_ < here().servers && !waiting_.empty()) {
            const std::uint32_t id = waiting_.front();
            waiting_.pop_front();
            ++busy_;
            ends_.push({now_ + work_of(calls_[id]), id});
        }
    }

    [[nodiscard]] duration work_of(const call& c) const {
        if (c.fails) {
            return std::chrono::milliseconds{1};
        }
        const double crowd = what_.work.crowding > 0 ? in_backend_ / what_.work.crowding : 0;
        return duration{std::llround(static_cast<double>(c.work.count()) * here().slowdown * (1 + crowd * crowd))};
    }

    void complete() {
        const std::uint32_t id = ends_.top().id;
        ends_.pop();
        --busy_;
        --in_backend_;
        call& c = calls_[id];
        c.done = true;
        if (!c.given_up) {
            finish(c, c.fails ? outcome::failure : outcome::success);
        } else {
            free_.push_back(id);
        }
        start_waiting();
    }

    void expire() {
        const std::uint32_t id = deadlines_.front().id;
        deadlines_.pop_front();
        call& c = calls_[id];
        if (c.done) {
            free_.push_back(id);
            return;
        }
        c.given_up = true;
        finish(c, outcome::timed_out);
    }

    void finish(const call& c, outcome how) {
        client& owner = clients_[c.who];
        --owner.running;
        if (c.watched) {
            owner.limit->ended({now_ + owner.skew, now_ - c.began, c.running, how});
        }
        phase_result& r = out_[at_];
        if (how != outcome::failure) {
            r.taken.record(now_ - c.began);
        }
        if (how == outcome::success) {
            ++r.good;
            ++r.slots[static_cast<std::size_t>((now_ - begin_) / slot)];
            ++r.good_of_client[c.who];
        }
    }

    std::uint32_t allocate(const call& c) {
        if (free_.empty()) {
            calls_.push_back(c);
            return static_cast<std::uint32_t>(calls_.size() - 1);
        }
        const std::uint32_t id = free_.back();
        free_.pop_back();
        calls_[id] = c;
        return id;
    }

    const scenario& what_;
    std::uint64_t arrivals_, services_, fates_;  // states of random sequences
    std::vector<client> clients_;
    std::vector<call> calls_;
    std::vector<std::uint32_t> free_;
    std::deque<std::uint32_t> waiting_;  // in the queue of the backend
    std::deque<completion> deadlines_;
    std::priority_queue<completion> ends_;
    std::uint32_t busy_ = 0, in_backend_ = 0;
    std::size_t at_ = 0;  // the phase
    time_point now_{}, begin_{}, end_{};
    std::vector<phase_result> out_;
};

}  // namespace

duration draw_service(const service& work, std::uint64_t& random) {
    double mean = static_cast<double>(work.mean.count());
    if (work.slow_share > 0 && random_share(random) < work.slow_share) {
        mean *= work.slow_factor;
    }
    return duration{std::llround(mean * std::exp(work.sigma * normal(random) - work.sigma * work.sigma / 2))};
}

std::vector<phase_result> simulate(const scenario& what, std::uint64_t seed, const limiter_source& make) {
    return simulation(what, seed, make).run();
}

duration unloaded_p99(const service& work, std::uint64_t seed) {
    headgate::latency_histogram h;
    for (int i = 0; i < 200'000; ++i) {
        h.record(draw_service(work, seed));
    }
    return h.quantile(0.99);
}

}  // namespace overload_sim
