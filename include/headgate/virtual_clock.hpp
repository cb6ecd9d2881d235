// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_VIRTUAL_CLOCK_HPP
#define HEADGATE_VIRTUAL_CLOCK_HPP

#include <boost/asio/io_context.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <vector>

#include <headgate/export.hpp>
#include <headgate/impl/sync.hpp>
#include <headgate/time.hpp>

namespace headgate {

namespace detail {
class zone_core;
}

/// Time that stands still until the test says so: hand it to the zones under test, and a day of traffic takes
/// milliseconds and repeats exactly.
///
/// The test owns the loop: `run` polls the io_context until nothing is runnable, then jumps to the next deadline of any
/// zone on this clock. Real sockets and `steady_timer`s are outside of it; `zone::sleep_for` is inside.
/// It outlives its zones. `now` may be called from any thread; the rest belongs to one thread at a time.
class HEADGATE_DECL virtual_clock {
public:
    /// Starts at `start`; `epoch` is what the system clock would say at that moment.
    explicit virtual_clock(time_point start = time_point{std::chrono::hours{24}},
                           std::chrono::system_clock::time_point epoch =
                               std::chrono::system_clock::time_point{std::chrono::hours{24 * 365 * 50}}) noexcept
        : now_(start.time_since_epoch().count()), start_(start), epoch_(epoch) {}

    virtual_clock(const virtual_clock&) = delete;
    virtual_clock& operator=(const virtual_clock&) = delete;

    /// Where the clock stands.
    [[nodiscard]] time_point now() const noexcept { return time_point{duration{now_.load(std::memory_order_relaxed)}}; }

    /// The system time that belongs to `now()`.
    [[nodiscard]] std::chrono::system_clock::time_point system_now() const noexcept {
        return epoch_ + std::chrono::duration_cast<std::chrono::system_clock::duration>(now() - start_);
    }

    /// Runs `io`, jumping from deadline to deadline, until nothing is runnable and no deadline is pending.
    void run(boost::asio::io_context& io);

    /// As `run`, but no further than `span` from now, where the clock then stands.
    void run_for(boost::asio::io_context& io, duration span);

    /// Sets the time without running anything, backwards too.
    void set(time_point t) noexcept { now_.store(t.time_since_epoch().count(), std::memory_order_relaxed); }

private:
    friend class detail::zone_core;

    void attach(std::weak_ptr<detail::zone_core> zone);
    void run_until(boost::asio::io_context& io, time_point end);
    time_point wake_due();

    detail::atomic<duration::rep> now_;
    time_point start_;
    std::chrono::system_clock::time_point epoch_;
    detail::mutex mutex_;
    std::vector<std::weak_ptr<detail::zone_core>> zones_;
};

}  // namespace headgate

#endif
