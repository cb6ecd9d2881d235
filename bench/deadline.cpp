// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/zone.hpp>

#include <deque>
#include <memory>

#include "harness.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;

class node final : public headgate::detail::deadline {
private:
    void on_deadline() noexcept override {}
};

struct pending {
    explicit pending(std::size_t count) : nodes(count) {
        auto& core = *zone.core();
        core.arm(sentinel, core.now() + 1h);
        duration_at = 2h;
        for (auto& n : nodes) {
            duration_at += 1ms;
            core.arm(n, core.now() + duration_at);
        }
    }
    ~pending() {
        auto& core = *zone.core();
        core.disarm(sentinel);
        for (auto& n : nodes) {
            core.disarm(n);
        }
    }

    asio::io_context io{1};
    headgate::zone zone{io, "bench"};
    headgate::duration duration_at{};
    node sentinel;
    std::deque<node> nodes;
};

body arm_cancel(const std::shared_ptr<pending>& state) {
    return [state](std::size_t n) {
        auto& core = *state->zone.core();
        const auto base = core.now() + 2h;
        node d;
        for (std::size_t i = 0; i < n; ++i) {
            core.arm(d, base + std::chrono::microseconds(i % 1'000'000));
            core.disarm(d);
        }
    };
}

}  // namespace

void add_deadlines() {
    const body alone = arm_cancel(std::make_shared<pending>(0));
    for (const std::size_t count : {std::size_t{0}, std::size_t{10'000}, std::size_t{100'000}}) {
        auto state = std::make_shared<pending>(count);
        add(row{.name = "deadline/arm_cancel/" + std::to_string(count) + "_pending",
                .run = arm_cancel(state),
                .baseline_name = "clock/now",
                .baseline = clock_now(),
                .target = 1.0});
        if (count != 0) {
            add(row{.name = "deadline/arm_cancel/" + std::to_string(count) + "_against_0_pending",
                    .run = arm_cancel(state),
                    .baseline_name = "deadline/arm_cancel/0_pending",
                    .baseline = alone,
                    .target = 1.5});
        }
    }
    auto state = std::make_shared<pending>(0);
    add(row{.name = "deadline/arm_cancel/earlier_than_armed",
            .run =
                [state](std::size_t n) {
                    auto& core = *state->zone.core();
                    const auto base = core.now() + 50min;
                    node d;
                    for (std::size_t i = 0; i < n; ++i) {
                        core.arm(d, base - std::chrono::microseconds(i));
                        core.disarm(d);
                        state->io.restart();
                        state->io.poll();
                    }
                },
            .baseline_name = "clock/now",
            .baseline = clock_now(),
            .n = 20'000});
}

}  // namespace bench
