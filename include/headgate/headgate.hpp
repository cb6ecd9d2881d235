// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_HEADGATE_HPP
#define HEADGATE_HEADGATE_HPP

// Every public header of the library.
#include <headgate/error.hpp>
#include <headgate/export.hpp>
#include <headgate/result.hpp>
#include <headgate/time.hpp>

#endif
