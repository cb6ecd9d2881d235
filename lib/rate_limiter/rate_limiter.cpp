// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/rate_limiter.hpp>

#include <random>
#include <vector>

#include "options/members.hpp"
#include "options/problems.hpp"
#include "rate_limiter/busiest_keys.hpp"
#include "rate_limiter/limiter_machine.hpp"

namespace headgate {

namespace {

std::uint64_t secret_seed() {
#if defined(HEADGATE_EXPLORE)
    return 1;  // a run repeats
#else
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
#endif
}

}  // namespace

namespace detail {

std::vector<option_problem> problems_of(const rate_limiter_options& o) {
    option_problems p;
    plan_set::check(o.tiers, p);
    p.members(limiter_members, o);
    return p.take();
}

}  // namespace detail

std::vector<config_problem> check(const rate_limiter_options& options) {
    return detail::plain(detail::problems_of(options));
}

result<rate_limiter> rate_limiter::create(const zone& owner, std::string name, rate_limiter_options options) {
    BOOST_OUTCOME_TRYV(detail::accept(check(options)));
    const detail::limiter_settings settings{.seed = secret_seed(),
                                            .max_keys = options.max_keys,
                                            .track_keys = options.track_keys,
                                            .unix_offset = owner.core()->system_offset()};
    BOOST_OUTCOME_TRY(auto machine, detail::limiter_machine::make(settings, options.tiers));
    auto impl = std::make_shared<detail::limiter_core>(owner.core(), std::move(name), std::move(machine), options);
    if (auto added = owner.core()->add(impl); !added) {
        return added.error();
    }
    return rate_limiter(std::move(impl));
}

result<rate_limiter> rate_limiter::find(const zone& owner, std::string_view name) {
    auto found = owner.core()->find(primitive_kind::rate_limiter, name);
    if (!found) {
        return found.error();
    }
    return rate_limiter(std::static_pointer_cast<detail::limiter_core>(found.value()));
}

key_info rate_limiter::inspect(const key& key) const {
    return impl_->machine().inspect(key.hash(impl_->seed()), {}, impl_->zone().now());
}

bool rate_limiter::forget(const key& key) {
    return impl_->forget(key.hash(impl_->seed()));
}

result<void> rate_limiter::reconfigure(const rate_limiter_options& options) {
    return impl_->reconfigure(options);
}

result<void> rate_limiter::save(const std::string& path) const {
    impl_->machine().follow_wall_clock(impl_->zone().system_offset());
    return impl_->machine().save_file(path, impl_->zone().now());
}

result<void> rate_limiter::load(const std::string& path) {
    impl_->machine().follow_wall_clock(impl_->zone().system_offset());
    return impl_->machine().load_file(path, impl_->zone().now());
}

}  // namespace headgate
