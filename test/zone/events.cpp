// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/zone.hpp>

#include <doctest/doctest.h>

#include <boost/asio/io_context.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace headgate {
namespace {

using namespace std::chrono_literals;

struct fixture {
    virtual_clock clock;
    boost::asio::io_context io;
    zone z{io, "test", {.clock = &clock}};

    void emit(const std::string& detail) {
        event e;
        e.kind = event_kind::reconfigured;
        e.detail = detail;
        z.core()->emit(primitive_kind::bulkhead, "b", e);
    }
    // Runs all handlers that are due, and goes on when one throws. Returns how many threw.
    int run() {
        int thrown = 0;
        for (;;) {
            try {
                clock.run_for(io, 0s);
                return thrown;
            } catch (const std::runtime_error&) {
                ++thrown;
            }
        }
    }
};

TEST_CASE_FIXTURE(fixture, "a subscriber that another one's handler ends is not called any more") {
    std::optional<subscription> second;
    auto owned = std::make_unique<int>(42);
    int after_the_end = 0, others = 0;
    const auto first = z.on_event([&](const event&) {
        second.reset();
        owned.reset();
    });
    second.emplace(z.on_event([&](const event&) { after_the_end += owned ? 0 : 1; }));
    const auto third = z.on_event([&](const event&) { ++others; });
    emit("1");
    emit("2");
    run();
    CHECK(after_the_end == 0);
    CHECK(others == 2);
}

TEST_CASE_FIXTURE(fixture,
                  "a subscriber may end its own subscription in its handler, and what it holds lives until then") {
    std::optional<subscription> own;
    std::string heard;
    const auto held = std::make_shared<int>(1);
    own.emplace(z.on_event([&, held](const event& e) {
        own.reset();
        heard += e.detail;
        CHECK(held.use_count() == 2);
    }));
    emit("1");
    emit("2");
    run();
    CHECK(heard == "1");
    CHECK(held.use_count() == 1);
}

TEST_CASE_FIXTURE(fixture, "a new subscriber hears only of what comes after it, also when a handler makes it") {
    std::string first, late, later;
    std::optional<subscription> inner;
    const auto s1 = z.on_event([&](const event& e) {
        first += e.detail;
        if (!inner) {
            inner.emplace(z.on_event([&](const event& i) { later += i.detail; }));
        }
    });
    emit("1");
    const auto s2 = z.on_event([&](const event& e) { late += e.detail; });
    emit("2");
    run();
    emit("3");
    run();
    CHECK(first == "123");
    CHECK(late == "23");
    CHECK(later == "3");
}

TEST_CASE_FIXTURE(fixture, "a handler that throws costs nobody else an event, nor itself the next one") {
    std::string first, second;
    const auto s1 = z.on_event([&](const event& e) {
        first += e.detail;
        throw std::runtime_error("handler");
    });
    const auto s2 = z.on_event([&](const event& e) { second += e.detail; });
    emit("1");
    emit("2");
    emit("3");
    CHECK(run() == 3);
    CHECK(first == "123");
    CHECK(second == "123");
}

TEST_CASE_FIXTURE(fixture, "events that a handler causes come in order, and do not keep the strand to themselves") {
    std::string heard;
    const auto s = z.on_event([&](const event& e) {
        heard += e.detail;
        if (heard.size() < 5) {
            emit("x");
            z.core()->post([&] { heard += '.'; });
        }
    });
    emit("1");
    run();
    CHECK(heard.substr(0, 3) == "1.x");
    CHECK(std::count(heard.begin(), heard.end(), 'x') >= 2);
}

TEST_CASE_FIXTURE(fixture,
                  "events that nobody fetches are bounded, and a gap in the numbers tells of those that are lost") {
    std::uint64_t heard = 0, last = 0;
    const auto s = z.on_event([&](const event& e) {
        ++heard;
        last = e.sequence;
    });
    for (int i = 0; i < 10'005; ++i) {
        emit("");
    }
    run();
    CHECK(heard == 10'000);
    emit("");
    run();
    CHECK(last == 10'006);
}

TEST_CASE_FIXTURE(fixture, "an event has the time of the system clock as it stood then") {
    std::vector<std::chrono::system_clock::time_point> at;
    const auto s = z.on_event([&](const event& e) { at.push_back(e.system_time); });
    const auto start = clock.system_now();
    emit("");
    clock.step_system(-1h);
    emit("");
    run();
    REQUIRE(at.size() == 2);
    CHECK(at[0] == start);
    CHECK(at[1] == start - 1h);
    CHECK(z.core()->system_offset() == z.core()->read_system_offset());
}

TEST_CASE("the system clock's offset stays as it is while that clock does not step") {
    boost::asio::io_context io;
    zone z(io, "real");
    const duration first = z.core()->read_system_offset();
    for (int i = 0; i < 1000; ++i) {
        REQUIRE(z.core()->read_system_offset() == first);
        REQUIRE(z.core()->system_offset() == first);
    }
}

TEST_CASE("subscriptions do not outlive their zone's io_context, whichever goes first") {
    auto token = std::make_shared<int>(1);
    subscription s;
    {
        boost::asio::io_context io;
        zone z(io, "test");
        s = z.on_event([token](const event&) {});
        CHECK(token.use_count() == 2);
    }
    s.reset();
    CHECK(token.use_count() == 1);
}

}  // namespace
}  // namespace headgate
