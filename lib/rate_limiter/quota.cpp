// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/quota.hpp>

#include <string>

namespace headgate {
namespace {

error out_of_range(const char* name, std::uint64_t found, const std::string& valid) {
    return error{errc::invalid_argument, std::string{name} + " is " + std::to_string(found) + "; it must be " + valid};
}

std::optional<error> check_permits(const char* name, std::uint64_t n) {
    if (n == 0) {
        return out_of_range(name, n, "at least 1 (quota::none() denies everything)");
    }
    if (n > quota::max_permits) {
        return out_of_range(name, n, "at most " + std::to_string(quota::max_permits));
    }
    return {};
}

std::optional<error> check(std::uint64_t permits, duration period) {
    if (auto problem = check_permits("permits", permits)) {
        return problem;
    }
    if (period <= duration::zero()) {
        return error{errc::invalid_argument,
                     "period is " + std::to_string(period.count()) + " ns; it must be longer than zero"};
    }
    return {};
}

}  // namespace

result<quota> quota::per(std::uint64_t permits, duration period, std::optional<std::uint64_t> burst) {
    if (auto problem = check(permits, period)) {
        return *problem;
    }
    if (burst) {
        if (auto problem = check_permits("burst", *burst)) {
            return *problem;
        }
    }
    return quota{quota_algorithm::gcra, permits, permits, period, burst.value_or(permits)};
}

result<quota> quota::at_most(std::uint64_t permits, duration period, std::uint64_t burst) {
    if (auto problem = check(permits, period)) {
        return *problem;
    }
    if (auto problem = check_permits("burst", burst)) {
        return *problem;
    }
    if (burst >= permits) {
        return out_of_range("burst", burst, "less than permits, which is " + std::to_string(permits));
    }
    return quota{quota_algorithm::gcra, permits, permits - burst, period, burst};
}

result<quota> quota::fixed_window(std::uint64_t permits, duration period) {
    if (auto problem = check(permits, period)) {
        return *problem;
    }
    return quota{quota_algorithm::fixed_window, permits, permits, period, permits};
}

}  // namespace headgate
