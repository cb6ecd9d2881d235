// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "queues.hpp"

#include <chrono>
#include <cmath>
#include <deque>
#include <queue>

#include <headgate/impl/random.hpp>

#include "simulation.hpp"

namespace overload_sim {

namespace {

using namespace std::chrono_literals;
using headgate::detail::class_choice;
using headgate::detail::random_share;

constexpr duration length = 60s, give_up = 1s;
constexpr std::uint32_t places = 50;
constexpr double capacity = places / 0.025, offered = 3 * capacity;  // calls a second

class queue_simulation {
public:
    queue_simulation(discipline how, std::uint64_t seed) : how_(how), arrivals_(seed), services_(seed ^ 0x5e41ce) {}

    queue_result run() {
        time_point arrival{};
        while (now_.time_since_epoch() < length) {
            const time_point done = running_.empty() ? time_point::max() : running_.top().ends;
            now_ = std::min(arrival, done);
            if (now_ == done) {
                complete();
            } else {
                arrive();
                arrival = now_ - duration{std::llround(1e9 / offered * std::log(1 - random_share(arrivals_)))};
            }
        }
        for (std::size_t c = 0; c < class_choice::classes; ++c) {
            out_.goodput += static_cast<double>(good_[c]) / (capacity * 60);
            out_.answered[c] = static_cast<double>(good_[c]) / static_cast<double>(arrived_[c]);
        }
        return std::move(out_);
    }

private:
    struct call {
        time_point arrived;
        std::size_t priority;
        time_point ends{};
        bool operator<(const call& other) const { return ends > other.ends; }
    };

    void arrive() {
        constexpr std::array<std::size_t, 5> shares{3, 2, 1, 1, 0};
        const call c{now_, shares[static_cast<std::size_t>(5 * random_share(arrivals_))]};
        ++arrived_[c.priority];
        if (running_.size() < places) {
            codels_[line_of(c)].empty(now_);
            start(c);
        } else {
            lines_[line_of(c)].push_back(c);
        }
    }

    void complete() {
        const call c = running_.top();
        running_.pop();
        good_[c.priority] += now_ - c.arrived <= give_up ? 1 : 0;
        for (std::size_t i = 0; i < lines_.size(); ++i) {
            clean(lines_[i], codels_[i]);
        }
        std::array<std::uint32_t, class_choice::classes> waiting{};
        bool any = false;
        for (std::size_t i = 0; i < lines_.size(); ++i) {
            waiting[i] = static_cast<std::uint32_t>(lines_[i].size());
            any |= waiting[i] != 0;
        }
        if (any) {
            serve(classes_.next(waiting));
        }
    }

    /// Those go who gave up, and those who are shed.
    void clean(std::deque<call>& line, headgate::detail::codel& codel) const {
        while (!line.empty()) {
            const duration waited = now_ - line.front().arrived;
            const bool shed = how_ != discipline::fifo && codel.sheds(now_, waited);
            if (!shed && waited < give_up) {
                return;
            }
            line.pop_front();
        }
        codel.empty(now_);
    }

    void serve(std::size_t i) {
        if (how_ != discipline::fifo && codels_[i].newest_first()) {
            start(lines_[i].back());
            lines_[i].pop_back();
        } else {
            start(lines_[i].front());
            lines_[i].pop_front();
        }
    }

    void start(call c) {
        out_.waited.record(now_ - c.arrived);
        c.ends = now_ + draw_service({}, services_);
        running_.push(c);
    }

    [[nodiscard]] std::size_t line_of(const call& c) const {
        return how_ == discipline::codel_classes ? c.priority : 0;
    }

    discipline how_;
    std::uint64_t arrivals_, services_;  // states of random sequences
    time_point now_{};
    std::array<std::deque<call>, class_choice::classes> lines_;
    std::array<headgate::detail::codel, class_choice::classes> codels_;
    class_choice classes_;
    std::priority_queue<call> running_;
    std::array<std::uint64_t, class_choice::classes> arrived_{}, good_{};
    queue_result out_;
};

}  // namespace

queue_result simulate_queue(discipline how, std::uint64_t seed) {
    queue_result out = queue_simulation(how, seed).run();
    out.name = how == discipline::fifo ? "FIFO" : how == discipline::codel ? "codel" : "codel, classes";
    return out;
}

}  // namespace overload_sim
