// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_RESOURCE_POOL_FIXTURE_HPP
#define HEADGATE_TEST_RESOURCE_POOL_FIXTURE_HPP

#include <headgate/resource_pool.hpp>
#include <headgate/virtual_clock.hpp>
#include <headgate/zone.hpp>

#include <doctest/doctest.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

namespace headgate::test {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using asio::awaitable;

/// How the backend of a test behaves, and what it has seen.
struct world {
    zone* z = nullptr;
    duration connect_takes{};
    int fail_connects = 0;  // how many more connects fail
    bool hang_connects = false;
    bool throw_at_once = false;
    duration ping_takes{};
    duration close_takes{};
    std::set<int> dead;    // pings of these resources fail
    std::set<int> broken;  // resets of these resources fail

    int made = 0;
    int connecting = 0;
    int most_connecting = 0;
    std::vector<duration> connects;  // times since the start
    std::vector<int> pinged;
    std::vector<int> closed;
    std::vector<int> was_reset;
    int alive = 0;
    time_point start{};
};

/// A resource that counts itself.
struct thing {
    thing(world& w, int n) : number(n), of(&w) { ++w.alive; }
    thing(thing&& other) noexcept : number(other.number), of(std::exchange(other.of, nullptr)) {}
    thing& operator=(thing&&) = delete;
    ~thing() {
        if (of != nullptr) {
            --of->alive;
        }
    }
    int number;
    world* of;
};

struct backend {
    world* w;

    awaitable<thing> connect() {
        if (w->throw_at_once) {
            throw std::runtime_error("no route");
        }
        return connect_later();
    }
    awaitable<thing> connect_later() {
        struct in_flight {
            explicit in_flight(world& world_) : w(world_) {
                ++w.connecting;
                w.most_connecting = std::max(w.most_connecting, w.connecting);
                w.connects.push_back(w.z->now() - w.start);
            }
            ~in_flight() { --w.connecting; }
            world& w;
        } guard(*w);
        if (w->hang_connects) {
            (co_await w->z->sleep_for(1000h)).value();
        }
        if (w->connect_takes > 0s) {
            (co_await w->z->sleep_for(w->connect_takes)).value();
        }
        if (w->fail_connects > 0) {
            --w->fail_connects;
            throw std::runtime_error("refused");
        }
        co_return thing(*w, ++w->made);
    }
    bool reset(thing& t) {
        w->was_reset.push_back(t.number);
        return w->broken.count(t.number) == 0;
    }
    awaitable<bool> ping(thing& t) {
        w->pinged.push_back(t.number);
        if (w->ping_takes > 0s) {
            (void)co_await w->z->sleep_for(w->ping_takes);
        }
        co_return w->dead.count(t.number) == 0;
    }
    awaitable<void> close(thing t) {
        w->closed.push_back(t.number);
        if (w->close_takes > 0s) {
            (void)co_await w->z->sleep_for(w->close_takes);
        }
    }
};

struct fixture {
    fixture() {
        w.z = &*z;
        w.start = clock.now();
    }
    ~fixture() {
        z.reset();
        clock.run(io);
    }

    resource_pool<thing> make(pool_options o, const char* name = "things") {
        auto p = resource_pool<thing>::create(*z, name, o, backend{&w});
        REQUIRE(p);
        clock.run_for(io, 0s);
        return p.value();
    }
    duration elapsed() const { return clock.now() - w.start; }
    void settle() { clock.run_for(io, 0s); }

    virtual_clock clock;
    world w;
    asio::io_context io;
    std::optional<zone> z{std::in_place, io, "test", zone_options{.clock = &clock}};
};

/// The end of a checkout by callback.
struct outcome_of {
    using slot = std::optional<result<lease<thing>>>;
    std::shared_ptr<slot> state = std::make_shared<slot>();  // the callback may run after the test
    slot& got = *state;
    auto callback() {
        return [to = std::weak_ptr<slot>(state)](result<lease<thing>> r) {
            if (const auto alive = to.lock()) {
                alive->emplace(std::move(r));
            }
        };
    }
    bool failed(errc e) const { return got && got->has_error() && got->error() == e; }
    bool granted() const { return got && got->has_value(); }
};

}  // namespace headgate::test

#endif
