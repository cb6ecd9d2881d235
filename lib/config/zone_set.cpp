// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/zone_set.hpp>

#include <headgate/bulkhead.hpp>
#include <headgate/circuit_breaker.hpp>
#include <headgate/rate_limiter.hpp>

#include "config/text.hpp"

namespace headgate {

namespace {

std::string pointer_to(const std::string& zone_name, const std::string& limiter_name, const char* member) {
    return "/zones" + detail::pointer_step(zone_name) + "/rate_limiters" + detail::pointer_step(limiter_name) + '/' +
           member;
}

// What a limiter in use cannot change.
void check_fixed(const std::string& zone_name, const std::string& name, const rate_limiter_options& from,
                 const rate_limiter_options& to, std::vector<config_problem>& problems) {
    const auto fixed = [&](const char* member, const std::string& was, const std::string& is) {
        if (was != is) {
            problems.push_back({pointer_to(zone_name, name, member), is, was + ", which cannot change while in use"});
        }
    };
    fixed("max_keys", std::to_string(from.max_keys), std::to_string(to.max_keys));
    fixed("max_waiters", std::to_string(from.max_waiters), std::to_string(to.max_waiters));
    fixed("track_keys", from.track_keys ? "true" : "false", to.track_keys ? "true" : "false");
    fixed("busiest", std::to_string(from.busiest), std::to_string(to.busiest));
    fixed("tiers/0/name", from.tiers.front().name, to.tiers.front().name);
}

error as_error(const std::vector<config_problem>& problems) {
    return {errc::invalid_config, to_string(problems)};
}

}  // namespace

zone_set::zone_set(boost::asio::io_context& context, virtual_clock* clock) : context_(context), clock_(clock) {}

zone_set::~zone_set() = default;

result<std::unique_ptr<zone_set>> zone_set::create(boost::asio::io_context& context, const config& configuration,
                                                   virtual_clock* clock) {
    if (const auto problems = configuration.check(); !problems.empty()) {
        return as_error(problems);
    }
    std::unique_ptr<zone_set> made(new zone_set(context, clock));
    for (const auto& [name, wanted] : configuration.zones) {
        made->add_zone(name, wanted);
    }
    made->current_ = configuration;
    return made;
}

void zone_set::add_zone(const std::string& name, const zone_config& wanted) {
    auto made = std::make_unique<zone>(context_, name,
                                       zone_options{.clock = clock_, .missing_breaker = wanted.missing_breaker});
    change_zone(*made, {.missing_breaker = wanted.missing_breaker}, wanted);
    zones_[name] = std::move(made);
}

// Both are valid, and what cannot change does not.
void zone_set::change_zone(zone& z, const zone_config& from, const zone_config& to) {
    detail::zone_core& core = *z.core();
    core.run_without_breaker(to.missing_breaker == missing_breaker::run);
    const auto each = [&](const auto& before, const auto& after, primitive_kind kind, auto make, auto change) {
        for (const auto& [name, options] : after) {
            const auto old = before.find(name);
            if (old == before.end()) {
                make(name, options);
            } else if (!(old->second == options)) {
                change(name, options);
            }
        }
        for (const auto& [name, options] : before) {
            if (!after.contains(name)) {
                core.remove(kind, name);
            }
        }
    };
    each(
        from.rate_limiters, to.rate_limiters, primitive_kind::rate_limiter,
        [&](const auto& name, const auto& o) { rate_limiter::create(z, name, o).value(); },
        [&](const auto& name, const auto& o) { rate_limiter::find(z, name).value().reconfigure(o.tiers).value(); });
    each(
        from.circuit_breakers, to.circuit_breakers, primitive_kind::circuit_breaker,
        [&](const auto& name, const auto& o) { circuit_breaker::create(z, name, o).value(); },
        [&](const auto& name, const auto& o) { circuit_breaker::find(z, name).value().reconfigure(o).value(); });
    each(
        from.bulkheads, to.bulkheads, primitive_kind::bulkhead,
        [&](const auto& name, const auto& o) { bulkhead::create(z, name, o).value(); },
        [&](const auto& name, const auto& o) { bulkhead::find(z, name).value().reconfigure(o).value(); });
    each(
        from.resource_pools, to.resource_pools, primitive_kind::resource_pool,
        [](const auto& /*name*/, const auto& /*o*/) { /* code makes it */ },
        [&](const auto& name, const auto& o) {
            if (const auto pool = core.find(primitive_kind::resource_pool, name)) {
                static_cast<detail::pool_core&>(*pool.value()).reconfigure(o);
            }
        });
}

result<zone*> zone_set::find(std::string_view name) const {
    const std::lock_guard guard(mutex_);
    const auto found = zones_.find(name);
    if (found == zones_.end()) {
        return error(errc::unknown_name, "zone \"" + std::string(name) + '"');
    }
    return found->second.get();
}

result<std::pair<zone*, pool_options>> zone_set::pool_place(std::string_view zone_name,
                                                            std::string_view pool_name) const {
    const auto z = current_.zones.find(std::string(zone_name));
    if (z == current_.zones.end()) {
        return error(errc::unknown_name, "zone \"" + std::string(zone_name) + "\" in the configuration");
    }
    const auto pool = z->second.resource_pools.find(std::string(pool_name));
    if (pool == z->second.resource_pools.end()) {
        return error(errc::unknown_name, "resource_pool \"" + std::string(pool_name) + "\" in zone \"" +
                                             std::string(zone_name) + "\" of the configuration");
    }
    return std::pair(zones_.at(z->first).get(), pool->second);
}

result<void> zone_set::reload(const config& configuration) {
    std::vector<config_problem> problems;
    return reload(configuration, problems);
}

result<void> zone_set::reload(const config& configuration, std::vector<config_problem>& problems) {
    problems = configuration.check();
    const std::lock_guard guard(mutex_);
    for (const auto& [name, wanted] : configuration.zones) {
        const auto old = current_.zones.find(name);
        for (const auto& [limiter, options] : wanted.rate_limiters) {
            if (problems.empty() && old != current_.zones.end() && old->second.rate_limiters.contains(limiter)) {
                check_fixed(name, limiter, old->second.rate_limiters.at(limiter), options, problems);
            }
        }
    }
    if (!problems.empty()) {
        return as_error(problems);
    }
    for (const auto& [name, wanted] : configuration.zones) {
        const auto old = current_.zones.find(name);
        if (old == current_.zones.end()) {
            add_zone(name, wanted);
        } else {
            change_zone(*zones_.at(name), old->second, wanted);
        }
    }
    for (const auto& [name, unwanted] : current_.zones) {
        if (!configuration.zones.contains(name)) {
            zones_.at(name)->core()->drain();
            dropped_.push_back(std::move(zones_.at(name)));
            zones_.erase(name);
        }
    }
    current_ = configuration;
    return success();
}

config zone_set::current() const {
    const std::lock_guard guard(mutex_);
    return current_;
}

std::vector<zone*> zone_set::zones() const {
    const std::lock_guard guard(mutex_);
    std::vector<zone*> out;
    out.reserve(zones_.size());
    for (const auto& [name, z] : zones_) {
        out.push_back(z.get());
    }
    return out;
}

std::vector<zone_snapshot> zone_set::snapshot() const {
    std::vector<zone_snapshot> out;
    for (const zone* z : zones()) {
        out.push_back(z->snapshot());
    }
    return out;
}

}  // namespace headgate
