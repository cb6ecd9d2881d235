// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_CONFIG_MEMBERS_HPP
#define HEADGATE_LIB_CONFIG_MEMBERS_HPP

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <headgate/breaker_options.hpp>
#include <headgate/bulkhead.hpp>
#include <headgate/pool_options.hpp>
#include <headgate/rate_limiter.hpp>

namespace headgate::detail {

using json = nlohmann::json;

/// One member of an options object: its name, the values that are valid, and functions that read and write it. The
/// parser, the printer and the test of the schema use this one table.
template <class Options>
struct member {
    std::string_view name;
    std::string valid;
    std::function<bool(const json&, Options&)> read;  ///< False when it is not valid.
    std::function<json(const Options&)> write;
};

enum class quota_kind : std::uint8_t { gcra, fixed_window, at_most };

/// A quota that is written as an object.
struct quota_fields {
    std::uint64_t permits = 0;
    duration period{};
    std::uint64_t burst = 0;  ///< Zero: not given.
    quota_kind kind = quota_kind::gcra;
};

[[nodiscard]] std::span<const member<quota_fields>> quota_members();
[[nodiscard]] std::span<const member<pool_options>> pool_members();
[[nodiscard]] std::span<const member<breaker_options>> breaker_members();
[[nodiscard]] std::span<const member<bulkhead_options>> bulkhead_members();
/// All but `quota` and `tiers`.
[[nodiscard]] std::span<const member<rate_limiter_options>> limiter_members();

}  // namespace headgate::detail

#endif
