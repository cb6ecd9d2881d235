// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/guard.hpp>

namespace headgate::detail {

void guard_parts::add(const guard_options& options) {
    timeout = options.timeout;
    name = options.name;
}

void guard_parts::check_clocks() const {
    const auto shares = [this](const primitive* part) {
        return part == nullptr || part->zone().clock() == zone->clock();
    };
    if (!shares(limiter.get()) || !shares(breaker.get()) || !shares(pool.get()) || !shares(bulkhead.get()) ||
        !shares(retry.get())) {
        throw system_error(
            error(errc::invalid_argument,
                  "the parts of a guard are on different clocks; they must be of zones with the same one"));
    }
}

limiter_request guard_parts::request(const key& key, std::uint64_t cost, std::string_view tier) const {
    limiter_request out{0, cost, 0};
    if (limiter) {
        out.hash = key.hash(limiter->seed());
        if (limiter->notes_keys()) {
            limiter->note(key, out.hash);
        }
        if (!tier.empty()) {
            const auto found = limiter->tier(tier);
            out.tier = found ? found.value() : limiter_core::unknown_tier;
        }
    }
    return out;
}

std::string_view pool_name(const part_names& names) noexcept {
    return names.pool;
}

namespace {

std::optional<error> wrong(const part_names& names, bool typed_pool) {
    if (!names.pool.empty() && !names.bulkhead.empty()) {
        return error(errc::invalid_argument, "both a pool and a bulkhead are named; there must be one of them");
    }
    if (typed_pool != !names.pool.empty()) {
        return error(errc::invalid_argument, typed_pool
                                                 ? "a resource type is given and no pool is named"
                                                 : "a pool is named; its resource type must be the template argument");
    }
    if (names.limiter.empty() && names.breaker.empty() && names.pool.empty() && names.bulkhead.empty() &&
        names.retry.empty()) {
        return error(errc::invalid_argument, "no part is named; there must be at least one");
    }
    return {};
}

template <class Part>
void find(const headgate::zone& owner, std::string_view name, guard_parts& out) {
    if (name.empty() || out.broken) {
        return;
    }
    auto found = Part::find(owner, name);
    if (found) {
        out.add(found.value());
    } else {
        out.broken = std::move(found).error();
    }
}

}  // namespace

std::shared_ptr<guard_parts> find_untyped_parts(const headgate::zone& owner, const part_names& names, bool typed_pool) {
    auto parts = std::make_shared<guard_parts>();
    parts->zone = owner.core();
    parts->timeout = names.timeout;
    parts->broken = wrong(names, typed_pool);
    find<rate_limiter>(owner, names.limiter, *parts);
    find<bulkhead>(owner, names.bulkhead, *parts);
    find<headgate::retry>(owner, names.retry, *parts);
    if (!owner.core()->runs_without_breaker() || circuit_breaker::find(owner, names.breaker)) {
        find<circuit_breaker>(owner, names.breaker, *parts);
    }
    return parts;
}

}  // namespace headgate::detail
