// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "config/zone_change.hpp"

#include <boost/outcome/try.hpp>

#include <utility>

#include <headgate/bulkhead.hpp>
#include <headgate/circuit_breaker.hpp>
#include <headgate/hedge.hpp>
#include <headgate/impl/coalescer_core.hpp>
#include <headgate/rate_limiter.hpp>
#include <headgate/resource_pool.hpp>
#include <headgate/retry.hpp>

#include "config/text.hpp"

namespace headgate::detail {

namespace {

// What the kinds of primitives differ in: where the configuration has them, how one is made and how it is changed.
struct limiters {
    static constexpr auto group = &zone_config::rate_limiters;
    static constexpr std::string_view text = "rate_limiters";
    static constexpr primitive_kind kind = primitive_kind::rate_limiter;

    static result<void> make(zone& z, const std::string& name, const rate_limiter_options& options) {
        BOOST_OUTCOME_TRYV(rate_limiter::create(z, name, options));
        return success();
    }
    static result<void> change(zone& z, const std::string& name, const rate_limiter_options& options) {
        BOOST_OUTCOME_TRY(auto found, rate_limiter::find(z, name));
        return found.reconfigure(options);
    }
};

struct breakers {
    static constexpr auto group = &zone_config::circuit_breakers;
    static constexpr std::string_view text = "circuit_breakers";
    static constexpr primitive_kind kind = primitive_kind::circuit_breaker;

    static result<void> make(zone& z, const std::string& name, const breaker_options& options) {
        BOOST_OUTCOME_TRYV(circuit_breaker::create(z, name, options));
        return success();
    }
    static result<void> change(zone& z, const std::string& name, const breaker_options& options) {
        BOOST_OUTCOME_TRY(auto found, circuit_breaker::find(z, name));
        return found.reconfigure(options);
    }
};

struct all_bulkheads {
    static constexpr auto group = &zone_config::bulkheads;
    static constexpr std::string_view text = "bulkheads";
    static constexpr primitive_kind kind = primitive_kind::bulkhead;

    static result<void> make(zone& z, const std::string& name, const bulkhead_options& options) {
        BOOST_OUTCOME_TRYV(bulkhead::create(z, name, options));
        return success();
    }
    static result<void> change(zone& z, const std::string& name, const bulkhead_options& options) {
        BOOST_OUTCOME_TRY(auto found, bulkhead::find(z, name));
        return found.reconfigure(options);
    }
};

struct all_retries {
    static constexpr auto group = &zone_config::retries;
    static constexpr std::string_view text = "retries";
    static constexpr primitive_kind kind = primitive_kind::retry;

    static result<void> make(zone& z, const std::string& name, const retry_options& options) {
        BOOST_OUTCOME_TRYV(retry::create(z, name, options));
        return success();
    }
    static result<void> change(zone& z, const std::string& name, const retry_options& options) {
        BOOST_OUTCOME_TRY(auto found, retry::find(z, name));
        return found.reconfigure(options);
    }
};

// A hedge finds its retry by name: retries come first.
struct all_hedges {
    static constexpr auto group = &zone_config::hedges;
    static constexpr std::string_view text = "hedges";
    static constexpr primitive_kind kind = primitive_kind::hedge;

    static result<void> make(zone& z, const std::string& name, const hedge_options& options) {
        BOOST_OUTCOME_TRYV(hedge::create(z, name, options));
        return success();
    }
    static result<void> change(zone& z, const std::string& name, const hedge_options& options) {
        BOOST_OUTCOME_TRY(auto found, hedge::find(z, name));
        return found.reconfigure(options);
    }
};

// Code says of which type they are.
struct all_coalescers {
    static constexpr auto group = &zone_config::coalescers;
    static constexpr std::string_view text = "coalescers";
    static constexpr primitive_kind kind = primitive_kind::coalescer;

    static result<void> make(zone& z, const std::string& name, const coalescer_options& options) {
        BOOST_OUTCOME_TRYV(coalescer_core::create(z.core(), name, options, nullptr));
        return success();
    }
    static result<void> change(zone& z, const std::string& name, const coalescer_options& options) {
        BOOST_OUTCOME_TRY(auto found, z.core()->find(kind, name));
        return std::static_pointer_cast<coalescer_core>(std::move(found))->reconfigure(options);
    }
};

// Code makes the pools. One that code has made under a name that is new in the configuration is none of it.
struct pools {
    static constexpr auto group = &zone_config::resource_pools;
    static constexpr std::string_view text = "resource_pools";
    static constexpr primitive_kind kind = primitive_kind::resource_pool;

