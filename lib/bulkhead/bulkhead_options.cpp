// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/bulkhead.hpp>

#include <string>

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

}  // namespace headgate
