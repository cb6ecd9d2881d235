// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_LIB_ZONE_REGISTRY_HPP
#define HEADGATE_LIB_ZONE_REGISTRY_HPP

#include <boost/intrusive/list.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <headgate/impl/sync.hpp>
#include <headgate/impl/zone_core.hpp>

namespace headgate::detail {

/// The primitives of a zone: those that have a name in it, and all that live, also those whose name is gone.
/// Thread-safe; calls no primitive under its lock.
class registry {
public:
    /// Errors: `name_taken`; `shut_down` when `refuses()` under the lock.
    template <class Refuses>
    result<void> add(std::shared_ptr<primitive> p, const Refuses& refuses, const std::string& zone_name);
    [[nodiscard]] result<std::shared_ptr<primitive>> find(primitive_kind kind, std::string_view name,
                                                          const std::string& zone_name) const;
    /// Gives up the name. Null when it has none.
    [[nodiscard]] std::shared_ptr<primitive> remove(primitive_kind kind, std::string_view name) noexcept;
    void remove_all() noexcept;
    [[nodiscard]] std::vector<std::shared_ptr<primitive>> named() const;

    /// What the calling thread adds from now on is staged: it has its name, and is found by that thread alone.
    void stage() noexcept;
    /// Ends the staging: all can find the staged primitives from now on (`keep`), or they are gone.
    void settle_staged(bool keep) noexcept;

    /// The next that lives, in the order in which they were added; the first one after null. No memory is needed.
    [[nodiscard]] std::shared_ptr<primitive> next(const std::shared_ptr<primitive>& after) const noexcept;
    /// Leases and permits of all living primitives that have not come back. A primitive without a reference lives on
    /// for the sake of its leases: it counts as one until it is destroyed.
    [[nodiscard]] std::uint64_t in_use() const noexcept;
    /// The destructor of `p` runs.
    void forget(primitive& p) noexcept;

private:
    struct entry {
        std::shared_ptr<primitive> what;
        bool staged = false;
    };
    using key = std::pair<primitive_kind, std::string>;
    using key_view = std::pair<primitive_kind, std::string_view>;
    struct by_key {
        using is_transparent = void;
        bool operator()(const key_view& a, const key_view& b) const noexcept { return a < b; }
    };
    using living_list = boost::intrusive::list<
        primitive,
        boost::intrusive::base_hook<boost::intrusive::list_base_hook<
            boost::intrusive::tag<registry_tag>, boost::intrusive::link_mode<boost::intrusive::auto_unlink>>>,
        boost::intrusive::constant_time_size<false>>;

    [[nodiscard]] std::uint64_t orphans() const noexcept;

    mutable detail::mutex mutex_;
    std::map<key, entry, by_key> named_;
    mutable living_list living_;
    std::thread::id stager_{};
};

template <class Refuses>
result<void> registry::add(std::shared_ptr<primitive> p, const Refuses& refuses, const std::string& zone_name) {
    const std::lock_guard guard(mutex_);
    if (refuses()) {
        return errc::shut_down;
    }
    const bool staged = stager_ == std::this_thread::get_id();
    if (!named_.try_emplace(key(p->kind(), p->name()), entry{p, staged}).second) {
        return error(errc::name_taken,
                     std::string(to_string(p->kind())) + " \"" + p->name() + "\" in zone \"" + zone_name + '"');
    }
    p->self_ = p;
    living_.push_back(*p);
    return outcome::success();
}

}  // namespace headgate::detail

#endif
