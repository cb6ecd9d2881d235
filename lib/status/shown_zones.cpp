// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "status/shown_zones.hpp"

#include <set>

#include "status/names.hpp"

namespace headgate::detail {

zone* shown_zones::view::find(std::string_view name) const {
    for (const one& z : zones) {
        if (z.name == name) {
            return z.where;
        }
    }
    return nullptr;
}

std::vector<zone_snapshot> shown_zones::view::snapshots() const {
    std::vector<zone_snapshot> out;
    out.reserve(zones.size());
    for (const one& z : zones) {
        out.push_back(z.where->snapshot());
        out.back().name = z.name;
    }
    name_apart(out);
    return out;
}

void shown_zones::add(zone& z) {
    {
        const std::lock_guard guard(mutex_);
        zones_.push_back(&z);
    }
    static_cast<void>(look());
}

void shown_zones::add(zone_set& set) {
    {
        const std::lock_guard guard(mutex_);
        sets_.push_back(&set);
    }
    static_cast<void>(look());
}

std::vector<zone*> shown_zones::all_of(view& out) const {
    std::vector<zone*> all;
    std::set<const zone*> seen;
    const auto add = [&](zone* z) {
        if (seen.insert(z).second) {
            all.push_back(z);
        }
    };
    for (zone* z : zones_) {
        add(z);
    }
    for (const zone_set* set : sets_) {
        out.kept.push_back(set->zones());
        for (zone* z : out.kept.back()) {
            add(z);
        }
    }
    return all;
}

void shown_zones::name_and_hear(const std::vector<zone*>& all) {
    std::erase_if(known_, [](const auto& k) { return k.first.expired(); });
    for (auto& [core, known] : known_) {
        known.shown = false;
    }
    for (zone* z : all) {
        known_[z->core()].shown = true;
    }
    unique_names names;
    for (auto& [core, known] : known_) {
        known.name = known.shown && !known.name.empty() ? names.take(known.name) : "";
    }
    for (zone* z : all) {
        known_zone& known = known_[z->core()];
        if (known.name.empty()) {
            known.name = names.take(z->name());
            // The core calls this itself, so that it is there.
            known.events = z->on_event([log = log_, name = known.name, core = z->core().get()](const event& e) {
                log->note(name, core->system_offset(), e);
            });
        }
    }
}

shown_zones::view shown_zones::look() {
    view out;
    const std::lock_guard guard(mutex_);
    const std::vector<zone*> all = all_of(out);
    name_and_hear(all);
    for (zone* z : all) {
        out.zones.push_back({known_[z->core()].name, z});
    }
    return out;
}

}  // namespace headgate::detail
