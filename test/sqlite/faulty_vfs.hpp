// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_TEST_SQLITE_FAULTY_VFS_HPP
#define HEADGATE_TEST_SQLITE_FAULTY_VFS_HPP

#include <string>
#include <vector>

namespace headgate::test {

/// Registers a VFS named "faulty" with SQLite and makes it the default one. It is the one that was the default, but
/// writing to files whose names end as told fails with SQLITE_FULL, as on a full disk. Once or more, on any thread.
///
/// Who has no access to the program names a file by the environment variable HEADGATE_FAULTY_VFS when the program
/// starts: each line of that file is an ending; while it is missing or empty nothing fails. It is read at each write.
void register_faulty_vfs();

/// Writing to files whose names end with one of these fails from now on; none when empty. On any thread.
void set_full_files(std::vector<std::string> endings);

}  // namespace headgate::test

#endif
