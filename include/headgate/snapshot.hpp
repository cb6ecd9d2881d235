// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_SNAPSHOT_HPP
#define HEADGATE_SNAPSHOT_HPP

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <headgate/busy_key.hpp>
#include <headgate/event.hpp>
#include <headgate/latency.hpp>

namespace headgate {

/// One number of a primitive. A counter only grows; a gauge goes up and down.
struct metric {
    std::string_view name;    ///< Static text in snake_case, such as "granted".
    double value = 0;         ///< What it is now.
    bool counter = false;     ///< Whether it only grows.
    std::string_view help{};  ///< Static text: one sentence that says what it counts.
};

/// The latencies of a primitive.
struct latency_snapshot {
    std::string_view name;        ///< Static text in snake_case: "wait" or "run".
    latency_histogram durations;  ///< All since it was made.
};

/// One primitive as plain data.
struct primitive_snapshot {
    primitive_kind kind{};                      ///< What it is.
    std::string name;                           ///< As it was registered.
    std::string_view state;                     ///< Static text, such as "half_open"; empty where there are no states.
    std::vector<metric> metrics;                ///< All of its numbers.
    std::vector<latency_snapshot> latencies{};  ///< How long callers waited, or calls ran.
    std::vector<busy_key> busiest{};            ///< Of a limiter that follows them, the busiest first.

    /// The value of the metric `metric_name`; zero when there is none.
    [[nodiscard]] double operator[](std::string_view metric_name) const noexcept {
        for (const metric& m : metrics) {
            if (m.name == metric_name) {
                return m.value;
            }
        }
        return 0;
    }
};

/// A zone as plain data; each primitive is consistent in itself.
struct zone_snapshot {
    std::string name;                            ///< Of the zone.
    bool closed = false;                         ///< Whether it is closed.
    std::uint64_t operations = 0;                ///< Asynchronous operations pending.
    std::vector<primitive_snapshot> primitives;  ///< By kind, then by name.
};

}  // namespace headgate

#endif
