// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// What a limiter writes at stop and reads at start. All integers are little-endian:
//   magic 8, version u32, flags u32 (1: keys have a history), length u64 of everything, seed u64, Unix time i64;
//   tiers u32, each: name (u32 and bytes), quotas u32, each: kind u32, permits u64, period i64, burst u64;
//   records u64, each: hash u64, tier u32, flags u32 (1: the overflow bucket), 16 bytes a quota, history 24 if any;
//   checksum u64 of all before it.
// A gcra state is the time owed, in ticks of the quota written above; a window's is its start in Unix time and its
// count. Histories are in Unix time.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <utility>

#include "rate_limiter/limiter_core.hpp"

namespace headgate::detail {
namespace {

constexpr std::string_view magic{"hgLIMIT\x1a", 8};
constexpr std::uint32_t version = 1;
constexpr std::uint32_t has_history = 1;
constexpr std::uint32_t is_overflow = 1;

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

class writer {
public:
    void u32(std::uint32_t v) { number(v, 4); }
    void u64(std::uint64_t v) { number(v, 8); }
    void i64(std::int64_t v) { number(static_cast<std::uint64_t>(v), 8); }
    void bytes(std::string_view s) {
        for (const char c : s) {
            out.push_back(c);
        }
    }
    void set_u64(std::size_t at, std::uint64_t v) {
        for (std::size_t i = 0; i < 8; ++i) {
            out[at + i] = static_cast<char>(v >> 8 * i);
        }
    }

    std::vector<char> out;

private:
    void number(std::uint64_t v, std::size_t size) {
        for (std::size_t i = 0; i < size; ++i) {
            out.push_back(static_cast<char>(v >> 8 * i));
        }
    }
};

/// Reads what is there; past the end it gives zeros and is not `good` any more.
class reader {
public:
    explicit reader(std::span<const char> bytes) : left_(bytes) {}
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
    [[nodiscard]] bool good() const { return good_; }
    [[nodiscard]] std::size_t left() const { return left_.size(); }

private:
    std::uint64_t number(std::size_t size) {
        std::uint64_t v = 0;
        const auto raw = bytes(size);
        for (std::size_t i = 0; i < raw.size(); ++i) {
            v |= static_cast<std::uint64_t>(static_cast<unsigned char>(raw[i])) << 8 * i;
        }
        return v;
    }

    std::span<const char> left_;
    bool good_ = true;
};

error bad(const std::string& what) {
    return error{errc::invalid_snapshot, what};
}

error system_failure(const char* what, const std::string& path) {
    error e{boost::system::error_code{errno, boost::system::system_category()}};
    e.detail = std::make_shared<std::string>(std::string{what} + " " + path);
    return e;
}

/// A file descriptor that is closed whatever happens.
struct descriptor {
    int fd;
    ~descriptor() {
        if (fd >= 0) {
            ::close(fd);
        }
    }
};

bool write_all(int fd, std::span<const char> bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::write(fd, bytes.data(), bytes.size());
        if (n < 0 && errno != EINTR) {
            return false;
        }
        bytes = bytes.subspan(static_cast<std::size_t>(n < 0 ? 0 : n));
    }
    return true;
}

}  // namespace

/// A snapshot as it was read, every value checked.
struct limiter_core::saved {
    struct record {
        std::uint64_t hash;
        std::uint32_t tier;
        bool overflow;
        judge::states states;
        std::array<std::int64_t, 2> times;
        std::uint64_t refused;
    };
    std::uint64_t seed = 0;
    std::int64_t unix_time = 0;
    bool history = false;
    std::vector<tier_spec> tiers;
    std::vector<record> records;

    static result<saved> parse(std::span<const char> bytes);

private:
    static std::optional<error> check_frame(std::span<const char> bytes);
    static result<tier_spec> parse_tier(reader& in);
};

