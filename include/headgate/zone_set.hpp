// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

#ifndef HEADGATE_ZONE_SET_HPP
#define HEADGATE_ZONE_SET_HPP

#include <boost/asio/io_context.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <headgate/config.hpp>
#include <headgate/export.hpp>
#include <headgate/impl/sync.hpp>
#include <headgate/resource_pool.hpp>
#include <headgate/result.hpp>
#include <headgate/snapshot.hpp>
#include <headgate/virtual_clock.hpp>
#include <headgate/zone.hpp>

namespace headgate {

/// The zones of a `config`, and everything in them; takes another configuration while they are used.
///
/// Limiters, breakers and bulkheads are made from the configuration alone. A pool needs to know how to connect: code
/// makes it with `make_pool`, with the options that the configuration has for it. All members are thread-safe.
class HEADGATE_DECL zone_set {
public:
    /// Makes the zones on `context`. Errors: `invalid_config`, whose detail tells all mistakes of a configuration that
    /// was not parsed.
    [[nodiscard]] static result<std::unique_ptr<zone_set>> create(boost::asio::io_context& context,
                                                                  const config& configuration,
                                                                  virtual_clock* clock = nullptr);

    zone_set(const zone_set&) = delete;
    zone_set& operator=(const zone_set&) = delete;
    ~zone_set();

    /// The zone of that name; it lives until this object goes, also when a reload drops it. Errors: `unknown_name`.
    [[nodiscard]] result<zone*> find(std::string_view name) const;

    /// Makes a pool that the configuration has under `pool_name` in the zone `zone_name`. Errors: `unknown_name` when
    /// it has no such zone or pool; those of `resource_pool::create`.
    template <class T, class Backend>
    [[nodiscard]] result<resource_pool<T>> make_pool(std::string_view zone_name, std::string_view pool_name,
                                                     Backend backend) {
        const std::lock_guard guard(mutex_);
        auto place = pool_place(zone_name, pool_name);
        if (!place) {
            return std::move(place).error();
        }
        return resource_pool<T>::create(*place.value().first, std::string(pool_name), place.value().second,
                                        std::move(backend));
    }

    /// Takes another configuration, all of it or nothing. What keeps its name and kind keeps its state and takes the
    /// new parameters; what is new is made, except for pools, which code makes; a name that is no more drains: a zone,
    /// a pool and a bulkhead refuse newcomers with `shut_down` and serve those who wait, limiters and breakers are no
    /// longer found, and handles to them go on.
    ///
    /// Errors: `invalid_config`, whose detail tells what is wrong or cannot change while it is in use: `max_keys`,
    /// `max_waiters`, `track_keys` and `busiest` of a limiter, and the name of its first tier. Then nothing has
    /// changed.
    result<void> reload(const config& configuration);
    /// The same, with the mistakes as data.
    result<void> reload(const config& configuration, std::vector<config_problem>& problems);

    /// What is in force.
    [[nodiscard]] config current() const;
    /// What is in force, as a document that parses to the same.
    [[nodiscard]] std::string dump() const { return current().to_json(); }

    /// All zones as plain data, by their names.
    [[nodiscard]] std::vector<zone_snapshot> snapshot() const;
    /// All zones in force.
    [[nodiscard]] std::vector<zone*> zones() const;

private:
    zone_set(boost::asio::io_context& context, virtual_clock* clock);

    [[nodiscard]] result<std::pair<zone*, pool_options>> pool_place(std::string_view zone_name,
                                                                    std::string_view pool_name) const;
    void add_zone(const std::string& name, const zone_config& wanted);
    void change_zone(zone& z, const zone_config& from, const zone_config& to);

    boost::asio::io_context& context_;
    virtual_clock* clock_;
    mutable detail::mutex mutex_;
    config current_;
    std::map<std::string, std::unique_ptr<zone>, std::less<>> zones_;
    std::vector<std::unique_ptr<zone>> dropped_;
};

}  // namespace headgate

#endif
