// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_STATUS_NAMES_HPP
#define HEADGATE_LIB_STATUS_NAMES_HPP

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <headgate/snapshot.hpp>

namespace headgate::detail {

/// The text as UTF-8 that every format can carry: each byte that is no UTF-8, and each zero byte, becomes U+FFFD.
[[nodiscard]] std::string readable(std::string_view text);

/// Gives out names, each once.
class unique_names {
public:
    /// `readable(name)`, with "#2", "#3" and so on behind it where that was given out before.
    [[nodiscard]] std::string take(std::string_view name);

private:
    std::set<std::string, std::less<>> taken_;
};

/// Makes the names readable, those of zones unique, and those of primitives unique within zone and kind: machines know
/// a series by its names.
void name_apart(std::vector<zone_snapshot>& zones);

}  // namespace headgate::detail

#endif
