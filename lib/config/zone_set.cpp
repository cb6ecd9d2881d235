// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/zone_set.hpp>

#include <list>
#include <mutex>
#include <new>

#include "config/text.hpp"
#include "config/zone_change.hpp"
#include "rate_limiter/fixed_members.hpp"

namespace headgate {

namespace {

// What a limiter in use cannot change. Both may be invalid otherwise.
void check_fixed(const std::string& at, const rate_limiter_options& from, const rate_limiter_options& to,
                 std::vector<config_problem>& problems) {
    auto changed = detail::changed_fixed_members(from, to);
    if (!to.tiers.empty() && !to.tiers.front().name.empty() && to.tiers.front().name != from.tiers.front().name) {
        changed.push_back({"tiers/0/name", from.tiers.front().name, to.tiers.front().name});
    }
    for (const auto& m : changed) {
        problems.push_back({at + '/' + std::string(m.name), m.is, m.was + ", which cannot change while in use"});
    }
}

void check_fixed(const config& from, const config& to, std::vector<config_problem>& problems) {
    for (const auto& [zone_name, wanted] : to.zones) {
        const auto old = from.zones.find(zone_name);
        if (old == from.zones.end()) {
            continue;
        }
        for (const auto& [name, options] : wanted.rate_limiters) {
            if (const auto limiter = old->second.rate_limiters.find(name); limiter != old->second.rate_limiters.end()) {
                check_fixed("/zones" + pointer_step(zone_name) + "/rate_limiters" + pointer_step(name), limiter->second,
                            options, problems);
            }
        }
    }
}

error as_error(const std::vector<config_problem>& problems) {
    return {errc::invalid_config, to_string(problems)};
}

/// A wait for the moment at which a dropped zone is not used any more, or closed. It has the zone until then.
class last_wait {
    struct let_go {
        std::shared_ptr<zone> kept;
        void operator()(const result<void>& /*end*/) noexcept { kept.reset(); }
    };
    using operation = detail::waiter_operation<detail::idle_waiter, let_go>;

public:
    explicit last_wait(const std::shared_ptr<zone>& z)
        : core_(*z->core()), operation_(&operation::create(z->core(), let_go{z}, core_)) {}
    last_wait(last_wait&& other) noexcept : core_(other.core_), operation_(std::exchange(other.operation_, nullptr)) {}
    last_wait& operator=(last_wait&&) = delete;
    ~last_wait() {
        if (operation_ != nullptr) {
            operation_->abandon();
        }
    }

    void start() noexcept {
        core_.enqueue(*std::exchange(operation_, nullptr), detail::idle_wait::drop, duration::max());
    }

private:
    detail::zone_core& core_;
    operation* operation_;
};

}  // namespace

/// A set of zones on its way to another configuration. `prepare` does all that can fail, `commit` cannot. Without a
/// commit the destructor takes all back.
class zone_set::change {
public:
    change(zone_set& set, const config& to) : set_(set), from_(set.current_), to_(std::make_shared<config>(to)) {}