    static result<void> make(zone& z, const std::string& name, const pool_options& /*options*/) {
        if (z.core()->find(kind, name)) {
            return errc::name_taken;
        }
        return z.core()->refusing() ? result<void>(errc::shut_down) : success();
    }
    static result<void> change(zone& z, const std::string& name, const pool_options& options) {
        auto pool = any_resource_pool::find(z, name);
        return pool ? pool.value().reconfigure(options) : success();
    }
};

}  // namespace

zone_change::zone_change(std::shared_ptr<headgate::zone> z, const zone_config& from, const zone_config& to,
                         std::vector<config_problem>& problems)
    : zone_(std::move(z)), from_(from), to_(to), problems_(problems) {
    zone_->core()->stage();
}

zone_change::~zone_change() {
    if (committed_) {
        return;
    }
    zone_->core()->settle_staged(false);
    for (; !undo_.empty(); undo_.pop_back()) {
        try {
            undo_.back()();
        } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch)
            // It keeps the new parameters: there is no memory to report that.
        }
    }
}

void zone_change::make_new() {
    make_new<limiters>();
    make_new<breakers>();
    make_new<all_bulkheads>();
    make_new<all_retries>();
    make_new<all_hedges>();
    make_new<all_coalescers>();
    make_new<pools>();
}

// Limiters come first, because only they can refuse valid options: for want of memory.
void zone_change::apply() {
    apply<limiters>();
    apply<breakers>();
    apply<all_bulkheads>();
    apply<all_retries>();
    apply<all_hedges>();
    apply<all_coalescers>();
    apply<pools>();
}

void zone_change::commit() noexcept {
    committed_ = true;
    zone_core& core = *zone_->core();
    core.run_without_breaker(to_.missing_breaker == missing_breaker::run);
    core.settle_staged(true);
    remove_old<limiters>();
    remove_old<breakers>();
    remove_old<all_bulkheads>();
    remove_old<all_retries>();
    remove_old<all_hedges>();
    remove_old<all_coalescers>();
    remove_old<pools>();
}

template <class Kind>
void zone_change::make_new() {
    for (const auto& [name, options] : to_.*Kind::group) {
        if (!(from_.*Kind::group).contains(name)) {
            if (const auto made = Kind::make(*zone_, name, options); !made) {
                report(Kind::text, name, made.error());
            }
        }
    }
}

template <class Kind>
void zone_change::apply() {
    for (const auto& [name, options] : to_.*Kind::group) {
        const auto old = (from_.*Kind::group).find(name);
        if (old == (from_.*Kind::group).end() || old->second == options) {
            continue;
        }
        undo_.emplace_back([this, old] { static_cast<void>(Kind::change(*zone_, old->first, old->second)); });
        if (const auto changed = Kind::change(*zone_, name, options); !changed) {
            undo_.pop_back();
            report(Kind::text, name, changed.error());
        }
    }
}

template <class Kind>
void zone_change::remove_old() noexcept {
    for (const auto& [name, options] : from_.*Kind::group) {
        if (!(to_.*Kind::group).contains(name)) {
            zone_->core()->remove(Kind::kind, name);
        }
    }
}

void zone_change::report(std::string_view group, std::string_view name, const error& e) {
    if (e == errc::out_of_memory) {
        throw std::bad_alloc();
    }
    std::string at = "/zones" + pointer_step(zone_->name()) + '/' + std::string(group) + pointer_step(name);
    if (e == errc::name_taken) {
        problems_.push_back({std::move(at), "a name that code has given away in this zone already", "another name"});
    } else if (e == errc::shut_down) {
        problems_.push_back({std::move(at), "something new in a zone that is closed or drains",
                             "nothing new there; a new zone may have it"});
    } else {
        problems_.push_back({std::move(at), e.message(), "parameters that it can take while it is in use"});
    }
}

}  // namespace headgate::detail
