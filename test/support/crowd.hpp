// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_SUPPORT_CROWD_HPP
#define HEADGATE_TEST_SUPPORT_CROWD_HPP

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <headgate/zone.hpp>

namespace headgate::test {

/// What may happen to a caller of a crowd.
enum class fate {
    stays,        ///< Nobody can cancel it.
    cancellable,  ///< It can be cancelled, and is not.
    cancelled,    ///< It is cancelled on the way, on its strand.
};

/// Runs `count` coroutines `body(i)` on an io_context of two threads, each on a strand of its own, while a third thread
/// calls `change(turn)` again and again. Closes the zone when all have ended, and runs what is left then.
template <class Body, class Fate, class Change>
void run_crowd(boost::asio::io_context& io, zone& z, int count, const Body& body, const Fate& fate_of,
               const Change& change) {
    namespace asio = boost::asio;
    using namespace std::chrono_literals;
    std::vector<asio::cancellation_signal> signals(static_cast<std::size_t>(count));
    std::atomic<int> left{count};
    std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work(asio::make_work_guard(io));
    const auto ended = [&](const std::exception_ptr&) {
        if (--left == 0) {
            z.close();
            work.reset();
        }
    };
    for (int i = 0; i < count; ++i) {
        asio::cancellation_signal& signal = signals[static_cast<std::size_t>(i)];
        const auto strand = asio::make_strand(io);
        const fate expected = fate_of(i);
        if (expected == fate::stays) {
            asio::co_spawn(strand, body(i), asio::bind_executor(strand, ended));
            continue;
        }
        asio::co_spawn(strand, body(i),
                       asio::bind_cancellation_slot(signal.slot(), asio::bind_executor(strand, ended)));
        if (expected == fate::cancelled) {
            auto at = std::make_shared<asio::steady_timer>(strand, 5ms + i * 1ms);
            at->async_wait(
                [&signal, at](boost::system::error_code) { signal.emit(asio::cancellation_type::terminal); });
        }
    }
    std::thread second([&] { io.run(); });
    std::thread changes([&] {
        for (int turn = 0; left > 0; ++turn) {
            change(turn);
            std::this_thread::yield();
        }
    });
    io.run();
    second.join();
    changes.join();
    io.restart();
    io.run_for(2s);
}

}  // namespace headgate::test

#endif
