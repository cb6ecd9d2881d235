// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/impl/latency_window.hpp>

#include <algorithm>

namespace headgate::detail {

void latency_window::record(duration d) noexcept {
    const auto add = layout::index(static_cast<std::uint64_t>(std::max<duration::rep>(d.count(), 0)));
    if (count_ == length) {
        const std::size_t gone = last_[next_];
        --buckets_[gone];
        below_ -= gone < mark_ ? 1 : 0;
    } else {
        ++count_;
    }
    last_[next_] = static_cast<std::uint16_t>(add);
    next_ = (next_ + 1) % length;
    ++buckets_[add];
    below_ += add < mark_ ? 1 : 0;
    const std::size_t rank = (count_ * 95 + 99) / 100;  // the quantile is the duration of that rank
    while (below_ + buckets_[mark_] < rank) {
        below_ += buckets_[mark_++];
    }
    while (below_ >= rank) {
        below_ -= buckets_[--mark_];
    }
}

duration latency_window::quantile() const noexcept {
    if (count_ == 0) {
        return {};
    }
    return mark_ + 1 == layout::size ? duration::max()
                                     : duration{static_cast<duration::rep>(layout::first(mark_ + 1) - 1)};
}

}  // namespace headgate::detail
