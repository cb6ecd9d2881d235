// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/bulkhead_machine.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <iostream>
#include <random>
#include <string>

using namespace headgate::detail;

TEST_CASE("bulkhead machine, property: no more run than may, places are conserved, nobody is passed or forgotten") {
    std::uint64_t seed = std::random_device{}();
    if (const char* given = std::getenv("HEADGATE_SEED")) {
        seed = std::stoull(given);
    }
    std::cout << "HEADGATE_SEED=" << seed << " (bulkhead machine)\n";
    CAPTURE(seed);
    for (std::uint64_t round = 0; round < 200; ++round) {
        std::mt19937_64 rng(seed + round);
        CAPTURE(round);
        std::uint32_t limit = 1 + static_cast<std::uint32_t>(rng() % 5);
        std::uint32_t bound = static_cast<std::uint32_t>(rng() % 5);
        bulkhead_machine m(limit, bound);
        std::uint32_t running = 0;
        std::uint32_t waiting = 0;
        bool open = true;
        for (int i = 0; i < 2'000; ++i) {
            const auto dice = rng() % 100;
            if (dice < 30) {
                const bool waits = rng() % 3 != 0;
                const auto verdict = m.join(waits);
                if (!open) {
                    REQUIRE(verdict == bulkhead_verdict::shut_down);
                } else if (waiting == 0 && running < limit) {
                    REQUIRE(verdict == bulkhead_verdict::granted);
                    ++running;
                } else if (!waits) {
                    REQUIRE(verdict == bulkhead_verdict::exhausted);
                } else if (waiting < bound) {
                    REQUIRE(verdict == bulkhead_verdict::wait);
                    ++waiting;
                } else {
                    REQUIRE(verdict == bulkhead_verdict::queue_full);
                }
            } else if (dice < 50) {
                const bool free = open && waiting == 0 && running < limit;
                REQUIRE(m.take() == free);
                running += free ? 1 : 0;
            } else if (dice < 85 && running > 0) {
                const bool passes_on = waiting > 0 && running <= limit;
                REQUIRE(m.on_return() == passes_on);
                (passes_on ? waiting : running) -= 1;
            } else if (dice < 90 && waiting > 0) {
                m.leave();
                --waiting;
            } else if (dice < 96) {
                limit = 1 + static_cast<std::uint32_t>(rng() % 5);
                bound = static_cast<std::uint32_t>(rng() % 5);
                m.resize(limit);
                m.bound_waiters(bound);
                while (m.let_in()) {
                    REQUIRE(waiting > 0);
                    --waiting;
                    ++running;
                    REQUIRE(running <= limit);
                }
            } else if (dice == 99 && i > 1'800) {
                m.drain();
                open = false;
            }
            REQUIRE(m.running() == running);
            REQUIRE(m.waiting() == waiting);
            REQUIRE((waiting == 0 || running >= limit));  // callers wait only while all places are taken
        }
        m.close();
        REQUIRE(m.waiting() == 0);
        REQUIRE(m.join(true) == bulkhead_verdict::shut_down);
        for (; running > 0; --running) {
            REQUIRE_FALSE(m.on_return());
        }
        REQUIRE(m.running() == 0);
    }
}
