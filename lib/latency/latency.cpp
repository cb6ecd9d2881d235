// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/latency.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace headgate {

std::uint64_t latency_histogram::count() const noexcept {
    return std::accumulate(buckets_.begin(), buckets_.end(), std::uint64_t{0});
}

duration latency_histogram::sum() const noexcept {
    constexpr auto most = static_cast<std::uint64_t>(duration::max().count());
    return sum_carry_ != 0 || sum_ > most ? duration::max() : duration{static_cast<duration::rep>(sum_)};
}

double latency_histogram::sum_seconds() const noexcept {
    constexpr double nanoseconds = 1e9;
    return std::ldexp(static_cast<double>(sum_carry_), 64) / nanoseconds + static_cast<double>(sum_) / nanoseconds;
}

duration latency_histogram::quantile(double q) const noexcept {
    const std::uint64_t all = count();
    if (all == 0) {
        return {};
    }
    const double share = std::isnan(q) ? 0.0 : std::clamp(q, 0.0, 1.0);
    // A product may be rounded up to more than there are.
    const double of_all = std::ceil(share * static_cast<double>(all));
    const std::uint64_t wanted = share < 1 ? std::min(static_cast<std::uint64_t>(of_all), all) : all;
    std::uint64_t seen = 0;
    std::size_t i = 0;
    for (; i + 1 < layout::size; ++i) {
        seen += buckets_[i];
        if (seen >= std::max<std::uint64_t>(wanted, 1)) {
            break;
        }
    }
    return duration{static_cast<duration::rep>(layout::first(i) + (layout::first(i + 1) - layout::first(i)) / 2)};
}

std::uint64_t latency_histogram::count_up_to(duration d) const noexcept {
    if (d < duration::zero()) {
        return 0;
    }
    const std::size_t last = layout::index(static_cast<std::uint64_t>(d.count()));
    return std::accumulate(buckets_.begin(), buckets_.begin() + static_cast<std::ptrdiff_t>(last) + 1,
                           std::uint64_t{0});
}

std::vector<std::uint64_t> latency_histogram::cumulative(std::span<const duration> bounds) const {
    std::vector<std::uint64_t> out;
    std::uint64_t seen = 0;
    std::size_t i = 0;
    for (const duration bound : bounds) {
        if (bound < duration::zero()) {
            out.push_back(0);
            continue;
        }
        for (const std::size_t last = layout::index(static_cast<std::uint64_t>(bound.count())); i <= last; ++i) {
            seen += buckets_[i];
        }
        out.push_back(seen);
    }
    return out;
}

}  // namespace headgate
