// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_CONFIG_OBJECT_HPP
#define HEADGATE_CONFIG_OBJECT_HPP

#include <functional>
#include <initializer_list>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <headgate/export.hpp>
#include <headgate/member_table.hpp>

namespace headgate {

struct config;

namespace detail {

class json_node;
class reporter;

}  // namespace detail

/// An object of a document while `config::parse` reads it: what a program keeps beside "zones" in the same document.
/// It is valid during the call that it is given to.
class config_object {
public:
    /// Reads the members of `table` into `to`. A member that is missing leaves the value as it is; a value that breaks
    /// its rule, and a member that is neither in `table` nor in `others`, is reported. Returns the members of `table`
    /// whose values break their rules, so that a check of several members together can leave them out.
    template <class Options, std::size_t Size>
    std::set<std::string_view> read(const member_table<Options, Size>& table, Options& to,
                                    std::initializer_list<std::string_view> others = {}) const {
        return read_members(table.members, &to, {others.begin(), others.size()});
    }

    /// Calls `read(name, object)` for each object in the member `name`, which is an object of named objects and has one
    /// at least. Names are as those of zones. What is no object is reported, and read as an empty one.
    HEADGATE_DECL void each(std::string_view name,
                            const std::function<void(const std::string&, const config_object&)>& read) const;

    /// Reports a mistake at `pointer`, below this object: "/server".
    HEADGATE_DECL void report(std::string_view pointer, std::string found, std::string valid) const;

    /// For `config::parse`.
    config_object(const detail::json_node& node, std::string pointer, detail::reporter& problems)
        : node_(&node), pointer_(std::move(pointer)), problems_(&problems) {}

private:
    HEADGATE_DECL std::set<std::string_view> read_members(std::span<const member> table, void* to,
                                                          std::span<const std::string_view> others) const;

    const detail::json_node* node_;
    std::string pointer_;
    detail::reporter* problems_;
};

/// A member beside "zones" that a program has for itself.
struct config_section {
    std::string_view name;  ///< Such as "service".
    /// Is called once, after the zones were read, with the section's object and with the zones. A section that is
    /// missing, or no object, is an empty one. The zones have every zone and every primitive that the document names,
    /// also those with mistakes. Without a function the section may hold anything.
    std::function<void(const config_object& section, const config& zones)> read{};
    bool required = false;  ///< A document without it is wrong.
};

}  // namespace headgate

#endif
