// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/sqlite.hpp>

#include <sqlite3.h>

namespace headgate {

namespace {

constexpr std::uint32_t most_pages = 4'294'967'294;  // SQLITE_MAX_PAGE_COUNT
constexpr std::uint32_t most_threads = 256;

error wrong(const std::string& what) {
    return error{errc::invalid_argument, what};
}

}  // namespace

result<void> validate(const sqlite_options& o) {
    if (o.path.empty() || o.path == ":memory:") {
        return wrong("path is \"" + o.path + "\"; it must name a file, which all connections share");
    }
    if (o.path.find('\0') != std::string::npos) {
        return wrong("path has a NUL byte in it; it must name a file");
    }
    if (o.busy_timeout < duration::zero()) {
        return wrong("busy_timeout is " + std::to_string(o.busy_timeout.count()) +
                     " ns; it must be positive, or 0 for not to wait");
    }
    if (o.max_pages > most_pages) {
        return wrong("max_pages is " + std::to_string(o.max_pages) + "; it must be at most " +
                     std::to_string(most_pages) + ", or 0 for no bound");
    }
    if (o.threads == 0 || o.threads > most_threads) {
        return wrong("threads is " + std::to_string(o.threads) + "; it must be from 1 to " +
                     std::to_string(most_threads));
    }
    if (!o.vfs.empty() && sqlite3_vfs_find(o.vfs.c_str()) == nullptr) {
        return wrong("vfs is \"" + o.vfs + "\"; no VFS of that name is registered with SQLite");
    }
    return success();
}

}  // namespace headgate
