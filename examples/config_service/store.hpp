// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_EXAMPLES_CONFIG_SERVICE_STORE_HPP
#define HEADGATE_EXAMPLES_CONFIG_SERVICE_STORE_HPP

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "database.hpp"

namespace config_service {

/// A part of a list.
struct page {
    std::vector<record> records;
    std::string next;  ///< The last path of this page if more pages may follow, else empty.
};

/// The configuration in memory: the latest record of each path that was used lately, and every record that is not in
/// the database yet. No I/O, no clock; for one thread.
class store {
public:
    /// Keeps up to `max_entries` paths, and more only while their records are not in the database yet.
    explicit store(std::size_t max_entries) : max_entries_(max_entries) {}

    /// The latest record of a path that is in memory; null if the caller must ask the database.
    [[nodiscard]] const record* find(const std::string& path);
    /// Whether the latest record is in the database. Precondition: the path is in memory.
    [[nodiscard]] bool is_durable(const std::string& path) const;

    /// How many paths the store has forgotten. Read this before a look-up, and pass it to `learn` afterwards.
    [[nodiscard]] std::uint64_t forgotten() const noexcept { return forgotten_; }
    /// Stores the result of a look-up; it has version 0 for a path that the database never had. Returns false and
    /// stores nothing if the store has forgotten a path since `forgotten`: that may have been a newer record of this
    /// path. If the path is in memory, the record in memory is newer and stays.
    bool learn(record from_database, std::uint64_t forgotten);

    /// Writes the next version. Precondition: the path is in memory.
    const record& write(const std::string& path, std::optional<std::string> value, std::string author,
                        std::int64_t time_ms);

    /// The first records that are not in the database yet, in the order in which they were written.
    [[nodiscard]] std::vector<record> unsaved(std::size_t limit) const;
    [[nodiscard]] std::size_t unsaved_count() const noexcept { return unsaved_.size(); }
    /// Counts all records ever written here, and how many of them are in the database.
    [[nodiscard]] std::uint64_t written() const noexcept { return written_; }
    [[nodiscard]] std::uint64_t saved() const noexcept { return written_ - unsaved_.size(); }
    /// Tells the store that the first `count` records of `unsaved` are in the database now.
    void mark_saved(std::size_t count);

    /// Adds the unsaved records of a path to those from the database. Sorted, the latest first.
    [[nodiscard]] std::vector<record> merge_history(const std::string& path, std::vector<record> from_database) const;
    /// The same for a page of the latest records with a value, sorted by path. `from_database` has at most `limit`.
    [[nodiscard]] page merge_page(std::string_view prefix, std::string_view after, std::vector<record> from_database,
                                  std::size_t limit) const;

private:
    struct entry {
        record latest;
        std::size_t unsaved = 0;  // records of this path that are not in the database yet
        std::list<const std::string*>::iterator place;
    };

    void forget_some();

    std::size_t max_entries_;
    std::unordered_map<std::string, entry> entries_;
    std::list<const std::string*> by_use_;  // the most recently used first
    std::deque<record> unsaved_;
    std::uint64_t forgotten_ = 0;
    std::uint64_t written_ = 0;
};

}  // namespace config_service

#endif
