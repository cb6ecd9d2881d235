// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_RATE_LIMITER_SNAPSHOT_FORMAT_HPP
#define HEADGATE_LIB_RATE_LIMITER_SNAPSHOT_FORMAT_HPP

// What a limiter writes at stop and reads at start. All integers are little-endian:
//   magic 8, version u32, flags u32 (1: keys have a history), length u64 of everything, seed u64, Unix time i64;
//   tiers u32, each: name (u32 and bytes), quotas u32, each a quota: kind u32, permits u64, period i64, burst u64;
//   records u64, each: hash u64, tier u32, flags u32 (1: the overflow bucket; 2: states are kept), 16 bytes a quota,
//     with flag 2 a count u32 and for each kept state its quota and 16 bytes, and a history of 24 if any;
//   checksum u64 of all before it.
// A gcra state is the time owed, in ticks of its quota; a window's is its start in Unix time and its count. Histories
// are in Unix time. A tier may be there twice, with the quotas from before and after a change that came meanwhile.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <headgate/quota.hpp>
#include <headgate/result.hpp>

#include "rate_limiter/judge.hpp"
#include "rate_limiter/plan_set.hpp"

namespace headgate::detail {

inline constexpr std::uint32_t snapshot_has_history = 1;
inline constexpr std::uint32_t record_is_overflow = 1;
inline constexpr std::uint32_t record_has_kept = 2;

class snapshot_writer {
public:
    void u32(std::uint32_t v) { number(v, 4); }
    void u64(std::uint64_t v) { number(v, 8); }
    void i64(std::int64_t v) { number(static_cast<std::uint64_t>(v), 8); }
    void bytes(std::string_view s) { out_.insert(out_.end(), s.begin(), s.end()); }
    void one_quota(const quota& q);
    void tier(const headgate::tier& tier);
    /// `s` of the quota `r`, as it is at `now`.
    void state(const rule& r, quota_state s, time_point now);

    [[nodiscard]] std::vector<char>& out() noexcept { return out_; }

private:
    void number(std::uint64_t v, std::size_t size) {
        for (std::size_t i = 0; i < size; ++i) {
            out_.push_back(static_cast<char>(v >> 8 * i));
        }
    }

    std::vector<char> out_;
};

/// The whole of it, made of its parts.
[[nodiscard]] std::vector<char> frame_snapshot(std::uint32_t flags, std::uint64_t seed, std::int64_t unix_time,
                                               std::uint32_t tiers, std::span<const char> tier_bytes,
                                               std::uint64_t records, std::span<const char> record_bytes);

/// A snapshot as it was read, every value checked. What it keeps for each key stays in the bytes it was read from.
struct saved_limiter {
    struct kept_state {
        quota of;
        quota_state state;
    };
    struct record {
        std::uint64_t hash = 0;
        std::uint32_t tier = 0;
        bool overflow = false;
        std::array<quota_state, most_quotas> states{};
        std::vector<kept_state> kept;
        std::array<std::int64_t, 2> times{};
        std::uint64_t refused = 0;
    };
    std::uint64_t seed = 0;
    std::int64_t unix_time = 0;
    bool history = false;
    std::vector<headgate::tier> tiers;
    std::uint64_t records = 0;
    std::span<const char> record_bytes;

    static result<saved_limiter> parse(std::span<const char> bytes);

    /// Calls `f` with each record, which was checked before.
    template <class F>
    void for_each(const F& f) const;
};

[[nodiscard]] error bad_snapshot(const std::string& what);

/// Reads the bytes in order. Past the end it gives zeros, and is not `good` any more.
class snapshot_reader {
public:
    explicit snapshot_reader(std::span<const char> bytes) : left_(bytes) {}
    std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
    std::uint64_t u64() { return number(8); }
    std::int64_t i64() { return static_cast<std::int64_t>(number(8)); }
    std::string_view bytes(std::size_t n) {
        if (n > left_.size()) {
            good_ = false;
            return {};
        }
        const std::string_view out{left_.data(), n};
        left_ = left_.subspan(n);
        return out;
    }
    result<quota> one_quota();
    result<headgate::tier> tier();
    /// Reuses the memory of `out`.
    result<void> record(const saved_limiter& of, saved_limiter::record& out);
    [[nodiscard]] bool good() const { return good_; }
    [[nodiscard]] std::span<const char> left() const { return left_; }

private:
    std::uint64_t number(std::size_t size) {
        std::uint64_t v = 0;
        const auto raw = bytes(size);
        for (std::size_t i = 0; i < raw.size(); ++i) {
            v |= static_cast<std::uint64_t>(static_cast<unsigned char>(raw[i])) << 8 * i;
        }
        return v;
    }
    result<quota_state> state(const quota& of);

    std::span<const char> left_;
    bool good_ = true;
};

template <class F>
void saved_limiter::for_each(const F& f) const {
    snapshot_reader in{record_bytes};
    record r;
    for (std::uint64_t i = 0; i < records; ++i) {
        if (in.record(*this, r)) {
            f(std::as_const(r));
        }
    }
}

}  // namespace headgate::detail

#endif
