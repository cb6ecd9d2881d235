// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_CALL_FIXTURE_HPP
#define HEADGATE_TEST_CALL_FIXTURE_HPP

#include <headgate/guard.hpp>
#include <headgate/spawn.hpp>
#include <headgate/with_timeout.hpp>

#include <doctest/doctest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <memory>
#include <optional>
#include <utility>

#include "support/start.hpp"

namespace headgate::test {

namespace asio = boost::asio;
using namespace std::chrono_literals;

inline auto bound(asio::cancellation_slot slot) {
    return asio::bind_cancellation_slot(slot, asio::use_awaitable);
}

struct call_fixture {
    explicit call_fixture(int threads) : io(threads) {}
    call_fixture() : call_fixture(-1) {}

    virtual_clock clock;
    asio::io_context io;
    zone z{io, "test", {.clock = &clock}};
    time_point start = clock.now();

    duration elapsed() const { return clock.now() - start; }

    template <class Op, class... Args>
    static auto body(zone& zn, duration limit, Op op, Args... args)
        -> asio::awaitable<detail::call_result<Op, Args...>> {
        co_return co_await with_timeout(zn, limit, op, args...);
    }

    /// Runs `op` under a timeout, on the bare io_context, to its end.
    template <class Op, class... Args>
    auto run(duration limit, Op op, Args... args) {
        return finish(clock, io, body(z, limit, std::move(op), std::move(args)...));
    }
};

}  // namespace headgate::test

#endif
