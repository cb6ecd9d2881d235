// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RATE_LIMITER_BUSIEST_KEYS_HPP
#define HEADGATE_LIB_RATE_LIMITER_BUSIEST_KEYS_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <headgate/busy_key.hpp>
#include <headgate/impl/spinlock.hpp>

namespace headgate::detail {

/// The keys that came most often, with their text, in bounded memory: Space-Saving (Metwally, Agrawal, El Abbadi:
/// "Efficient computation of frequent and top-k elements in data streams"). A key that is not among them takes the
/// place of the rarest, whose count it inherits as its error. Thread-safe.
class busiest_keys {
public:
    explicit busiest_keys(std::size_t capacity) : capacity_(std::max<std::size_t>(capacity, 1)) {
        hashes_.reserve(capacity_);
        entries_.reserve(capacity_);
    }

    /// `text` gives the key's text; it is asked only when the key comes in.
    template <class Text>
    void hit(std::uint64_t hash, const Text& text) {
        const std::lock_guard lock{lock_};
        const auto found = static_cast<std::size_t>(std::find(hashes_.begin(), hashes_.end(), hash) - hashes_.begin());
        if (found < hashes_.size()) {
            ++entries_[found].count;
        } else if (hashes_.size() < capacity_) {
            hashes_.push_back(hash);
            entries_.push_back({text(), 1, 0});
        } else {
            const auto rarest = std::min_element(entries_.begin(), entries_.end(),
                                                 [](const auto& a, const auto& b) { return a.count < b.count; });
            hashes_[static_cast<std::size_t>(rarest - entries_.begin())] = hash;
            const std::uint64_t inherited = rarest->count;
            *rarest = {text(), inherited + 1, inherited};
        }
    }

    /// The busiest first.
    [[nodiscard]] std::vector<busy_key> list() const {
        std::vector<busy_key> out;
        {
            const std::lock_guard lock{lock_};
            out = entries_;
        }
        std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
            return a.count != b.count ? a.count > b.count : a.text < b.text;
        });
        return out;
    }

private:
    mutable spinlock lock_;
    std::size_t capacity_;
    std::vector<std::uint64_t> hashes_;
    std::vector<busy_key> entries_;
};

}  // namespace headgate::detail

#endif
