// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_CONFIG_READER_HPP
#define HEADGATE_LIB_CONFIG_READER_HPP

#include <algorithm>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <headgate/config.hpp>

#include "config/json_text.hpp"
#include "config/text.hpp"
#include "options/problems.hpp"

namespace headgate::detail {

/// The names of members that are known to be wrong.
using wrong_members = std::set<std::string_view>;

/// Where mistakes are collected.
class reporter {
public:
    explicit reporter(std::vector<config_problem>& problems) : problems_(problems) {}

    void report(std::string pointer, std::string found, std::string valid) {
        problems_.push_back({std::move(pointer), std::move(found), std::move(valid)});
    }
    void unknown_key(const std::string& at, const std::string& key, std::span<const std::string_view> known);
    /// Reports `name` if it is not valid; `at` is its place.
    void name(const std::string& at, std::string_view name);
    /// Whether it is an object.
    bool object(const json_node& value, const std::string& at, std::string_view of);
    [[nodiscard]] std::size_t problems() const noexcept { return problems_.size(); }

private:
    std::vector<config_problem>& problems_;
};

/// Reads the members of an object into `to`; `others` are read elsewhere. Returns those that are wrong.
wrong_members read_members(reporter& r, const json_node& from, const std::string& at, std::span<const member> known,
                           void* to, std::span<const std::string_view> others = {});

/// Reports the mistakes of `options`, except those about members in `wrong`, which are reported already.
template <class Options>
void check_options(reporter& r, const std::string& at, const Options& options, const wrong_members& wrong) {
    for (const option_problem& p : problems_of(options)) {
        if (std::none_of(p.about.begin(), p.about.end(), [&](std::string_view m) { return wrong.contains(m); })) {
            r.report(at + p.what.pointer, p.what.found, p.what.valid);
        }
    }
}

void read_document(reporter& r, const json_node& from, std::span<const config_section> sections, config& to);

/// Reports the mistakes that the document of a configuration made in code would have.
void check_document(reporter& r, const config& made);

}  // namespace headgate::detail

#endif
