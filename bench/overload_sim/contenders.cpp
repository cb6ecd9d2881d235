// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "limiter.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <deque>
#include <limits>
#include <numeric>

#include <headgate/impl/adaptive_limit.hpp>
#include <headgate/impl/random.hpp>

namespace overload_sim {

namespace {

using namespace std::chrono_literals;

double seconds(duration d) {
    return std::chrono::duration<double>(d).count();
}

double clamped(double limit, const bounds& b) {
    return std::clamp(limit, static_cast<double>(b.min), static_cast<double>(b.max));
}

/// What is below a share of `q` of `values`, which it sorts in part.
double quantile(std::vector<double>& values, double q) {
    const auto rank = static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), values.begin() + rank, values.end());
    return values[static_cast<std::size_t>(rank)];
}

class fixed final : public limiter {
public:
    explicit fixed(std::uint32_t limit) : limit_(limit) {}
    [[nodiscard]] std::uint32_t limit() const override { return limit_; }
    void ended(const ended_call& /*call*/) override {}

private:
    std::uint32_t limit_;
};

/// A limit that is a number with fractions, between bounds.
class bounded : public limiter {
public:
    explicit bounded(const bounds& b) : bounds_(b), limit_(b.initial) {}
    [[nodiscard]] std::uint32_t limit() const override { return static_cast<std::uint32_t>(limit_); }

protected:
    void set(double limit) { limit_ = clamped(limit, bounds_); }
    [[nodiscard]] double value() const { return limit_; }
    [[nodiscard]] const bounds& range() const { return bounds_; }

private:
    bounds bounds_;
    double limit_;
};

// Additive increase, multiplicative decrease (Chiu and Jain, 1989), with the constants of Netflix concurrency-limits,
// `AIMDLimit`: one more after each call that ran with half of the limit in use, 0.9 of it after each that was dropped
// or took longer than 5 s.
class aimd final : public bounded {
public:
    using bounded::bounded;
    void ended(const ended_call& call) override {
        if (call.how == outcome::timed_out || call.took > 5s) {
            set(std::min(value() - 1, std::floor(value() * 0.9)));
        } else if (call.running * 2 >= limit()) {
            set(value() + 1);
        }
    }
};

// TCP Vegas (Brakmo and Peterson, 1995) as Netflix concurrency-limits has it, `VegasLimit`: the queue is estimated as
// limit * (1 - rtt_noload / rtt), and wanted between 3 and 6 times log10(limit). rtt_noload is the least of all, and is
// taken anew about every 30 * limit calls, jittered.
class vegas final : public bounded {
public:
    vegas(const bounds& b, std::uint64_t seed) : bounded(b), random_(seed) {}

    void ended(const ended_call& call) override {
        const double rtt = std::max(1e-9, seconds(call.took));
        if (++calls_ >= jitter_ * 30 * value()) {
            jitter_ = 0.5 + headgate::detail::random_share(random_) / 2;
            calls_ = 0;
            least_ = rtt;
            return;
        }
        if (least_ == 0 || rtt < least_) {
            least_ = rtt;
            return;
        }
        const double unit = log10_of(limit());
        const double queue = std::ceil(value() * (1 - least_ / rtt));
        const bool dropped = call.how == outcome::timed_out;
        if (!dropped && call.running * 2 < limit()) {
            return;
        }
        if (dropped || queue > 6 * unit) {
            set(value() - unit);
        } else if (queue <= unit) {
            set(value() + 6 * unit);
        } else if (queue < 3 * unit) {
            set(value() + unit);
        }
    }

private:
    static double log10_of(std::uint32_t n) {
        return n < 1000 ? std::max(1.0, std::floor(std::log10(std::max(1u, n)))) : std::floor(std::sqrt(n));
    }

    std::uint64_t random_;
    double jitter_ = 0.75;
    double calls_ = 0;
    double least_ = 0;
};

/// A mean that forgets: the plain mean of the first ten, exponential after them.
class moving_mean {
public:
    explicit moving_mean(double window) : factor_(2 / (window + 1)) {}
    double add(double sample) {
        if (count_ < 10) {
            ++count_;
            sum_ += sample;
            value_ = sum_ / count_;
        } else {
            value_ += (sample - value_) * factor_;
        }
        return value_;
    }
    double scale(double by) { return value_ *= by; }

private:
    double factor_;
    int count_ = 0;
    double sum_ = 0;
    double value_ = 0;
};

