// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// Linked into the service, this puts all of its SQLite files on a file system that can be full; see faulty_vfs.hpp.

#include <faulty_vfs.hpp>

namespace {

const bool registered = (headgate::test::register_faulty_vfs(), true);

}  // namespace
