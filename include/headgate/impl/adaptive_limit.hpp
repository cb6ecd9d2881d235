// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_IMPL_ADAPTIVE_LIMIT_HPP
#define HEADGATE_IMPL_ADAPTIVE_LIMIT_HPP

#include <algorithm>
#include <cstdint>

#include <headgate/adaptive.hpp>
#include <headgate/export.hpp>
#include <headgate/time.hpp>

namespace headgate::detail {

/// What the end of a call tells about the backend.
enum class adaptive_outcome : std::uint8_t {
    success,
    failure,  ///< An answer, but none that tells how long a success takes.
    dropped,  ///< Given up, or refused by the backend for load.
    neutral,  ///< Tells nothing: cancelled by its caller.
};

/// The policy of a limit that adapts, without I/O, clock or lock. `adaptive` says what it does.
///
/// What it needs of its bulkhead, which holds a lock:
/// ```
/// // a call got a place
/// if (limit.wants_sample()) {
///     began = now();                // kept with the call; most have none, and no clock is read for them
///     limit.began(began, running);  // `running` with this one
/// }
/// limit.refused();                  // a caller got no place, whether it waits or not
/// // a call that has a `began` ends
/// if (limit.ended(now(), now() - began, outcome)) {
///     machine.resize(limit.limit());  // and let waiters in
/// }
/// ```
/// `now` is of a clock that the clients of a backend share, and need not be monotonic. Those whose clocks agree to a
/// few milliseconds measure together, and only together do they see the backend without a queue.
class HEADGATE_DECL adaptive_limit {
public:
    /// Precondition: `1 <= min <= initial <= max`.
    explicit adaptive_limit(const adaptive& bounds) noexcept;

    /// Other bounds. What has been learnt stays, so `initial` means nothing.
    void change(const adaptive& bounds) noexcept;

    [[nodiscard]] std::uint32_t limit() const noexcept { return limit_; }

    /// A call begins. True: `began` and `ended` are to be told of it, else neither.
    ///
    /// All are timed while they are rare, and one in up to 64 else: about 5,000 a second.
    [[nodiscard]] bool wants_sample() noexcept { return (++calls_ & sampling_) == 0; }
    void began(time_point now, std::uint32_t running) noexcept;
    void refused() noexcept { refused_ = true; }
    /// True: `limit` has changed.
    bool ended(time_point now, duration took, adaptive_outcome how) noexcept;

private:
    /// Following: all is well. Cutting: calls take too long. Holding: so they do, and cutting did not help. Measuring:
    /// the limit is low for a moment.
    enum class stage : std::uint8_t { following, cutting, holding, measuring };

    /// Calls that ended since the last decision.
    struct window {
        time_point opened{};
        double octaves = 0;  ///< Sum of the log2 of their nanoseconds, of the successes.
        std::uint32_t successes = 0;
        std::uint32_t dropped = 0;
        std::uint32_t most_running = 0;

        [[nodiscard]] std::uint32_t count() const noexcept { return successes + dropped; }
        [[nodiscard]] double latency() const noexcept { return octaves / std::max(1u, successes); }
    };
    /// The first calls that began under a lower limit.
    struct cohort {
        time_point last_began{};
        time_point deadline{};
        std::uint32_t begun = 0;
        std::uint32_t ended = 0;
        double limit = 0;  ///< Before.
        double uncut = 0;  ///< The same without the last cuts.
    };

    [[nodiscard]] bool counts(time_point began) noexcept;
    [[nodiscard]] bool complete(time_point now) const noexcept;
    void begin_window(time_point now) noexcept;
    void start_over(time_point now) noexcept;

    void decide(time_point now) noexcept;
    void cut(double latency, double excess, time_point now) noexcept;
    [[nodiscard]] bool cutting_helps(double latency) const noexcept;
    void grow(double latency) noexcept;

    [[nodiscard]] bool due(time_point now) noexcept;
    void begin_measurement(time_point now) noexcept;
    void end_measurement(time_point now) noexcept;

    void set(double limit) noexcept;

    adaptive bounds_;
    double exact_;  // the limit, with its fraction
    std::uint32_t limit_;

    std::uint32_t calls_ = 0;
    std::uint32_t sampling_ = 0;  // every call whose number has none of these bits is timed
    time_point last_sample_{};

    stage stage_ = stage::following;
    bool refused_ = false;    // somebody, in this window,
    bool hindered_ = false;   // and in the last one
    bool known_ = false;      // base_
    double base_ = 0;         // log2 of the nanoseconds of a call that nothing hinders
    double recent_ = 0;       // the same of the calls of the last window
    double knee_;             // below, it grows fast
    double cut_limit_ = 0;    // before the last cut,
    double cut_latency_ = 0;  // and then
    time_point since_{};      // calls that began earlier do not tell of the limit that holds now
    time_point next_measurement_{};
    window seen_;
    cohort cohort_;
};

}  // namespace headgate::detail

#endif
