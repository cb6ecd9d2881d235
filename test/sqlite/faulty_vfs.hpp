// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_SQLITE_FAULTY_VFS_HPP
#define HEADGATE_TEST_SQLITE_FAULTY_VFS_HPP

#include <string>
#include <vector>

namespace headgate::test {

/// Registers a VFS named "faulty" with SQLite and makes it the default. It works like the former default, but a write
/// to a file whose name has a given ending fails with SQLITE_FULL, as on a full disk. Callable repeatedly, on any
/// thread.
///
/// A test outside of the program sets the environment variable HEADGATE_FAULTY_VFS to a file's name before the program
/// starts. Each line of that file is an ending. While it is missing or empty, no write fails. Each write reads it.
void register_faulty_vfs();

/// From now on, writes to files whose names have one of these endings fail. None fails when empty. On any thread.
void set_full_files(std::vector<std::string> endings);

}  // namespace headgate::test

#endif
