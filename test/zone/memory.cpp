// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// A zone when memory is out, for its own allocations and Asio's.

#include <doctest/doctest.h>

#include <boost/asio/io_context.hpp>

#include <memory>
#include <new>
#include <string>

#include <headgate/bulkhead.hpp>
#include <headgate/circuit_breaker.hpp>
#include <headgate/rate_limiter.hpp>
#include <headgate/zone.hpp>

#include "../allocation/failing.hpp"

namespace headgate {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

using allocation::every_allocation;
using allocation::failing;

class probe final : public detail::deadline {
public:
    int fired = 0;

private:
    void on_deadline() noexcept override { ++fired; }
};

TEST_CASE("arming a deadline and calling it in time needs no memory") {
    every_allocation(
        [] {
            asio::io_context io;
            zone z(io, "z");
            detail::zone_core& core = *z.core();
            probe soon, later, first;
            // This prepares the io_context's tables. Without memory for one more timer, the driver tries again.
            core.arm(later, core.now() + 5ms);
            failing scope;
            core.arm(soon, core.now() + 2ms);
            core.arm(first, core.now());
            while (later.fired == 0) {
                io.restart();
                io.run_one_for(1s);
            }
            CHECK(soon.fired == 1);
            CHECK(first.fired == 1);
        },
        3);
}

TEST_CASE("on a virtual clock, too") {
    virtual_clock clock;
    every_allocation(
        [&] {
            asio::io_context io;
            zone z(io, "z", {.clock = &clock});
            probe soon;
            z.core()->arm(soon, clock.now() + 1h);
            clock.set(clock.now() + 1h);
            failing scope;
            z.core()->wake();
            while (soon.fired == 0) {
                io.restart();
                io.poll();
            }
            scope.stop();
        },
        1000);
}

TEST_CASE("a post to the strand happens, or says that it does not; the strand goes on") {
    const auto failures = every_allocation([] {
        asio::io_context io;
        zone z(io, "z");
        int ran = 0;
        bool told = false;
        failing scope;
        try {
            z.core()->post([&ran, kept = std::make_shared<int>()] { ++ran; });
        } catch (const std::bad_alloc&) {
            told = true;
        }
        scope.stop();
        z.core()->post([&ran] { ran += 10; });
        io.run();
        CHECK(ran == (told ? 10 : 11));
    });
    CHECK(failures > 0);
}

TEST_CASE("an event for which there is no memory is lost, and no other") {
    virtual_clock clock;
    const auto failures = every_allocation([&] {
        asio::io_context io;
        zone z(io, "z", {.clock = &clock});
        std::string heard;
        const auto s = z.on_event([&](const event& e) { heard += static_cast<char>('0' + e.sequence); });
        const std::string name(100, 'n');
        failing scope;
        z.core()->emit(primitive_kind::bulkhead, name, {});
        scope.stop();
        z.core()->emit(primitive_kind::bulkhead, name, {});
        z.core()->emit(primitive_kind::bulkhead, name, {});
        clock.run_for(io, 0s);
        CHECK((heard == "123" || heard == "23"));
    });
    CHECK(failures > 0);
}

TEST_CASE("what a zone cannot do for want of memory has not happened") {
    const auto throws = [](const auto& f) {
        try {
            f();
        } catch (const std::bad_alloc&) {
        }
    };
    auto failures = every_allocation([&] {
        virtual_clock clock;
        asio::io_context io;
        const failing scope;
        throws([&] { zone z(io, std::string(100, 'z'), {.clock = &clock}); });
    });
    CHECK(failures > 3);
    virtual_clock clock;
    asio::io_context io;
    zone z(io, "z", {.clock = &clock});
    failures = every_allocation([&] {
        const failing scope;
        throws([&] { const auto s = z.on_event([](const event&) {}); });
    });
    CHECK(failures > 0);
    auto gate = bulkhead::create(z, "gate").value();
    failures = every_allocation([&] {
        const failing scope;
        throws([&] { (void)z.snapshot(); });
        throws([&] { (void)z.core()->find(primitive_kind::bulkhead, "gate"); });
        throws([&] { (void)z.core()->find(primitive_kind::bulkhead, "another").error(); });
    });
    CHECK(failures > 0);
    CHECK(z.core()->find(primitive_kind::bulkhead, "gate"));
}

TEST_CASE("closing, draining and removing need no memory of the zone") {
    const auto failures = every_allocation(
        [] {
            virtual_clock clock;
            asio::io_context io;
            zone z(io, "z", {.clock = &clock});
            auto limiter = rate_limiter::create(z, "l", quota::per(1, 1s).value()).value();
            auto breaker = circuit_breaker::create(z, "b").value();
            detail::zone_core& core = *z.core();
            failing scope;
            core.remove(primitive_kind::rate_limiter, "l");
            core.drain();
            core.close();
            core.release();
            scope.stop();
            CHECK(breaker.try_begin().error() == errc::shut_down);
        },
        1'000'000);
    CHECK(failures == 0);
}

}  // namespace
}  // namespace headgate