std::optional<error> limiter_core::saved::check_frame(std::span<const char> bytes) {
    constexpr std::size_t least = 24 + 16 + 4 + 8 + 8;
    reader in{bytes};
    const auto start = in.bytes(std::min(magic.size(), bytes.size()));
    if (start != magic.substr(0, start.size()) || bytes.empty()) {
        return bad("this is no saved rate limiter");
    }
    if (bytes.size() < 24) {
        return bad("truncated: " + std::to_string(bytes.size()) + " bytes are less than a header");
    }
    if (const auto found = in.u32(); found != version) {
        return bad("version is " + std::to_string(found) + "; this library reads " + std::to_string(version));
    }
    (void)in.u32();
    if (const auto length = in.u64(); length != bytes.size() || length < least) {
        return bad((length > bytes.size() ? "truncated: " : "damaged: ") + std::to_string(bytes.size()) +
                   " bytes where the header says " + std::to_string(length));
    }
    reader sum{bytes.last(8)};
    if (sum.u64() != checksum(bytes.first(bytes.size() - 8))) {
        return bad("damaged: the checksum differs");
    }
    return {};
}

result<tier_spec> limiter_core::saved::parse_tier(reader& in) {
    tier_spec tier;
    const auto length = in.u32();
    tier.name = in.bytes(length);
    const auto quotas = in.u32();
    if (quotas == 0 || quotas > max_quotas) {
        return bad("damaged: a tier has " + std::to_string(quotas) + " quotas");
    }
    for (std::uint32_t i = 0; i < quotas; ++i) {
        const auto k = static_cast<kind>(in.u32());
        const auto permits = in.u64();
        const duration period{in.i64()};
        const auto burst = in.u64();
        const auto made = make_quota(k, permits, period, burst);
        if (!made) {
            return bad("damaged: a quota is impossible: " + made.error().message());
        }
        tier.quotas.push_back(made.value());
    }
    return tier;
}

result<limiter_core::saved> limiter_core::saved::parse(std::span<const char> bytes) {
    if (auto problem = check_frame(bytes)) {
        return *problem;
    }
    reader in{bytes.first(bytes.size() - 8)};
    saved out;
    (void)in.bytes(magic.size() + 4);
    out.history = (in.u32() & has_history) != 0;
    (void)in.u64();
    out.seed = in.u64();
    out.unix_time = in.i64();
    const auto tiers = in.u32();
    for (std::uint32_t i = 0; i < tiers && in.good(); ++i) {
        auto tier = parse_tier(in);
        if (!tier) {
            return tier.error();
        }
        out.tiers.push_back(std::move(tier).value());
    }
    const auto records = in.u64();
    if (!in.good() || out.tiers.empty() || records > in.left() / 32) {
        return bad("damaged: it ends before its records");
    }
    out.records.reserve(records);
    for (std::uint64_t i = 0; i < records; ++i) {
        record r{};
        r.hash = in.u64();
        r.tier = in.u32();
        r.overflow = (in.u32() & is_overflow) != 0;
        if (r.tier >= out.tiers.size()) {
            return bad("damaged: a key is in a tier that is not there");
        }
        const auto& quotas = out.tiers[r.tier].quotas;
        for (std::size_t q = 0; q < quotas.size(); ++q) {
            r.states[q].low = in.u64();
            r.states[q].high = in.u64();
            // The most a burst can owe, and a count no conversion exceeds: what follows can't overflow.
            const std::uint64_t most =
                quotas[q].algorithm() == quota_algorithm::gcra ? std::uint64_t{1} << 33 : std::uint64_t{1} << 34;
            if (r.states[q].high > most) {
                return bad("damaged: a key has used more than there is");
            }
        }
        if (out.history) {
            r.times = {in.i64(), in.i64()};
            r.refused = in.u64();
        }
        out.records.push_back(r);
    }
    if (!in.good() || in.left() != 0) {
        return bad("damaged: its records don't end where it does");
    }
    return out;
}

