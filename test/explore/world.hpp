// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_EXPLORE_WORLD_HPP
#define HEADGATE_TEST_EXPLORE_WORLD_HPP

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>

#include <memory>
#include <optional>
#include <utility>

#include <headgate/error.hpp>
#include <headgate/virtual_clock.hpp>
#include <headgate/zone.hpp>

#include "explorer.hpp"

namespace headgate::explore {

namespace asio = boost::asio;
using namespace std::chrono_literals;

/// How an operation ended, and how often.
template <class T>
struct ending {
    int times = 0;
    std::optional<result<T>> value;

    [[nodiscard]] bool well() const { return value && value->has_value(); }
    [[nodiscard]] bool with(errc e) const { return value && value->has_error() && value->error() == e; }
    /// Gives the granted lease or permit back.
    void forget() { value.reset(); }
};

/// A zone on a virtual clock. Its handlers run on the thread that polls.
struct world {
    asio::io_context io{2};
    virtual_clock clock;
    std::unique_ptr<headgate::zone> owner = std::make_unique<headgate::zone>(io, "zone", zone_options{.clock = &clock});
    headgate::zone& zone = *owner;
    asio::strand<asio::io_context::executor_type> strand = asio::make_strand(io);
    asio::cancellation_signal signal;

    /// A completion handler on the strand that writes the result into `e`.
    template <class T>
    auto into(ending<T>& e) {
        return asio::bind_executor(strand, [&e](result<T> r) {
            ++e.times;
            e.value.emplace(std::move(r));
        });
    }
    /// The same, for an operation that `post_cancel` cancels.
    template <class T>
    auto cancellable_into(ending<T>& e) {
        return asio::bind_cancellation_slot(signal.slot(), into(e));
    }
    /// Cancels when a thread polls, on the strand, as Asio requires.
    void post_cancel() {
        asio::post(strand, [this] { signal.emit(asio::cancellation_type::terminal); });
    }
    /// Lets time pass. Deadlines that are due fire when a thread polls.
    void pass(duration span) {
        clock.set(clock.now() + span);
        zone.core()->wake();
    }
    void poll() { io.poll(); }
    /// Runs all handlers that are ready now.
    void settle() { clock.run_for(io, 0s); }
    /// The end: every operation completes, and the zone closes once.
    void finish() {
        clock.run_for(io, 1min);
        ending<void> closed;
        owner->close(into(closed));
        clock.run_for(io, 1min);
        require(closed.times == 1 && closed.well(), "the zone does not close");
        require(owner->snapshot().operations == 0, "operations are left in the closed zone");
    }
};

}  // namespace headgate::explore

#endif
