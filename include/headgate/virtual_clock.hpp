// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_VIRTUAL_CLOCK_HPP
#define HEADGATE_VIRTUAL_CLOCK_HPP

#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include <headgate/export.hpp>
#include <headgate/impl/clock_state.hpp>
#include <headgate/time.hpp>

namespace headgate {

namespace detail {
class zone_core;
class context_state;
}  // namespace detail

/// Time that stands still until the test says so: hand it to the zones under test, and a day of traffic takes
/// milliseconds and repeats exactly.
///
/// The test owns the loop: `run` polls the io_context until nothing is runnable, then jumps to the next deadline of any
/// zone on this clock. Real sockets and `steady_timer`s are outside of it; `zone::sleep_for` is inside. Work on a
/// thread of its own is inside while a `clock_hold` says so.
///
/// It outlives its zones. For a handle that outlives both, time stands where the clock was last. `now` and `system_now`
/// may be called from any thread; the rest belongs to one thread at a time.
///
/// ```cpp
/// // example: virtual_clock
/// #include <headgate/headgate.hpp>
/// #include <boost/asio/detached.hpp>
/// #include <cassert>
///
///
/// int main() {
///     boost::asio::io_context io;
///     headgate::virtual_clock clock;
///     headgate::zone zone(io, "shop", {.clock = &clock});
///     bool slept = false;
///
///     const auto work = [&]() -> boost::asio::awaitable<void> {
///         (void)co_await zone.sleep_for(std::chrono::hours{24});
///         slept = true;
///     };
///     boost::asio::co_spawn(io, work, boost::asio::detached);
///     clock.run_for(io, std::chrono::hours{23});
///     assert(!slept);
///     clock.run_for(io, std::chrono::hours{1});
///     assert(slept);
/// }
/// ```
class HEADGATE_DECL virtual_clock {
public:
    /// So often `run` jumps at most, unless it is told otherwise.
    static constexpr std::uint64_t most_jumps = 1'000'000;

    /// Starts at `start`; `epoch` is what the system clock would say at that moment.
    explicit virtual_clock(time_point start = time_point{std::chrono::hours{24}},
                           std::chrono::system_clock::time_point epoch = std::chrono::system_clock::time_point{
                               std::chrono::hours{24 * 365 * 50}});

    virtual_clock(const virtual_clock&) = delete;
    virtual_clock& operator=(const virtual_clock&) = delete;

    /// Where the clock stands.
    [[nodiscard]] time_point now() const noexcept { return state_->now(); }

    /// The system time that belongs to `now()`.
    [[nodiscard]] std::chrono::system_clock::time_point system_now() const noexcept;

    /// Runs `io`, jumping from deadline to deadline, until nothing is runnable and no deadline is pending.
    ///
    /// Work that comes again and again (a pool's pings, a coroutine that sleeps in a loop) has no such end: then use
    /// `run_for`, or close the zone first. Throws `headgate::system_error` with `errc::wait_timed_out` after `jumps`
    /// jumps; its detail names what keeps it running. Lets exceptions of handlers through.
    void run(boost::asio::io_context& io, std::uint64_t jumps = most_jumps);

    /// As `run`, but no further than `span` from now, where the clock then stands, and with no bound on jumps. A span
    /// that is not positive runs what is due now.
    void run_for(boost::asio::io_context& io, duration span);

    /// Sets the time without running anything, backwards too: armed deadlines keep their times.
    void set(time_point t) noexcept { state_->now_ns.store(t.time_since_epoch().count(), std::memory_order_relaxed); }

    /// Lets the system clock step by `by`, as a correction by NTP or the end of a suspend does; `now` stays.
    void step_system(duration by) noexcept;

private:
    friend class detail::zone_core;

    bool run_until(boost::asio::io_context& io, time_point end, std::uint64_t jumps);
    time_point wake_due();
    [[nodiscard]] std::string find_culprits(boost::asio::io_context& io);

    std::shared_ptr<detail::clock_state> state_;
};

/// While it lives, virtual time does not jump in a `run` of that io_context: for work on a thread of its own, which has
/// to be waited for in real time. Without one, a deadline of five virtual seconds is over before a thread has begun.
///
/// Made before the work is handed over; ended when its completion has been posted. On the steady clock it does nothing.
/// Move-only; may end on any thread, and may outlive the io_context.
class HEADGATE_DECL clock_hold {
public:
    /// Of nothing.
    clock_hold() noexcept = default;
    /// Holds the virtual time of zones on `context`.
    explicit clock_hold(boost::asio::execution_context& context);
    /// Takes over what `other` holds.
    clock_hold(clock_hold&& other) noexcept = default;
    /// Ends its own, and takes over what `other` holds.
    clock_hold& operator=(clock_hold&& other) noexcept {
        if (this != &other) {
            reset();
            context_ = std::move(other.context_);
        }
        return *this;
    }
    ~clock_hold() { reset(); }

    /// Ends it now.
    void reset() noexcept;

private:
    std::shared_ptr<detail::context_state> context_;
};

}  // namespace headgate

#endif
