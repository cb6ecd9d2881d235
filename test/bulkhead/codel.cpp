// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "../../bench/overload_sim/codel.hpp"
#include "../../bench/overload_sim/queues.hpp"

using namespace headgate;
using namespace headgate::detail;
using namespace std::chrono_literals;

namespace {

constexpr time_point start{1'000'000s};

/// Looks every millisecond from `from` on, for `length`, at an oldest who waits for `waited`. How many are shed.
int look(codel& queue, time_point from, duration length, duration waited) {
    int shed = 0;
    for (duration t{}; t < length; t += 1ms) {
        shed += queue.sheds(from + t, waited) ? 1 : 0;
    }
    return shed;
}

}  // namespace

TEST_CASE("codel: nobody is shed in the first interval, however long he waited") {
    codel queue;
    CHECK(look(queue, start, 100ms, 10s) == 0);
    CHECK_FALSE(queue.newest_first());
}

TEST_CASE("codel: after an interval above the target, those are shed who waited for more than twice of it") {
    codel queue;
    (void)look(queue, start, 100ms, 6ms);
    CHECK_FALSE(queue.sheds(start + 100ms, 10ms));
    CHECK(queue.newest_first());
    CHECK(queue.sheds(start + 101ms, 10ms + 1ns));
    CHECK_FALSE(queue.sheds(start + 102ms, 6ms));
}

TEST_CASE("codel: one short wait in an interval is enough for the next one to be a usual queue") {
    for (const duration least : {0ms, 5ms}) {
        codel queue;
        (void)look(queue, start, 200ms, 20ms);
        CHECK(queue.newest_first());
        CHECK_FALSE(queue.sheds(start + 150ms, least));
        CHECK_FALSE(queue.sheds(start + 200ms, 20ms));
        CHECK_FALSE(queue.newest_first());
    }
}

TEST_CASE("codel: an empty queue is not overloaded") {
    codel queue;
    (void)look(queue, start, 200ms, 20ms);
    queue.empty(start + 199ms);
    CHECK_FALSE(queue.sheds(start + 200ms, 20ms));
}

TEST_CASE("codel: what is not looked at for an interval is forgotten") {
    codel queue;
    (void)look(queue, start, 150ms, 20ms);
    CHECK(queue.newest_first());
    CHECK_FALSE(queue.sheds(start + 10s, 20ms));
    CHECK_FALSE(queue.newest_first());
}

TEST_CASE("codel: time that goes back, its ends and the longest waits") {
    codel queue;
    (void)look(queue, start, 200ms, 20ms);
    CHECK_FALSE(queue.sheds(start - 1h, duration::max()));
    CHECK_FALSE(queue.sheds(time_point::min(), duration::min()));
    CHECK_FALSE(queue.sheds(time_point::max(), duration::max()));
    (void)look(queue, start, 100ms, duration::max());
    CHECK(queue.sheds(start + 100ms, duration::max()));
}

TEST_CASE("codel: agrees with a slow model in every sequence") {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random(seed);
        codel queue;
        time_point now = start, end = start + codel::interval;
        std::vector<duration> waits;  // of this interval
        bool overloaded = false;
        for (int step = 0; step < 1000; ++step) {
            now += duration(random() % (random() % 50 == 0 ? 300'000'000 : 5'000'000));
            const duration waited{random() % 30'000'000 * static_cast<unsigned>(step / 100 % 2)};
            if (step == 0) {
                end = now + codel::interval;
            } else if (now >= end) {
                overloaded = now < end + codel::interval && !waits.empty() &&
                             *std::min_element(waits.begin(), waits.end()) > codel::target;
                waits.clear();
                end = now + codel::interval;
            }
            waits.push_back(waited);
            CHECK(queue.sheds(now, waited) == (overloaded && waited > 2 * codel::target));
            CHECK(queue.newest_first() == overloaded);
        }
    }
}

TEST_CASE("classes: the highest that waits, and the lowest one time in sixteen") {
    class_choice choice;
    std::array<int, class_choice::classes> served{};
    for (int i = 0; i < 1600; ++i) {
        ++served[choice.next({1, 1, 1, 1})];
    }
    CHECK(served == std::array{100, 0, 0, 1500});
    CHECK(choice.next({5, 0, 0, 0}) == 0);
    CHECK(choice.next({5, 0, 1, 0}) == 2);
    CHECK(choice.next({0, 3, 1, 0}) == 2);
    for (int i = 0; i < 32; ++i) {
        CHECK(choice.next({0, 1, 0, 0}) == 1);
    }
}

TEST_CASE("codel: under three times the load, the capacity is answered in time, and the highest class whole") {
    using namespace overload_sim;
    CHECK(simulate_queue(discipline::fifo, 3).goodput < 0.1);
    CHECK(simulate_queue(discipline::codel, 3).goodput > 0.95);
    const queue_result classes = simulate_queue(discipline::codel_classes, 3);
    CHECK(classes.goodput > 0.95);
    CHECK(classes.answered[3] > 0.99);
    CHECK(classes.answered[0] > 0.05);
    CHECK(classes.goodput == simulate_queue(discipline::codel_classes, 3).goodput);
}
