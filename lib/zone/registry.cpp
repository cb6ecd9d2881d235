// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#include "zone/registry.hpp"

#include <algorithm>
#include <mutex>

namespace headgate::detail {

result<std::shared_ptr<primitive>> registry::find(primitive_kind kind, std::string_view name,
                                                  const std::string& zone_name) const {
    const std::lock_guard guard(mutex_);
    const auto found = named_.find(key_view(kind, name));
    if (found == named_.end() || (found->second.staged && stager_ != std::this_thread::get_id())) {
        return error(errc::unknown_name,
                     std::string(to_string(kind)) + " \"" + std::string(name) + "\" in zone \"" + zone_name + '"');
    }
    return found->second.what;
}

std::shared_ptr<primitive> registry::remove(primitive_kind kind, std::string_view name) noexcept {
    const std::lock_guard guard(mutex_);
    const auto found = named_.find(key_view(kind, name));
    if (found == named_.end()) {
        return {};
    }
    auto gone = std::move(found->second.what);
    named_.erase(found);
    return gone;
}

void registry::remove_all() noexcept {
    decltype(named_) gone;  // destroyed after the unlock
    const std::lock_guard guard(mutex_);
    gone.swap(named_);
}

std::vector<std::shared_ptr<primitive>> registry::named() const {
    const std::lock_guard guard(mutex_);
    std::vector<std::shared_ptr<primitive>> out;
    out.reserve(named_.size());
    for (const auto& [name, e] : named_) {
        if (!e.staged) {
            out.push_back(e.what);
        }
    }
    return out;
}

void registry::stage() noexcept {
    const std::lock_guard guard(mutex_);
    stager_ = std::this_thread::get_id();
}

void registry::settle_staged(bool keep) noexcept {
    decltype(named_) gone;  // destroyed after the unlock
    const std::lock_guard guard(mutex_);
    stager_ = {};
    for (auto it = named_.begin(); it != named_.end();) {
        const auto here = it++;
        if (here->second.staged && keep) {
            here->second.staged = false;
        } else if (here->second.staged) {
            gone.insert(named_.extract(here));
        }
    }
}

std::shared_ptr<primitive> registry::next(const std::shared_ptr<primitive>& after) const noexcept {
    const std::lock_guard guard(mutex_);
    auto it = after ? ++living_.iterator_to(*after) : living_.begin();
    for (; it != living_.end(); ++it) {
        if (auto alive = it->self_.lock()) {
            return alive;
        }
    }
    return {};
}

std::uint64_t registry::in_use() const noexcept {
    std::uint64_t sum = 0;
    for (auto p = next({}); p; p = next(p)) {
        sum += p->in_use();
    }
    return sum + orphans();
}

// Those that lost their last reference meanwhile are counted twice rather than not at all.
std::uint64_t registry::orphans() const noexcept {
    const std::lock_guard guard(mutex_);
    return static_cast<std::uint64_t>(
        std::count_if(living_.begin(), living_.end(), [](const primitive& p) { return p.self_.expired(); }));
}

void registry::forget(primitive& p) noexcept {
    const std::lock_guard guard(mutex_);
    if (p.is_linked()) {
        p.unlink();
    }
}

}  // namespace headgate::detail
