// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RATE_LIMITER_BUSIEST_KEYS_HPP
#define HEADGATE_LIB_RATE_LIMITER_BUSIEST_KEYS_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <headgate/busy_key.hpp>
#include <headgate/impl/spinlock.hpp>
#include <headgate/key.hpp>

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

    void hit(std::uint64_t hash, const key& k) noexcept {
        hit(hash, [&] { return k.label(); });
    }

    /// `text` gives the key's text; it is asked only when the key comes in, and kept up to the size of a label.
    template <class Text>
        requires std::is_invocable_v<const Text&>
    void hit(std::uint64_t hash, const Text& text) {
        if (!count(hash)) {
            come_in(hash, text());  // a long text is not read under the lock
        }
    }

    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    /// The busiest first.
    [[nodiscard]] std::vector<busy_key> list() const {
        std::vector<busy_key> out;
        for (const entry& e : copy()) {
            out.push_back({std::string(e.text.data(), e.size), e.count, e.error});
        }
        std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
            return a.count != b.count ? a.count > b.count : a.text < b.text;
        });
        return out;
    }

private:
    /// Of a fixed size, so that nothing is allocated under the lock.
    struct entry {
        void come_in(std::string_view label, std::uint64_t inherited) noexcept {
            size = std::min(label.size(), text.size());
            std::copy_n(label.begin(), size, text.begin());
            count = inherited + 1;
            error = inherited;
        }

        std::array<char, key_label::max_size> text;
        std::size_t size = 0;
        std::uint64_t count = 0;
        std::uint64_t error = 0;
    };

    /// False when the key is not among them.
    bool count(std::uint64_t hash) noexcept {
        const std::lock_guard lock{lock_};
        const auto at = find(hash);
        if (at == hashes_.size()) {
            return false;
        }
        ++entries_[at].count;
        return true;
    }

    void come_in(std::uint64_t hash, std::string_view label) noexcept {
        const std::lock_guard lock{lock_};
        if (const auto at = find(hash); at < hashes_.size()) {
            ++entries_[at].count;  // another call was faster
        } else if (at < capacity_) {
            hashes_.push_back(hash);
            entries_.emplace_back().come_in(label, 0);
        } else {
            const auto rarest = std::min_element(entries_.begin(), entries_.end(),
                                                 [](const auto& a, const auto& b) { return a.count < b.count; });
            hashes_[static_cast<std::size_t>(rarest - entries_.begin())] = hash;
            rarest->come_in(label, rarest->count);
        }
    }

    [[nodiscard]] std::size_t find(std::uint64_t hash) const noexcept {
        return static_cast<std::size_t>(std::find(hashes_.begin(), hashes_.end(), hash) - hashes_.begin());
    }

    [[nodiscard]] std::vector<entry> copy() const {
        std::vector<entry> out;
        out.reserve(capacity_);
        const std::lock_guard lock{lock_};
        out = entries_;
        return out;
    }

    mutable spinlock lock_;
    std::size_t capacity_;
    std::vector<std::uint64_t> hashes_;
    std::vector<entry> entries_;
};

}  // namespace headgate::detail

#endif