// Netflix concurrency-limits, `Gradient2Limit` in a `WindowedLimit`, with their defaults: windows of 1 s and at least
// ten calls; limit * clamp(1.5 * long / short, 0.5, 1) + 4, smoothed by 0.2; long is a moving mean over 600 windows
// that falls by 0.95 while it is more than twice the short one. Its own least limit is 20; here it has that of all.
class gradient2 final : public bounded {
public:
    using bounded::bounded;

    void ended(const ended_call& call) override {
        sum_ += seconds(call.took);
        most_running_ = std::max(most_running_, call.running);
        ++calls_;
        if (call.now < next_) {
            return;
        }
        next_ = call.now + 1s;
        if (calls_ >= 10) {
            update(sum_ / calls_);
        }
        sum_ = calls_ = 0;
        most_running_ = 0;
    }

private:
    void update(double recent) {
        double usual = long_.add(recent);
        if (usual / recent > 2) {
            usual = long_.scale(0.95);
        }
        if (most_running_ < value() / 2) {
            return;
        }
        const double gradient = std::clamp(1.5 * usual / recent, 0.5, 1.0);
        set(value() * 0.8 + (value() * gradient + 4) * 0.2);
    }

    moving_mean long_{600};
    time_point next_{};
    double sum_ = 0, calls_ = 0;
    std::uint32_t most_running_ = 0;
};

// Envoy's adaptive concurrency filter, `GradientController`, with its defaults: every 100 ms limit * gradient +
// sqrt(limit * gradient), gradient = clamp(1.25 * minRTT / median, 0.5, 2). minRTT is the median of 50 calls while the
// limit is 3: at first, every 60 s (15 % jitter), and after five updates that gave the least limit. A call that was
// cancelled, as by a time-out, is no sample.
class envoy final : public limiter {
public:
    envoy(const bounds& b, std::uint64_t seed) : bounds_(b), random_(seed) { bounds_.min = std::max(3u, b.min); }

    [[nodiscard]] std::uint32_t limit() const override { return probing_ ? bounds_.min : limit_; }

    bool began(time_point now, std::uint32_t /*running*/) override {
        tick(now);
        return true;
    }

    void ended(const ended_call& call) override {
        if (call.how != outcome::timed_out && call.now - call.took >= probe_began_) {
            samples_.push_back(seconds(call.took));
        }
        if (probing_ && samples_.size() >= 50) {
            least_ = quantile(samples_, 0.5);
            samples_.clear();
            probing_ = false;
            next_update_ = call.now + 100ms;
            next_probe_ = call.now + 60s + duration{std::llround(9e9 * headgate::detail::random_share(random_))};
        }
        tick(call.now);
    }

private:
    void tick(time_point now) {
        if (!probing_ && now >= next_update_) {
            next_update_ = now + 100ms;
            update();
        }
        if (!probing_ && (now >= next_probe_ || at_least_ >= 5)) {
            probing_ = true;
            probe_began_ = now;
            at_least_ = 0;
            samples_.clear();
        }
    }
    void update() {
        if (samples_.empty()) {
            return;
        }
        const double gradient = std::clamp(1.25 * least_ / quantile(samples_, 0.5), 0.5, 2.0);
        samples_.clear();
        const double scaled = limit_ * gradient;
        const auto next = static_cast<std::uint32_t>(clamped(scaled + std::sqrt(scaled), bounds_));
        at_least_ = next == bounds_.min && limit_ == bounds_.min ? at_least_ + 1 : 0;
        limit_ = next;
    }

    bounds bounds_;
    std::uint64_t random_;
    std::uint32_t limit_ = 3;
    bool probing_ = true;
    int at_least_ = 0;
    double least_ = 0;
    time_point probe_began_{}, next_update_{}, next_probe_{};
    std::vector<double> samples_;
};

/// The last fifty pairs, and how they hang together.
class correlation {
public:
    struct found {
        double coefficient = 0;
        double variation = 0;  ///< Of the second of each pair: deviation over mean.
    };
    found add(double x, double y) {
        pairs_.push_back({x, y});
        if (pairs_.size() > 50) {
            pairs_.pop_front();
        }
        if (pairs_.size() < 10) {
            return {};
        }
        const auto n = static_cast<double>(pairs_.size());
        double sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
        for (const auto& [a, b] : pairs_) {
            sx += a, sy += b, sxx += a * a, syy += b * b, sxy += a * b;
        }
        const double mx = sx / n, my = sy / n;
        const double vx = std::max(0.0, sxx / n - mx * mx), vy = std::max(0.0, syy / n - my * my);
        const double cx = std::sqrt(vx) / mx, cy = std::sqrt(vy) / my;
        if (!(cx >= 0.01) || !(cy >= 0.01)) {
            return {0, cy};
        }
        return {(sxy / n - mx * my) / std::sqrt(vx * vy), cy};
    }

private:
    std::deque<std::array<double, 2>> pairs_;
};

