// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXPORT_HPP
#define HEADGATE_EXPORT_HPP

#include <headgate/impl/abi.hpp>

/// Marks what the shared library exports; everything else is hidden.
#define HEADGATE_DECL [[gnu::visibility("default")]]

#endif
