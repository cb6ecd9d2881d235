// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/pool_options.hpp>

#include <string>

namespace headgate {

namespace {

struct duration_field {
    const char* name;
    duration value;
    bool may_be_zero;
};

std::string text(duration d) {
    return std::to_string(d.count()) + " ns";
}

error wrong(const std::string& what) {
    return error{errc::invalid_argument, what};
}

}  // namespace

result<void> validate(const pool_options& o) {
    const std::uint64_t total = std::uint64_t{o.size} + o.max_overflow;
    if (total == 0) {
        return wrong("size and max_overflow are both 0; one of them must be at least 1");
    }
    if (total > max_pool_resources) {
        return wrong("size + max_overflow is " + std::to_string(total) + "; it must be at most " +
                     std::to_string(max_pool_resources));
    }
    if (o.max_connecting == 0) {
        return wrong("max_connecting is 0; it must be at least 1");
    }
    if (o.strategy != pool_strategy::lifo && o.strategy != pool_strategy::fifo) {
        return wrong("strategy is " + std::to_string(static_cast<int>(o.strategy)) + "; it must be lifo or fifo");
    }
    const duration_field fields[] = {
        {"overflow_ttl", o.overflow_ttl, true},        {"max_wait", o.max_wait, false},
        {"connect_timeout", o.connect_timeout, false}, {"backoff_min", o.backoff_min, false},
        {"backoff_max", o.backoff_max, false},         {"max_lifetime", o.max_lifetime, true},
        {"idle_timeout", o.idle_timeout, true},        {"ping_interval", o.ping_interval, true},
        {"ping_timeout", o.ping_timeout, false},       {"leak_threshold", o.leak_threshold, true},
    };
    for (const auto& field : fields) {
        if (field.value < duration::zero() || (field.value == duration::zero() && !field.may_be_zero)) {
            return wrong(std::string{field.name} + " is " + text(field.value) + "; it must be positive" +
                         (field.may_be_zero ? ", or 0 for off" : ""));
        }
    }
    if (o.backoff_max < o.backoff_min) {
        return wrong("backoff_max is " + text(o.backoff_max) + "; it must be at least backoff_min, " +
                     text(o.backoff_min));
    }
    // Written so that NaN fails too.
    if (!(o.backoff_jitter >= 0.0 && o.backoff_jitter <= 1.0)) {
        return wrong("backoff_jitter is " + std::to_string(o.backoff_jitter) + "; it must be from 0 to 1");
    }
    if (!(o.lifetime_jitter >= 0.0 && o.lifetime_jitter <= 1.0)) {
        return wrong("lifetime_jitter is " + std::to_string(o.lifetime_jitter) + "; it must be from 0 to 1");
    }
    return success();
}

}  // namespace headgate
