// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "store.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

namespace config_service {

const record* store::find(const std::string& path) {
    const auto found = entries_.find(path);
    if (found == entries_.end()) {
        return nullptr;
    }
    by_use_.splice(by_use_.begin(), by_use_, found->second.place);
    return &found->second.latest;
}

bool store::is_durable(const std::string& path) const {
    return entries_.at(path).unsaved == 0;
}

bool store::learn(record from_database, std::uint64_t forgotten) {
    if (entries_.contains(from_database.path)) {
        return true;
    }
    if (forgotten != forgotten_) {
        return false;
    }
    std::string path = from_database.path;
    const auto made = entries_.emplace(std::move(path), entry{std::move(from_database), 0, {}}).first;
    by_use_.push_front(&made->first);
    made->second.place = by_use_.begin();
    forget_some();
    return true;
}

const record& store::write(const std::string& path, std::optional<std::string> value, std::string author,
                           std::int64_t time_ms) {
    entry& e = entries_.at(path);
    e.latest = {path, e.latest.version + 1, std::move(value), std::move(author), time_ms};
    ++e.unsaved;
    ++written_;
    unsaved_.push_back(e.latest);
    return e.latest;
}

std::vector<record> store::unsaved(std::size_t limit) const {
    const auto end = unsaved_.begin() + static_cast<std::ptrdiff_t>(std::min(limit, unsaved_.size()));
    return {unsaved_.begin(), end};
}

void store::mark_saved(std::size_t count) {
    for (; count > 0; --count) {
        --entries_.at(unsaved_.front().path).unsaved;
        unsaved_.pop_front();
    }
    forget_some();
}

// Forgets the least recently used paths first. Keeps the most recently used path, and paths with unsaved records.
void store::forget_some() {
    auto at = by_use_.end();
    for (std::size_t looked = 0; entries_.size() > max_entries_ && at != std::next(by_use_.begin()) && looked < 16;
         ++looked) {
        --at;
        const auto found = entries_.find(**at);
        if (found->second.unsaved == 0) {
            at = by_use_.erase(at);
            entries_.erase(found);
            ++forgotten_;
        }
    }
}

std::vector<record> store::merge_history(const std::string& path, std::vector<record> from_database) const {
    std::map<std::int64_t, record, std::greater<>> by_version;
    for (record& r : from_database) {
        by_version.insert_or_assign(r.version, std::move(r));
    }
    for (const record& r : unsaved_) {
        if (r.path == path) {
            by_version.insert_or_assign(r.version, r);
        }
    }
    std::vector<record> out;
    out.reserve(by_version.size());
    for (auto& [version, r] : by_version) {
        out.push_back(std::move(r));
    }
    return out;
}

page store::merge_page(std::string_view prefix, std::string_view after, std::vector<record> from_database,
                       std::size_t limit) const {
    // If the database gives a full page, this page ends at its last path. Later paths belong to the next page.
    page out;
    if (from_database.size() == limit) {
        out.next = from_database.back().path;
    }
    std::map<std::string, record> by_path;
    for (record& r : from_database) {
        by_path.insert_or_assign(r.path, std::move(r));
    }
    for (const record& r : unsaved_) {
        if (r.path.starts_with(prefix) && r.path > after && (out.next.empty() || r.path <= out.next)) {
            by_path.insert_or_assign(r.path, r);
        }
    }
    for (auto& [path, r] : by_path) {
        if (!r.value) {
            continue;
        }
        if (out.records.size() == limit) {
            out.next = out.records.back().path;
            break;
        }
        out.records.push_back(std::move(r));
    }
    return out;
}

}  // namespace config_service
