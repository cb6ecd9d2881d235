// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "rate_limiter/snapshot_format.hpp"

#include <optional>
#include <string>

#include <headgate/impl/key_hash.hpp>

namespace headgate::detail {
namespace {

constexpr std::string_view magic{"hgLIMIT\x1a", 8};
constexpr std::uint32_t version = 1;
constexpr std::size_t header_size = 40;

enum class kind : std::uint32_t { none, per, at_most, fixed_window };

kind kind_of(const quota& q) {
    return q.is_none()                                      ? kind::none
           : q.algorithm() == quota_algorithm::fixed_window ? kind::fixed_window
           : q.is_at_most()                                 ? kind::at_most
                                                            : kind::per;
}

result<quota> make_quota(kind k, std::uint64_t permits, duration period, std::uint64_t burst) {
    switch (k) {
        case kind::none: return quota::none();
        case kind::per: return quota::per(permits, period, burst);
        case kind::at_most: return quota::at_most(permits, period, burst);
        case kind::fixed_window: return quota::fixed_window(permits, period);
    }
    return error{errc::invalid_argument, "unknown kind of quota"};
}

std::uint64_t checksum(std::span<const char> bytes) {
    static constexpr hash_seed fixed{0x68656164'67617465};
    return hash_bytes(fixed, fixed.a, bytes.data(), bytes.size());
}

std::optional<error> check_frame(std::span<const char> bytes) {
    constexpr std::size_t least = header_size + 4 + 8 + 8;
    snapshot_reader in{bytes};
    const auto start = in.bytes(std::min(magic.size(), bytes.size()));
    if (start != magic.substr(0, start.size()) || bytes.empty()) {
        return bad_snapshot("this is no saved rate limiter");
    }
    if (bytes.size() < 24) {
        return bad_snapshot("truncated: " + std::to_string(bytes.size()) + " bytes are less than a header");
    }
    if (const auto found = in.u32(); found != version) {
        return bad_snapshot("version is " + std::to_string(found) + "; this library reads " + std::to_string(version));
    }
    (void)in.u32();
    if (const auto length = in.u64(); length != bytes.size() || length < least) {
        return bad_snapshot((length > bytes.size() ? "truncated: " : "damaged: ") + std::to_string(bytes.size()) +
                            " bytes where the header says " + std::to_string(length));
    }
    snapshot_reader sum{bytes.last(8)};
    if (sum.u64() != checksum(bytes.first(bytes.size() - 8))) {
        return bad_snapshot("damaged: the checksum differs");
    }
    return {};
}

}  // namespace

error bad_snapshot(const std::string& what) {
    return error{errc::invalid_snapshot, what};
}

// ---- writing

void snapshot_writer::one_quota(const quota& q) {
    u32(static_cast<std::uint32_t>(kind_of(q)));
    u64(q.permits());
    i64(q.period().count());
    u64(q.burst());
}

void snapshot_writer::tier(const headgate::tier& tier) {
    u32(static_cast<std::uint32_t>(tier.name.size()));
    bytes(tier.name);
    u32(static_cast<std::uint32_t>(tier.quotas.size()));
    for (const auto& q : tier.quotas) {
        one_quota(q);
    }
}

void snapshot_writer::state(const rule& r, quota_state s, time_point now) {
    if (r.is_gcra()) {
        gcra::store(s, r.as_gcra().debt(s, now));
    } else {
        s = r.as_window().to_saved(s);
    }
    u64(s.low);
    u64(s.high);
}

std::vector<char> frame_snapshot(std::uint32_t flags, std::uint64_t seed, std::int64_t unix_time, std::uint32_t tiers,
                                 std::span<const char> tier_bytes, std::uint64_t records,
                                 std::span<const char> record_bytes) {
    const std::size_t size = header_size + 4 + tier_bytes.size() + 8 + record_bytes.size() + 8;
    snapshot_writer out;
    out.out().reserve(size);
    out.bytes(magic);
    out.u32(version);
    out.u32(flags);
    out.u64(size);
    out.u64(seed);
    out.i64(unix_time);
    out.u32(tiers);
    out.bytes({tier_bytes.data(), tier_bytes.size()});
    out.u64(records);
    out.bytes({record_bytes.data(), record_bytes.size()});
    out.u64(checksum(out.out()));
    return std::move(out.out());
}

// ---- reading

result<quota> snapshot_reader::one_quota() {
    const auto k = static_cast<kind>(u32());
    const auto permits = u64();
    const duration period{i64()};
    const auto burst = u64();
    auto made = make_quota(k, permits, period, burst);
    if (!made) {
        return bad_snapshot("damaged: a quota is impossible: " + made.error().message());
    }
    return made;
}

result<headgate::tier> snapshot_reader::tier() {
    headgate::tier tier;
    const auto length = u32();
    tier.name = bytes(length);
    const auto quotas = u32();
    if (quotas == 0 || quotas > most_quotas) {
        return bad_snapshot("damaged: a tier has " + std::to_string(quotas) + " quotas");
    }
    for (std::uint32_t i = 0; i < quotas; ++i) {
        BOOST_OUTCOME_TRY(auto q, one_quota());
        tier.quotas.push_back(q);
    }
    return tier;
}

result<quota_state> snapshot_reader::state(const quota& of) {
    quota_state s{};
    s.low = u64();
    s.high = u64();
    // The most a burst can owe, and a count no conversion exceeds: what follows can't overflow.
    const std::uint64_t most = std::uint64_t{1} << (of.algorithm() == quota_algorithm::gcra ? 33 : 34);
    if (s.high > most) {
        return bad_snapshot("damaged: a key has used more than there is");
    }
    return s;
}

result<void> snapshot_reader::record(const saved_limiter& of, saved_limiter::record& out) {
    out.hash = u64();
    out.tier = u32();
    const auto flags = u32();
    out.overflow = (flags & record_is_overflow) != 0;
    out.kept.clear();
    if (out.tier >= of.tiers.size()) {
        return bad_snapshot("damaged: a key is in a tier that is not there");
    }
    const auto& quotas = of.tiers[out.tier].quotas;
    for (std::size_t q = 0; q < quotas.size(); ++q) {
        BOOST_OUTCOME_TRY(out.states[q], state(quotas[q]));
    }
    const std::uint32_t kept = (flags & record_has_kept) != 0 ? u32() : 0;
    if (kept > max_kept) {
        return bad_snapshot("damaged: " + std::to_string(kept) + " states of a key are kept");
    }
    for (std::uint32_t k = 0; k < kept; ++k) {
        BOOST_OUTCOME_TRY(auto q, one_quota());
        BOOST_OUTCOME_TRY(auto s, state(q));
        out.kept.push_back({q, s});
    }
    if (of.history) {
        out.times = {i64(), i64()};
        out.refused = u64();
    }
    return success();
}

result<saved_limiter> saved_limiter::parse(std::span<const char> bytes) {
    if (auto problem = check_frame(bytes)) {
        return *problem;
    }
    snapshot_reader in{bytes.first(bytes.size() - 8)};
    saved_limiter out;
    (void)in.bytes(magic.size() + 4);
    out.history = (in.u32() & snapshot_has_history) != 0;
    (void)in.u64();
    out.seed = in.u64();
    out.unix_time = in.i64();
    const auto tiers = in.u32();
    for (std::uint32_t i = 0; i < tiers && in.good(); ++i) {
        BOOST_OUTCOME_TRY(auto tier, in.tier());
        out.tiers.push_back(std::move(tier));
    }
    out.records = in.u64();
    if (!in.good() || out.tiers.empty() || out.records > in.left().size() / 32) {
        return bad_snapshot("damaged: it ends before its records");
    }
    out.record_bytes = in.left();
    saved_limiter::record r;
    for (std::uint64_t i = 0; i < out.records; ++i) {
        BOOST_OUTCOME_TRYV(in.record(out, r));
    }
    if (!in.good() || !in.left().empty()) {
        return bad_snapshot("damaged: its records don't end where it does");
    }
    return out;
}

}  // namespace headgate::detail
