// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_STATUS_PAGE_HPP
#define HEADGATE_LIB_STATUS_PAGE_HPP

#include <string_view>

namespace headgate::detail {

/// page.html, which the build turns into a source file.
extern const std::string_view status_page;

}  // namespace headgate::detail

#endif
