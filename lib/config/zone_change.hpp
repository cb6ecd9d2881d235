// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_CONFIG_ZONE_CHANGE_HPP
#define HEADGATE_LIB_CONFIG_ZONE_CHANGE_HPP

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <headgate/config.hpp>
#include <headgate/zone.hpp>

namespace headgate::detail {

/// One zone on its way from one configuration to another, which are valid and outlive this. What can fail comes first,
/// in `make_new` and `apply`; then `commit` cannot. Without a commit the destructor takes all back.
class zone_change {
public:
    /// `problems` takes what turns out to be a mistake of the configuration.
    zone_change(std::shared_ptr<headgate::zone> z, const zone_config& from, const zone_config& to,
                std::vector<config_problem>& problems);
    zone_change(const zone_change&) = delete;
    zone_change& operator=(const zone_change&) = delete;
    ~zone_change();

    /// Makes the new primitives. `find` does not find them yet.
    void make_new();
    /// Gives the new parameters to what stays.
    void apply();
    /// Lets the new be found, and the old drain.
    void commit() noexcept;

    [[nodiscard]] const std::shared_ptr<headgate::zone>& zone() const noexcept { return zone_; }

private:
    template <class Kind>
    void make_new();
    template <class Kind>
    void apply();
    template <class Kind>
    void remove_old() noexcept;
    void report(std::string_view group, std::string_view name, const error& e);

    std::shared_ptr<headgate::zone> zone_;
    const zone_config& from_;
    const zone_config& to_;
    std::vector<config_problem>& problems_;
    std::vector<std::function<void()>> undo_;
    bool committed_ = false;
};

}  // namespace headgate::detail

#endif