// failsafe-go, `adaptivelimiter`, with its defaults: windows of 1 s and at least 50 calls; their 90th percentile
// through a median of five and a moving mean of five, against a moving mean over 60 windows, gives a queue as Vegas has
// it; correlations of concurrency with throughput and latency hold it back. A time-out is no sample.
class failsafe final : public bounded {
public:
    using bounded::bounded;

    bool began(time_point /*now*/, std::uint32_t running) override {
        in_use_ = running;
        return true;
    }
    void ended(const ended_call& call) override {
        if (call.how != outcome::timed_out) {
            samples_.push_back(seconds(call.took));
            most_running_ = std::max(most_running_, call.running);
        }
        if (call.now > next_ && samples_.size() >= 50) {
            next_ = call.now + 1s;
            update(smoothed_.add(median(quantile(samples_, 0.9))));
            samples_.clear();
            most_running_ = 0;
        }
    }

private:
    double median(double sample) {
        last_.push_back(sample);
        if (last_.size() > 5) {
            last_.pop_front();
        }
        std::vector<double> sorted(last_.begin(), last_.end());
        std::sort(sorted.begin(), sorted.end());
        return sorted[sorted.size() / 2];
    }
    void update(double recent) {
        const double running = most_running_;
        const double queue = std::ceil(value() * (1 - long_.add(recent) / recent));
        const auto throughput = throughput_.add(running, running / recent);
        const auto latency = latency_.add(running, recent);
        const bool full = in_use_ >= limit();
        const double unit = limit() < 100 ? 1 : std::floor(std::log10(limit()));
        double change = 0;
        if (queue > 6 * unit || (full && throughput.coefficient < 0) ||
            (full && throughput.coefficient < 0.3 && latency.coefficient > 0.5) ||
            (full && throughput.variation < 0.2 && latency.coefficient > 0.5)) {
            change = -unit;
        } else if (queue < 3 * unit) {
            change = unit;
        }
        set(value() + (value() + change > running * 5 ? -unit : change));
    }

    moving_mean smoothed_{5}, long_{60};
    correlation throughput_, latency_;
    std::deque<double> last_;
    std::vector<double> samples_;
    std::uint32_t most_running_ = 0, in_use_ = 0;
    time_point next_{};
};

// headgate's own.
class ours final : public limiter {
public:
    explicit ours(const bounds& b) : policy_({.min = b.min, .max = b.max, .initial = b.initial}) {}

    [[nodiscard]] std::uint32_t limit() const override { return policy_.limit(); }
    bool began(time_point now, std::uint32_t running) override {
        if (!policy_.wants_sample()) {
            return false;
        }
        policy_.began(now, running);
        return true;
    }
    void refused(time_point /*now*/) override { policy_.refused(); }
    void ended(const ended_call& call) override {
        using headgate::detail::adaptive_outcome;
        policy_.ended(call.now, call.took,
                      call.how == outcome::success   ? adaptive_outcome::success
                      : call.how == outcome::failure ? adaptive_outcome::failure
                                                     : adaptive_outcome::dropped);
    }

private:
    headgate::detail::adaptive_limit policy_;
};

template <class T>
std::unique_ptr<limiter> make(const bounds& b, std::uint64_t seed) {
    if constexpr (std::is_constructible_v<T, const bounds&, std::uint64_t>) {
        return std::make_unique<T>(b, seed);
    } else {
        return std::make_unique<T>(b);
    }
}

}  // namespace

std::unique_ptr<limiter> make_fixed(std::uint32_t limit) {
    return std::make_unique<fixed>(limit);
}

std::vector<contender> contenders() {
    return {{"AIMD", make<aimd>},   {"Vegas", make<vegas>},          {"Gradient2", make<gradient2>},
            {"Envoy", make<envoy>}, {"failsafe-go", make<failsafe>}, {"headgate", make<ours>}};
}

}  // namespace overload_sim