std::vector<char> limiter_core::save(time_point now) const {
    const std::lock_guard admin{admin_};
    const auto unix = [&](time_point t) { return saturating_add(t, settings_.unix_offset).time_since_epoch().count(); };
    writer out;
    out.bytes(magic);
    out.u32(version);
    out.u32(settings_.track_keys ? has_history : 0);
    out.u64(0);
    out.u64(settings_.seed);
    out.i64(unix(now));

    std::array<std::uint32_t, max_tiers> number{};
    std::uint32_t tiers = 0;
    for (std::uint32_t i = 0; i < names_.size(); ++i) {
        number[i] = current(i) != nullptr ? tiers++ : 0;
    }
    out.u32(tiers);
    for (std::uint32_t i = 0; i < names_.size(); ++i) {
        if (current(i) == nullptr) {
            continue;
        }
        out.u32(static_cast<std::uint32_t>(names_[i].size()));
        out.bytes(names_[i]);
        out.u32(static_cast<std::uint32_t>(sources_[i].size()));
        for (const auto& q : sources_[i]) {
            out.u32(static_cast<std::uint32_t>(kind_of(q)));
            out.u64(q.permits());
            out.i64(q.period().count());
            out.u64(q.burst());
        }
    }

    const std::size_t count_at = out.out.size();
    std::uint64_t records = 0;
    out.u64(0);
    const auto record = [&](std::uint64_t* slot, std::uint64_t hash, std::uint32_t flags) {
        judge::states states;
        const plan* p = states_of(slot, nullptr, states, now);
        if (p->quotas.is_absent(states.data(), now)) {
            return;
        }
        ++records;
        out.u64(hash);
        out.u32(number[p->tier]);
        out.u32(flags);
        for (std::size_t q = 0; q < p->quotas.size(); ++q) {
            quota_state s = states[q];
            if (p->quotas[q].is_gcra()) {
                gcra::store(s, p->quotas[q].as_gcra().debt(s, now));
            }
            out.u64(s.low);
            out.u64(s.high);
        }
        if (const auto* h = history(slot)) {
            for (int i = 0; i < 2; ++i) {
                out.i64(unix(time_point{duration{static_cast<std::int64_t>(h[i])}}));
            }
            out.u64(h[2]);
        }
    };
    // Copied under the lock, written outside of it. No plan goes meanwhile: that takes admin_.
    struct shape {
        std::uint32_t capacity;
        std::uint16_t words;
    };
    std::vector<std::uint64_t> copy;
    const auto copy_slots = [&](key_shard& s) -> std::optional<shape> {
        const std::lock_guard lock{s.lock};
        const std::size_t size = std::size_t{s.capacity} * s.words;
        if (size > copy.size()) {
            return {};
        }
        std::copy_n(s.slots, size, copy.begin());
        return shape{s.capacity, s.words};
    };
    for (std::size_t i = 0; i < table_.shards(); ++i) {
        key_shard& s = table_.shard(i);
        auto copied = copy_slots(s);
        while (!copied) {
            copy.resize(std::max<std::size_t>(copy.size() * 2, 4096));
            copied = copy_slots(s);
        }
        for (std::uint32_t at = 0; at < copied->capacity; ++at) {
            if (std::uint64_t* slot = copy.data() + std::size_t{at} * copied->words; slot[0] != 0) {
                record(slot, table_.full_hash(s, slot), 0);
            }
        }
    }
    {
        const std::lock_guard lock{overflow_.lock};
        if (overflow_.slots[0] != 0) {
            record(overflow_.slots, 0, is_overflow);
        }
    }
    out.set_u64(count_at, records);
    out.set_u64(16, out.out.size() + 8);
    out.u64(checksum(out.out));
    return std::move(out.out);
}

result<void> limiter_core::load(std::span<const char> bytes, time_point now) {
    if (table_.ever_used()) {
        return error{errc::invalid_argument, "the limiter is in use; load before its first call"};
    }
    const auto parsed = saved::parse(bytes);
    if (!parsed) {
        return parsed.error();
    }
    const saved& from = parsed.value();
    if (from.records.size() > table_.max_keys() + 1) {
        return bad("it has " + std::to_string(from.records.size()) + " keys; max_keys is " +
                   std::to_string(table_.max_keys()));
    }
    return take(from, now);
}

