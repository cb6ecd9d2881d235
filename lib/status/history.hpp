// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_STATUS_HISTORY_HPP
#define HEADGATE_LIB_STATUS_HISTORY_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <headgate/event.hpp>
#include <headgate/snapshot.hpp>
#include <headgate/time.hpp>

#include "status/json.hpp"

namespace headgate::detail {

/// The last ten minutes of every part, a sample a second, two numbers each: of a limiter what it grants and refuses in
/// a second, of a pool what is leased and who waits, of a bulkhead what runs and who waits, of a retry or a hedge its
/// calls and further attempts in a second, of a coalescer who led and who joined in a second, of a breaker its state (0
/// closed, 1 half open, 2 open) and what it refuses in a second. 4.8 KB a part. Thread-safe.
class history {
public:
    static constexpr std::size_t length = 600;        ///< Samples.
    static constexpr std::size_t most_parts = 4'096;  ///< Further parts have no history: 20 MB for all of them.

    /// Whether the last sample is half a second old, or there is none.
    [[nodiscard]] bool is_due(time_point now) const;
    /// Takes a sample, if it is due.
    void add(time_point now, const std::vector<zone_snapshot>& zones);

    /// The number that the page asks for a part by; zero for a part without samples.
    [[nodiscard]] std::uint64_t id_of(std::string_view zone, const primitive_snapshot& part) const;

    /// The samples after number `since` of the parts with these numbers: {"last": the number of the last sample,
    /// "times": [Unix time in ms, ...], "parts": {"17": [[...], [...]]}}. `now` and `unix_now` are one moment.
    [[nodiscard]] json after(std::uint64_t since, const std::vector<std::uint64_t>& ids, time_point now,
                             std::int64_t unix_now) const;

private:
    using part_name = std::tuple<std::string, primitive_kind, std::string>;
    struct kept_part {
        std::uint64_t id = 0;
        std::uint64_t last_seen = 0;                // the number of a sample
        std::array<double, 2> counters{};           // at that sample
        std::vector<std::array<float, 2>> samples;  // NaN: nothing is known
    };

    // Under the mutex.
    [[nodiscard]] duration since_last(time_point now) const noexcept;
    void note(std::string_view zone, const primitive_snapshot& from, double seconds);
    [[nodiscard]] std::size_t place(std::uint64_t sample) const noexcept { return sample % length; }

    mutable std::mutex mutex_;
    std::array<time_point, length> times_{};
    std::uint64_t last_ = 0;  // the number of the last sample; the first one is 1
    std::uint64_t last_id_ = 0;
    std::map<part_name, kept_part> parts_;
};

}  // namespace headgate::detail

#endif
