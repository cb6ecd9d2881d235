// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/bulkhead.hpp>

#include <algorithm>
#include <array>

namespace headgate {

namespace {

error wrong(const char* member, const std::string& found, const std::string& right) {
    return {errc::invalid_argument, std::string(member) + " is " + found + "; it must be " + right};
}

}  // namespace

result<void> validate(const bulkhead_options& options) {
    if (options.max_concurrent == 0 || options.max_concurrent > max_pool_resources) {
        return wrong("max_concurrent", std::to_string(options.max_concurrent),
                     "1 to " + std::to_string(max_pool_resources));
    }
    if (options.max_wait < duration::zero()) {
        return wrong("max_wait", std::to_string(options.max_wait.count()) + " ns", "zero or longer");
    }
    return success();
}

namespace detail {

namespace {

bulkhead_place the_place;

}  // namespace

result<std::shared_ptr<bulkhead_core>> bulkhead_core::create(const std::shared_ptr<zone_core>& zone, std::string name,
                                                             const bulkhead_options& options) {
    BOOST_OUTCOME_TRYV(validate(options));
    std::shared_ptr<bulkhead_core> core(
        new bulkhead_core(zone, std::move(name), places(options), primitive_kind::bulkhead),
        [](pool_core* c) { pool_core::orphan(c); });
    BOOST_OUTCOME_TRYV(zone->add(core));
    core->run(false);  // all places are there before the first caller is
    return core;
}

pool_options bulkhead_core::places(const bulkhead_options& options) noexcept {
    return {.size = options.max_concurrent,
            .max_waiters = options.max_waiters,
            .checkout_timeout = options.max_wait,
            .max_connecting = options.max_concurrent};
}

void bulkhead_core::start_connect(slot_index i) {
    connected(i, &the_place);
}

void bulkhead_core::start_ping(slot_index i, void* /*resource*/) {
    pinged(i, true);
}

bool bulkhead_core::reset_now(void* /*resource*/) noexcept {
    return true;
}

void bulkhead_core::start_reset(slot_index /*i*/, void* /*resource*/) {}
void bulkhead_core::close_resource(void* /*resource*/) noexcept {}
void bulkhead_core::destroy_resource(void* /*resource*/) noexcept {}

primitive_snapshot bulkhead_core::snapshot() const {
    primitive_snapshot pool = pool_core::snapshot();
    primitive_snapshot out{kind(), name(), {}, {}, std::move(pool.latencies), {}};
    // The pool's numbers that mean something here, under the names that they have here.
    constexpr std::array<std::pair<std::string_view, std::string_view>, 9> names{{{"size", "max_concurrent"},
                                                                                  {"leased", "running"},
                                                                                  {"waiting", "waiting"},
                                                                                  {"granted", "granted"},
                                                                                  {"queued", "queued"},
                                                                                  {"wait_timed_out", "wait_timed_out"},
                                                                                  {"canceled", "canceled"},
                                                                                  {"exhausted", "exhausted"},
                                                                                  {"queue_full", "queue_full"}}};
    for (const auto& [theirs, ours] : names) {
        const auto found =
            std::find_if(pool.metrics.begin(), pool.metrics.end(), [&](const metric& m) { return m.name == theirs; });
        out.metrics.push_back({ours, found->value, found->counter});
    }
    return out;
}

}  // namespace detail
}  // namespace headgate
