// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "rate_limiter/plan_set.hpp"

#include <algorithm>
#include <limits>
#include <mutex>
#include <utility>

#include "options/problems.hpp"

namespace headgate::detail {

/// What a change puts in force, made before anything of it is seen.
struct plan_set::change {
    struct placed {
        headgate::tier spec;
        bool there = false;          ///< The tier is there after the change.
        std::uint32_t handle = 0;    ///< Of the tier.
        std::unique_ptr<plan> made;  ///< Null where the plan stays, and where no tier is.
    };
    std::array<placed, most_tiers> places;
    std::array<std::string, most_tiers> names;
    std::vector<former> formers;
    std::vector<std::unique_ptr<plan>> retired;
    std::uint8_t last_id = 0;
    std::array<bool, 256> taken{};
};

plan_set::prepared::prepared(prepared&&) noexcept = default;
plan_set::prepared& plan_set::prepared::operator=(prepared&&) noexcept = default;
plan_set::prepared::~prepared() = default;

plan_set::plan_set(bool tracks_keys, wall_offset offset) : tracks_keys_(tracks_keys), offset_(offset) {}

plan_set::~plan_set() = default;

void plan_set::check(const std::vector<headgate::tier>& tiers, option_problems& problems) {
    if (tiers.empty() || tiers.size() > most_tiers) {
        problems.add("tiers", std::to_string(tiers.size()) + " tiers", "1 to " + std::to_string(most_tiers) + " tiers");
    }
    for (std::size_t i = 0; i < tiers.size(); ++i) {
        const auto& tier = tiers[i];
        const std::string here = '/' + std::to_string(i);
        if (tier.name.empty()) {
            problems.add_inside("tiers", here + "/name", "empty", "a name");
        } else if (std::any_of(tiers.begin(), tiers.begin() + static_cast<std::ptrdiff_t>(i),
                               [&](const auto& other) { return other.name == tier.name; })) {
            problems.add_inside("tiers", here + "/name", '"' + tier.name + '"', "a name that no tier before it has");
        }
        if (tier.quotas.empty() || tier.quotas.size() > most_quotas) {
            problems.add_inside("tiers", here + "/quotas", std::to_string(tier.quotas.size()) + " quotas",
                                "1 to " + std::to_string(most_quotas) + " quotas");
        }
    }
}

std::optional<std::uint32_t> plan_set::find(std::string_view name) const noexcept {
    const std::lock_guard lock{names_lock_};
    const auto at = std::find(names_.begin(), names_.end(), name);
    if (name.empty() || at == names_.end()) {
        return {};
    }
    return handles_[static_cast<std::size_t>(at - names_.begin())];
}

std::string plan_set::name_of(std::uint32_t tier) const {
    std::string out;
    out.reserve(64);  // most names: not under the lock
    const std::lock_guard lock{names_lock_};
    const std::size_t place = tier % most_tiers;
    if (handles_[place] == tier) {
        out = names_[place];
    }
    return out;
}

std::size_t plan_set::place_of(const std::string& name) const noexcept {
    std::size_t place = 0;
    while (place < most_tiers && (in_force(place) == nullptr || in_force(place)->source.name != name)) {
        ++place;
    }
    return place;
}

// Tiers that are there keep their places and handles. A new one takes a free place; its handle differs from all that
// the place had before, since calls that wait may still name those.
result<void> plan_set::place_tiers(change& c, std::vector<headgate::tier> tiers) const {
    if (in_force(0) != nullptr && tiers.front().name != in_force(0)->source.name) {
        return error{errc::invalid_argument, "the first tier is \"" + tiers.front().name + "\"; it must stay \"" +
                                                 in_force(0)->source.name + "\", the tier of calls that name none"};
    }
    const auto put = [&](std::size_t place, headgate::tier& tier, std::uint32_t handle) {
        c.places[place].there = true;
        c.places[place].handle = handle;
        c.names[place] = tier.name;
        c.places[place].spec = std::move(tier);
    };
    std::vector<headgate::tier*> fresh;
    for (auto& tier : tiers) {
        if (const std::size_t place = place_of(tier.name); place < most_tiers) {
            put(place, tier, handles_[place]);
        } else {
            fresh.push_back(&tier);
        }
    }
    std::size_t place = 0;
    for (headgate::tier* tier : fresh) {
        while (c.places[place].there) {
            ++place;
        }
        const std::uint32_t last = handles_[place];
        put(place, *tier, last == 0 ? static_cast<std::uint32_t>(place) : (last + most_tiers) & most_handle);
    }
    return success();
}

// Charges under quotas that are removed are kept by the tiers that do not mention them, until they have aged.
void plan_set::collect_former(change& c, time_point now) const {
    for (const auto& f : former_) {
        if (f.until > now) {
            c.formers.push_back(f);
        }
    }
    for (std::size_t place = 0; place < most_tiers; ++place) {
        const plan* p = in_force(place);
        if (p == nullptr || (c.places[place].there && c.places[place].spec.quotas == p->source.quotas)) {
            continue;
        }
        time_point until = now;
        for (std::size_t i = 0; i < p->quotas.size(); ++i) {
            until = std::max(until, saturating_add(now, p->quotas[i].full_time()));
        }
        c.formers.push_back({p->source.quotas, until});
    }
    if (c.formers.size() > max_former) {
        c.formers.erase(c.formers.begin(), c.formers.end() - max_former);
    }
}

// An id is used again as late as possible.
std::uint8_t plan_set::free_id(const change& c) const noexcept {
    std::size_t id = c.last_id;
    do {
        id = id % max_id + 1;
    } while (c.taken[id] || by_id_[id].load(std::memory_order_relaxed) != nullptr);
    return static_cast<std::uint8_t>(id);
}

void plan_set::make_plans(change& c) {
    for (std::size_t place = 0; place < most_tiers; ++place) {
        auto& at = c.places[place];
        if (!at.there) {
            continue;
        }
        std::vector<std::vector<quota>> others;
        for (std::size_t other = 0; other < most_tiers; ++other) {
            if (other != place && c.places[other].there) {
                others.push_back(c.places[other].spec.quotas);
            }
        }
        for (const auto& f : c.formers) {
            others.push_back(f.quotas);
        }
        auto made = std::make_unique<plan>(at.spec, others, offset_);
        const plan* old = in_force(place);
        if (old != nullptr && old->tier == at.handle && old->source.quotas == at.spec.quotas &&
            old->quotas.same_shape(made->quotas)) {
            continue;
        }
        made->tier = at.handle;
        made->made_by = generation();
        made->id = c.last_id = free_id(c);
        c.taken[made->id] = true;
        made->rate = &rates_[made->id];
        made->simple = made->quotas.size() == 1 && made->quotas[0].is_gcra() && !tracks_keys_ &&
                       made->only.capacity() <= std::numeric_limits<std::int64_t>::max();
        at.made = std::move(made);
    }
}

result<plan_set::prepared> plan_set::prepare(std::vector<headgate::tier> tiers, time_point now) {
    option_problems problems;
    check(tiers, problems);
    BOOST_OUTCOME_TRYV(accept(plain(problems.take())));
    auto c = std::make_unique<change>();
    c->last_id = last_id_;
    BOOST_OUTCOME_TRYV(place_tiers(*c, std::move(tiers)));
    collect_former(*c, now);
    make_plans(*c);
    c->retired.reserve(retired_.size() + most_tiers);
    prepared out;
    out.change_ = std::move(c);
    return out;
}

void plan_set::commit(prepared ready, time_point now) noexcept {
    auto& c = *ready.change_;
    for (auto& old : retired_) {
        c.retired.push_back(std::move(old));
    }
    retired_.swap(c.retired);
    std::array<plan*, most_tiers> replaced{};
    for (std::size_t place = 0; place < most_tiers; ++place) {
        auto& at = c.places[place];
        if (at.made) {
            rates_[at.made->id].set(at.made->only.rate());
            by_id_[at.made->id].store(at.made.get(), std::memory_order_release);
        }
        if (at.made || (!at.there && owned_by_place_[place])) {
            if (replaced[place] = owned_by_place_[place].get(); replaced[place] != nullptr) {
                retired_.push_back(std::move(owned_by_place_[place]));
            }
            owned_by_place_[place] = std::move(at.made);
        }
    }
    for (std::size_t place = 0; place < most_tiers; ++place) {
        if (plan* const old = replaced[place]) {
            const plan* by =
                in_force(place) != nullptr && in_force(place)->tier == old->tier ? in_force(place) : in_force(0);
            old->replaced_at = now;
            old->successor.store(by, std::memory_order_release);
        }
        in_force_[place].store(in_force(place), std::memory_order_release);
    }
    {
        const std::lock_guard lock{names_lock_};
        names_.swap(c.names);
        for (std::size_t place = 0; place < most_tiers; ++place) {
            handles_[place] = c.places[place].there ? c.places[place].handle : handles_[place];
        }
    }
    former_.swap(c.formers);
    last_id_ = c.last_id;
    generation_.fetch_add(1, std::memory_order_release);
}

void plan_set::free_retired() noexcept {
    for (const auto& p : retired_) {
        by_id_[p->id].store(nullptr, std::memory_order_release);
    }
    retired_.clear();
}

}  // namespace headgate::detail
