// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_OPTIONS_PROBLEMS_HPP
#define HEADGATE_LIB_OPTIONS_PROBLEMS_HPP

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <headgate/breaker_options.hpp>
#include <headgate/bulkhead_options.hpp>
#include <headgate/coalescer_options.hpp>
#include <headgate/config_problem.hpp>
#include <headgate/hedge_options.hpp>
#include <headgate/limiter_options.hpp>
#include <headgate/member_table.hpp>
#include <headgate/pool_options.hpp>
#include <headgate/retry_options.hpp>

namespace headgate::detail {

/// One mistake in options, and the members that it is about.
struct option_problem {
    config_problem what;
    std::vector<std::string_view> about;
};

/// Collects the mistakes in one object of options. A member that is wrong is not held against others too: see `right`.
class option_problems {
public:
    void add(std::string_view member, std::string found, std::string valid) {
        found_.push_back({{'/' + std::string(member), std::move(found), std::move(valid)}, {member}});
    }
    /// About several members together.
    void add(std::initializer_list<std::string_view> members, std::string found, std::string valid) {
        found_.push_back({{{}, std::move(found), std::move(valid)}, members});
    }
    /// About one member, which another makes wrong.
    void add(std::string_view member, std::string_view because_of, std::string found, std::string valid) {
        add(member, std::move(found), std::move(valid));
        found_.back().about.push_back(because_of);
    }

    /// About what is inside of one member; `step` leads there.
    void add_inside(std::string_view member, const std::string& step, std::string found, std::string valid) {
        found_.push_back({{'/' + std::string(member) + step, std::move(found), std::move(valid)}, {member}});
    }

    /// Each member of `options` whose value breaks its rule.
    template <class Options, std::size_t Size>
    void members(const member_table<Options, Size>& table, const Options& options) {
        members(table.members, &options);
    }

    [[nodiscard]] bool right(std::initializer_list<std::string_view> members) const {
        return std::none_of(found_.begin(), found_.end(), [&](const option_problem& p) {
            return std::any_of(members.begin(), members.end(), [&](std::string_view m) {
                return std::find(p.about.begin(), p.about.end(), m) != p.about.end();
            });
        });
    }

    [[nodiscard]] std::vector<option_problem> take() { return std::move(found_); }

private:
    void members(std::span<const member> all, const void* options);

    std::vector<option_problem> found_;
};

[[nodiscard]] std::vector<option_problem> problems_of(const rate_limiter_options& options);
[[nodiscard]] std::vector<option_problem> problems_of(const pool_options& options);
[[nodiscard]] std::vector<option_problem> problems_of(const breaker_options& options);
[[nodiscard]] std::vector<option_problem> problems_of(const bulkhead_options& options);
[[nodiscard]] std::vector<option_problem> problems_of(const retry_options& options);
[[nodiscard]] std::vector<option_problem> problems_of(const hedge_options& options);
[[nodiscard]] std::vector<option_problem> problems_of(const coalescer_options& options);

/// What callers of the library see of them.
[[nodiscard]] std::vector<config_problem> plain(std::vector<option_problem> problems);

}  // namespace headgate::detail

#endif
