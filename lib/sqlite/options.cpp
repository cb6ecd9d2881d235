// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include <headgate/sqlite.hpp>

#include <sqlite3.h>

namespace headgate {

namespace {

constexpr std::uint32_t most_pages = 4'294'967'294;  // SQLITE_MAX_PAGE_COUNT
constexpr std::uint32_t most_threads = 256;

}  // namespace

std::vector<config_problem> check(const sqlite_options& o) {
    std::vector<config_problem> out;
    const auto wrong = [&](const char* pointer, std::string found, std::string valid) {
        out.push_back({pointer, std::move(found), std::move(valid)});
    };
    if (o.path.empty() || o.path == ":memory:") {
        wrong("/path", '"' + o.path + '"', "the name of a file, which all connections share");
    }
    if (o.path.find('\0') != std::string::npos) {
        wrong("/path", "a text with a NUL byte", "the name of a file");
    }
    if (o.busy_timeout < duration::zero()) {
        wrong("/busy_timeout", std::to_string(o.busy_timeout.count()) + " ns", "above 0, or 0 for not to wait");
    }
    if (o.max_pages > most_pages) {
        wrong("/max_pages", std::to_string(o.max_pages),
              "at most " + std::to_string(most_pages) + ", or 0 for no bound");
    }
    if (o.threads == 0 || o.threads > most_threads) {
        wrong("/threads", std::to_string(o.threads), "1 to " + std::to_string(most_threads));
    }
    if (!o.vfs.empty() && sqlite3_vfs_find(o.vfs.c_str()) == nullptr) {
        wrong("/vfs", '"' + o.vfs + '"', "the name of a VFS that is registered with SQLite, or empty");
    }
    return out;
}

}  // namespace headgate
