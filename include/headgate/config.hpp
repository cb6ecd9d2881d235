// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_CONFIG_HPP
#define HEADGATE_CONFIG_HPP

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <headgate/breaker_options.hpp>
#include <headgate/bulkhead.hpp>
#include <headgate/coalescer_options.hpp>
#include <headgate/config_object.hpp>
#include <headgate/config_problem.hpp>
#include <headgate/export.hpp>
#include <headgate/hedge_options.hpp>
#include <headgate/pool_options.hpp>
#include <headgate/rate_limiter.hpp>
#include <headgate/result.hpp>
#include <headgate/retry_options.hpp>
#include <headgate/time.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// What a configuration says of one zone: the options of its primitives by their names.
struct zone_config {
    headgate::missing_breaker missing_breaker = headgate::missing_breaker::refuse;  ///< As `zone_options`.
    std::map<std::string, rate_limiter_options> rate_limiters{};                    ///< `quota` or `tiers`, and more.
    std::map<std::string, pool_options> resource_pools{};                           ///< The backend comes from code.
    std::map<std::string, breaker_options> circuit_breakers{};                      ///< All of `breaker_options`.
    std::map<std::string, bulkhead_options> bulkheads{};                            ///< All of `bulkhead_options`.
    std::map<std::string, retry_options> retries{};                                 ///< All of `retry_options`.

    std::map<std::string, hedge_options> hedges{};          ///< `retry` is one of `retries`.
    std::map<std::string, coalescer_options> coalescers{};  ///< Their types come from code.

    friend bool operator==(const zone_config&, const zone_config&) = default;
};

/// A configuration as plain data: any number of zones, each with any number of primitives.
///
/// ```cpp
/// // example: config
/// #include <headgate/headgate.hpp>
/// #include <cassert>
///
///
/// int main() {
///     const auto good = headgate::config::parse(
///         R"({"zones": {"shop": {"bulkheads": {"reports": {"max_concurrent": 2}}}}})");
///     assert(good.value().zones.at("shop").bulkheads.at("reports").max_concurrent == 2);
///
///     std::vector<headgate::config_problem> problems;
///     const auto bad = headgate::config::parse(
///         R"({"zones": {"shop": {"bulkheads": {"reports": {"max_wait": -1}}}}})", problems);
///     assert(!bad && problems.at(0).pointer == "/zones/shop/bulkheads/reports/max_wait");
/// }
/// ```
struct config {
    std::map<std::string, zone_config> zones{};  ///< By their names.

    /// Reads a JSON document; comments are allowed. The detail of an `invalid_config` error tells all of its mistakes.
    [[nodiscard]] HEADGATE_DECL static result<config> parse(std::string_view text);
    /// The same, with the mistakes as data. `problems` is empty when there are none. `sections` are members beside
    /// "zones", which the program reads itself.
    [[nodiscard]] HEADGATE_DECL static result<config> parse(std::string_view text,
                                                            std::vector<config_problem>& problems,
                                                            std::span<const config_section> sections = {});

    /// What is wrong with a configuration that was not parsed, or was changed since: values only.
    [[nodiscard]] HEADGATE_DECL std::vector<config_problem> check() const;

    /// A document, with every value written out, that parses to the same.
    [[nodiscard]] HEADGATE_DECL std::string to_json() const;

    friend bool operator==(const config&, const config&) = default;
};

/// A duration as a configuration has it: "1h30m", "250ms", "0s", which are numbers with a unit (ns, us, ms, s, m, h,
/// d), added up. Nothing for anything else, and for what is longer than a `duration`.
[[nodiscard]] HEADGATE_DECL std::optional<duration> parse_duration(std::string_view text) noexcept;

}  // namespace headgate

#endif