    void prepare(std::vector<config_problem>& problems);
    void commit() noexcept;

private:
    zone_set& set_;
    std::shared_ptr<const config> from_;
    std::shared_ptr<const config> to_;
    const zone_config nothing_{};
    zone_map made_;
    std::list<detail::zone_change> changes_;
    std::vector<last_wait> drops_;
};

void zone_set::change::prepare(std::vector<config_problem>& problems) {
    for (const auto& [name, wanted] : to_->zones) {
        const auto old = from_->zones.find(name);
        if (old == from_->zones.end()) {
            auto made = std::make_shared<zone>(set_.context_, name, zone_options{.clock = set_.clock_});
            made_.emplace(name, made);
            changes_.emplace_back(std::move(made), nothing_, wanted, problems);
        } else {
            changes_.emplace_back(set_.zones_.find(name)->second, old->second, wanted, problems);
        }
    }
    for (const auto& [name, z] : set_.zones_) {
        if (!to_->zones.contains(name)) {
            drops_.emplace_back(z);
        }
    }
    std::erase_if(set_.dropped_, [](const auto& z) { return z.expired(); });
    set_.dropped_.reserve(set_.dropped_.size() + drops_.size());
    for (auto& one : changes_) {
        one.make_new();
    }
    for (auto& one : changes_) {
        if (problems.empty()) {
            one.apply();
        }
    }
}

void zone_set::change::commit() noexcept {
    {
        const std::lock_guard guard(set_.mutex_);
        for (auto it = set_.zones_.begin(); it != set_.zones_.end();) {
            const auto here = it++;
            if (!to_->zones.contains(here->first)) {
                set_.dropped_.emplace_back(here->second);  // the last operation of the zone keeps it
                set_.zones_.erase(here);
            }
        }
        set_.zones_.merge(made_);
        set_.current_.swap(to_);
    }
    for (auto& one : changes_) {
        one.commit();
    }
    for (last_wait& one : drops_) {
        one.start();
    }
}

zone_set::zone_set(boost::asio::io_context& context, virtual_clock* clock) : context_(context), clock_(clock) {}

zone_set::~zone_set() {
    for (const auto& weak : dropped_) {
        if (const auto z = weak.lock()) {
            z->close();
        }
    }
}

result<std::unique_ptr<zone_set>> zone_set::create(boost::asio::io_context& context, const config& configuration,
                                                   virtual_clock* clock) {
    try {
        std::unique_ptr<zone_set> made(new zone_set(context, clock));
        BOOST_OUTCOME_TRYV(made->reload(configuration));
        return made;
    } catch (const std::bad_alloc&) {
        return errc::out_of_memory;
    }
}

result<void> zone_set::reload(const config& configuration) {
    std::vector<config_problem> problems;
    return reload(configuration, problems);
}

result<void> zone_set::reload(const config& configuration, std::vector<config_problem>& problems) {
    const std::lock_guard guard(reloading_);
    try {
        problems = configuration.check();
        check_fixed(*current_, configuration, problems);
        if (problems.empty()) {
            change wanted(*this, configuration);
            wanted.prepare(problems);
            if (problems.empty()) {
                wanted.commit();
                return success();
            }
        }
        return as_error(problems);
    } catch (const std::bad_alloc&) {
        problems.clear();
        return errc::out_of_memory;
    }
}

result<zone_ref> zone_set::find(std::string_view name) const {
    {
        const std::lock_guard guard(mutex_);
        if (const auto found = zones_.find(name); found != zones_.end()) {
            return zone_ref(found->second);
        }
    }
    return error(errc::unknown_name, "zone \"" + std::string(name) + '"');
}

result<std::pair<std::shared_ptr<zone>, pool_options>> zone_set::pool_place(std::string_view zone_name,
                                                                            std::string_view pool_name) const {
    std::shared_ptr<zone> owner;
    std::shared_ptr<const config> all;
    {
        const std::lock_guard guard(mutex_);
        all = current_;
        if (const auto found = zones_.find(zone_name); found != zones_.end()) {
            owner = found->second;
        }
    }
    if (!owner) {
        return error(errc::unknown_name, "zone \"" + std::string(zone_name) + "\" in the configuration");
    }
    const auto& pools = all->zones.at(std::string(zone_name)).resource_pools;
    const auto pool = pools.find(std::string(pool_name));
    if (pool == pools.end()) {
        return error(errc::unknown_name, "resource_pool \"" + std::string(pool_name) + "\" in zone \"" +
                                             std::string(zone_name) + "\" of the configuration");
    }
    return std::pair(std::move(owner), pool->second);
}

// A reload may have come while the pool was made: it did not see the pool.
result<void> zone_set::keep_pool(std::string_view zone_name, std::string_view pool_name, const zone& owner,
                                 const pool_options& made_with) const {
    const std::lock_guard guard(reloading_);
    auto place = pool_place(zone_name, pool_name);
    if (!place || place.value().first.get() != &owner) {
        owner.core()->remove(primitive_kind::resource_pool, pool_name);
        return place ? error(errc::shut_down) : std::move(place).error();
    }
    if (!(place.value().second == made_with)) {
        if (auto pool = any_resource_pool::find(owner, pool_name)) {
            return pool.value().reconfigure(place.value().second);
        }
    }
    return success();
}

config zone_set::current() const {
    std::shared_ptr<const config> all;
    {
        const std::lock_guard guard(mutex_);
        all = current_;
    }
    return *all;
}

std::vector<zone_ref> zone_set::zones() const {
    const std::lock_guard guard(mutex_);
    std::vector<zone_ref> out;
    out.reserve(zones_.size());
    for (const auto& [name, z] : zones_) {
        out.emplace_back(z);
    }
    return out;
}

std::vector<zone_snapshot> zone_set::snapshot() const {
    std::vector<zone_snapshot> out;
    for (const zone_ref& z : zones()) {
        out.push_back(z->snapshot());
    }
    return out;
}

}  // namespace headgate
