// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "status/shown_zones.hpp"

#include <set>

#include "status/names.hpp"

namespace headgate::detail {

zone* shown_zones::view::find(std::string_view name) const {
    for (const one& z : zones) {
        if (z.name == name) {
            return z.where.get();
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
        zones_.emplace_back(std::shared_ptr<zone>(std::shared_ptr<zone>(), &z));
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

std::vector<zone_ref> shown_zones::all() const {
    std::vector<zone_ref> out;
    std::set<const zone*> seen;
    const auto add = [&](const zone_ref& z) {
        if (seen.insert(z.get()).second) {
            out.push_back(z);
        }
    };
    for (const zone_ref& z : zones_) {
        add(z);
    }
    for (const zone_set* set : sets_) {
        for (const zone_ref& z : set->zones()) {
            add(z);
        }
    }
    return out;
}

void shown_zones::name_and_hear(const std::vector<zone_ref>& all) {
    std::erase_if(known_, [](const auto& k) { return k.first.expired(); });
    for (auto& [core, known] : known_) {
        known.shown = false;
    }
    for (const zone_ref& z : all) {
        known_[z->core()].shown = true;
    }
    unique_names names;
    for (auto& [core, known] : known_) {
        known.name = known.shown && !known.name.empty() ? names.take(known.name) : "";
    }
    for (const zone_ref& z : all) {
        known_zone& known = known_[z->core()];
        if (known.name.empty()) {
            known.name = names.take(z->name());
            known.events = z->on_event([log = log_, name = known.name](const event& e) { log->note(name, e); });
        }
    }
}

shown_zones::view shown_zones::look() {
    view out;
    const std::lock_guard guard(mutex_);
    const std::vector<zone_ref> shown = all();
    name_and_hear(shown);
    for (const zone_ref& z : shown) {
        out.zones.push_back({known_[z->core()].name, z});
    }
    return out;
}

}  // namespace headgate::detail