result<void> limiter_core::take(const saved& from, time_point now) {
    const std::lock_guard admin{admin_};
    // Steady time of the moment of saving, by way of Unix time; a system clock set back since then forgives nothing.
    const std::int64_t unix_now = saturating_add(now, settings_.unix_offset).time_since_epoch().count();
    const int128 elapsed = std::max<int128>(static_cast<int128>(unix_now) - from.unix_time, 0);
    const time_point then = saturating_add(now, -to_duration(elapsed));
    const auto steady = [&](std::int64_t unix) {
        return static_cast<std::uint64_t>(
            to_duration(static_cast<int128>(unix) - settings_.unix_offset.count()).count());
    };
    struct source {
        judge quotas;
        const plan* to;
    };
    std::vector<source> sources;
    for (const auto& tier : from.tiers) {
        const auto at = std::find(names_.begin(), names_.end(), tier.name);
        const plan* same = at == names_.end() ? nullptr : current(static_cast<std::uint32_t>(at - names_.begin()));
        sources.push_back({judge{tier.quotas, settings_.unix_offset}, same != nullptr ? same : current(0)});
    }
    for (const auto& r : from.records) {
        const auto& [quotas, to] = sources[r.tier];
        judge::states before = r.states;
        for (std::size_t q = 0; q < quotas.size(); ++q) {
            if (quotas[q].is_gcra()) {
                gcra::store(before[q], quotas[q].as_gcra().ticks(then) + gcra::tat(r.states[q]));
            }
        }
        judge::states states;
        quotas.convert(before.data(), to->quotas, states.data(), then);
        if (to->quotas.is_absent(states.data(), now)) {
            continue;
        }
        key_shard& s = r.overflow ? overflow_ : table_.shard_of(r.hash);
        const std::lock_guard lock{s.lock};
        std::uint64_t* slot = nullptr;
        if (!write_states(s, slot, r.hash, *to, states, now)) {
            clear();
            return bad("it does not fit into max_keys, or into memory");
        }
        if (auto* h = history(slot); h != nullptr && from.history) {
            h[0] = steady(r.times[0]);
            h[1] = steady(r.times[1]);
            h[2] = r.refused;
        }
    }
    settings_.seed = from.seed;
    seed_ = hash_seed{from.seed};
    return success();
}

result<void> limiter_core::save_file(const std::string& path, time_point now) const {
    const auto bytes = save(now);
    std::string temporary = path + ".XXXXXX";
    // 0600 from its first moment.
    const descriptor file{::mkostemp(temporary.data(), O_CLOEXEC)};
    if (file.fd < 0) {
        return system_failure("cannot create", temporary);
    }
    if (!write_all(file.fd, bytes) || ::fsync(file.fd) != 0 || ::rename(temporary.c_str(), path.c_str()) != 0) {
        const error e = system_failure("cannot write", path);
        ::unlink(temporary.c_str());
        return e;
    }
    return success();
}

result<void> limiter_core::load_file(const std::string& path, time_point now) {
    const descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (file.fd < 0) {
        return system_failure("cannot open", path);
    }
    std::vector<char> bytes;
    std::array<char, 65536> some;
    for (;;) {
        const ssize_t n = ::read(file.fd, some.data(), some.size());
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return system_failure("cannot read", path);
        }
        if (n == 0) {
            break;
        }
        bytes.insert(bytes.end(), some.begin(), some.begin() + n);
    }
    auto loaded = load(bytes, now);
    if (!loaded && loaded.error() == errc::invalid_snapshot) {
        return error{errc::invalid_snapshot, path + ": " + *loaded.error().detail};
    }
    return loaded;
}

}  // namespace headgate::detail
